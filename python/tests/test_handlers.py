"""Handlers: what can be one, what it gets, and what becomes of what it returns or raises."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import enum
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, Optional

import pytest

import a3s_lane
from a3s_lane import CommandContext, CommandError, HandlerFunction, Lane, RetryPolicy, Unrecoverable
from conftest import LIMIT_SECS, single


def test_a_def_runs_on_a_thread_of_the_lane(lane: Lane) -> None:
    @lane.handler("where")
    def where(payload: Any) -> Any:
        return [payload, threading.current_thread().name]

    payload, thread = lane.submit("query", "where", {"a": 1})
    assert payload == {"a": 1}
    assert thread.startswith("a3s-lane-handler-")


def test_l17_an_async_def_runs_on_a_loop_of_the_lane(lane: Lane) -> None:
    @lane.handler("where")
    async def where(payload: Any) -> Any:
        await asyncio.sleep(0)
        return [payload, threading.current_thread().name]

    assert lane.submit("query", "where", 1) == [1, "a3s-lane-loop"]
    assert lane.submit("query", "where", 2) == [2, "a3s-lane-loop"]


def test_a_type_without_handler_returns_its_payload(lane: Lane) -> None:
    lane.register_handler("t", lambda payload: "handled")
    assert lane.submit("query", "t", 1) == "handled"
    assert lane.submit("query", "other", 1) == 1
    assert lane.remove_handler("t") is True
    assert lane.remove_handler("t") is False
    assert lane.submit("query", "t", 1) == 1


def test_the_newest_handler_of_a_type_runs(lane: Lane) -> None:
    async def second(payload: Any) -> str:
        return "second"

    lane.register_handler("t", lambda payload: "first")
    assert lane.submit("query", "t") == "first"
    lane.register_handler("t", second)
    assert lane.submit("query", "t") == "second"
    lane.register_handler("t", lambda payload: "third")
    assert lane.submit("query", "t") == "third"


def test_a_decorated_function_stays_callable_and_gains_calls(lane: Lane) -> None:
    @lane.handler("double")
    def double(payload: int) -> int:
        """Twice as much."""
        return 2 * payload

    assert isinstance(double, HandlerFunction)
    assert double(4) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice as much.")
    assert double.command_type == "double"
    assert double.submit("query", 2, priority=-1) == 4
    handle = double.enqueue("query", 3, id="mine")
    assert (handle.id, handle.result(LIMIT_SECS)) == ("mine", 6)
    assert asyncio.run(double.submit_async("query", 5, key="k")) == 10


class Callable1:
    def __call__(self, payload: Any) -> Any:
        return ["object", payload]


class Callable2:
    async def __call__(self, payload: Any, ctx: Any) -> Any:
        return ["async object", payload, ctx.attempt]


class Methods:
    def plain(self, payload: Any) -> Any:
        return ["method", payload]

    def with_context(self, payload: Any, ctx: Any) -> Any:
        return ["method", payload, ctx.attempt]


def with_own_default(payload: Any, factor: int = 3) -> Any:
    return payload * factor


def any_arguments(*arguments: Any) -> Any:
    return len(arguments)


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda payload: ["lambda", payload], ["lambda", 1]),
        (lambda payload, ctx: ["lambda", payload, ctx.attempt], ["lambda", 1, 1]),
        (Callable1(), ["object", 1]),
        (Callable2(), ["async object", 1, 1]),
        (Methods().plain, ["method", 1]),
        (Methods().with_context, ["method", 1, 1]),
        (functools.partial(with_own_default, factor=5), 5),
        (with_own_default, 3),
        (any_arguments, 1),
        (str, "1"),
        (abs, 1),
    ],
)
def test_what_can_be_a_handler(lane: Lane, function: Callable[..., Any], result: Any) -> None:
    lane.register_handler("t", function)
    assert lane.submit("query", "t", 1) == result


def no_arguments() -> None: ...
def three(payload: Any, ctx: Any, more: Any) -> None: ...
def keyword(payload: Any, *, must: Any) -> None: ...
def generator(payload: Any) -> Any:
    yield payload


async def async_generator(payload: Any) -> Any:
    yield payload


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (no_arguments, r"function must take \(payload\) or \(payload, ctx\), got no_arguments\(\)"),
        (three, r"got three\(.*more"),
        (keyword, r"got keyword\(.*must"),
        (generator, r"not with yield"),
        (async_generator, r"not with yield"),
        (7, r"function must be callable, not int"),
    ],
)
def test_what_cannot(lane: Lane, function: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        lane.register_handler("t", function)
    with pytest.raises(TypeError, match=text):
        lane.handler("t")(function)
    assert lane.submit("query", "t", 1) == 1


def test_wrong_options_of_handler(lane: Lane) -> None:
    async def coroutine(payload: Any) -> None: ...

    with pytest.raises(ValueError, match="executor must be one of 'thread', 'process', got 'fibre'"):
        lane.register_handler("t", str, executor="fibre")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="executor must not be given for an async def"):
        lane.register_handler("t", coroutine, executor="thread")
    with pytest.raises(ValueError, match="must take .payload. alone to run in another process"):
        lane.register_handler("t", Methods().with_context, executor="process")
    with pytest.raises(ValueError, match="function must be importable"):
        lane.register_handler("t", lambda payload: payload, executor="process")
    with pytest.raises(TypeError, match=r"command_type must be a str, not function: write @lane.handler\('type'\)"):
        lane.handler(lambda payload: payload)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="command_type must be a str, not int"):
        lane.register_handler(5, str)  # type: ignore[arg-type]


def both(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The function as a `def` and as an `async def`."""

    @functools.wraps(function)
    async def coroutine(payload: Any) -> Any:
        await asyncio.sleep(0)
        return function(payload)

    @functools.wraps(function)
    async def eager(payload: Any) -> Any:
        return function(payload)

    return [function, coroutine, eager]


def fails(payload: Any) -> None:
    raise ValueError(payload)


@pytest.mark.parametrize("function", both(fails))
def test_an_exception_is_the_commands_error(lane: Lane, function: Callable[..., Any]) -> None:
    lane.register_handler("t", function)
    calls: list[Callable[[], Any]] = [
        lambda: lane.submit("query", "t", "bad"),
        lambda: lane.enqueue("query", "t", "bad").result(LIMIT_SECS),
    ]
    for call in calls:
        with pytest.raises(CommandError) as caught:
            call()
        assert (str(caught.value), caught.value.code) == ("ValueError: bad", "COMMAND_ERROR")
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.__cause__.args == ("bad",)
        assert caught.value.__cause__.__traceback__ is not None


def test_an_exception_without_text(lane: Lane) -> None:
    def fails(payload: Any) -> None:
        raise KeyError

    lane.register_handler("t", fails)
    with pytest.raises(CommandError) as caught:
        lane.submit("query", "t")
    assert str(caught.value) == "KeyError"


class PaymentError(a3s_lane.LaneError):
    code = "PAYMENT"

    def __init__(self, amount: int) -> None:
        super().__init__(f"{amount} are missing")
        self.amount = amount


@pytest.mark.parametrize("error", [PaymentError(7), a3s_lane.LaneFullError("x"), a3s_lane.StalledError("y")])
def test_a_lane_error_stays_itself(lane: Lane, error: a3s_lane.LaneError) -> None:
    def fails(payload: Any) -> None:
        raise error

    lane.register_handler("t", fails)
    with pytest.raises(a3s_lane.LaneError) as caught:
        lane.submit("query", "t")
    assert caught.value is error


@pytest.mark.parametrize("joined", [False, True])
def test_unrecoverable_stops_retries(joined: bool) -> None:
    attempts: list[int] = []
    with single(retry_policy=RetryPolicy.fixed(3, 0)) as lane:

        @lane.handler("t")
        def fails(payload: str, ctx: CommandContext) -> None:
            attempts.append(ctx.attempt)
            raise {"stop": Unrecoverable, "again": OSError}[payload]("no use")

        with pytest.raises(a3s_lane.UnrecoverableError, match="no use"):
            lane.submit("one", "t", "stop")
        assert attempts == [1]
        with pytest.raises(CommandError, match="OSError: no use"):
            lane.submit("one", "t", "again")
        assert attempts == [1, 1, 2, 3, 4]


def test_a_joined_command_has_the_cause_too() -> None:
    lane = single()
    lane.register_handler("t", fails)
    first = lane.enqueue("one", "t", "bad", unique="u")
    second = lane.enqueue("one", "t", "bad", unique=a3s_lane.Unique("u", on_conflict="join"))
    with lane:
        for handle in (first, second):
            with pytest.raises(CommandError) as caught:
                handle.result(LIMIT_SECS)
            assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_exit_ends_only_the_attempt(
    kind: type[BaseException], position: int, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(payload: Any) -> None:
        raise kind("out")

    with single() as lane, caplog.at_level(logging.ERROR, "a3s_lane"):
        lane.register_handler("t", both(leave)[position])
        for _ in range(2):
            with pytest.raises(CommandError, match=f"{kind.__name__}: out"):
                lane.submit("one", "t")
    assert f"a handler raised {kind.__name__}" in caplog.text


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_result_that_is_not_json_is_an_error(lane: Lane, position: int) -> None:
    lane.register_handler("t", both(lambda payload: {"items": [1, object()]})[position])
    with pytest.raises(CommandError, match=r"ValueError: the result.items\[1\] is of type object, which has no JSON form"):
        lane.submit("query", "t")


@dataclasses.dataclass
class Header:
    name: str
    weight: float = 1.0


class Method(enum.Enum):
    GET = "get"
    PUT = "put"


@dataclasses.dataclass
class Request:
    url: str
    tries: int = 3
    header: Optional[Header] = None
    headers: list[Header] = dataclasses.field(default_factory=list)
    method: Method = Method.GET
    more: Any = None


def test_dataclasses_are_payloads_and_results(lane: Lane) -> None:
    @lane.handler("fetch")
    def fetch(payload: Request) -> Request:
        assert isinstance(payload, Request)
        return dataclasses.replace(payload, tries=payload.tries + 1)

    @lane.handler("fetch_async")
    async def fetch_async(payload: Request, ctx: CommandContext) -> Request:
        assert isinstance(payload, Request)
        return dataclasses.replace(payload, tries=payload.tries + ctx.attempt)

    sent = Request("u", 1, Header("a", 2), [Header("b")], Method.PUT, {"x": 1})
    expected = {
        "url": "u",
        "tries": 2,
        "header": {"name": "a", "weight": 2},
        "headers": [{"name": "b", "weight": 1.0}],
        "method": "put",
        "more": {"x": 1},
    }
    assert fetch.submit("query", sent) == expected
    assert fetch_async.submit("query", sent) == expected
    assert fetch.submit("query", {"url": "u"})["tries"] == 4


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (7, "payload must be a dict for Request, got int"),
        ({}, "payload.url is missing"),
        ({"url": 7}, "payload.url must be a str, got int"),
        ({"url": "u", "tries": "3"}, "payload.tries must be an int, got str"),
        ({"url": "u", "tries": True}, "payload.tries must be an int, got bool"),
        ({"url": "u", "headers": {}}, "payload.headers must be a list, got dict"),
        ({"url": "u", "headers": [{"name": "a"}, {}]}, r"payload.headers\[1\].name is missing"),
        ({"url": "u", "header": 5}, "payload.header must be a dict for Header, got int"),
        ({"url": "u", "method": "post"}, "payload.method must be a Method, got 'post'"),
        ({"url": "u", "speed": 1}, "payload.speed is not a field of Request"),
    ],
)
def test_a_payload_that_is_no_such_dataclass_fails_for_good(payload: Any, text: str) -> None:
    attempts: list[int] = []
    with single(retry_policy=RetryPolicy.fixed(3, 0)) as lane:
        stream = lane.subscribe_filtered(["queue.command.started"])

        @lane.handler("fetch")
        async def fetch(payload: Request) -> None:
            attempts.append(1)

        with pytest.raises(a3s_lane.UnrecoverableError, match=text):
            fetch.submit("one", payload)
        assert attempts == []
    assert len(list(stream)) == 1


def test_pydantic_models_are_payloads_and_results(lane: Lane) -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    order = pydantic.create_model("Order", number=(int, ...), tags=(list[str], []))
    seen: list[Any] = []

    def take(payload: Any) -> Any:
        seen.append(payload)
        return payload

    take.__annotations__["payload"] = order
    lane.register_handler("order", take)
    assert lane.submit("query", "order", {"number": 7}) == {"number": 7, "tags": []}
    assert lane.submit("query", "order", order(number=8, tags=["a"])) == {"number": 8, "tags": ["a"]}
    assert all(isinstance(payload, order) for payload in seen)
    with pytest.raises(a3s_lane.UnrecoverableError, match=r"payload.tags\[1\]: .*string"):
        lane.submit("query", "order", {"number": 7, "tags": ["a", 5]})


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_context_variables_travel_from_submit_to_handler(position: int) -> None:
    def look(payload: Any) -> str:
        before = VARIABLE.get()
        VARIABLE.set("set by the handler")
        if payload == "fail":
            attempts.append(before)
            raise OSError
        return before

    attempts: list[str] = []
    with single(retry_policy=RetryPolicy.fixed(1, 0)) as lane:
        lane.register_handler("t", both(look)[position])
        for value in ("a", "b"):
            token = VARIABLE.set(value)
            assert lane.submit("one", "t") == value
            # What the handler has set is seen neither here nor by the next attempt.
            assert VARIABLE.get() == value
            with pytest.raises(CommandError):
                lane.submit("one", "t", "fail")
            assert attempts == [value, value]
            attempts.clear()
            VARIABLE.reset(token)
        assert lane.submit("one", "t") == "unset"


def test_what_a_context_says(lane: Lane) -> None:
    @lane.handler("t")
    def look(payload: Any, ctx: CommandContext) -> Any:
        assert ctx.check() is None  # type: ignore[func-returns-value]
        limit = ctx.time_left, ctx.deadline
        assert repr(ctx) == 'CommandContext(id="mine", attempt=1)'
        return [ctx.id, ctx.lane_id, ctx.attempt, ctx.metadata, ctx.cancelled, ctx.stop_reason, limit]

    handle = look.enqueue("query", id="mine", metadata={"a": [1]})
    assert handle.result(LIMIT_SECS) == ["mine", "query", 1, {"a": [1]}, False, None, [None, None]]
    left, deadline = look.submit("query", id="mine", timeout_secs=1000)[-1]
    assert 900 < left <= 1000
    assert deadline > left


def test_progress_and_chunks(lane: Lane) -> None:
    @lane.handler("t")
    async def talk(payload: Any, ctx: CommandContext) -> str:
        ctx.progress(0.5)
        for word in ("a", Header("b"), None):
            ctx.emit(word)
            ctx.heartbeat()
        return "end"

    handle = talk.enqueue("query")
    assert [chunk.value for chunk in handle.chunks()] == ["a", {"name": "b", "weight": 1.0}, None]
    assert list(handle.progress()) == [0.5]
    assert handle.result() == "end"


def test_a_heartbeat_counts() -> None:
    with single(progress_timeout_secs=0.2) as lane:

        @lane.handler("beats")
        def beats(payload: Any, ctx: CommandContext) -> str:
            for _ in range(20):
                ctx.heartbeat()
                stop.wait(0.02)
            return "end"

        @lane.handler("silent")
        def silent(payload: Any) -> None:
            go_on.wait(LIMIT_SECS)

        stop, go_on = threading.Event(), threading.Event()
        assert beats.submit("one") == "end"
        with pytest.raises(a3s_lane.StalledError):
            silent.submit("one")
        go_on.set()


def test_costs_are_settled() -> None:
    limiters = {"tokens": a3s_lane.Limiter(100, 3600, algorithm="sliding_window")}
    config = a3s_lane.LaneConfig("one", 0, limiters=["tokens"])
    with Lane.with_lanes([config], limiters=limiters) as lane:

        @lane.handler("t")
        def cheap(payload: int, ctx: CommandContext) -> int:
            ctx.settle_cost(payload)
            return payload

        # Ten times the limit is asked for, and a tenth of it used.
        for _ in range(10):
            assert cheap.submit("one", 10, cost=10) == 10
        waiting = cheap.enqueue("one", 10, cost=10)
        explanation = waiting.explain()
        assert explanation is not None and explanation["reasons"][0]["reason"] == "rate_limited"
        waiting.cancel()
    with Lane.with_lanes([config], limiters=limiters) as lane:
        lane.register_handler("t", lambda payload, ctx: ctx.settle_cost(1))
        for _ in range(50):
            lane.submit("one", "t", cost=50)


@pytest.mark.parametrize("kinds", ["dd", "da", "ad", "aa"])
def test_l2_a_child_runs_in_the_slot_of_its_parent(kinds: str) -> None:
    with single() as lane:

        def parent(payload: int, ctx: CommandContext) -> int:
            return int(ctx.submit_child("one", "child", payload)) + 1

        async def async_parent(payload: int, ctx: CommandContext) -> int:
            return int(await ctx.submit_child("one", "child", payload)) + 1

        def child(payload: int) -> int:
            return payload * 10

        async def async_child(payload: int) -> int:
            await asyncio.sleep(0)
            return payload * 10

        lane.register_handler("parent", {"d": parent, "a": async_parent}[kinds[0]])
        lane.register_handler("child", {"d": child, "a": async_child}[kinds[1]])
        assert lane.submit("one", "parent", 4) == 41
        assert [handle.result(LIMIT_SECS) for handle in [lane.enqueue("one", "parent", n) for n in range(5)]] == [
            n * 10 + 1 for n in range(5)
        ]


def test_children_by_handle() -> None:
    with single(max_concurrency=2) as lane:

        @lane.handler("parent")
        async def parent(payload: int, ctx: CommandContext) -> list[Any]:
            handles = [ctx.enqueue_child("one", "echo", number) for number in range(payload)]
            return [await handle for handle in handles]

        assert parent.submit("one", 5) == [0, 1, 2, 3, 4]


def test_deep_nesting_needs_no_more_threads_than_work(lane: Lane) -> None:
    with single() as lane:

        @lane.handler("down")
        def down(payload: int, ctx: CommandContext) -> int:
            return 0 if payload == 0 else int(ctx.submit_child("one", "down", payload - 1)) + 1

        # Deeper than the pool is large: a handler that waits does not count.
        assert down.submit("one", 70) == 70


def test_handler_threads_limits_what_runs_at_once() -> None:
    running = threading.Semaphore(0)
    go_on = threading.Event()
    most = 0
    now = 0
    lock = threading.Lock()

    def occupy(payload: Any) -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        running.release()
        assert go_on.wait(LIMIT_SECS)
        with lock:
            now -= 1

    with Lane.with_lanes([a3s_lane.LaneConfig("one", 0, max_concurrency=10)], handler_threads=2) as lane:
        lane.register_handler("t", occupy)
        handles = [lane.enqueue("one", "t") for _ in range(10)]
        assert running.acquire(timeout=LIMIT_SECS) and running.acquire(timeout=LIMIT_SECS)
        # A third would have had the time to start: the pool looks for room every 50 ms.
        assert not running.acquire(timeout=0.3)
        go_on.set()
        for handle in handles:
            handle.result(LIMIT_SECS)
    assert most == 2
    for wrong in (0, -1, 2**32):
        with pytest.raises(ValueError, match="handler_threads must be an int from 1 to 4294967295"):
            Lane(handler_threads=wrong)


def test_eight_threads_submit(lane: Lane) -> None:
    @lane.handler("a")
    async def coroutine(payload: int) -> int:
        await asyncio.sleep(0)
        return payload

    lane.register_handler("d", lambda payload: payload)
    wrong: list[Any] = []

    def work(start: int) -> None:
        for number in range(start, start + 50):
            for kind in "ad":
                if lane.submit("query", kind, number) != number:
                    wrong.append(number)
        handles = [lane.enqueue("query", kind, start) for kind in "ad" * 50]
        wrong.extend(handle.id for handle in handles if handle.result(LIMIT_SECS) != start)

    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * LIMIT_SECS)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []

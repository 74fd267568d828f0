"""Middleware: functions around handlers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import gc
import operator
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from a3s_lane import CommandCancelledError, CommandContext, CommandError, Lane, LaneConfig, RetryPolicy, _a3s_lane
from conftest import LIMIT_SECS, wait_until

Next = Callable[[Any], Any]
AsyncNext = Callable[[Any], Awaitable[Any]]


def test_the_first_is_the_outermost() -> None:
    lane = Lane()
    steps: list[str] = []

    def layer(name: str) -> None:
        @lane.middleware
        def around(payload: Any, ctx: CommandContext, next: Next) -> Any:
            steps.append(f"{name} in")
            result = next(payload + name)
            steps.append(f"{name} out")
            return result + name

    layer("a")

    @lane.handler("t")
    def handle(payload: str) -> str:
        steps.append("handler")
        return payload.upper()

    # After the handler, and around it all the same.
    layer("b")
    with lane:
        assert lane.submit("query", "t", "-") == "-ABba"
    assert steps == ["a in", "b in", "handler", "b out", "a out"]


def test_around_an_async_def() -> None:
    lane = Lane()

    @lane.middleware
    async def twice(payload: Any, ctx: CommandContext, next: AsyncNext) -> Any:
        await asyncio.sleep(0)
        return [await next(payload), await next(payload + 1)]

    @lane.handler("t")
    async def handle(payload: int, ctx: CommandContext) -> int:
        await asyncio.sleep(0)
        return payload * 2 + ctx.attempt

    async def main() -> None:
        async with lane:
            assert await lane.submit_async("query", "t", 1) == [3, 5]

    asyncio.run(main())


def test_each_goes_around_its_own_kind() -> None:
    lane = Lane()

    @lane.middleware
    def plain(payload: Any, ctx: CommandContext, next: Next) -> Any:
        return ["def", next(payload)]

    @lane.middleware
    async def awaited(payload: Any, ctx: CommandContext, next: AsyncNext) -> Any:
        return ["async def", await next(payload)]

    @lane.handler("d")
    def d(payload: Any) -> Any:
        return payload

    @lane.handler("a")
    async def a(payload: Any) -> Any:
        return payload

    lane.register_handler("p", operator.neg, executor="process")
    with lane:
        assert lane.submit("query", "d", 1) == ["def", 1]
        assert lane.submit("query", "a", 1) == ["async def", 1]
        assert lane.submit("query", "p", 1) == ["def", -1]
        # Without a handler there is nothing to go around.
        assert lane.submit("query", "nothing", 1) == 1


def test_it_knows_the_command() -> None:
    lane = Lane()
    seen: list[tuple[str, str, object]] = []

    @lane.middleware
    def look(payload: Any, ctx: CommandContext, next: Next) -> Any:
        seen.append((ctx.command_type, ctx.lane_id, ctx.metadata["user"]))
        return next(payload)

    @lane.handler("t")
    def handle(payload: Any) -> None: ...

    with lane:
        lane.submit("session", "t", metadata={"user": 7})
    assert seen == [("t", "session", 7)]


def test_it_may_answer_instead_of_the_handler() -> None:
    lane = Lane()

    @lane.middleware
    def cached(payload: Any, ctx: CommandContext, next: Next) -> Any:
        return "cached" if payload == "known" else next(payload)

    @lane.handler("t")
    def handle(payload: str) -> str:
        return payload

    with lane:
        assert [lane.submit("query", "t", payload) for payload in ("known", "new")] == ["cached", "new"]


def test_it_sees_what_the_handler_raises_and_every_attempt() -> None:
    lane = Lane.with_lanes([LaneConfig("one", 0, retry_policy=RetryPolicy.fixed(2, 0))])
    seen: list[tuple[int, str]] = []

    @lane.middleware
    def watch(payload: Any, ctx: CommandContext, next: Next) -> Any:
        try:
            return next(payload)
        except KeyError as error:
            seen.append((ctx.attempt, type(error).__name__))
            raise ValueError("translated") from error

    @lane.handler("t")
    def handle(payload: Any) -> None:
        raise KeyError("x")

    with lane:
        with pytest.raises(CommandError, match="ValueError: translated"):
            lane.submit("one", "t")
    assert seen == [(1, "KeyError"), (2, "KeyError"), (3, "KeyError")]


@dataclasses.dataclass
class Page:
    url: str


def test_the_payload_is_json_and_the_handler_has_its_model() -> None:
    lane = Lane()
    seen: list[object] = []

    @lane.middleware
    def look(payload: Any, ctx: CommandContext, next: Next) -> Any:
        seen.append(payload)
        seen.append(next(payload))
        return seen[-1]

    @lane.handler("t")
    def handle(page: Page) -> Page:
        return Page(page.url + "/1")

    with lane:
        assert lane.submit("query", "t", Page("u")) == {"url": "u/1"}
    assert seen == [{"url": "u"}, Page("u/1")]


def test_a_cancel_reaches_middleware_that_waits() -> None:
    lane = Lane()
    stopped: list[str] = []
    running = threading.Event()

    @lane.middleware
    async def tidy(payload: Any, ctx: CommandContext, next: AsyncNext) -> Any:
        try:
            return await next(payload)
        except asyncio.CancelledError:
            stopped.append(str(ctx.stop_reason))
            raise

    @lane.handler("t")
    async def handle(payload: Any) -> None:
        running.set()
        await asyncio.sleep(3600)

    with lane:
        handle_of = lane.enqueue("query", "t")
        assert running.wait(LIMIT_SECS)
        assert handle_of.cancel()
        with pytest.raises(CommandCancelledError):
            handle_of.result(LIMIT_SECS)
        wait_until(lambda: stopped == ["cancel"])


def test_a_cancel_takes_back_what_no_process_has_begun() -> None:
    lane = Lane()
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    asked = threading.Event()

    def start(payload: object) -> concurrent.futures.Future[None]:
        asked.set()
        return future

    # As `executor="process"` does, with a pool in which it is never its turn.
    _a3s_lane._register(lane, "p", start, False, "process")

    @lane.middleware
    def around(payload: Any, ctx: CommandContext, next: Next) -> Any:
        return next(payload)

    with lane:
        handle = lane.enqueue("query", "p")
        assert asked.wait(LIMIT_SECS)
        handle.cancel()
        with pytest.raises(CommandCancelledError):
            handle.result(LIMIT_SECS)
        wait_until(future.cancelled)


def test_a_replaced_or_removed_handler_keeps_the_middleware_out() -> None:
    lane = Lane()
    lane.register_handler("t", lambda payload: payload)
    lane.register_handler("u", lambda payload: payload)

    @lane.middleware
    def around(payload: Any, ctx: CommandContext, next: Next) -> Any:
        return [next(payload)]

    lane.register_handler("t", lambda payload: payload + 1)
    lane.remove_handler("u")

    @lane.middleware
    def inner(payload: Any, ctx: CommandContext, next: Next) -> Any:
        return [next(payload)]

    with lane:
        assert lane.submit("query", "t", 1) == [[2]]
        assert lane.submit("query", "u", 1) == 1


def test_it_moves_to_the_loop_of_its_handlers() -> None:
    lane = Lane()
    loops: list[object] = []

    @lane.handler("t")
    async def handle(payload: Any) -> None:
        loops.append(asyncio.get_running_loop())

    @lane.middleware
    async def around(payload: Any, ctx: CommandContext, next: AsyncNext) -> Any:
        loops.append(asyncio.get_running_loop())
        return await next(payload)

    async def main() -> None:
        async with lane:
            await lane.submit_async("query", "t")
        assert loops == [asyncio.get_running_loop()] * 2

    asyncio.run(main())


def test_a_lane_that_its_middleware_holds_is_collected() -> None:
    lane = Lane()

    class Around:
        def __init__(self) -> None:
            self.lane = lane

        def __call__(self, payload: Any, ctx: CommandContext, next: Next) -> Any:
            return next(payload)

    around = Around()
    gone = weakref.ref(around)
    lane.middleware(around)
    lane.register_handler("t", lambda payload: payload)
    with lane:
        assert lane.submit("query", "t", 1) == 1
    del lane, around
    gc.collect()
    assert gone() is None


def test_it_is_checked() -> None:
    lane = Lane()
    wrong: Any = 3
    with pytest.raises(TypeError, match="function must be callable, not int"):
        lane.middleware(wrong)
    too_few: Any = lambda payload, next: None  # noqa: E731
    with pytest.raises(TypeError, match=r"function must take \(payload, ctx, next\), got <lambda>\(payload, next\)"):
        lane.middleware(too_few)

    def yields(payload: Any, ctx: CommandContext, next: Next) -> Any:
        yield next(payload)

    with pytest.raises(TypeError, match="function must return the result, not yield it"):
        lane.middleware(yields)

"""Lanes in asyncio: what is awaited, and on which loop handlers run."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Optional

import pytest

import a3s_lane
from a3s_lane import CommandContext, Lane, LaneConfig, WouldBlockError
from conftest import LIMIT_SECS, single


class DeafLoop(asyncio.SelectorEventLoop):
    """A loop that cannot watch sockets for others, as the one of Windows."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def uvloop_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "deaf": DeafLoop}
if importlib.util.find_spec("uvloop") is not None:
    LOOPS["uvloop"] = uvloop_loop

Runner = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Runner:
    """`asyncio.run` with each kind of loop."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        loop = LOOPS[request.param]()
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(asyncio.wait_for(main, 2 * LIMIT_SECS))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()

    return run


def here(payload: Any) -> Any:
    return threading.current_thread() is threading.main_thread()


async def async_here(payload: Any) -> Any:
    await asyncio.sleep(0)
    return threading.current_thread() is threading.main_thread()


async def slow(payload: Any) -> Any:
    await asyncio.sleep(0.01)
    return payload


def test_l17_a_coroutine_runs_on_the_loop_of_async_with(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:
            lane.register_handler("a", async_here)
            lane.register_handler("d", here)
            assert await lane.submit_async("query", "a") is True
            assert await lane.submit_async("query", "d") is False
            assert await lane.enqueue("query", "a") is True
            assert await lane.submit_async("query", "echo", [1]) == [1]
        assert lane.stats().total_pending == 0

    run(main())


def test_a_handler_from_before_the_loop(run: Runner) -> None:
    lane = Lane()
    lane.register_handler("a", async_here)
    waiting = lane.enqueue("query", "a")

    async def main() -> None:
        async with lane:
            assert await waiting is True
            assert await lane.submit_async("query", "a") is True

    run(main())


def test_the_first_awaited_call_brings_its_loop(run: Runner) -> None:
    async def main() -> None:
        lane = Lane()
        lane.register_handler("a", async_here)
        lane.start()
        assert await lane.submit_async("query", "a") is True
        lane.shutdown()
        await lane.drain_async(LIMIT_SECS)

    run(main())


def test_a_loop_that_is_there_already_stays(run: Runner) -> None:
    with Lane() as lane:
        lane.register_handler("a", async_here)
        assert lane.submit("query", "a") is False

        async def main() -> None:
            assert await lane.submit_async("query", "a") is False
            # It is not this loop that the handlers need.
            assert lane.submit("query", "a") is False

        run(main())


def test_one_lane_and_one_loop_after_the_other() -> None:
    lane = Lane()
    lane.register_handler("a", async_here)
    lane.register_handler("slow", slow)
    lane.start()

    async def main() -> None:
        assert await lane.submit_async("query", "a") is True
        assert await asyncio.gather(*[lane.submit_async("query", "slow", n) for n in range(20)]) == list(range(20))

    for _ in range(3):
        asyncio.run(main())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    # Closed without a word.
    loop.close()
    asyncio.run(main())


def test_what_a_loop_leaves_unfinished_fails() -> None:
    lane = single()

    async def forever(payload: Any) -> None:
        await asyncio.sleep(3600)

    lane.register_handler("forever", forever)
    lane.start()

    async def main() -> Any:
        await lane.submit_async("one", "echo")
        handle, waiting = lane.enqueue("one", "forever"), lane.enqueue("one", "forever")
        await asyncio.sleep(0)
        return handle, waiting

    handle, waiting = asyncio.run(main())
    with pytest.raises(a3s_lane.CommandError, match="CancelledError"):
        handle.result(LIMIT_SECS)
    with pytest.raises(a3s_lane.LaneError):
        waiting.result(LIMIT_SECS)
    lane.drain(LIMIT_SECS)


def test_many_loops_wait_for_one_lane() -> None:
    with Lane() as lane:
        lane.register_handler("slow", slow)
        # So that the handlers are at none of those loops, which end at any time.
        assert lane.submit("query", "slow", 1) == 1

        async def main() -> list[Any]:
            return await asyncio.gather(*[lane.submit_async("query", "slow", number) for number in range(30)])

        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(asyncio.run(main()))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * LIMIT_SECS)
        assert results == [list(range(30))] * 4


def test_nested_calls_of_handlers(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:

            @lane.handler("fib")
            async def fib(n: int) -> int:
                if n < 2:
                    return n
                one, two = await asyncio.gather(fib(n - 1), lane.submit_async("control", "echo", fib_of[n - 2]))
                return int(one) + int(two)

            fib_of = [0, 1, 1, 2, 3, 5, 8, 13, 21]
            assert await fib.submit_async("query", 9) == 34

    run(main())


def drain(lane: Lane) -> None:
    lane.enqueue("one", "slow")
    lane.drain(60)


def leave(lane: Lane) -> None:
    lane.enqueue("one", "slow")
    lane.__exit__()


BLOCKING: dict[str, tuple[Callable[[Lane], Any], str]] = {
    "submit": (lambda lane: lane.submit("one", "slow"), "submit_async"),
    "submit with options": (lambda lane: lane.submit("one", "slow", key="k"), "submit_async"),
    "result": (lambda lane: lane.enqueue("one", "slow").result(), "await handle"),
    "result with a limit": (lambda lane: lane.enqueue("one", "slow").result(60), "await handle"),
    "drain": (drain, "drain_async"),
    "shutdown_within": (lambda lane: lane.shutdown_within(60), "shutdown_within_async"),
    "chunks": (lambda lane: list(lane.enqueue("one", "slow").chunks()), "async for"),
    "progress": (lambda lane: list(lane.enqueue("one", "slow").progress()), "async for"),
    "recv": (lambda lane: lane.subscribe().recv(), "async for"),
    "iteration": (lambda lane: list(lane.subscribe()), "async for"),
    "the end of with": (leave, "drain_async"),
    "enqueue into a full lane": (lambda lane: [lane.enqueue("one", "slow") for _ in range(3)], "enqueue_async"),
    "submit_many into a full lane": (lambda lane: lane.submit_many("one", [("slow",)] * 3), "enqueue_async"),
}


@pytest.mark.parametrize("call", BLOCKING)
def test_what_would_wait_for_ever_says_so(run: Runner, call: str) -> None:
    blocks, instead = BLOCKING[call]

    async def main() -> None:
        lane = single(max_pending=1, overflow="wait")
        lane.register_handler("slow", slow)
        lane.start()
        await lane.submit_async("one", "slow")
        with pytest.raises(WouldBlockError, match=f"would block the event loop.*{instead}") as caught:
            blocks(lane)
        assert caught.value.code == "WOULD_BLOCK"
        await lane.shutdown_within_async(0)

    run(main())


def test_in_a_handler_too() -> None:
    with single(max_concurrency=2) as lane:

        @lane.handler("blocks")
        async def blocks(payload: Any) -> Any:
            return lane.submit("one", "echo")

        with pytest.raises(WouldBlockError):
            blocks.submit("one")
        # A `def` has a thread of its own to block.
        lane.register_handler("d", lambda payload: lane.submit("one", "echo", payload))
        assert lane.submit("one", "d", 1) == 1


def test_in_a_running_loop_that_runs_no_handlers_blocking_is_allowed(run: Runner) -> None:
    """As in a notebook: its loop runs, and its cells block."""

    async def main() -> None:
        with Lane() as lane:
            lane.register_handler("a", async_here)
            lane.register_handler("slow", slow)
            assert lane.submit("query", "a") is False
            assert [handle.result() for handle in [lane.enqueue("query", "slow", n) for n in range(5)]] == list(range(5))

    run(main())


def test_without_coroutines_blocking_is_allowed(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:
            lane.register_handler("d", here)
            assert lane.submit("query", "d") is False
            assert lane.enqueue("query", "echo", 1).result() == 1

    run(main())


def test_what_is_ready_does_not_block(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:
            lane.register_handler("slow", slow)
            stream = lane.subscribe()
            handle = lane.enqueue("query", "slow", 1)
            assert await handle == 1
            assert handle.result() == 1
            assert list(handle.chunks()) == list(handle.progress()) == []
            lane.drain(LIMIT_SECS)
            event = stream.recv()
            assert event is not None and event.key == "queue.command.submitted"
            assert lane.pause_lane("query") is None  # type: ignore[func-returns-value]
            waiting = lane.enqueue("query", "slow", 2)
            assert waiting.explain() is not None and lane.snapshot()["pending"] == 1
            assert lane.cancel(waiting.id) is True
            lane.resume_lane("query")

    run(main())


def test_cancelling_the_wait_does_not_cancel_the_command(run: Runner) -> None:
    async def main() -> None:
        async with single() as lane:
            started, go_on = asyncio.Event(), asyncio.Event()
            ended: list[Any] = []

            @lane.handler("t")
            async def wait(payload: Any) -> Any:
                started.set()
                await go_on.wait()
                ended.append(payload)
                return payload

            submitted = asyncio.ensure_future(lane.submit_async("one", "t", "submitted"))
            await started.wait()
            handle = lane.enqueue("one", "t", "enqueued")
            awaited = asyncio.ensure_future(awaiting(handle))
            await asyncio.sleep(0)
            for waiting in (submitted, awaited):
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(lane.drain_async(LIMIT_SECS), 0.01)
            go_on.set()
            assert await handle == "enqueued"
            assert ended == ["submitted", "enqueued"]

    async def awaiting(handle: a3s_lane.CommandHandle) -> Any:
        return await handle

    run(main())


def test_a_handle_can_be_awaited_any_number_of_times(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:
            lane.register_handler("slow", slow)
            handle = lane.enqueue("query", "slow", [1])
            results = await asyncio.gather(*[handle for _ in range(5)])
            assert results == [[1]] * 5
            results[0].append(2)
            assert await handle == [1]

            async def fails(payload: Any) -> None:
                await asyncio.sleep(0)
                raise ValueError("bad")

            lane.register_handler("fails", fails)
            failing = lane.enqueue("query", "fails")
            for _ in range(2):
                with pytest.raises(a3s_lane.CommandError, match="ValueError: bad") as caught:
                    await failing
                assert isinstance(caught.value.__cause__, ValueError)

    run(main())


def test_chunks_and_progress_are_iterated(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:

            @lane.handler("talk")
            async def talk(payload: int, ctx: CommandContext) -> str:
                for number in range(payload):
                    ctx.progress(number)
                    ctx.emit(number)
                    await asyncio.sleep(0.001)
                return "end"

            handle = talk.enqueue("query", 20)
            assert [chunk.value async for chunk in handle] == list(range(20))
            assert [chunk.index async for chunk in handle.chunks()] == list(range(20))
            seen = [value async for value in talk.enqueue("query", 20).progress()]
            assert seen == sorted(set(seen)) and seen[-1] == 19

    run(main())


def test_events_are_iterated(run: Runner) -> None:
    async def main() -> None:
        lane = Lane()
        every, some = lane.events(), lane.events(["queue.command.completed"])
        async with lane:
            await lane.submit_async("query", "echo", 1)
        assert [event.key async for event in every] == [
            "queue.command.submitted",
            "queue.command.started",
            "queue.command.completed",
            "queue.shutdown.started",
            "queue.shutdown.complete",
        ]
        assert [event.key async for event in some] == ["queue.command.completed"]
        assert every.ended

    run(main())


def test_no_event_is_lost_by_a_cancelled_wait(run: Runner) -> None:
    async def main() -> None:
        lane = Lane()
        stream = lane.events(["queue.command.completed"])
        async with lane:
            lane.register_handler("slow", slow)
            seen = 0
            handles = [lane.enqueue("query", "slow") for _ in range(40)]
            while seen < len(handles):
                try:
                    await asyncio.wait_for(stream.__anext__(), 0.0005)
                    seen += 1
                except asyncio.TimeoutError:
                    pass

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")
def test_an_event_that_has_arrived_when_its_wait_is_cancelled_stays() -> None:
    async def main() -> None:
        lane = Lane()
        stream = lane.events(["queue.command.completed"])
        async with lane:

            async def at_once(payload: Any) -> None: ...

            lane.register_handler("t", at_once)
            waiting = asyncio.ensure_future(stream.__anext__())
            await asyncio.sleep(0)
            await lane.submit_async("query", "t")
            # It has its event, and no turn of the loop yet to take it.
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await stream.__anext__()).key == "queue.command.completed"

    asyncio.run(main())


def test_drain_async(run: Runner) -> None:
    async def main() -> None:
        lane = single()
        lane.register_handler("slow", slow)
        lane.enqueue("one", "slow")
        with pytest.raises(a3s_lane.LaneTimeoutError):
            await lane.drain_async(0.01)
        lane.start()
        await lane.drain_async(LIMIT_SECS)
        for wrong in (-1, "1", None):
            with pytest.raises((TypeError, ValueError), match="timeout_secs"):
                await lane.drain_async(wrong)  # type: ignore[arg-type]
        lane.enqueue("one", "echo", delay_secs=3600)
        report = await lane.shutdown_within_async(0)
        assert len(report.pending) == 1

    run(main())


def test_enqueue_async_waits_for_room(run: Runner) -> None:
    async def main() -> None:
        async with single(max_pending=1, overflow="wait") as lane:
            go_on = asyncio.Event()

            async def wait(payload: Any) -> Any:
                await go_on.wait()
                return payload

            lane.register_handler("t", wait)
            first, second = [await lane.enqueue_async("one", "t", number) for number in range(2)]
            third = asyncio.ensure_future(lane.enqueue_async("one", "t", 2))
            given_up = asyncio.ensure_future(lane.enqueue_async("one", "t", 3))
            await asyncio.sleep(0.01)
            assert not third.done() and not given_up.done()
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            go_on.set()
            assert [await first, await second, await (await third)] == [0, 1, 2]
            await lane.drain_async(LIMIT_SECS)
            assert lane.stats().total_pending == 0

    run(main())


def test_async_calls_need_a_loop() -> None:
    coroutine = Lane().submit_async("query", "t")
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


def test_errors_of_async_calls(run: Runner) -> None:
    async def main() -> None:
        lane = Lane()
        with pytest.raises(a3s_lane.NotStartedError):
            await lane.submit_async("query", "t")
        with pytest.raises(a3s_lane.LaneNotFoundError):
            await lane.enqueue_async("nope", "t")
        async with lane:
            with pytest.raises(ValueError, match="payload is nan"):
                await lane.submit_async("query", "t", float("nan"))
            with pytest.raises(TypeError, match=r"submit_async\(\) got an unexpected keyword argument 'speed'"):
                await lane.submit_async("query", "t", speed=1)  # type: ignore[call-arg]
            with pytest.raises(a3s_lane.DuplicateError):
                lane.enqueue("query", "t", delay_secs=60, id="same")
                await lane.submit_async("query", "t", id="same")
            lane.cancel("same")
        with pytest.raises(a3s_lane.ShutdownInProgressError):
            await lane.submit_async("query", "t")

    run(main())


def test_options_of_submit_async_count(run: Runner) -> None:
    async def main() -> None:
        async with single() as lane:

            @lane.handler("t")
            async def look(payload: Any, ctx: CommandContext) -> Any:
                return [ctx.id, ctx.metadata]

            assert await look.submit_async("one", id="mine", metadata={"a": 1}) == ["mine", {"a": 1}]

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")
def test_a_handler_that_does_not_wait_needs_no_turn_of_the_loop() -> None:
    async def main() -> None:
        async with Lane() as lane:

            async def at_once(payload: Any) -> Optional[str]:
                task = asyncio.current_task()
                assert task is not None
                return task.get_name()

            lane.register_handler("t", at_once)
            turns: list[int] = []
            asyncio.get_running_loop().call_soon(turns.append, 1)
            # It is a task of its own all the same.
            names = {await lane.submit_async("query", "t") for _ in range(10)}
            assert len(names) == 10 and turns == []

    asyncio.run(main())


def test_a_handler_has_a_task_of_its_own(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:

            async def limited(payload: Any) -> None:
                try:
                    await asyncio.wait_for(asyncio.sleep(60), 0.001)
                except asyncio.TimeoutError:
                    task = asyncio.current_task()
                    assert task is not None and task is not main_task
                    raise

            main_task = asyncio.current_task()
            lane.register_handler("t", limited)
            with pytest.raises(a3s_lane.CommandError, match="TimeoutError"):
                await lane.submit_async("query", "t")

    run(main())


def test_a_lane_that_its_handlers_refer_to_is_collected() -> None:
    def make() -> Any:
        lane = Lane()

        @lane.handler("a")
        async def coroutine(payload: Any) -> Any:
            return lane.stats()

        @lane.handler("d")
        def plain(payload: Any) -> Any:
            return plain

        lane.start()
        return lane.subscribe()

    gc.collect()
    stream = make()
    gc.collect()
    # The end of its events is the end of the lane.
    assert list(stream) == []


def test_an_error_in_async_with_goes_on_without_a_wait(run: Runner) -> None:
    async def main() -> None:
        lane = single()
        with pytest.raises(KeyError):
            async with lane:
                lane.register_handler("slow", slow)
                handle = lane.enqueue("one", "slow", 1)
                raise KeyError
        with pytest.raises(a3s_lane.ShutdownInProgressError):
            lane.enqueue("one", "slow")
        assert await handle == 1

    run(main())


def test_lanes_of_many_loops_leave_nothing_behind() -> None:
    async def main() -> None:
        async with Lane.with_lanes([LaneConfig("one", 0)]) as lane:
            lane.register_handler("slow", slow)
            lane.register_handler("d", here)
            await asyncio.gather(lane.submit_async("one", "slow"), lane.submit_async("one", "d"))

    before = threading.active_count()
    for _ in range(10):
        asyncio.run(main())
    deadline = threading.Event()
    for _ in range(int(LIMIT_SECS * 100)):
        if threading.active_count() <= before:
            break
        deadline.wait(0.01)
    assert threading.active_count() <= before

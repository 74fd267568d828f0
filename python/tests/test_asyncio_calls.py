"""Lanes in asyncio: calls that are awaited."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import a3s_lane
from a3s_lane import CommandContext, Lane
from conftest import LIMIT_SECS, single
from loops import Runner, slow


async def awaiting(handle: a3s_lane.CommandHandle) -> Any:
    return await handle


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

    run(main())


def test_a_cancelled_wait_says_so_whatever_its_command_came_to(run: Runner) -> None:
    async def main() -> None:
        async with single() as lane:
            lane.pause_lane("one")
            waits = [asyncio.ensure_future(lane.submit_async("one", "t"))]
            waits.append(asyncio.ensure_future(awaiting(lane.enqueue("one", "t"))))
            await asyncio.sleep(0)
            for waiting in waits:
                waiting.cancel()
            # The commands end before the waits learn that they are cancelled.
            assert lane.cancel_lane("one") == 2
            for waiting in waits:
                with pytest.raises(asyncio.CancelledError):
                    await waiting

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

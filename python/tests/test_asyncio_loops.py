"""Lanes in asyncio: on which loop handlers run, and what its end means."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

import a3s_lane
from a3s_lane import Lane, LaneConfig
from conftest import LIMIT_SECS, single
from loops import Runner, async_here, here, slow


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

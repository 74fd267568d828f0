"""Lanes in asyncio: chunks, progress and events in `async for`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from a3s_lane import CommandContext, Lane
from loops import Runner, slow


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

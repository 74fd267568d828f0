"""What is left of an attempt whose handler has raised."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from a3s_lane import CommandContext, Lane, LaneError, QueueError
from conftest import LIMIT_SECS


class Mine(Exception):
    """An exception that is counted."""


def alive() -> int:
    gc.collect()
    return sum(isinstance(thing, Mine) for thing in gc.get_objects())


@pytest.mark.parametrize("kind", ["thread", "coroutine", "suspended"])
@pytest.mark.parametrize("stored", [False, True])
def test_an_exception_is_freed_with_the_handle(tmp_path: Path, kind: str, stored: bool) -> None:
    # Its traceback leads to the context of its handler.
    lane = Lane(storage=tmp_path) if stored else Lane()

    def thread(payload: object, ctx: CommandContext) -> None:
        raise Mine

    async def coroutine(payload: object, ctx: CommandContext) -> None:
        raise Mine

    async def suspended(payload: object, ctx: CommandContext) -> None:
        import asyncio

        await asyncio.sleep(0)
        raise Mine

    lane.register_handler("t", {"thread": thread, "coroutine": coroutine, "suspended": suspended}[kind])

    def run() -> None:
        for _ in range(5):
            with pytest.raises(LaneError):
                lane.enqueue("query", "t").result(LIMIT_SECS)

    with lane:
        run()
    assert alive() == 0


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_the_context_of_a_failed_attempt_still_tells_which_it_was(kind: str) -> None:
    contexts: list[CommandContext] = []

    def thread(payload: object, ctx: CommandContext) -> None:
        contexts.append(ctx)
        raise Mine

    async def coroutine(payload: object, ctx: CommandContext) -> None:
        thread(payload, ctx)

    with Lane() as lane:
        lane.register_handler("t", {"thread": thread, "coroutine": coroutine}[kind])
        with pytest.raises(LaneError):
            lane.submit("query", "t", id="it", metadata={"a": 1})
        (ctx,) = contexts
        assert (ctx.id, ctx.command_type, ctx.lane_id, ctx.attempt, ctx.metadata) == ("it", "t", "query", 1, {"a": 1})
        assert (ctx.cancelled, ctx.stop_reason, ctx.time_left, ctx.deadline) == (False, None, None, None)
        assert repr(ctx) == 'CommandContext(id="it", attempt=1)'
        ctx.progress(1)
        ctx.emit(1)
        ctx.heartbeat()
        with pytest.raises(QueueError, match="^the attempt of command it has ended$|ended$"):
            ctx.enqueue_child("query", "t")

"""Lanes in asyncio: which calls may block the thread of a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a3s_lane import Lane, WouldBlockError
from conftest import LIMIT_SECS, single
from loops import Runner, async_here, here, slow


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

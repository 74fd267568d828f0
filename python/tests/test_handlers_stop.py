"""Cancel, time limits, preemption and the end reach handlers of both kinds."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timezone
from typing import Any

import pytest

import a3s_lane
from a3s_lane import CommandCancelledError, CommandContext, Lane, LaneConfig, LaneTimeoutError, RetryPolicy
from conftest import LIMIT_SECS, single, wait_until


class Watched:
    """An `async def` and a `def` that run until they are stopped, and tell what they saw."""

    def __init__(self, lane: Lane) -> None:
        self.started = threading.Semaphore(0)
        self.seen: list[Any] = []
        lane.register_handler("a", self.coroutine)
        lane.register_handler("d", self.plain)

    async def coroutine(self, payload: Any, ctx: CommandContext) -> Any:
        self.started.release()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.seen.append(ctx.stop_reason)
            raise

    def plain(self, payload: Any, ctx: CommandContext) -> Any:
        self.started.release()
        try:
            wait_until(lambda: ctx.cancelled)
            ctx.check()
        except CommandCancelledError as error:
            self.seen.append(ctx.stop_reason)
            assert str(ctx.stop_reason) in str(error)
            raise

    def wait(self) -> None:
        assert self.started.acquire(timeout=LIMIT_SECS)


@pytest.mark.parametrize("kind", ["a", "d"])
def test_cancel(kind: str) -> None:
    with single() as lane:
        watched = Watched(lane)
        handle = lane.enqueue("one", kind)
        watched.wait()
        assert handle.cancel() is True
        with pytest.raises(CommandCancelledError):
            handle.result(LIMIT_SECS)
        assert handle.status == "cancelled"
        wait_until(lambda: watched.seen == ["cancel"])
        assert lane.submit("one", "echo", 1) == 1


@pytest.mark.parametrize("kind", ["a", "d"])
def test_time_limit(kind: str) -> None:
    with single(timeout_secs=0.05) as lane:
        watched = Watched(lane)
        with pytest.raises(LaneTimeoutError):
            lane.submit("one", kind)
        wait_until(lambda: watched.seen == ["deadline"])
        assert lane.submit("one", "echo", 1) == 1


@pytest.mark.parametrize("kind", ["a", "d"])
def test_preemption(kind: str) -> None:
    lanes = [LaneConfig("urgent", 0, min_concurrency=0), LaneConfig("later", 5, min_concurrency=0, preemptible=True)]
    with Lane.with_lanes(lanes, max_concurrency=1) as lane:
        watched = Watched(lane)
        handle = lane.enqueue("later", kind)
        watched.wait()
        assert lane.submit("urgent", "echo", 1) == 1
        wait_until(lambda: watched.seen == ["preempt"])
        # It runs again.
        watched.wait()
        handle.cancel()
        with pytest.raises(CommandCancelledError):
            handle.result(LIMIT_SECS)


@pytest.mark.parametrize("kind", ["a", "d"])
def test_the_end_of_the_lanes(kind: str) -> None:
    lane = single()
    lane.start()
    watched = Watched(lane)
    handle = lane.enqueue("one", kind)
    watched.wait()
    report = lane.shutdown_within(0)
    assert [left.command_id for left in report.stopped] == [handle.id]
    wait_until(lambda: watched.seen == ["shutdown"])


def test_grace_is_for_the_cleanup_of_a_coroutine() -> None:
    with single(grace_secs=LIMIT_SECS) as lane:
        started, cleaned = threading.Event(), threading.Event()

        @lane.handler("t")
        async def tidy(payload: Any) -> Any:
            started.set()
            try:
                await asyncio.sleep(3600)
            finally:
                # The slot is still held.
                assert lane.stats().total_active == 1
                await asyncio.sleep(0.05)
                cleaned.set()

        handle = tidy.enqueue("one")
        assert started.wait(LIMIT_SECS)
        handle.cancel()
        with pytest.raises(CommandCancelledError):
            handle.result(LIMIT_SECS)
        assert cleaned.is_set()


def test_a_coroutine_may_complete_though_it_was_asked_to_stop() -> None:
    with single(grace_secs=LIMIT_SECS) as lane:
        started = threading.Event()

        @lane.handler("t")
        async def stubborn(payload: Any) -> str:
            started.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
            return "all the same"

        handle = stubborn.enqueue("one")
        assert started.wait(LIMIT_SECS)
        handle.cancel()
        assert handle.result(LIMIT_SECS) == "all the same"


def test_a_coroutine_that_cancels_itself_has_failed() -> None:
    attempts: list[int] = []
    with single(retry_policy=RetryPolicy.fixed(2, 0)) as lane:

        @lane.handler("t")
        async def gives_up(payload: Any, ctx: CommandContext) -> None:
            attempts.append(ctx.attempt)
            if payload == "later":
                await asyncio.sleep(0)
            raise asyncio.CancelledError

        for payload in ("at once", "later"):
            attempts.clear()
            with pytest.raises(a3s_lane.CommandError, match="CancelledError"):
                gives_up.submit("one", payload)
            assert attempts == [1, 2, 3]


def test_l1_a_thread_that_blocks_holds_neither_its_slot_nor_the_pool() -> None:
    go_on = threading.Event()
    with Lane.with_lanes([LaneConfig("one", 0, max_concurrency=1, timeout_secs=0.02)], handler_threads=1) as lane:

        @lane.handler("block")
        def block(payload: Any) -> None:
            go_on.wait(2 * LIMIT_SECS)

        lane.register_handler("quick", lambda payload: payload)
        try:
            for number in range(5):
                with pytest.raises(LaneTimeoutError):
                    block.submit("one")
                assert lane.submit("one", "quick", number, no_timeout=True) == number
        finally:
            go_on.set()


def test_a_cancelled_thread_that_goes_on_does_not_count() -> None:
    go_on = threading.Event()
    with Lane.with_lanes([LaneConfig("one", 0, max_concurrency=1)], handler_threads=1) as lane:
        started = threading.Event()

        @lane.handler("block")
        def block(payload: Any) -> None:
            started.set()
            go_on.wait(2 * LIMIT_SECS)

        lane.register_handler("quick", lambda payload: payload)
        try:
            handle = block.enqueue("one")
            assert started.wait(LIMIT_SECS)
            handle.cancel()
            with pytest.raises(CommandCancelledError):
                handle.result(LIMIT_SECS)
            assert lane.submit("one", "quick", 1) == 1
        finally:
            go_on.set()


def test_a_parent_that_waits_for_its_child_can_be_cancelled() -> None:
    with single() as lane:
        Watched(lane)
        seen: list[str] = []

        @lane.handler("parent")
        def parent(payload: Any, ctx: CommandContext) -> Any:
            started.set()
            try:
                ctx.submit_child("one", "a")
            except CommandCancelledError as error:
                seen.append(str(error))
                raise

        started = threading.Event()
        handle = parent.enqueue("one")
        assert started.wait(LIMIT_SECS)
        handle.cancel()
        with pytest.raises(CommandCancelledError):
            handle.result(LIMIT_SECS)
        wait_until(lambda: len(seen) == 1)
        lane.cancel_lane("one")


def test_l9_a_loop_that_blocks_delays_only_coroutines() -> None:
    """bullmq#3183, #1497: work that blocks its host must not stop what keeps the time."""
    go_on = threading.Event()
    lanes = [LaneConfig("one", 0, max_concurrency=2), LaneConfig("timed", 1, max_concurrency=1, timeout_secs=0.05)]
    with Lane.with_lanes(lanes) as lane:
        started = threading.Event()

        @lane.handler("block")
        async def block(payload: Any) -> None:
            started.set()
            # What nobody should do in a coroutine.
            go_on.wait(2 * LIMIT_SECS)

        async def quick(payload: Any) -> Any:
            return payload

        lane.register_handler("quick", quick)
        lane.register_handler("d", lambda payload: payload)
        blocked = block.enqueue("one")
        assert started.wait(LIMIT_SECS)
        try:
            # Time limits pass, also those of coroutines that cannot even begin; other work goes on.
            with pytest.raises(LaneTimeoutError):
                lane.submit("timed", "quick")
            assert lane.submit("one", "d", 1) == 1
            assert lane.submit("timed", "echo", 2) == 2
            assert blocked.cancel() is True
            with pytest.raises(CommandCancelledError):
                blocked.result(LIMIT_SECS)
        finally:
            go_on.set()
        assert lane.submit("one", "quick", 3) == 3


def test_l9_a_thread_that_keeps_the_gil_does_not_stop_the_clock() -> None:
    lanes = [LaneConfig("timed", 0, max_concurrency=1, timeout_secs=0.05)]
    with Lane.with_lanes(lanes) as lane:
        stream = lane.subscribe_filtered(["queue.command.completed"])
        ended: list[datetime] = []

        @lane.handler("hog")
        def hog(payload: int) -> None:
            # One call into C that takes long and never lets go of the GIL.
            pow(3, (1 << payload) - 1, (1 << 20_000) - 1)
            ended.append(datetime.now(timezone.utc))

        handle = lane.enqueue("timed", "hog", 8_000)
        waiting = lane.enqueue("timed", "echo", 2)
        with pytest.raises(LaneTimeoutError):
            handle.result(LIMIT_SECS)
        assert waiting.result(LIMIT_SECS) == 2
        wait_until(lambda: len(ended) == 1)
        completed = stream.recv()
        # The other command had its turn while no Python code could run.
        assert completed is not None and datetime.fromisoformat(completed.timestamp) < ended[0]

"""Many handlers at once: everything settles, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections import Counter
from typing import Any

import a3s_lane
from a3s_lane import CommandContext, CommandHandle, Lane, LaneConfig, RetryPolicy
from conftest import LIMIT_SECS, wait_until


async def coroutine(payload: Any, ctx: CommandContext) -> Any:
    """Waits, reports, fails or hands on, as told."""
    kind, number = payload
    for _ in range(number % 3):
        await asyncio.sleep(0.001)
        ctx.progress(number)
    if kind == "long":
        await asyncio.sleep(3600)
    if kind == "fail" and ctx.attempt < 2:
        raise ValueError(number)
    if kind == "child":
        return await ctx.submit_child("threads", "d", ["", number])
    return number


def plain(payload: Any, ctx: CommandContext) -> Any:
    kind, number = payload
    if kind == "long":
        wait_until(lambda: ctx.cancelled)
        ctx.check()
    if kind == "fail" and ctx.attempt < 2:
        raise ValueError(number)
    if kind == "child":
        return ctx.submit_child("loop", "a", ["", number])
    time.sleep(number % 3 * 0.001)
    return number


def outcome(handle: CommandHandle) -> str:
    try:
        handle.result(2 * LIMIT_SECS)
    except a3s_lane.LaneError as error:
        return error.code
    return "completed"


def test_many_handlers_with_random_ends() -> None:
    choice = random.Random(7)
    before = threading.active_count()
    lanes = [
        LaneConfig("loop", 0, max_concurrency=2000, retry_policy=RetryPolicy.fixed(1, 0.001)),
        LaneConfig("threads", 1, max_concurrency=200, retry_policy=RetryPolicy.fixed(1, 0.001)),
    ]
    with Lane.with_lanes(lanes, handler_threads=200) as lane:
        lane.register_handler("a", coroutine)
        lane.register_handler("d", plain)
        handles: list[CommandHandle] = []

        def submit(seed: int) -> None:
            choose = random.Random(seed)
            mine = []
            for number in range(500):
                lane_id, kind = ("threads", "d") if number % 10 == 0 else ("loop", "a")
                what = choose.choice(["", "", "fail", "child", "long"])
                limit = {"timeout_secs": choose.uniform(0.005, 0.2)} if what == "long" and choose.random() < 0.5 else {}
                mine.append(lane.enqueue(lane_id, kind, [what, number], **limit))  # type: ignore[arg-type]
            handles.extend(mine)

        submitters = [threading.Thread(target=submit, args=(seed,)) for seed in range(8)]
        for thread in submitters:
            thread.start()
        for thread in submitters:
            thread.join(2 * LIMIT_SECS)
        assert len(handles) == 4000
        for handle in choice.sample(handles, 500):
            handle.cancel()
        # Those that wait for ever and have no time limit.
        time.sleep(0)
        for handle in handles:
            if handle.status in ("running", "pending", "delayed"):
                try:
                    handle.result(0.002)
                except TimeoutError:
                    handle.cancel()
                except a3s_lane.LaneError:
                    pass
        outcomes = Counter(outcome(handle) for handle in handles)
        assert outcomes.keys() <= {"completed", "CANCELLED", "TIMEOUT"}
        assert outcomes["completed"] > 1000 and outcomes["CANCELLED"] > 100 and outcomes["TIMEOUT"] > 10
        lane.drain(LIMIT_SECS)
        assert (lane.stats().total_pending, lane.stats().total_active) == (0, 0)
    # Neither a thread nor a task is left.
    wait_until(lambda: threading.active_count() <= before)
    gc.collect()
    assert not [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]

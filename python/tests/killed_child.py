"""The queue of test_storage_killed.py, and the process that works with it until it is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from a3s_lane import CommandContext, Lane, LaneConfig, LaneError, Retention, RetryPolicy

THREADS = 2
TASKS = 2

# How the command with this number goes.
KINDS = ("completes", "retries", "fails", "lasts", "delayed")


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


Tell = Callable[[str, str], None]


def queue(directory: Path, tell: Tell) -> Lane:
    """A queue whose commands are in the directory. ``tell`` is called when an attempt begins."""
    policy = RetryPolicy.fixed(1, 0.001)
    lane = Lane.with_lanes(
        [LaneConfig("even", 1, 0, 4, retry_policy=policy), LaneConfig("odd", 0, 0, 4, retry_policy=policy)],
        storage=directory,
        # A killed process needs no fsync.
        durability="relaxed",
        results=Retention(),
        # Some are running at every kill.
        max_crashes=2**32 - 1,
    )

    def fail(kind: str, attempt: int) -> None:
        if kind == "fails" or (kind == "retries" and attempt == 1):
            raise ValueError(kind)

    @lane.handler("thread")
    def thread(number: int, ctx: CommandContext) -> int:
        tell("run", ctx.id)
        fail(kind_of(number), ctx.attempt)
        if kind_of(number) == "lasts":
            time.sleep(0.002)
        return number

    @lane.handler("coroutine")
    async def coroutine(number: int, ctx: CommandContext) -> int:
        tell("run", ctx.id)
        fail(kind_of(number), ctx.attempt)
        if kind_of(number) == "lasts":
            await asyncio.sleep(0.002)
        return number

    return lane


def lane_of(number: int) -> str:
    return "odd" if number % 2 else "even"


def type_of(number: int) -> str:
    # Other than the lane and the kind.
    return "thread" if number % 3 else "coroutine"


def say(step: str, id: str) -> None:
    """Says what happened, in one write: a pipe takes so few bytes whole."""
    os.write(1, f"\n={step} {id}\n".encode())


def delay_of(number: int) -> float | None:
    return 0.003 if kind_of(number) == "delayed" else None


def submit_in_thread(lane: Lane, name: str) -> None:
    for number in itertools.count():
        id = f"{os.getpid()}-{name}-{number}"
        handle = lane.enqueue(lane_of(number), type_of(number), number, id=id, delay_secs=delay_of(number))
        say("acknowledged", id)
        # Two in three are awaited; the rest heap up.
        if number % 3:
            try:
                handle.result()
            except LaneError:
                pass
            say("settled", id)


async def submit_in_task(lane: Lane, name: str) -> None:
    for number in itertools.count():
        id = f"{os.getpid()}-{name}-{number}"
        handle = await lane.enqueue_async(
            lane_of(number), type_of(number), number, id=id, delay_secs=delay_of(number)
        )
        say("acknowledged", id)
        if number % 3:
            try:
                await handle
            except LaneError:
                pass
            say("settled", id)


async def work(directory: Path) -> None:
    async with queue(directory, say) as lane:
        for number in range(THREADS):
            threading.Thread(target=submit_in_thread, args=(lane, f"thread{number}"), daemon=True).start()
        await asyncio.gather(*(submit_in_task(lane, f"task{number}") for number in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))

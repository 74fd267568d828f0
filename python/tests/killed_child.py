"""The processes of kills.py: one works with a queue until it is killed, another restarts it and compares.

    python killed_child.py work DIRECTORY DURABILITY [faulty]
    python killed_child.py restart DIRECTORY DURABILITY < what was said

They import little: many of them begin.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Literal

from a3s_lane import CommandContext, HistoryEntry, Lane, LaneConfig, LaneError, Retention, RetryPolicy, StorageError

THREADS = 2
TASKS = 2

# How the command with this number goes.
KINDS = ("completes", "retries", "fails", "lasts", "delayed")


# In the history.
ENDS = ("completed", "failed")


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


Tell = Callable[[str, str], None]
Durability = Literal["full", "relaxed"]


def queue(directory: str, durability: Durability, tell: Tell) -> Lane:
    """A queue whose commands are in the directory. ``tell`` is called when an attempt begins."""
    policy = RetryPolicy.fixed(1, 0.001)
    lane = Lane.with_lanes(
        [LaneConfig("even", 1, 0, 4, retry_policy=policy), LaneConfig("odd", 0, 0, 4, retry_policy=policy)],
        storage=directory,
        durability=durability,
        results=Retention(),
        history=Retention(),
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


def has_ended(history: list[HistoryEntry]) -> bool:
    return any(entry.event in ENDS for entry in history)


class Submitters:
    """They submit and await for ever. Where the disk may be faulty, a submission may be refused."""

    def __init__(self, lane: Lane, is_faulty: bool) -> None:
        self.lane, self.is_faulty = lane, is_faulty

    def refused(self, id: str, error: StorageError) -> None:
        if not self.is_faulty:
            raise error
        say("refused", id)

    def is_settled(self, id: str) -> bool:
        """A result is there although the storage could not be told; what it knows is what counts. It may not be readable."""
        try:
            return not self.is_faulty or has_ended(self.lane.load_history(command_id=id))
        except StorageError:
            return False

    async def is_settled_async(self, id: str) -> bool:
        try:
            return not self.is_faulty or has_ended(await self.lane.load_history_async(command_id=id))
        except StorageError:
            return False

    def in_thread(self, name: str) -> None:
        for number in itertools.count():
            id = f"{os.getpid()}-{name}-{number}"
            try:
                handle = self.lane.enqueue(lane_of(number), type_of(number), number, id=id, delay_secs=delay_of(number))
            except StorageError as error:
                self.refused(id, error)
                continue
            say("acknowledged", id)
            # Two in three are awaited; the rest heap up.
            if number % 3:
                try:
                    handle.result()
                except LaneError:
                    pass
                if self.is_settled(id):
                    say("settled", id)

    async def in_task(self, name: str) -> None:
        for number in itertools.count():
            id = f"{os.getpid()}-{name}-{number}"
            try:
                handle = await self.lane.enqueue_async(
                    lane_of(number), type_of(number), number, id=id, delay_secs=delay_of(number)
                )
            except StorageError as error:
                self.refused(id, error)
                continue
            say("acknowledged", id)
            if number % 3:
                try:
                    await handle
                except LaneError:
                    pass
                if await self.is_settled_async(id):
                    say("settled", id)

    async def all(self) -> None:
        for number in range(THREADS):
            threading.Thread(target=self.in_thread, args=(f"thread{number}",), daemon=True).start()
        await asyncio.gather(*(self.in_task(f"task{number}") for number in range(TASKS)))


def end_of_a_thread(args: threading.ExceptHookArgs) -> None:
    """The process ends with it, which is noticed."""
    traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)
    os._exit(3)


async def work(directory: str, durability: Durability, is_faulty: bool) -> None:
    threading.excepthook = end_of_a_thread
    while True:
        try:
            async with queue(directory, durability, say) as lane:
                try:
                    await Submitters(lane, is_faulty).all()
                except BaseException:
                    traceback.print_exc()
                    os._exit(3)
        except StorageError:
            if not is_faulty:
                raise
            say("refused", "all")
            await asyncio.sleep(0.002)


def outcome(lane: Lane, id: str) -> object:
    """The result of a command, or the code and the text of its error."""
    handle = lane.find(id)
    assert handle is not None, f"{id} is lost"
    try:
        return handle.result()
    except LaneError as error:
        return error.code, str(error)


def restart(directory: str, durability: Durability, acknowledged: set[str], said_settled: set[str]) -> None:
    """Restarts the queue, lets it run empty, and compares with what was said."""
    runs: list[str] = []
    lane = queue(directory, durability, lambda _, id: runs.append(id))
    # Not started: what is found now has settled before.
    settled = {id for id in acknowledged if lane.find(id) is not None}
    assert said_settled <= settled, f"settled and forgotten: {said_settled - settled}"
    with lane:
        lane.drain(60)
        assert lane.unclaimed() == []
        letters = Counter(letter.command_id for letter in lane.dead_letters.list())
        for id in acknowledged:
            number = int(id.rsplit("-", 1)[1])
            fails = kind_of(number) == "fails"
            found, expected = outcome(lane, id), ("COMMAND_ERROR", "ValueError: fails") if fails else number
            assert found == expected, f"{id} came to {found!r}"
            assert letters[id] == (1 if fails else 0), f"letters of {id}: {letters[id]}"
        again = settled.intersection(runs)
        assert not again, f"they run after they have settled: {again}"
        ends = Counter(entry.command_id for entry in lane.load_history() if entry.event in ENDS)
        more = [id for id, count in ends.items() if count != 1]
        assert not more, f"settled more than once: {more}"
        without = acknowledged - ends.keys()
        assert not without, f"never settled: {without}"
        lane.dead_letters.discard()


if __name__ == "__main__":
    task, where = sys.argv[1:3]
    how: Durability = "full" if sys.argv[3] == "full" else "relaxed"
    if task == "work":
        asyncio.run(work(where, how, "faulty" in sys.argv))
    else:
        heard = json.load(sys.stdin)
        restart(where, how, set(heard["acknowledged"]), set(heard["settled"]))

"""The process of test_storage_faults.py: its storage fails for a while. It says what was acknowledged and what was refused."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a3s_lane import CommandContext, CommandHandle, Lane, LaneConfig, LaneError, Retention, StorageError, inspect
from conftest import LIMIT_SECS, wait_until
from faults import fill

LARGE = "x" * 3000


def say(step: str, id: str) -> None:
    """Says what happened, in one write: a pipe takes so few bytes whole."""
    os.write(1, f"\n={step} {id}\n".encode())


def queue(directory: Path, tell: Callable[[str, str], None]) -> Lane:
    lane = Lane.with_lanes([LaneConfig("one", 0, 0, 1)], storage=directory, results=Retention())

    @lane.handler("work")
    def work(payload: Any, ctx: CommandContext) -> str:
        tell("run", ctx.id)
        return ctx.id

    return lane


class Full:
    """A disk without space."""

    def __init__(self, directory: Path) -> None:
        self.filler = directory.parent / "filler"

    def begin(self) -> None:
        fill(self.filler)

    def end(self) -> None:
        self.filler.unlink()


class Failing:
    """Calls of the operating system fail while there is a file."""

    def begin(self) -> None:
        Path(os.environ["FAIL_WHILE"]).touch()

    def end(self) -> None:
        Path(os.environ["FAIL_WHILE"]).unlink()


def refused(call: Callable[[], object]) -> None:
    """Calls until it is refused, which it must be by a clear error."""
    for _ in range(300):
        try:
            call()
        except StorageError as error:
            say("refused", f"{error.code} {error}")
            return
    raise AssertionError("nothing was refused")


class Submitter:
    """Submits large commands with ids of its own, and says which were acknowledged."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self.number = lane, 0

    def id(self) -> str:
        self.number += 1
        return f"large-{self.number}"

    def enqueue(self) -> None:
        id = self.id()
        self.lane.enqueue("one", "work", LARGE, id=id)
        say("acknowledged", id)

    def enqueue_async(self) -> None:
        async def submit() -> None:
            id = self.id()
            await self.lane.enqueue_async("one", "work", LARGE, id=id)
            say("acknowledged", id)

        asyncio.run(submit())

    def submit_many(self) -> None:
        ids = [self.id(), self.id()]
        answers = self.lane.submit_many("one", [("work", LARGE, {"id": id}) for id in ids])
        errors = [answer for answer in answers if isinstance(answer, LaneError)]
        assert len(errors) in (0, 2), "all or none"
        if errors:
            raise errors[0]
        for id in ids:
            say("acknowledged", id)


def work(directory: Path, fault: Full | Failing) -> None:
    lane = queue(directory, say)
    lane.start()
    lane.submit("one", "work", id="before")
    say("settled", "before")
    lane.pause_lane("one")
    waiting: CommandHandle = lane.enqueue("one", "work", id="waiting")
    say("acknowledged", "waiting")

    fault.begin()
    submitter = Submitter(lane)
    for call in (submitter.enqueue, submitter.enqueue_async, submitter.submit_many):
        refused(call)
    try:
        Lane(storage=directory.parent / "other").close()
    except StorageError as error:
        say("refused", f"{error.code} {error}")
    lane.resume_lane("one")
    # Its result comes, whatever the storage says.
    assert waiting.result(LIMIT_SECS) == "waiting"
    lane.pause_lane("one")
    fault.end()

    other = Lane(storage=directory.parent / "other")
    other.enqueue("query", "work", id="elsewhere")
    other.close()
    lane.enqueue("one", "work", LARGE, id="after")
    say("acknowledged", "after")
    lane.resume_lane("one")
    lane.drain(LIMIT_SECS)
    say("settled", "after")
    # What has settled in the meantime the storage knows by now.
    wait_until(lambda: inspect(directory).pending == 0)
    say("settled", "waiting")
    lane.pause_lane("one")
    lane.enqueue("one", "work", id="last")
    say("acknowledged", "last")
    os._exit(7)


def restart(directory: Path) -> None:
    """Says what runs, and what has become of the commands that it is asked for."""
    ran: list[str] = []
    lane = queue(directory, lambda _, id: ran.append(id))
    with lane:
        lane.drain(2 * LIMIT_SECS)
        results = {}
        for id in json.load(sys.stdin):
            handle = lane.find(id)
            results[id] = None if handle is None else handle.result()
    print(json.dumps({"ran": ran, "results": results}))


def acknowledge(directory: Path) -> None:
    """Says how long the log is after each command, until it is killed."""
    lane = queue(directory, say)
    for number in range(10):
        lane.enqueue("one", "work", number, id=str(number))
        say("acknowledged", f"{number} {(directory / 'lanes.db-wal').stat().st_size}")
    sys.stdin.read()


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    if task == "full":
        work(place, Full(place))
    elif task == "failing":
        work(place, Failing())
    elif task == "restart":
        restart(place)
    else:
        acknowledge(place)

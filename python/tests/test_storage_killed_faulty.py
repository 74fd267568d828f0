"""Processes that are killed at any instant around a fault of their disk: what was acknowledged settles, once.

As in test_storage_killed.py, but from a random instant on the disk is full, or calls of the operating system fail. A submission is
refused or it is kept; the process neither ends by itself nor hangs, and goes on when the disk is well again. The queue is restarted
on a disk that is well.
"""

from __future__ import annotations

import errno
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

import pytest

import faults
from kills import Said, Step, Worker, any_durability, kills, play, restart

KILLS = kills(25)

# What a fault, or a process, is given at most between two events.
SPAN_SECS = 0.03

# How many submit, in one process.
SUBMITTERS = 4

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here"),
    pytest.mark.timeout(60 + 3 * KILLS),
]


class Fault(Protocol):
    """What makes a disk bad for a while."""

    def environment(self) -> dict[str, str]:
        """What the process needs for it to come."""

    def begin(self) -> None: ...
    def end(self) -> None: ...


class Full:
    """No space but for a little, or none."""

    def __init__(self, disk: Path, chance: random.Random) -> None:
        self.filler, self.left = disk / "filler", chance.choice((0, chance.randrange(400_000)))

    def environment(self) -> dict[str, str]:
        return {}

    def begin(self) -> None:
        faults.fill(self.filler, self.left)

    def end(self) -> None:
        self.filler.unlink(missing_ok=True)


class Failing:
    """All calls fail, in some processes also a few at another time."""

    def __init__(self, switch: Path, chance: random.Random) -> None:
        self.switch = switch
        few = {"FAIL_AT": str(1 + chance.randrange(200)), "FAIL_COUNT": str(chance.choice((1, 3)))}
        self.variables = {
            **chance.choice(({}, few)),
            "LD_PRELOAD": str(faults.library()),
            "FAIL_WHILE": str(switch),
            "FAIL_ERRNO": str(chance.choice((errno.EIO, errno.ENOSPC))),
        }

    def environment(self) -> dict[str, str]:
        return self.variables

    def begin(self) -> None:
        self.switch.touch()

    def end(self) -> None:
        self.switch.unlink(missing_ok=True)


def has_refused(steps: list[Step]) -> bool:
    return any(step == "refused" for step, _ in steps)


def all_go_on(steps: list[Step]) -> bool:
    """Each who submits was acknowledged, and has seen a command settle."""
    names = {(step, id.rsplit("-", 1)[0]) for step, id in steps if step in ("acknowledged", "settled")}
    return len(names) == 2 * SUBMITTERS


def kill_one(directory: Path, durability: str, fault: Fault, chance: random.Random, said: Said) -> str:
    """One process and its end; returns whether that was before the fault, during it, or after."""
    plan = chance.choice(("any", "during", "after"))
    # From its beginning: it opens the storage with the fault.
    early = chance.randrange(5) == 0
    begins, lasts, lives = (chance.random() * SPAN_SECS for _ in range(3))
    if early:
        fault.begin()
    before = plan == "any" and not early and lives < begins
    with Worker(directory, durability, "faulty", environment=fault.environment()) as worker:
        if not early:
            worker.wait_until(len)
        if not early and not before:
            time.sleep(begins)
            fault.begin()
        if plan == "during":
            worker.wait_until(has_refused)
        if plan == "after":
            time.sleep(lasts)
            fault.end()
            already = len(worker.steps)
            worker.wait_until(lambda steps: all_go_on(steps[already:]))
        # Also before it has come to work.
        time.sleep(lives * 8 if early and plan == "any" else lives)
        said.hear(worker.kill())
    fault.end()
    if before:
        return "before"
    return "after" if plan == "after" else "during"


class Side:
    """A directory, or more of them in turn, and what was said of it."""

    def __init__(self, place: Path) -> None:
        self.place, self.said, self.part = place, Said(), 0

    def kill_one(self, fault: Fault, chance: random.Random, is_last: bool) -> Counter[str]:
        directory, durability = self.place / str(self.part), any_durability(chance)
        totals = Counter({"kills": 1, kill_one(directory, durability, fault, chance, self.said): 1})
        # Now and then two are killed before the queue is looked at.
        if is_last or chance.randrange(3) > 0:
            restart(directory, durability, self.said)
            totals.update(self.said.totals())
            self.said, self.part = Said(), self.part + 1
            # The next one needs the space.
            shutil.rmtree(directory)
        return totals


def test_i8_durable_ack_on_a_full_disk(tmp_path: Path) -> None:
    def kill_many(place: Path, number: int, chance: random.Random) -> Counter[str]:
        totals = Counter[str]()
        with faults.small_disk(place, "8m") as disk:
            side = Side(disk)
            for kill in range(number):
                totals.update(side.kill_one(Full(disk, chance), chance, kill + 1 == number))
        return totals

    totals = play(KILLS, tmp_path, kill_many)
    assert totals["refusals"] > 0, "the disk was never full"


def test_i8_durable_ack_with_io_errors(tmp_path: Path) -> None:
    def kill_many(place: Path, number: int, chance: random.Random) -> Counter[str]:
        totals, side = Counter[str](), Side(place)
        place.mkdir()
        for kill in range(number):
            totals.update(side.kill_one(Failing(place / "fails", chance), chance, kill + 1 == number))
        return totals

    faults.library()
    totals = play(KILLS, tmp_path, kill_many)
    assert totals["refusals"] > 0, "no call has failed"

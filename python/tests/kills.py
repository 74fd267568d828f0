"""What the tests with killed processes share: such a process, what it has said, and what must hold after it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import killed_child
from conftest import LIMIT_SECS

SEED = int(os.environ.get("A3S_LANE_KILLS_SEED", time.time_ns() % 2**32))

# Directories that are used side by side.
SIDES = 2

Step = tuple[str, str]


def kills(usual: int) -> int:
    """How many processes a test kills per interpreter: the tests run on two of them."""
    return int(os.environ.get("A3S_LANE_KILLS", usual))


def any_durability(chance: random.Random) -> str:
    # A killed process needs no fsync; some have it all the same, as it makes groups and takes time.
    return chance.choice(("full", "relaxed", "relaxed", "relaxed"))


class Said:
    """What was said so far about the commands that this test has not seen settle."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.settled: set[str] = set()
        self.runs = 0
        self.refusals = 0

    def hear(self, steps: list[Step]) -> None:
        """All that one process has said."""
        # Its own: what it has refused may run after it, as its answer may have been lost on the way.
        refused, ran = set[str](), set[str]()
        for step, id in steps:
            if step == "run":
                assert id not in self.settled, f"{id} runs after it has settled"
                ran.add(id)
                self.runs += 1
            elif step == "refused":
                refused.add(id)
                self.refusals += 1
            else:
                heard = {"acknowledged": self.acknowledged, "settled": self.settled}[step]
                assert id not in heard, f"{id} {step} twice"
                heard.add(id)
        assert not refused & self.acknowledged, "acknowledged and refused"
        assert not refused & ran, "refused, and it runs"

    def totals(self) -> dict[str, int]:
        heard = {"acknowledged": len(self.acknowledged), "settled": len(self.settled)}
        return {**heard, "runs": self.runs, "refusals": self.refusals}


class Worker:
    """A process that works with a queue on a directory until it is killed, and what it has said."""

    def __init__(self, directory: Path, durability: str, *more: str, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, killed_child.__file__, "work", str(directory), durability, *more]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})})
        self.steps: list[Step] = []
        self.ended = False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        assert self.child.stdout is not None
        with self.child.stdout as output:
            rest = b""
            while part := os.read(output.fileno(), 65536):
                # A line without an end was not said.
                *lines, rest = (rest + part).split(b"\n")
                said = [line[1:].decode().split(" ") for line in lines if line.startswith(b"=")]
                with self.changed:
                    self.steps += [(step, id) for step, id in said]
                    self.changed.notify()
        with self.changed:
            self.ended = True
            self.changed.notify()

    def wait_until(self, holds: Callable[[list[Step]], object]) -> None:
        """Waits until that holds for what it has said. That it ends or hangs is a failure."""
        with self.changed:
            holds_now = self.changed.wait_for(lambda: self.ended or holds(self.steps), 2 * LIMIT_SECS)
            assert not self.ended, f"it has ended by itself: {self.child.wait()}"
            assert holds_now, f"it hangs; it has said {self.steps[-20:]}"

    def kill(self) -> list[Step]:
        self.child.kill()
        assert self.child.wait() == -signal.SIGKILL, "it has ended by itself"
        self.reader.join()
        return self.steps

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.child.kill()
        self.child.wait()
        self.reader.join()


def restart(directory: Path, durability: str, said: Said) -> None:
    """In a process of its own, which leaves the directory to the next one when it ends."""
    heard = json.dumps({"acknowledged": sorted(said.acknowledged), "settled": sorted(said.settled)})
    command = [sys.executable, killed_child.__file__, "restart", str(directory), durability]
    done = subprocess.run(command, input=heard, capture_output=True, text=True, timeout=4 * LIMIT_SECS)
    assert done.returncode == 0, done.stdout + done.stderr


def play(number: int, place: Path, kill_many: Callable[[Path, int, random.Random], Counter[str]]) -> Counter[str]:
    """Has so many processes killed, in directories side by side, and returns what was counted."""
    print(f"A3S_LANE_KILLS={number} A3S_LANE_KILLS_SEED={SEED}")
    totals = Counter[str]()
    with ThreadPoolExecutor(SIDES) as sides:
        shares = [number // SIDES + (side < number % SIDES) for side in range(SIDES)]
        chances = [random.Random(SEED + side) for side in range(SIDES)]
        for found in sides.map(kill_many, [place / f"side{side}" for side in range(SIDES)], shares, chances):
            totals.update(found)
    print(dict(totals))
    assert totals["kills"] == number
    assert totals["settled"] > 0, "no process came to work before it was killed"
    return totals

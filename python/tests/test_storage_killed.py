"""Processes that are killed at any instant: what was acknowledged settles, once.

The other process submits and runs commands and says what happens on its standard output, a line per step: that an attempt begins,
that a submission was acknowledged, that a result was. This one kills it, again and again on one directory, and now and then
has the queue restarted, drained and compared. It does so on two directories side by side.
"""

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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import killed_child
from conftest import LIMIT_SECS

# Per interpreter: the tests run on two of them.
KILLS = int(os.environ.get("A3S_LANE_KILLS", "250"))
SEED = int(os.environ.get("A3S_LANE_KILLS_SEED", time.time_ns() % 2**32))

# Directories that are used side by side.
SIDES = 2

# Processes that were killed in a row, at most, before the queue is looked at.
ROW = 3


class Said:
    """What was said so far about the commands that this test has not seen settle."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.settled: set[str] = set()
        self.runs = 0

    def hear(self, step: str, id: str) -> None:
        if step == "run":
            assert id not in self.settled, f"{id} runs after it has settled"
            self.runs += 1
        else:
            heard = {"acknowledged": self.acknowledged, "settled": self.settled}[step]
            assert id not in heard, f"{id} {step} twice"
            heard.add(id)


def steps(output: bytes) -> Iterator[tuple[str, str]]:
    # A line without an end was not said.
    for line in output.decode().split("\n")[:-1]:
        if line.startswith("="):
            step, id = line[1:].split(" ")
            yield step, id


def kill_one(directory: Path, durability: str, life: float, early: bool, said: Said) -> None:
    """One process, and its end: it is killed so long after it has said something, or after its beginning."""
    command = [sys.executable, killed_child.__file__, "work", str(directory), durability]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        output, begun = bytearray(), threading.Event()

        def read() -> None:
            assert child.stdout is not None
            while part := os.read(child.stdout.fileno(), 65536):
                output.extend(part)
                begun.set()
            begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        if not early:
            assert begun.wait(2 * LIMIT_SECS)
        time.sleep(life)
        child.kill()
        assert child.wait() == -signal.SIGKILL, "it has ended by itself"
        reader.join()
    for step, id in steps(bytes(output)):
        said.hear(step, id)


def restart(directory: Path, durability: str, said: Said) -> None:
    """In a process of its own, which leaves the directory to the next one when it ends."""
    heard = json.dumps({"acknowledged": sorted(said.acknowledged), "settled": sorted(said.settled)})
    command = [sys.executable, killed_child.__file__, "restart", str(directory), durability]
    done = subprocess.run(command, input=heard, capture_output=True, text=True, timeout=4 * LIMIT_SECS)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_many(directory: Path, kills: int, chance: random.Random) -> Counter[str]:
    said, totals, part = Said(), Counter[str](), 0
    for number in range(kills):
        # Early: while it imports, opens the storage or restores what the one before has left.
        early = number % 5 == 0
        # A killed process needs no fsync; some have it all the same, as it makes groups and takes time.
        durability = chance.choice(("full", "relaxed", "relaxed", "relaxed"))
        kill_one(directory / str(part), durability, chance.random() * (0.25 if early else 0.03), early, said)
        totals["kills"] += 1
        if chance.randrange(ROW) == 0 or number + 1 == kills:
            restart(directory / str(part), durability, said)
            totals.update(acknowledged=len(said.acknowledged), settled=len(said.settled), runs=said.runs)
            # A directory of its own, as there results and letters of all would heap up.
            said, part = Said(), part + chance.randrange(2)
    return totals


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.timeout(60 + 3 * KILLS)
def test_i8_durable_ack(tmp_path: Path) -> None:
    print(f"A3S_LANE_KILLS={KILLS} A3S_LANE_KILLS_SEED={SEED}")
    totals = Counter[str]()
    with ThreadPoolExecutor(SIDES) as sides:
        shares = [KILLS // SIDES + (side < KILLS % SIDES) for side in range(SIDES)]
        chances = [random.Random(SEED + side) for side in range(SIDES)]
        for found in sides.map(kill_many, [tmp_path / f"side{side}" for side in range(SIDES)], shares, chances):
            totals.update(found)
    print(dict(totals))
    assert totals["kills"] == KILLS
    assert totals["settled"] > 0, "no process came to work before it was killed"

"""Processes that are killed at any instant: what was acknowledged settles, once.

The other process submits and runs commands and says what happens on its standard output, a line per step: that an attempt begins,
that a submission was acknowledged, that a result was. This one kills it, again and again on one directory, and now and then
has the queue restarted, drained and compared.
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
from pathlib import Path

import pytest

import killed_child
from a3s_lane import LaneError
from conftest import LIMIT_SECS

KILLS = int(os.environ.get("A3S_LANE_KILLS", "100"))
SEED = int(os.environ.get("A3S_LANE_KILLS_SEED", time.time_ns() % 2**32))

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


def kill_one(directory: Path, life: float, early: bool, said: Said) -> None:
    """One process, and its end: it is killed so long after it has said something, or after its beginning."""
    command = [sys.executable, killed_child.__file__, str(directory)]
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


def restart(directory: Path, said: Said) -> None:
    """Restarts the queue, lets it run empty, and compares with what was said."""
    runs: list[str] = []
    lane = killed_child.queue(directory, lambda _, id: runs.append(id))
    # Not started: what is found now has settled before.
    settled = {id for id in said.acknowledged if lane.find(id) is not None}
    assert said.settled <= settled, f"settled and forgotten: {said.settled - settled}"
    with lane:
        lane.drain(2 * LIMIT_SECS)
        assert lane.unclaimed() == []
        letters = Counter(letter.command_id for letter in lane.dead_letters.list())
        for id in said.acknowledged:
            number = int(id.rsplit("-", 1)[1])
            handle = lane.find(id)
            assert handle is not None, f"{id} is lost"
            if killed_child.kind_of(number) == "fails":
                with pytest.raises(LaneError, match="^ValueError: fails$") as caught:
                    handle.result()
                assert caught.value.code == "COMMAND_ERROR"
                assert letters[id] == 1
            else:
                assert handle.result() == number
                assert letters[id] == 0
        again = settled.intersection(runs)
        assert not again, f"they run after they have settled: {again}"
        lane.dead_letters.discard()


def restart_elsewhere(directory: Path, said: Said) -> None:
    """In a process of its own, which leaves the directory to the next one when it ends."""
    heard = json.dumps({"acknowledged": sorted(said.acknowledged), "settled": sorted(said.settled)})
    command = [sys.executable, __file__, str(directory)]
    done = subprocess.run(command, input=heard, capture_output=True, text=True, timeout=4 * LIMIT_SECS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.timeout(60 + 3 * KILLS)
def test_i8_durable_ack(tmp_path: Path) -> None:
    print(f"A3S_LANE_KILLS={KILLS} A3S_LANE_KILLS_SEED={SEED}")
    chance = random.Random(SEED)
    said, totals, part = Said(), Counter[str](), 0
    for number in range(KILLS):
        # Early: while it imports, opens the storage or restores what the one before has left.
        early = number % 5 == 0
        kill_one(tmp_path / str(part), chance.random() * (0.25 if early else 0.03), early, said)
        if chance.randrange(ROW) == 0 or number + 1 == KILLS:
            restart_elsewhere(tmp_path / str(part), said)
            totals.update(
                acknowledged=len(said.acknowledged), settled=len(said.settled), runs=said.runs
            )
            # A directory of its own, as there results and letters of all would heap up.
            said, part = Said(), part + chance.randrange(2)
    print(f"{KILLS} kills: {dict(totals)}")
    assert totals["settled"] > 0, "no process came to work before it was killed"


if __name__ == "__main__":
    heard = json.load(sys.stdin)
    before = Said()
    before.acknowledged, before.settled = set(heard["acknowledged"]), set(heard["settled"])
    restart(Path(sys.argv[1]), before)

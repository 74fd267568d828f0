"""Processes that are killed at any instant: what was acknowledged settles, once.

The other process submits and runs commands and says what happens on its standard output, a line per step: that an attempt begins,
that a submission was acknowledged, that a result was. This one kills it, again and again on one directory, and now and then
has the queue restarted, drained and compared. It does so on two directories side by side.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from kills import Said, Worker, any_durability, kills, play, restart

KILLS = kills(250)

# Processes that were killed in a row, at most, before the queue is looked at.
ROW = 3


def kill_many(directory: Path, number: int, chance: random.Random) -> Counter[str]:
    said, totals, part = Said(), Counter[str](), 0
    for kill in range(number):
        # Early: while it imports, opens the storage or restores what the one before has left.
        early = kill % 5 == 0
        durability = any_durability(chance)
        with Worker(directory / str(part), durability) as worker:
            if not early:
                worker.wait_until(len)
            time.sleep(chance.random() * (0.25 if early else 0.03))
            said.hear(worker.kill())
        totals["kills"] += 1
        if chance.randrange(ROW) == 0 or kill + 1 == number:
            restart(directory / str(part), durability, said)
            totals.update(said.totals())
            # A directory of its own, as there results and letters of all would heap up.
            said, part = Said(), part + chance.randrange(2)
    return totals


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.timeout(60 + 3 * KILLS)
def test_i8_durable_ack(tmp_path: Path) -> None:
    play(KILLS, tmp_path, kill_many)

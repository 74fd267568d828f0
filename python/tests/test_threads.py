"""Threads: the GIL is released while waiting, and all lanes share their worker threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from a3s_lane import Lane, LaneError
from a3s_lane.testing import submit_scripted
from conftest import LIMIT_SECS, run_python, single, wait_until


def test_other_threads_run_while_submit_waits() -> None:
    # The waiting command is seen from another thread, which needs the GIL to look.
    script = """
import os, threading, time
from a3s_lane import Lane, LaneConfig
from a3s_lane.testing import submit_scripted
lane = Lane.with_lanes([LaneConfig("one", 0, 1, 1)])
lane.start()
submit_scripted(lane, "one", "slow", [[{"sleep_ms": 600_000}]])
waiter = threading.Thread(target=lane.submit, args=("one", "t"))
waiter.start()
while lane.stats().total_pending != 1:
    time.sleep(0.001)
print("still waiting", waiter.is_alive(), flush=True)
os._exit(0)
"""
    assert run_python(script) == "still waiting True\n"


def test_other_threads_run_while_recv_waits() -> None:
    lane = Lane()
    stream = lane.subscribe()
    waiting = threading.Event()
    keys: list[str] = []

    def read() -> None:
        waiting.set()
        event = stream.recv()
        keys.append(event.key if event else "nothing")

    reader = threading.Thread(target=read)
    reader.start()
    assert waiting.wait(LIMIT_SECS)
    lane.start()
    lane.submit("query", "t")
    reader.join(LIMIT_SECS)
    assert keys == ["queue.command.submitted"]


def test_other_threads_run_while_drain_waits() -> None:
    lane = single()
    submit_scripted(lane, "one", "t", [[]])
    drained = threading.Thread(target=lane.drain, args=(LIMIT_SECS,))
    drained.start()
    # Nothing can drain before this thread gets to run.
    lane.start()
    drained.join(LIMIT_SECS)
    assert not drained.is_alive()
    assert lane.stats().total_pending == 0


def test_many_threads_submit_to_one_lane(lane: Lane) -> None:
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda number: lane.submit("query", "t", number), range(400)))
    assert results == list(range(400))


def test_many_threads_and_a_shutdown_lose_nothing() -> None:
    lane = Lane()
    lane.start()
    results: list[int] = []
    refused = threading.Event()

    def work(number: int) -> None:
        try:
            while True:
                results.append(lane.submit("query", "t", number))
        except LaneError as error:
            assert error.code == "SHUTDOWN_IN_PROGRESS"
            refused.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(results) > 50)
    lane.shutdown()
    lane.drain(LIMIT_SECS)
    for thread in threads:
        thread.join(LIMIT_SECS)
    assert refused.is_set()
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads by /proc")
def test_l37_lanes_share_their_threads() -> None:
    script = """
import os
from a3s_lane import Lane

def threads():
    return len(os.listdir("/proc/self/task"))

def names():
    return {open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")}

before = threads()
lanes = [Lane()]
with_one = threads()
assert with_one > before
for _ in range(50):
    lane = Lane()
    lane.start()
    lane.submit("query", "t", 1)
    stream = lane.subscribe()
    lanes.append((lane, stream))
assert threads() == with_one, (threads(), with_one)
assert "a3s-lane" in names(), names()
print("shared")
"""
    assert run_python(script) == "shared\n"

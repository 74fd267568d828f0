"""The interpreter ends by itself, whatever is still alive."""

from __future__ import annotations

import pytest

from conftest import run_python

START = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from a3s_lane import Lane, LaneConfig
from a3s_lane.testing import submit_scripted
lane = Lane.with_lanes([LaneConfig("one", 0, 1, 1)])
lane.start()

def daemon(call, *arguments):
    entered = threading.Event()
    def run():
        entered.set()
        call(*arguments)
    threading.Thread(target=run, daemon=True).start()
    entered.wait()

def occupy():
    return submit_scripted(lane, "one", "slow", [[{"sleep_ms": 600_000}]])
"""

ALIVE = {
    "a lane": "",
    "a lane that was never started": "other = Lane()",
    "work that runs": "result = occupy()",
    "work that waits": "occupy(); result = submit_scripted(lane, 'one', 't', [[]])",
    "work of a lane that was never started": "other = Lane(); submit_scripted(other, 'query', 't', [[]])",
    "work with a retry far away": (
        "submit_scripted(lane, 'one', 't', [[{'fail': 'x'}]])"
    ),
    "a stream": "stream = lane.subscribe()",
    "a stream without its lane": "stream = lane.subscribe(); del lane",
    "a thread in recv": "stream = lane.subscribe(); daemon(stream.recv)",
    "a thread in recv with a limit": "stream = lane.subscribe(); daemon(stream.recv, 600_000)",
    "a thread that iterates": "stream = lane.subscribe(); daemon(list, stream)",
    "a thread in submit": (
        "occupy(); daemon(lane.submit, 'one', 't')\nwhile lane.stats().total_pending != 1: time.sleep(0.001)"
    ),
    "a thread in drain": "occupy(); daemon(lane.drain, 600)",
    "a thread in result": "daemon(occupy().result)",
    "a thread in result of a handle": "occupy(); handle = lane.enqueue('one', 't'); daemon(handle.result)",
    "a thread in progress": "occupy(); handle = lane.enqueue('one', 't'); daemon(list, handle.progress())",
    "a thread in chunks": "occupy(); handle = lane.enqueue('one', 't'); daemon(list, handle.chunks())",
    "a thread in shutdown_within": "occupy(); daemon(lane.shutdown_within, 600)",
    "a handle and its streams": (
        "handle = lane.enqueue('one', 't'); streams = [handle.progress(), handle.chunks()]; del lane"
    ),
    "a thread that never stops submitting": (
        "def forever():\n    while True: lane.submit('one', 't')\ndaemon(forever)"
    ),
    "a reference cycle": "class Node: pass\nnode = Node(); node.node = node; node.lane = lane; node.stream = lane.subscribe()",
    "a lane in a module that is cleared late": "sys.modules['kept'] = lane; sys.kept = lane.subscribe()",
    "an atexit function that submits": "atexit.register(lambda: lane.submit('one', 't'))",
    "a pool that still submits": (
        "pool = ThreadPoolExecutor(2)\nfor number in range(50): pool.submit(lane.submit, 'one', 't', number)"
    ),
    "an exception that holds the frame": "error = None\ntry: lane.submit('nope', 't')\nexcept Exception as e: error = e",
}


@pytest.mark.parametrize("alive", ALIVE)
def test_l37_the_interpreter_ends_with(alive: str) -> None:
    assert run_python(f"{START}\n{ALIVE[alive]}\nprint('end')") == "end\n"


def test_a_thread_pool_finishes_its_submits_at_exit() -> None:
    script = """
import atexit
results = []
atexit.register(lambda: print(sorted(results)))
pool = ThreadPoolExecutor(2)
for number in range(20):
    pool.submit(lambda n: results.append(lane.submit("one", "t", n)), number)
"""
    assert run_python(START + script) == f"{list(range(20))}\n"


def test_an_uncaught_error_in_a_with_block_ends_the_program() -> None:
    script = """
def leave():
    with lane:
        occupy()
        raise SystemExit(0)
leave()
"""
    assert run_python(START + script) == ""

"""Ctrl-C ends every wait."""

from __future__ import annotations

import os

import pytest

from conftest import run_python

# A second thread waits until the main thread is in the line of the blocking call, then does what Ctrl-C does.
INTERRUPT = """
import os, signal, sys, threading, time
from a3s_lane import Lane, LaneConfig
from a3s_lane.testing import submit_scripted

def single():
    return Lane.with_lanes([LaneConfig("one", 0, 1, 1)])

def busy():
    lane = single()
    lane.start()
    submit_scripted(lane, "one", "slow", [[{"sleep_ms": 600_000}]])
    # Its events are out before anybody subscribes.
    while lane.stats().total_active != 1:
        time.sleep(0.001)
    return lane

def full():
    lane = busy()
    lane.set_lane(LaneConfig("one", 0, 1, 1, max_pending=1, overflow="wait"))
    lane.enqueue("one", "t")
    return lane

def interrupt_when_waiting(line):
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_lineno != line:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

def interrupted(wait):
    line = wait.__code__.co_firstlineno
    threading.Thread(target=interrupt_when_waiting, args=(line,), daemon=True).start()
    try:
        wait()
    except KeyboardInterrupt:
        print("interrupted")
    else:
        print("went on")
"""

CALLS = {
    "submit": "lane = busy(); interrupted(lambda: lane.submit('one', 't'))",
    "drain": "lane = busy(); interrupted(lambda: lane.drain(600))",
    "recv": "lane = busy(); stream = lane.subscribe(); interrupted(lambda: stream.recv())",
    "recv_with_timeout": "lane = busy(); stream = lane.subscribe(); interrupted(lambda: stream.recv(600_000))",
    "recv_before_start": "lane = single(); stream = lane.subscribe(); interrupted(lambda: stream.recv())",
    "iteration": "lane = busy(); stream = lane.subscribe(); interrupted(lambda: list(stream))",
    "result": (
        "lane = busy(); result = submit_scripted(lane, 'one', 't', [[]]); interrupted(lambda: result.result())"
    ),
    "result_of_a_handle": (
        "lane = busy(); handle = lane.enqueue('one', 't'); interrupted(lambda: handle.result())"
    ),
    "result_of_a_handle_with_timeout": (
        "lane = busy(); handle = lane.enqueue('one', 't'); interrupted(lambda: handle.result(600))"
    ),
    "result_of_a_handle_before_start": (
        "handle = (lane := single()).enqueue('one', 't'); interrupted(lambda: handle.result())"
    ),
    "submit_with_options": "lane = busy(); interrupted(lambda: lane.submit('one', 't', key='k'))",
    "enqueue_into_a_full_lane": "lane = full(); interrupted(lambda: lane.enqueue('one', 't'))",
    "submit_many_into_a_full_lane": "lane = full(); interrupted(lambda: lane.submit_many('one', [('t',)]))",
    "progress": "lane = busy(); handle = lane.enqueue('one', 't'); interrupted(lambda: next(handle.progress()))",
    "chunks": "lane = busy(); handle = lane.enqueue('one', 't'); interrupted(lambda: list(handle.chunks()))",
    "shutdown_within": "lane = busy(); interrupted(lambda: lane.shutdown_within(600))",
    "exit_of_with": "lane = busy(); interrupted(lambda: lane.__exit__())",
}


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send an interrupt on Windows")
@pytest.mark.parametrize("call", CALLS)
def test_l37_ctrl_c_interrupts(call: str) -> None:
    assert run_python(INTERRUPT + CALLS[call]) == "interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send an interrupt on Windows")
def test_ctrl_c_ends_the_wait_and_not_the_command() -> None:
    script = """
lane = single()
stream = lane.subscribe_filtered(["queue.command.completed"])
lane.start()
submit_scripted(lane, "one", "first", [[{"sleep_ms": 2000}]])
interrupted(lambda: lane.submit("one", "second"))
lane.shutdown()
print(len(list(stream)))
"""
    assert run_python(INTERRUPT + script) == "interrupted\n2\n"


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send an interrupt on Windows")
def test_an_interrupted_enqueue_has_submitted_nothing() -> None:
    script = """
lane = full()
interrupted(lambda: lane.enqueue("one", "t"))
print(lane.stats().total_pending)
"""
    assert run_python(INTERRUPT + script) == "interrupted\n1\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_handler_that_returns_does_not_end_the_wait() -> None:
    script = """
lane = busy()
stream = lane.subscribe_filtered(["queue.command.submitted"])
def handler(number, frame):
    print("handled")
    threading.Thread(target=lambda: submit_scripted(lane, "one", "t", [[]])).start()
signal.signal(signal.SIGINT, handler)
interrupted(lambda: print(stream.recv().key))
"""
    assert run_python(INTERRUPT + script) == "handled\nqueue.command.submitted\nwent on\n"

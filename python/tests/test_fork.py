"""Processes made by `fork`."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from conftest import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

IN_CHILD = """
import gc, os, sys, threading, traceback
from a3s_lane import Lane, LaneConfig, LaneError, Limiter, QueueError, RetryPolicy
from a3s_lane.testing import enqueue_scripted, submit_many_scripted, submit_scripted

def in_child(check):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            check()
        except SystemExit:
            raise
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0

def refused(call):
    try:
        call()
    except QueueError as error:
        assert error.code == "QUEUE_ERROR"
        assert "created before fork" in str(error), error
        return
    raise AssertionError("was not refused")

lane = Lane()
lane.start()
assert lane.submit("query", "t", 1) == 1
"""


def test_l20_a_new_lane_works_in_the_child_and_the_old_one_in_the_parent() -> None:
    script = """
def check():
    with Lane() as fresh:
        stream = fresh.subscribe()
        assert fresh.submit("query", "t", {"a": 1}) == {"a": 1}
        assert stream.recv(10_000).key == "queue.command.submitted"

in_child(check)
assert lane.submit("query", "t", 2) == 2
in_child(lambda: in_child(check))
with lane:
    pass
print("done")
"""
    assert run_python(IN_CHILD + script) == "done\n"


def test_l20_what_the_parent_made_is_refused_in_the_child() -> None:
    script = """
stream = lane.subscribe()
result = submit_scripted(lane, "query", "t", [[]])
handle = lane.enqueue("query", "t", id="mine")
progress, chunks = handle.progress(), handle.chunks()

def check():
    refused(lambda: lane.submit("query", "t"))
    refused(lambda: lane.submit("query", "t", key="k"))
    refused(lambda: lane.enqueue("query", "t"))
    refused(lambda: lane.submit_many("query", []))
    refused(lambda: lane.cancel("mine"))
    refused(lambda: lane.cancel_lane("query"))
    refused(lambda: lane.cancel_key("k"))
    refused(lambda: lane.pause_lane("query"))
    refused(lambda: lane.resume_lane("query"))
    refused(lambda: lane.pause_key("k"))
    refused(lambda: lane.resume_key("k"))
    refused(lambda: lane.set_lane(LaneConfig("x", 1)))
    refused(lambda: lane.remove_lane("query"))
    refused(lambda: lane.set_max_concurrency(9))
    refused(lambda: lane.set_limiter("x", Limiter(1, 1)))
    refused(lambda: lane.explain("mine"))
    refused(lane.snapshot)
    refused(lambda: lane.shutdown_within(1))
    refused(handle.result)
    refused(handle.cancel)
    refused(handle.explain)
    refused(handle.progress)
    refused(handle.chunks)
    refused(lambda: handle.status)
    refused(lambda: next(progress))
    refused(lambda: next(chunks))
    refused(lambda: enqueue_scripted(lane, "query", "t", [[]]))
    refused(lambda: submit_many_scripted(lane, "query", []))
    assert (handle.id, handle.lane_id) == ("mine", "query") and handle == handle
    assert repr(handle) == "CommandHandle(id='mine', lane_id='query', status='of another process')"
    refused(lane.start)
    refused(lane.stats)
    refused(lane.subscribe)
    refused(lambda: lane.subscribe_filtered([]))
    refused(lane.shutdown)
    refused(lambda: lane.drain(1))
    refused(lane.__enter__)
    refused(lambda: stream.recv(1))
    refused(lambda: next(stream))
    refused(stream.close)
    refused(lambda: stream.missed)
    refused(lambda: stream.ended)
    refused(result.result)
    refused(result.done)
    refused(lambda: submit_scripted(lane, "query", "t", [[]]))
    assert repr(lane) == "Lane(of another process)"

in_child(check)
print("done")
"""
    assert run_python(IN_CHILD + script) == "done\n"


def test_l20_a_child_leaves_the_with_block_of_its_parent() -> None:
    script = """
with Lane() as outer, outer.subscribe() as stream:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert outer.submit("query", "t", 1) == 1
print("done")
"""
    assert run_python(IN_CHILD + script) == "done\n"


def test_l20_dropping_what_the_parent_made_does_not_hang_in_the_child() -> None:
    # Forking while all of it is busy, again and again, meets locks in every state.
    script = """
stop = threading.Event()

def keep_busy():
    while not stop.is_set():
        lane.submit("query", "t", 1)

def read(stream):
    for _ in stream:
        pass

def watch():
    while not stop.is_set():
        handle = lane.enqueue("query", "t", 1, key="k")
        list(handle.chunks())
        handle.result()

@lane.handler("fails")
def fails(payload):
    raise ValueError("no")

def give_up():
    # What a handler raises is given up by a thread without the GIL, at each attempt.
    while not stop.is_set():
        handle = lane.enqueue("skill", "fails", retry_policy=RetryPolicy.fixed(100, 0.0))
        try:
            handle.result()
        except LaneError:
            pass

streams = [lane.subscribe() for _ in range(4)]
threads = [threading.Thread(target=target) for target in (keep_busy, watch, give_up) * 2]
readers = [threading.Thread(target=read, args=(stream,)) for stream in streams[:2]]
for thread in threads + readers:
    thread.start()

def check():
    global lane
    del lane
    streams.clear()
    gc.collect()
    with Lane() as fresh:
        assert fresh.submit("query", "t", 2) == 2

for _ in range(20):
    in_child(check)
stop.set()
for thread in threads:
    thread.join()
with lane:
    pass
print("done")
"""
    assert run_python(IN_CHILD + script) == "done\n"


def test_l20_a_child_that_exits_at_once_does_not_hang() -> None:
    script = """
stream = lane.subscribe()
in_child(lambda: None)
in_child(lambda: sys.exit(0))
print("done")
"""
    assert run_python(IN_CHILD + script) == "done\n"


def test_fork_before_the_first_lane() -> None:
    script = """
import os, sys
from a3s_lane import Lane
child = os.fork()
lane = Lane()
lane.start()
assert lane.submit("query", "t", 1) == 1
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("done")
"""
    assert run_python(script) == "done\n"


def test_fork_in_a_thread_makes_that_thread_the_main_one() -> None:
    # Ctrl-C must work in the child although its main thread was a second thread when it first waited.
    script = """
import signal, time

def fork():
    lane.submit("query", "t")
    in_child(check)

def check():
    with_slow = Lane.with_lanes([LaneConfig("one", 0, 1, 1)])
    with_slow.start()
    submit_scripted(with_slow, "one", "slow", [[{"sleep_ms": 600_000}]])
    def interrupt():
        while with_slow.stats().total_pending != 1:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with_slow.submit("one", "t")
    except KeyboardInterrupt:
        os._exit(0)
    os._exit(1)

thread = threading.Thread(target=fork)
thread.start()
thread.join()
print("done")
"""
    assert run_python(IN_CHILD + script) == "done\n"


def compute(number: int) -> int:
    from a3s_lane import Lane

    with Lane() as lane:
        result: int = lane.submit("query", "t", number)
        return result


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_l20_multiprocessing(method: str) -> None:
    script = f"""
import multiprocessing
from a3s_lane import Lane
from test_fork import compute

if __name__ == "__main__":
    with Lane() as lane:
        lane.submit("query", "t", 1)
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            print(pool.map(compute, range(6)))
"""
    from conftest import REPOSITORY

    assert run_python(script, cwd=REPOSITORY / "python" / "tests") == "[0, 1, 2, 3, 4, 5]\n"

"""Handlers that run in other processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import run_python

MODULE = """
import dataclasses, os, time
from a3s_lane import Lane, LaneConfig, Unrecoverable

lane = Lane.with_lanes([LaneConfig("one", 0, 1, 2)])

@dataclasses.dataclass
class Job:
    number: int

@lane.handler("where", executor="process")
def where(payload):
    return [payload, os.getpid()]

@lane.handler("job", executor="process")
def job(payload: Job):
    return payload.number + 1

@lane.handler("fails", executor="process")
def fails(payload):
    raise ValueError(payload)

@lane.handler("stops", executor="process")
def stops(payload):
    raise Unrecoverable("no use")

@lane.handler("dies", executor="process")
def dies(payload):
    os._exit(3)

@lane.handler("slow", executor="process")
def slow(payload):
    time.sleep(payload)
"""

SCRIPT = """
import os, sys
sys.path.insert(0, os.getcwd())
from jobs import *
from a3s_lane import CommandError, LaneTimeoutError, UnrecoverableError
if __name__ == "__main__":
    with lane:
        payload, process = where.submit("one", {"a": 1})
        assert payload == {"a": 1} and process != os.getpid()
        assert job.submit("one", {"number": 4}) == 5
        for call, kind, text in (
            (lambda: fails.submit("one", "bad"), CommandError, "ValueError: bad"),
            (lambda: stops.submit("one"), UnrecoverableError, "no use"),
            (lambda: job.submit("one", {"number": "4"}), UnrecoverableError, "payload.number must be an int, got str"),
            (lambda: slow.submit("one", 5, timeout_secs=0.01), LaneTimeoutError, "timed out"),
            (lambda: dies.submit("one"), CommandError, "BrokenProcessPool"),
        ):
            try:
                call()
            except kind as error:
                assert text in str(error), error
            else:
                raise AssertionError(text)
        # The pool that one of them has broken is not used again.
        assert job.submit("one", {"number": 6}) == 7
    print("end")
"""


def test_a_function_runs_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(MODULE, encoding="utf-8")
    assert run_python(SCRIPT, cwd=tmp_path) == "end\n"


FORKS = """
import os, sys
sys.path.insert(0, os.getcwd())
from jobs import *
if __name__ == "__main__":
    with lane:
        parent = where.submit("one", 1)[1]
        child = os.fork()
        if child == 0:
            fresh = Lane()
            fresh.register_handler("where", where.function, executor="process")
            with fresh:
                own = fresh.submit("query", "where", 2)[1]
            sys.exit(own in (parent, os.getpid(), os.getppid()))
        assert os.waitpid(child, 0)[1] == 0
        assert where.submit("one", 3)[0] == 3
    print("end")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_l20_a_child_has_processes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(MODULE, encoding="utf-8")
    assert run_python(FORKS, cwd=tmp_path) == "end\n"

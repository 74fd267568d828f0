"""The log of the core arrives in `logging`."""

from __future__ import annotations

import gc
import logging

import pytest

from a3s_lane import Lane, _logging
from conftest import run_python, wait_until


# So many commands wait in the lanes of these tests: what other tests have left is collected at any time.
LEFT = 137


def end_with_work_left() -> None:
    lane = Lane()
    for _ in range(LEFT):
        lane.enqueue("query", "t")
    del lane
    gc.collect()


def is_ours(record: logging.LogRecord) -> bool:
    return f"pending={LEFT} " in record.getMessage()


def test_a_warning_of_the_core_is_a_warning_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    end_with_work_left()
    wait_until(lambda: any(map(is_ours, caplog.records)))
    (record,) = filter(is_ours, caplog.records)
    assert (record.name, record.levelno) == ("a3s_lane", logging.WARNING)
    assert record.getMessage() == f'queue ended with work left pending={LEFT} running=0 reason="the queue was dropped"'
    assert record.filename == "lifecycle.rs" and record.lineno > 0
    assert abs(record.created - record.msecs / 1000 - int(record.created)) < 1


def test_the_level_of_the_logger_counts(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("a3s_lane")
    logger.setLevel(logging.ERROR)
    try:
        # What the core calls: there is no other way to know that a line was let go.
        for level in (logging.WARNING, logging.ERROR):
            _logging.write(level, "text", "file.rs", 7, 1.25)
    finally:
        logger.setLevel(logging.NOTSET)
    (record,) = (record for record in caplog.records if record.filename == "file.rs")
    assert (record.levelno, record.getMessage(), record.lineno) == (logging.ERROR, "text", 7)
    assert (record.created, record.msecs) == (1.25, 250)


def test_a_logging_handler_may_use_lanes() -> None:
    # The line is written while the core holds its lock, at times.
    counts: list[int] = []
    lane = Lane()

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not is_ours(record):
                return
            lane.enqueue("query", "t")
            counts.append(lane.stats().total_pending)

    logger, looks = logging.getLogger("a3s_lane"), Looks()
    logger.addHandler(looks)
    try:
        end_with_work_left()
        wait_until(lambda: counts == [1])
    finally:
        logger.removeHandler(looks)
        lane.cancel_lane("query")


def test_the_last_line_is_not_lost_at_the_end_of_the_program() -> None:
    script = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s:%(name)s:%(message)s")
from a3s_lane import Lane, _logging
lane = Lane()
lane.enqueue("query", "t")
del lane
"""
    assert run_python(script).startswith("WARNING:a3s_lane:queue ended with work left pending=1")


def test_a_child_of_fork_has_a_log_of_its_own() -> None:
    script = """
import gc, logging, os, sys
from a3s_lane import Lane, _logging

def left():
    lane = Lane()
    lane.enqueue("query", "t")
    del lane
    gc.collect()

logging.basicConfig(stream=sys.stdout, format="%(process)d:%(levelname)s")
left()
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        left()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("child", child, flush=True)
"""
    output = run_python(script).splitlines()
    if output[-1].startswith("child"):
        child = output.pop().split()[1]
        assert [line for line in output if line == f"{child}:WARNING"]
    assert len(output) >= 1

"""The fixtures that the package brings, in a project of its own that knows nothing of this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import LIMIT_SECS, run_python

TESTS = '''
import asyncio

import pytest

from a3s_lane import Lane, LaneConfig
from a3s_lane.testing import ManualClock, SubmissionLog, drain_now

DAY_SECS = 86_400


def sign_up(lane: Lane, user: int) -> None:
    """The code under test."""
    lane.enqueue("session", "greet", {"user": user})
    lane.enqueue("session", "remind", {"user": user}, delay_secs=DAY_SECS)


def test_inline(lane: Lane, lane_log: SubmissionLog, lane_clock: ManualClock) -> None:
    greeted = []

    @lane.handler("greet")
    def greet(payload):
        greeted.append(payload["user"])

    sign_up(lane, 7)
    assert greeted == [7]
    lane_log.assert_submitted("session", "remind")
    assert lane.stats().total_pending == 1
    assert lane_clock.elapsed_secs == 0


@pytest.mark.lane(inline=False)
def test_by_the_clock(lane: Lane, lane_clock: ManualClock) -> None:
    gate = []
    lane.register_handler("greet", gate.append)
    lane.pause_lane("session")
    sign_up(lane, 7)
    assert gate == [] and lane.stats().total_pending == 2
    lane.resume_lane("session")
    assert drain_now(lane) == 0
    assert gate == [{"user": 7}]
    assert lane_clock.elapsed_secs == DAY_SECS


@pytest.mark.lane([LaneConfig("only", 0)], metrics=True)
def test_settings(lane: Lane) -> None:
    lane.submit("only", "t")
    assert lane.metrics().counters["lane.commands.completed.only"] == 1


def test_asyncio(lane: Lane) -> None:
    @lane.handler("double")
    async def double(payload):
        await asyncio.sleep(0)
        return 2 * payload

    async def main():
        assert await lane.submit_async("query", "double", 4) == 8
        handle = await lane.enqueue_async("query", "double", 5)
        assert handle.status == "completed"

    asyncio.run(main())


def test_work_that_is_left_does_not_hold_up_the_tests(lane: Lane) -> None:
    lane.enqueue("query", "t", delay_secs=DAY_SECS)


def test_each_test_has_its_own(lane: Lane, lane_log: SubmissionLog) -> None:
    assert lane.stats().total_pending == 0
    assert lane_log.submitted() == []
'''


def test_the_fixtures_are_there_without_being_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=4 * LIMIT_SECS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
    shown = subprocess.run(
        [*command, "--fixtures", "--markers"], cwd=tmp_path, capture_output=True, text=True, timeout=4 * LIMIT_SECS, check=False
    ).stdout
    assert "@pytest.mark.lane(configs=None, *, inline=True, **settings)" in shown


def test_the_package_does_without_pytest() -> None:
    script = """
import sys
sys.modules["pytest"] = None
import a3s_lane, a3s_lane.testing
print(sorted(name for name in sys.modules if "pytest" in name))
"""
    assert run_python(script) == "['pytest']\n"

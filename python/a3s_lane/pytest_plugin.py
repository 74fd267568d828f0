"""Fixtures for tests of programs that use lanes. pytest finds them by itself where a3s-lane is installed."""

from __future__ import annotations

import collections.abc
import typing

import pytest

from a3s_lane import Lane
from a3s_lane.testing import ManualClock, SubmissionLog, create_lane

__all__ = ["lane", "lane_clock", "lane_log"]

_MARK = "lane(configs=None, *, inline=True, **settings): how the fixture `lane` is made, as `a3s_lane.testing.create_lane` takes it"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)


@pytest.fixture
def lane_clock() -> ManualClock:
    """The clock of the fixture ``lane``: it stands still until ``advance`` moves it."""
    return ManualClock()


@pytest.fixture
def lane_log() -> SubmissionLog:
    """What the fixture ``lane`` has accepted."""
    return SubmissionLog()


@pytest.fixture
def lane(
    request: pytest.FixtureRequest, lane_clock: ManualClock, lane_log: SubmissionLog
) -> collections.abc.Iterator[Lane]:
    """A started ``Lane`` for one test, with the clock ``lane_clock`` and the log ``lane_log``.

    It is inline: a submission returns when its command has run, and everything else that could run without time going on. The
    mark ``lane`` changes that: ``@pytest.mark.lane(inline=False)`` lets the test steer it by the clock alone, and other
    arguments are those of ``create_lane``. After the test it ends, whatever is left.
    """
    mark = request.node.get_closest_marker("lane")
    arguments: tuple[typing.Any, ...] = mark.args if mark else ()
    settings: dict[str, typing.Any] = {"inline": True, "clock": lane_clock, "submission_log": lane_log}
    if mark:
        settings.update(mark.kwargs)
    made = create_lane(*arguments, **settings)
    made.start()
    try:
        yield made
    finally:
        made.shutdown_within(0)

"""Where a handler failed: kept for whoever waits, as an exception and as text."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from a3s_lane import CommandError, CommandHandle, Lane, LaneConfig, LaneNotFoundError, RetryPolicy, UnrecoverableError
from a3s_lane.testing import enqueue_scripted
from conftest import LIMIT_SECS


def deep(payload: object) -> None:
    raise ValueError(f"bad {payload}")


def plain(payload: object) -> None:
    deep(payload)


async def at_once(payload: object) -> None:
    deep(payload)


async def later(payload: object) -> None:
    await asyncio.sleep(0)
    deep(payload)


def failure_of(handle: CommandHandle) -> CommandError:
    with pytest.raises(CommandError) as caught:
        handle.result(LIMIT_SECS)
    return caught.value


@pytest.mark.parametrize("function", [plain, at_once, later])
def test_the_cause_has_the_traceback(function: Callable[[object], Any]) -> None:
    lane = Lane()
    lane.register_handler("t", function)
    with lane:
        error = failure_of(lane.enqueue("query", "t", 7))
    assert isinstance(error.__cause__, ValueError)
    names = [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)]
    assert names[-2:] == [function.__name__, "deep"]
    printed = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert f"in {function.__name__}" in printed
    assert "The above exception was the direct cause of the following exception" in printed


@pytest.mark.parametrize("function", [plain, at_once, later])
def test_the_text_is_kept(function: Callable[[object], Any]) -> None:
    lane = Lane()
    lane.register_handler("t", function)
    with lane:
        text = failure_of(lane.enqueue("query", "t", 7)).traceback
    assert text is not None
    assert text.startswith("Traceback (most recent call last):\n")
    assert f"in {function.__name__}" in text and "in deep" in text
    assert text.endswith("ValueError: bad 7\n")


def test_the_text_of_another_process() -> None:
    lane = Lane()
    lane.register_handler("t", plain, executor="process")
    with lane:
        error = failure_of(lane.enqueue("query", "t", 7))
    assert error.traceback is not None and "in plain" in error.traceback and "in deep" in error.traceback


def test_the_text_is_of_the_last_attempt() -> None:
    lane = Lane.with_lanes([LaneConfig("one", 0, retry_policy=RetryPolicy.fixed(1, 0))])
    attempts: list[int] = []

    @lane.handler("t")
    def handle(payload: object) -> None:
        attempts.append(1)
        deep(len(attempts))

    with lane:
        text = failure_of(lane.enqueue("one", "t")).traceback
    assert text is not None and "bad 2" in text and "bad 1" not in text


def test_a_lane_error_that_a_handler_raises_is_itself() -> None:
    lane = Lane()
    raised = UnrecoverableError("no")

    @lane.handler("t")
    def handle(payload: object) -> None:
        raise raised

    with lane:
        with pytest.raises(UnrecoverableError) as caught:
            lane.submit("query", "t")
    assert caught.value is raised
    assert "handle" in [frame.name for frame in traceback.extract_tb(raised.__traceback__)]


def test_a_text_without_end_is_cut_off() -> None:
    lane = Lane()

    @lane.handler("t")
    def handle(payload: object) -> None:
        raise ValueError("x" * 200_000)

    with lane:
        text = failure_of(lane.enqueue("query", "t")).traceback
    assert text is not None and len(text) < 70_000 and text.endswith("\n[cut off]\n")


def test_other_errors_have_none() -> None:
    with Lane() as lane:
        with pytest.raises(LaneNotFoundError) as refused:
            lane.submit("nope", "t")
        failed = failure_of(enqueue_scripted(lane, "query", "t", [[{"fail": "x"}]]))
    assert refused.value.traceback is None
    assert failed.traceback is None

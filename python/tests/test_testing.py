"""The tools for tests of programs that use lanes. What all languages share is in tests/scenarios/testing.json."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_lane import Lane, LaneConfig, LaneTimeoutError, Limiter, NotStartedError
from a3s_lane.testing import (
    ManualClock,
    SubmissionLog,
    create_lane,
    drain_now,
    enqueue_scripted,
    submit_scripted,
)
from conftest import LIMIT_SECS

DAY_SECS = 86_400


def ids(lane: Lane) -> list[str]:
    return [status.lane_id for status in lane.stats().lanes]


def test_create_lane_takes_what_lane_takes() -> None:
    assert ids(create_lane()) == ids(Lane())
    lane = create_lane(
        [LaneConfig("one", 0, limiters=["tokens"])],
        max_concurrency=3,
        dlq_size=1,
        limiters={"tokens": Limiter(1, DAY_SECS)},
    )
    assert ids(lane) == ["one"]
    assert lane.snapshot()["total_limit"] == 3
    with lane:
        submit_scripted(lane, "one", "fails", [[{"fail": "no"}]])
        lane.drain(LIMIT_SECS)
        assert lane.stats().dead_letter_count == 1
        waits = lane.enqueue("one", "t")
        lane.set_limiter("tokens", Limiter(1000, 1))
        assert waits.result(LIMIT_SECS) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"clock": "noon"},
        {"inline": 1},
        {"inline": None},
        {"submission_log": []},
        {"dlq_size": "1"},
        {"configs": LaneConfig("one", 0)},
    ],
)
def test_create_lane_refuses_wrong_arguments(settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(settings))):
        create_lane(**settings)


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    with create_lane(clock=clock) as lane:
        handle = lane.enqueue("query", "tomorrow", 1, delay_secs=DAY_SECS)
        clock.advance(DAY_SECS - 1)
        with pytest.raises(LaneTimeoutError):
            lane.drain(0.05)
        assert (handle.status, clock.elapsed_secs) == ("delayed", DAY_SECS - 1)
        clock.advance(1)
        assert handle.result(LIMIT_SECS) == 1
    assert clock.elapsed_secs == DAY_SECS


@pytest.mark.parametrize("secs", [-1, float("nan"), 1e11])
def test_a_manual_clock_refuses_what_is_no_time(secs: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="secs"):
        clock.advance(secs)
    assert clock.elapsed_secs == 0


def test_lanes_may_share_a_clock() -> None:
    clock = ManualClock()
    with create_lane(clock=clock) as first, create_lane(clock=clock) as second:
        handles = [lane.enqueue("query", "t", delay_secs=DAY_SECS) for lane in (first, second)]
        clock.advance(DAY_SECS)
        assert [handle.result(LIMIT_SECS) for handle in handles] == [None, None]


def test_inline_has_run_what_was_submitted() -> None:
    # Long enough to be seen running when the submission does not wait for it.
    script = [[{"sleep_ms": 300}]]
    with create_lane(inline=True) as lane:
        assert enqueue_scripted(lane, "query", "t", script).status == "completed"
        assert submit_scripted(lane, "query", "t", script).done()
        assert lane.submit("query", "t", 1) == 1
    with create_lane() as lane:
        assert enqueue_scripted(lane, "query", "t", script).status != "completed"


def test_drain_now_runs_everything() -> None:
    lane = create_lane(clock=ManualClock())
    with pytest.raises(NotStartedError, match="drain_now"):
        drain_now(lane)
    handles = [lane.enqueue("query", "t", delay_secs=days * DAY_SECS) for days in range(3)]
    with lane:
        lane.pause_lane("prompt")
        held = lane.enqueue("prompt", "t")
        assert drain_now(lane) == 1
        assert [handle.status for handle in handles] == ["completed"] * 3
        assert held.status == "pending"
        held.cancel()
    with pytest.raises(TypeError, match="lane must be a Lane"):
        drain_now(None)  # type: ignore[arg-type]


def test_a_submission_log_holds_what_was_accepted() -> None:
    log = SubmissionLog()
    lane = create_lane([LaneConfig("api", 0, max_pending=3)], submission_log=log)
    assert log.submitted() == []
    lane.enqueue("api", "fetch", {"page": 1})
    lane.enqueue("api", "fetch", {"page": 2})
    lane.submit_many("api", [("store",), ("full",)])

    first = log.assert_submitted("api", "fetch")
    assert (first.lane_id, first.command_type, first.payload) == ("api", "fetch", {"page": 1})
    assert log.assert_submitted("api", "store").payload is None
    assert [each.command_type for each in log.submitted()] == ["fetch", "fetch", "store"]
    assert first == log.submitted()[0] != log.submitted()[1]
    assert repr(first) == "Submitted(lane_id='api', command_type='fetch', payload={'page': 1})"
    log.assert_not_submitted("api", "full")
    log.assert_not_submitted("other", "fetch")


def test_a_submission_log_says_what_is_different() -> None:
    log = SubmissionLog()
    lane = create_lane(submission_log=log)
    lane.enqueue("query", "fetch", 1)
    lane.enqueue("skill", "store")
    with pytest.raises(AssertionError) as missing:
        log.assert_submitted("query", "store")
    assert str(missing.value) == (
        "no 'store' was submitted to 'query', only [('query', 'fetch'), ('skill', 'store')]"
    )
    with pytest.raises(AssertionError) as unwanted:
        log.assert_not_submitted("query", "fetch")
    assert str(unwanted.value) == "Submitted(lane_id='query', command_type='fetch', payload=1) was submitted"
    with pytest.raises(TypeError, match="lane_id"):
        log.assert_submitted(None, "t")  # type: ignore[arg-type]

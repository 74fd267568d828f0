"""`Lane`: submit, stats, shutdown, drain, context manager."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import a3s_lane
from a3s_lane import (
    ConfigError,
    Lane,
    LaneConfig,
    LaneNotFoundError,
    LaneTimeoutError,
    NotStartedError,
    QueueStats,
    RetryPolicy,
    ShutdownInProgressError,
)
from a3s_lane.testing import submit_scripted
from conftest import LIMIT_SECS, single, wait_until


def test_default_lanes_come_most_urgent_first() -> None:
    lanes = Lane().stats().lanes
    assert [(lane.lane_id, lane.min_concurrency, lane.max_concurrency) for lane in lanes] == [
        ("system", 1, 5),
        ("control", 1, 3),
        ("query", 1, 10),
        ("session", 1, 5),
        ("skill", 1, 3),
        ("prompt", 1, 2),
    ]


def test_lanes_of_equal_priority_keep_their_order() -> None:
    lane = Lane.with_lanes([LaneConfig("b", 7), LaneConfig("a", 7), LaneConfig("z", 0)])
    assert [status.lane_id for status in lane.stats().lanes] == ["z", "b", "a"]


def test_with_lanes_copies_its_configurations() -> None:
    config = LaneConfig("one", 0, 1, 1)
    lane = Lane.with_lanes([config])
    config.max_concurrency = 9
    assert lane.stats().lanes[0].max_concurrency == 1


def test_with_lanes_takes_any_iterable() -> None:
    lane = Lane.with_lanes(LaneConfig(name, 0) for name in "ab")
    assert len(lane.stats().lanes) == 2


@pytest.mark.parametrize(
    ("configs", "error", "text"),
    [
        ([], ValueError, "configs must hold at least one LaneConfig"),
        ([LaneConfig("a", 0), "b"], TypeError, r"configs\[1\] must be a LaneConfig, not str"),
        (7, TypeError, "configs must be a list of LaneConfig, not int"),
        ([LaneConfig("a", 0), LaneConfig("a", 1)], ValueError, r'configs\[1\].lane_id must be unique, got "a" again'),
    ],
)
def test_with_lanes_refuses(configs: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Lane.with_lanes(configs)


def test_contradicting_settings_name_lane_and_field() -> None:
    with pytest.raises(ConfigError, match="api.*min_concurrency") as caught:
        Lane.with_lanes([LaneConfig("api", 0, 5, 2)])
    assert isinstance(caught.value, ValueError)


def test_submit_returns_the_payload(lane: Lane) -> None:
    assert lane.submit("query", "fetch", {"k": [1, None]}) == {"k": [1, None]}
    assert lane.submit("query", "fetch") is None
    assert lane.submit(lane_id="query", command_type="fetch", payload=1) == 1


def test_submit_to_an_unknown_lane(lane: Lane) -> None:
    with pytest.raises(LaneNotFoundError, match="^Lane not found: nope$"):
        lane.submit("nope", "fetch")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((1, "t"), "lane_id must be a str, not int"), (("query", None), "command_type must be a str, not NoneType")],
)
def test_submit_refuses_what_is_not_text(lane: Lane, arguments: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        lane.submit(*arguments)


def test_l37_submit_before_start_is_an_error() -> None:
    with pytest.raises(NotStartedError, match="start"):
        Lane().submit("query", "fetch")


def test_work_handed_in_before_start_runs_after_it() -> None:
    lane = single()
    result = submit_scripted(lane, "one", "early", [[{"return": 5}]])
    assert not result.done()
    assert lane.stats().total_pending == 1
    lane.start()
    assert result.result(LIMIT_SECS) == 5
    assert result.done()
    assert result.result() == 5


def test_start_may_be_called_again(lane: Lane) -> None:
    lane.start()
    assert lane.submit("query", "fetch", 1) == 1


def test_submit_after_shutdown(lane: Lane) -> None:
    lane.shutdown()
    lane.shutdown()
    with pytest.raises(ShutdownInProgressError):
        lane.submit("query", "fetch")
    with pytest.raises(ShutdownInProgressError):
        Lane.submit(_shut_down_before_start(), "query", "fetch")


def _shut_down_before_start() -> Lane:
    lane = Lane()
    lane.shutdown()
    return lane


def test_max_concurrency_is_kept() -> None:
    lane = Lane.with_lanes([LaneConfig("two", 0, 1, 2)])
    results = [submit_scripted(lane, "two", "t", [[{"sleep_ms": 60_000}]]) for _ in range(5)]
    lane.start()
    wait_until(lambda: lane.stats().total_active == 2)
    status = lane.stats().lanes[0]
    assert (status.pending, status.active) == (3, 2)
    assert not any(result.done() for result in results)


def test_timeout_secs_limits_an_attempt() -> None:
    with single(timeout_secs=0.01) as lane:
        result = submit_scripted(lane, "one", "slow", [[{"sleep_ms": 60_000}]])
        with pytest.raises(LaneTimeoutError, match="^Command timed out after 10ms$"):
            result.result(LIMIT_SECS)


def test_retry_policy_is_used() -> None:
    script = [[{"fail": "a"}], [{"fail": "b"}], [{"return": "third"}]]
    config = LaneConfig("one", 0, retry_policy=RetryPolicy.fixed(2, 0))
    with Lane.with_lanes([config]) as lane:
        assert submit_scripted(lane, "one", "t", script).result(LIMIT_SECS) == "third"
    config.retry_policy = None
    with Lane.with_lanes([config]) as lane, pytest.raises(a3s_lane.CommandError, match="a$"):
        submit_scripted(lane, "one", "t", script).result(LIMIT_SECS)


def test_dead_letters_are_counted() -> None:
    with Lane(dlq_size=2) as lane:
        for expected in (1, 2, 2):
            failing = submit_scripted(lane, "query", "t", [[{"fail": "boom"}]])
            with pytest.raises(a3s_lane.CommandError):
                failing.result(LIMIT_SECS)
            assert lane.stats().dead_letter_count == expected


def test_without_dlq_size_no_dead_letter_is_kept(lane: Lane) -> None:
    with pytest.raises(a3s_lane.CommandError):
        submit_scripted(lane, "query", "t", [[{"fail": "boom"}]]).result(LIMIT_SECS)
    assert lane.stats().dead_letter_count == 0


def test_with_lanes_takes_dlq_size() -> None:
    with Lane.with_lanes([LaneConfig("one", 0)], dlq_size=1) as lane:
        with pytest.raises(a3s_lane.CommandError):
            submit_scripted(lane, "one", "t", [[{"fail": "boom"}]]).result(LIMIT_SECS)
        assert lane.stats().dead_letter_count == 1


@pytest.mark.parametrize("size", [0, -1, 2**32])
def test_dlq_size_out_of_range(size: int) -> None:
    with pytest.raises(ValueError, match="dlq_size must be an int from 1 to 4294967295"):
        Lane(dlq_size=size)


def test_drain_waits_for_the_work() -> None:
    lane = single()
    result = submit_scripted(lane, "one", "t", [[{"sleep_ms": 20}]])
    lane.start()
    lane.shutdown()
    lane.drain(LIMIT_SECS)
    assert result.done()


def test_drain_expiry_is_a_timeout_and_the_work_goes_on() -> None:
    lane = single()
    result = submit_scripted(lane, "one", "t", [[{"return": 1}]])
    with pytest.raises(LaneTimeoutError, match="timed out after 10ms"):
        lane.drain(timeout_secs=0.01)
    lane.start()
    assert result.result(LIMIT_SECS) == 1
    lane.drain(timeout_secs=LIMIT_SECS)


def test_context_manager_waits_on_normal_exit() -> None:
    with single() as lane:
        result = submit_scripted(lane, "one", "t", [[{"sleep_ms": 20}]])
    assert result.done()
    with pytest.raises(ShutdownInProgressError):
        lane.submit("one", "t")


def test_context_manager_does_not_wait_after_an_exception() -> None:
    lane = single()
    with pytest.raises(KeyError), lane:
        result = submit_scripted(lane, "one", "t", [[{"sleep_ms": 60_000}]])
        raise KeyError("mine")
    assert not result.done()
    with pytest.raises(ShutdownInProgressError):
        lane.submit("one", "t")


def test_stats_repr_and_equality(lane: Lane) -> None:
    stats = lane.stats()
    assert repr(stats) == "QueueStats(pending=0, active=0, lanes=6)"
    assert repr(stats.lanes[0]) == "LaneStatus(lane_id='system', pending=0, active=0, min=1, max=5)"
    assert stats == lane.stats()
    assert stats.lanes[0] != stats.lanes[1]
    assert isinstance(stats, QueueStats)
    with pytest.raises(AttributeError):
        stats.total_pending = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        type(stats)()


def test_lane_repr() -> None:
    assert repr(single()) == "Lane(one)"


def test_dropping_a_lane_settles_its_work() -> None:
    lane = single()
    result = submit_scripted(lane, "one", "t", [[{"sleep_ms": 60_000}]])
    lane.start()
    wait_until(lambda: lane.stats().total_active == 1)
    del lane
    gc.collect()
    with pytest.raises(a3s_lane.LaneError):
        result.result(LIMIT_SECS)


def test_a_lane_leaves_with_its_last_reference() -> None:
    class Holder:
        lane = single()

    holder = Holder()
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


def test_scripted_result_expires_without_being_a_lane_error() -> None:
    lane = single()
    result = submit_scripted(lane, "one", "t", [[{"return": 1}]])
    with pytest.raises(TimeoutError) as caught:
        result.result(timeout_secs=0.01)
    assert not isinstance(caught.value, a3s_lane.LaneError)


def test_submit_scripted_checks_its_arguments(lane: Lane) -> None:
    with pytest.raises(LaneNotFoundError):
        submit_scripted(lane, "nope", "t", [[]])
    with pytest.raises(a3s_lane.LaneError):
        submit_scripted(lane, "query", "t", [[{"jump": 1}]])
    with pytest.raises(TypeError, match="lane must be a Lane, not str"):
        submit_scripted("query", "query", "t", [[]])  # type: ignore[arg-type]

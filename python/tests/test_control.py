"""Control at run time: what only this package has; the behaviours are in tests/scenarios."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

import a3s_lane
from a3s_lane import Lane, LaneConfig, Limiter
from a3s_lane.testing import enqueue_scripted
from conftest import LIMIT_SECS, single, wait_until


def order(lane: Lane) -> list[str]:
    return [status.lane_id for status in lane.stats().lanes]


def test_lanes_come_change_and_go() -> None:
    lane = Lane.with_lanes([LaneConfig("b", 5), LaneConfig("a", 5), LaneConfig("c", 1)])
    assert order(lane) == ["c", "b", "a"]
    lane.set_lane(LaneConfig("d", 5))
    lane.set_lane(LaneConfig("new", 0, max_concurrency=3))
    assert order(lane) == ["new", "c", "b", "a", "d"]
    assert lane.stats().lanes[0].max_concurrency == 3
    lane.set_lane(LaneConfig("b", 9))
    assert repr(lane) == "Lane(new, c, a, d, b)"
    lane.set_lane(LaneConfig("b", 5))
    assert order(lane) == ["new", "c", "b", "a", "d"]
    lane.remove_lane("c")
    assert order(lane) == ["new", "b", "a", "d"]
    with lane:
        assert lane.submit("d", "t", 1) == 1
        with pytest.raises(a3s_lane.LaneNotFoundError):
            lane.submit("c", "t")


def test_a_refused_lane_changes_nothing() -> None:
    lane = single()
    with pytest.raises(a3s_lane.ConfigError, match="min_concurrency"):
        lane.set_lane(LaneConfig("one", 3, 5, 1))
    with pytest.raises(a3s_lane.ConfigError, match="overflow needs a max_pending"):
        lane.set_lane(LaneConfig("two", 3, overflow="wait"))
    with pytest.raises(a3s_lane.ConfigError, match="nobody"):
        lane.set_lane(LaneConfig("two", 3, limiters=["nobody"]))
    assert order(lane) == ["one"]
    lane.enqueue("one", "t")
    with pytest.raises(a3s_lane.QueueError, match="must be empty to be removed"):
        lane.remove_lane("one")
    assert order(lane) == ["one"]


def test_set_lane_copies() -> None:
    lane = single()
    config = LaneConfig("one", 0, 1, 1, max_pending=1)
    lane.set_lane(config)
    config.max_pending = 2
    answers = lane.submit_many("one", [("t",), ("t",)])
    assert isinstance(answers[1], a3s_lane.LaneFullError)


def test_names_that_nobody_has() -> None:
    lane = single()
    assert lane.cancel("nobody") is False
    assert lane.cancel_key("nobody") == 0
    assert lane.explain("nobody") is None
    lane.pause_key("nobody")
    lane.resume_key("nobody")
    for call in (lane.cancel_lane, lane.pause_lane, lane.resume_lane, lane.remove_lane):
        with pytest.raises(a3s_lane.LaneNotFoundError):
            call("nope")
    with pytest.raises(a3s_lane.LimiterNotFoundError, match="nope") as caught:
        lane.set_limiter("nope", Limiter(1, 1))
    assert caught.value.code == "LIMITER_NOT_FOUND"


@pytest.mark.parametrize(
    ("call", "arguments", "error", "text"),
    [
        ("cancel", (1,), TypeError, "command_id must be a str, not int"),
        ("explain", (None,), TypeError, "command_id must be a str, not NoneType"),
        ("cancel_lane", (1,), TypeError, "lane_id must be a str, not int"),
        ("pause_lane", (b"one",), TypeError, "lane_id must be a str, not bytes"),
        ("resume_lane", (1,), TypeError, "lane_id must be a str, not int"),
        ("remove_lane", (1,), TypeError, "lane_id must be a str, not int"),
        ("cancel_key", ("",), ValueError, "key must not be empty"),
        ("pause_key", (1,), TypeError, "key must be a str, not int"),
        ("resume_key", ("",), ValueError, "key must not be empty"),
        ("set_lane", ("one",), TypeError, "config must be a LaneConfig, not str"),
        ("set_max_concurrency", (0,), ValueError, "max_concurrency must be an int from 1 to 4294967295, got 0"),
        ("set_max_concurrency", (1.5,), TypeError, "max_concurrency must be an int from 1 to 4294967295, not float"),
        ("set_limiter", ("", Limiter(1, 1)), ValueError, "name must not be empty"),
        ("set_limiter", ("t", 5), TypeError, "limiter must be a Limiter, not int"),
        ("shutdown_within", (-1,), ValueError, "secs must be a number of seconds from 0 to 10000000000, got -1"),
        ("shutdown_within", ("1",), TypeError, "secs must be a number of seconds from 0 to 10000000000, not str"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    call: str, arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        getattr(single(), call)(*arguments)
    assert text in str(caught.value)


def test_snapshot() -> None:
    lane = Lane.with_lanes([LaneConfig("low", 5, 0, 2), LaneConfig("high", 1, 1, 3)], max_concurrency=4)
    lane.pause_key("k")
    lane.pause_lane("low")
    lane.enqueue("low", "t", id="w", key="k")
    lane.enqueue("high", "t", id="d", delay_secs=3600)
    before = datetime.now(timezone.utc)
    state = lane.snapshot()
    json.dumps(state)
    taken_at = datetime.fromisoformat(state.pop("taken_at"))
    assert abs((taken_at - before).total_seconds()) < LIMIT_SECS
    waiting, delayed = state.pop("commands")
    assert state == {
        "started": False,
        "shutting_down": False,
        "total_limit": 4,
        "pending": 2,
        "active": 0,
        "paused_keys": ["k"],
        "lanes": [
            {
                "id": "high",
                "priority": 1,
                "effective_priority": 1,
                "pending": 1,
                "active": 0,
                "min": 1,
                "max": 3,
                "paused": False,
            },
            {
                "id": "low",
                "priority": 5,
                "effective_priority": 5,
                "pending": 1,
                "active": 0,
                "min": 0,
                "max": 2,
                "paused": True,
            },
        ],
    }
    assert (waiting["command_id"], waiting["lane_id"], waiting["key"], waiting["attempts"]) == ("w", "low", "k", 0)
    assert {reason["reason"] for reason in waiting["reasons"]} >= {"not_started", "lane_paused", "key_paused"}
    assert (delayed["key"], delayed["status"]) == (None, "delayed")
    assert delayed["age_secs"] < LIMIT_SECS and "age_ms" not in delayed
    until = next(reason["until"] for reason in delayed["reasons"] if reason["reason"] == "delayed")
    assert (datetime.fromisoformat(until) - before).total_seconds() == pytest.approx(3600, abs=LIMIT_SECS)


def test_shutdown_within_reports_what_was_left() -> None:
    lane = single()
    lane.start()
    # With a time limit its type is known even if its thread is too busy to drop the body in time.
    running = enqueue_scripted(lane, "one", "slow", [[{"sleep_ms": 600_000}]], id="r", timeout_secs=600)
    waiting = lane.enqueue("one", "wait", id="w")
    wait_until(lambda: running.status == "running")
    report = lane.shutdown_within(0)
    assert repr(report) == "ShutdownReport(stopped=1, pending=1)"
    assert report.is_clean is False
    (stopped,), (pending,) = report.stopped, report.pending
    assert (stopped.command_id, stopped.command_type, stopped.lane_id, stopped.attempts) == ("r", "slow", "one", 0)
    assert repr(pending) == "Leftover(command_id='w', command_type='wait', lane_id='one', attempts=0)"
    for handle in (running, waiting):
        with pytest.raises(a3s_lane.QueueError):
            handle.result(LIMIT_SECS)
    with pytest.raises(a3s_lane.ShutdownInProgressError):
        lane.submit("one", "t")
    clean = lane.shutdown_within(LIMIT_SECS)
    assert clean.is_clean and (clean.stopped, clean.pending) == ([], [])
    assert clean != report


def test_a_with_block_may_hold_an_orderly_shutdown() -> None:
    with single() as lane:
        lane.pause_lane("one")
        lane.enqueue("one", "t")
        assert len(lane.shutdown_within(0).pending) == 1


def test_totals_and_limiters_of_the_constructor() -> None:
    lane = Lane(max_concurrency=6, limiters={"tokens": Limiter(1, 3600)})
    assert lane.snapshot()["total_limit"] == 6
    lane.set_max_concurrency(None)
    assert lane.snapshot()["total_limit"] is None
    with pytest.raises(a3s_lane.ConfigError, match="sum of the lanes' min_concurrency"):
        Lane(max_concurrency=5)
    lane.set_lane(LaneConfig("api", 0, limiters=["tokens"]))
    with lane:
        assert lane.submit("api", "t", 1) == 1
        second = lane.enqueue("api", "t", 2)
        # The limiter is asked when a worker looks for work.
        wait_until(lambda: bool((second.explain() or {"reasons": []})["reasons"]))
        explanation = second.explain()
        assert explanation is not None
        assert [reason["reason"] for reason in explanation["reasons"]] == ["rate_limited"]
        until = datetime.fromisoformat(explanation["reasons"][0]["until"])
        assert (until - datetime.now(timezone.utc)).total_seconds() > 60
        lane.set_limiter("tokens", Limiter(100, 1))
        assert second.result(LIMIT_SECS) == 2


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"max_concurrency": 0}, ValueError, "max_concurrency must be an int from 1 to 4294967295, got 0"),
        ({"max_concurrency": "1"}, TypeError, "max_concurrency must be an int from 1 to 4294967295, not str"),
        ({"limiters": [1]}, TypeError, "limiters must be a dict of str to Limiter, not list"),
        ({"limiters": {1: Limiter(1, 1)}}, TypeError, "a key of limiters must be a str, not int"),
        ({"limiters": {"": Limiter(1, 1)}}, ValueError, "a key of limiters must not be empty"),
        ({"limiters": {"t": 5}}, TypeError, "limiters['t'] must be a Limiter, not int"),
        ({"dlq_size": 0}, ValueError, "dlq_size must be an int from 1 to 4294967295, got 0"),
    ],
)
def test_constructors_refuse_by_name(settings: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        Lane(**settings)
    assert str(caught.value) == text
    with pytest.raises(error) as caught:
        Lane.with_lanes([LaneConfig("one", 0)], **settings)
    assert str(caught.value) == text

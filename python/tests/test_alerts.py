"""Alerts: Python functions hear of lanes that are too deep or too slow."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from a3s_lane import Alert, AlertManager, Lane, LaneConfig
from a3s_lane.testing import ManualClock, create_lane, enqueue_scripted
from conftest import LIMIT_SECS, run_python, wait_until


def seen(alert: Alert) -> tuple[str, str, float, float]:
    return alert.level, alert.lane_id, alert.current_value, alert.threshold


def test_a_depth_is_told_when_its_level_rises() -> None:
    alerts = AlertManager(queue_depth=(2, 3))
    told: list[Alert] = []
    assert alerts.add_callback(told.append) == told.append
    lane = Lane(alerts=alerts)
    for _ in range(4):
        lane.enqueue("query", "t")
    wait_until(lambda: len(told) == 2)
    assert [seen(alert) for alert in told] == [("warning", "query", 2.0, 2.0), ("critical", "query", 3.0, 3.0)]
    assert told[0].message == "Queue depth warning: 2 (threshold: 2)"
    assert repr(told[0]) == f"Alert(level='warning', lane_id='query', message={told[0].message!r})"
    assert told[0] == told[0] != told[1]


def test_a_latency_is_told_for_each_command() -> None:
    alerts = AlertManager(latency_ms=(0, 600_000))
    told: list[Alert] = []
    alerts.add_callback(told.append)
    with Lane(alerts=alerts) as lane:
        for _ in range(3):
            lane.submit("query", "t")
    wait_until(lambda: len(told) == 3)
    assert {(alert.level, alert.lane_id, alert.threshold) for alert in told} == {("warning", "query", 0.0)}


def test_callbacks_may_use_the_lanes_that_raise_the_alert() -> None:
    # Each change that raises an alert is made under the lock that `stats` and `submit` need.
    alerts = AlertManager(queue_depth=(1, 1))
    told: list[object] = []
    with Lane(alerts=alerts) as lane:

        @alerts.add_callback
        def look(alert: Alert) -> None:
            if alert.lane_id != "query":
                return  # of what is submitted here
            told.append((lane.stats().total_pending >= 0, lane.submit("control", "t", alert.lane_id)))

        lane.pause_lane("query")
        # From Python, with the GIL.
        handle = lane.enqueue("query", "t")
        wait_until(lambda: len(told) == 1)
        # From a thread of the runtime, without it.
        lane.cancel(handle.id)
        enqueue_scripted(lane, "skill", "parent", [[{"child": {"lane_id": "query", "command_type": "c", "script": [[]]}}]])
        wait_until(lambda: len(told) == 2)
        lane.resume_lane("query")
    assert told == [(True, "query"), (True, "query")]


def test_callbacks_and_alerts_keep_their_order() -> None:
    alerts = AlertManager(queue_depth=(1, 1))
    told: list[tuple[str, str]] = []
    ready = threading.Event()

    @alerts.add_callback
    def first(alert: Alert) -> None:
        # The others wait in the outbox meanwhile.
        assert ready.wait(LIMIT_SECS)
        told.append(("first", alert.lane_id))

    alerts.add_callback(lambda alert: told.append(("second", alert.lane_id)))
    names = [f"lane-{number}" for number in range(50)]
    lane = Lane.with_lanes([LaneConfig(name, 0) for name in names], alerts=alerts)
    for name in names:
        lane.enqueue(name, "t")
    ready.set()
    wait_until(lambda: len(told) == 100)
    assert told == [(which, name) for name in names for which in ("first", "second")]


def test_slow_callbacks_lose_the_oldest_alerts(caplog: pytest.LogCaptureFixture) -> None:
    alerts = AlertManager(latency_ms=(0, 600_000))
    told: list[Alert] = []
    called, ready = threading.Event(), threading.Event()

    @alerts.add_callback
    def slow(alert: Alert) -> None:
        called.set()
        assert ready.wait(LIMIT_SECS)
        told.append(alert)

    with Lane(alerts=alerts) as lane:
        lane.submit("query", "t")
        assert called.wait(LIMIT_SECS)
        for _ in range(1024 + 7):
            lane.submit("query", "t")
    ready.set()
    wait_until(lambda: "7 alerts were lost: their callbacks are too slow" in caplog.messages)
    assert len(told) == 1025


def test_a_callback_that_raises_does_not_keep_others_out(caplog: pytest.LogCaptureFixture) -> None:
    alerts = AlertManager(queue_depth=(1, 1))
    told: list[Alert] = []

    @alerts.add_callback
    def fails(_alert: Alert) -> None:
        raise ValueError("bad")

    @alerts.add_callback
    def leaves(_alert: Alert) -> None:
        raise SystemExit

    alerts.add_callback(told.append)
    Lane(alerts=alerts).enqueue("query", "t")
    wait_until(lambda: len(told) == 1)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.name for record in errors] == ["a3s_lane", "a3s_lane"]
    assert [type(record.exc_info[1]) for record in errors if record.exc_info] == [ValueError, SystemExit]


def test_thresholds_change_at_any_time() -> None:
    alerts = AlertManager()
    told: list[Alert] = []
    alerts.add_callback(told.append)
    assert (alerts.queue_depth, alerts.latency_ms) == (None, None)
    lane = Lane(alerts=alerts)
    lane.enqueue("query", "t")
    alerts.queue_depth = (1, 5)
    alerts.latency_ms = (1.5, 2)
    assert (alerts.queue_depth, alerts.latency_ms) == ((1, 5), (1.5, 2.0))
    assert repr(alerts) == "AlertManager(queue_depth=(1, 5), latency_ms=(1.5, 2.0))"
    lane.enqueue("query", "t")
    wait_until(lambda: len(told) == 1)
    assert seen(told[0]) == ("warning", "query", 2.0, 1.0)
    alerts.queue_depth = None
    assert alerts.queue_depth is None


def test_one_manager_for_lanes_of_tests() -> None:
    alerts = AlertManager(queue_depth=(1, 1))
    told: list[Alert] = []
    alerts.add_callback(told.append)
    lane = create_lane(clock=ManualClock(), alerts=alerts, handler_threads=1)
    other = Lane(alerts=alerts)
    lane.enqueue("query", "t", delay_secs=60)
    other.enqueue("prompt", "t")
    wait_until(lambda: len(told) == 2)
    assert {alert.lane_id for alert in told} == {"query", "prompt"}


def test_a_lane_that_its_callback_holds_is_collected() -> None:
    alerts = AlertManager(queue_depth=(5, 9))
    lane = Lane(alerts=alerts)

    class Holder:
        def __init__(self, lane: Lane, alerts: AlertManager) -> None:
            self.lane, self.alerts = lane, alerts

        def __call__(self, alert: Alert) -> None: ...

    holder = Holder(lane, alerts)
    gone = weakref.ref(holder)
    alerts.add_callback(holder)
    del lane, alerts, holder
    gc.collect()
    assert gone() is None


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"queue_depth": 3}, TypeError, "queue_depth must be a pair (warning, critical) or None, not int"),
    ({"queue_depth": (1, 2, 3)}, TypeError, "queue_depth must be a pair"),
    ({"queue_depth": (0, 2)}, ValueError, "queue_depth[0] must be"),
    ({"queue_depth": (3, 2)}, ValueError, "queue_depth[0] must not be above queue_depth[1]"),
    ({"latency_ms": (-1, 2)}, ValueError, "latency_ms[0] must be a finite number of at least 0, got -1"),
    ({"latency_ms": (1, float("nan"))}, ValueError, "latency_ms[1] must be"),
    ({"latency_ms": (3.5, 2)}, ValueError, "latency_ms[0] must not be above latency_ms[1]"),
]


@pytest.mark.parametrize(("settings", "error", "text"), WRONG)
def test_thresholds_are_checked(settings: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        AlertManager(**settings)
    assert text in str(caught.value)


def test_callbacks_are_checked() -> None:
    alerts = AlertManager()
    wrong: Any = 3

    async def later(_alert: Alert) -> None: ...

    with pytest.raises(TypeError, match="callback must be a function, not int"):
        alerts.add_callback(wrong)
    with pytest.raises(TypeError, match="callback must be a def, not an async def"):
        alerts.add_callback(later)
    with pytest.raises(TypeError, match="alerts must be a AlertManager or None, not int"):
        Lane(alerts=wrong)


def test_the_end_of_the_program_waits_for_callbacks() -> None:
    script = """
import time
from a3s_lane import AlertManager, Lane
alerts = AlertManager(queue_depth=(1, 1))

@alerts.add_callback
def tell(alert):
    time.sleep(0.05)
    print(alert.lane_id, flush=True)

lane = Lane(alerts=alerts)
lane.enqueue("query", "t")
lane.enqueue("prompt", "t")
"""
    assert run_python(script) == "query\nprompt\n"

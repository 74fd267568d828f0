"""`LaneEvent` and `EventStream`."""

from __future__ import annotations

import math
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from a3s_lane import EventStream, Lane, LaneConfig, LaneEvent, RetryPolicy
from a3s_lane.testing import submit_scripted
from conftest import LIMIT_SECS, single, wait_until

LIMIT_MS = LIMIT_SECS * 1000


def keys(stream: EventStream, count: int) -> list[str]:
    events = [stream.recv(LIMIT_MS) for _ in range(count)]
    return [event.key.split(".", 1)[1] for event in events if event]


def test_events_of_a_command_in_order(lane: Lane) -> None:
    stream = lane.subscribe()
    lane.submit("query", "fetch", 1)
    submitted, started, completed = (stream.recv(LIMIT_MS) for _ in range(3))
    assert submitted and started and completed
    assert submitted.key == "queue.command.submitted"
    assert isinstance(submitted.payload, dict) and submitted.payload["lane_id"] == "query"
    assert started.key == "queue.command.started"
    assert isinstance(started.payload, dict) and started.payload["command_type"] == "fetch"
    assert completed.key == "queue.command.completed"
    assert isinstance(completed.payload, dict)
    assert completed.payload["command_id"] == started.payload["command_id"]
    assert stream.recv(timeout_ms=0) is None
    assert not stream.ended
    assert stream.missed == 0


def test_an_event_shows_itself(lane: Lane) -> None:
    stream = lane.subscribe()
    before = datetime.now(timezone.utc)
    lane.submit("query", "fetch")
    event = stream.recv(LIMIT_MS)
    assert isinstance(event, LaneEvent)
    assert repr(event) == "LaneEvent(key='queue.command.submitted')"
    moment = datetime.fromisoformat(event.timestamp)
    assert moment.utcoffset() == timedelta(0)
    assert before - timedelta(seconds=1) <= moment <= datetime.now(timezone.utc)
    first = event.payload
    assert isinstance(first, dict)
    first["lane_id"] = "changed"
    assert event.payload != first, "each look is a copy"
    with pytest.raises(AttributeError):
        event.key = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        LaneEvent()


def test_payload_is_none_when_there_is_nothing_to_tell(lane: Lane) -> None:
    stream = lane.subscribe_filtered(["queue.shutdown.started"])
    lane.shutdown()
    event = stream.recv(LIMIT_MS)
    assert event is not None and event.payload is None


def test_filtered_keys() -> None:
    with Lane.with_lanes([LaneConfig("one", 0, retry_policy=RetryPolicy.fixed(1, 0))]) as lane:
        stream = lane.subscribe_filtered(["queue.command.retry", "queue.command.failed"])
        result = submit_scripted(lane, "one", "t", [[{"fail": "a"}]])
        with pytest.raises(RuntimeError):
            result.result(LIMIT_SECS)
        assert keys(stream, 2) == ["command.retry", "command.failed"]
        assert stream.recv(timeout_ms=0) is None


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("queue.command.retry", "keys must be a list of str, not str"),
        (7, "keys must be a list of str, not int"),
        (["a", 1], r"keys\[1\] must be a str, not int"),
    ],
)
def test_filtered_keys_must_be_texts(lane: Lane, wrong: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        lane.subscribe_filtered(wrong)


def test_pressure_threshold_is_reported() -> None:
    lane = single(pressure_threshold=2)
    stream = lane.subscribe_filtered(["queue.lane.pressure", "queue.lane.idle"])
    results = [submit_scripted(lane, "one", "t", [[]]) for _ in range(2)]
    with lane:
        for result in results:
            result.result(LIMIT_SECS)
        assert keys(stream, 2) == ["lane.pressure", "lane.idle"]


def test_l35_a_stream_ends_after_shutdown() -> None:
    lane = single()
    stream = lane.subscribe()
    with lane:
        lane.submit("one", "t")
    assert [event.key for event in stream] == [
        "queue.command.submitted",
        "queue.command.started",
        "queue.command.completed",
        "queue.shutdown.started",
        "queue.shutdown.complete",
    ]
    assert stream.ended
    assert stream.recv() is None
    assert list(stream) == []


def test_l35_a_stream_ends_when_its_lane_is_dropped() -> None:
    lane = single()
    stream = lane.subscribe()
    del lane
    assert list(stream) == []


def test_l35_a_slow_reader_learns_how_much_it_missed(lane: Lane) -> None:
    stream = lane.subscribe()
    for number in range(200):
        lane.submit("query", "t", number)
    first = stream.recv(LIMIT_MS)
    assert first is not None
    assert first.key == "queue.events.lagged"
    assert isinstance(first.payload, dict)
    assert first.payload["missed"] == stream.missed > 0
    received = 0
    while stream.recv(timeout_ms=0):
        received += 1
    assert received + stream.missed == 600


def test_l35_a_filter_does_not_hide_that_events_were_lost(lane: Lane) -> None:
    stream = lane.subscribe_filtered(["queue.command.failed"])
    for number in range(200):
        lane.submit("query", "t", number)
    event = stream.recv(LIMIT_MS)
    assert event is not None and event.key == "queue.events.lagged"
    assert stream.recv(timeout_ms=0) is None


def test_close_ends_a_stream(lane: Lane) -> None:
    with lane.subscribe() as stream:
        lane.submit("query", "t")
        assert not stream.ended
    assert stream.ended
    assert stream.recv() is None
    assert list(stream) == []
    stream.close()


def test_close_wakes_a_reader(lane: Lane) -> None:
    stream = lane.subscribe()
    seen: list[LaneEvent] = []
    reader = threading.Thread(target=lambda: seen.extend(stream))
    reader.start()
    lane.submit("query", "t")
    wait_until(lambda: len(seen) == 3)
    stream.close()
    reader.join(LIMIT_SECS)
    assert not reader.is_alive()


def test_readers_share_a_stream(lane: Lane) -> None:
    stream = lane.subscribe_filtered(["queue.command.completed"])
    seen: list[LaneEvent] = []
    readers = [threading.Thread(target=lambda: seen.extend(stream)) for _ in range(4)]
    for reader in readers:
        reader.start()
    # Fewer events than the stream buffers, so that none can be lost.
    for number in range(20):
        lane.submit("query", "t", number)
    lane.shutdown()
    for reader in readers:
        reader.join(LIMIT_SECS)
    assert not any(reader.is_alive() for reader in readers)
    assert len(seen) == 20


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, 1e300])
def test_recv_refuses_impossible_times(lane: Lane, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout_ms must be a number of milliseconds from 0 to 10000000000000"):
        lane.subscribe().recv(timeout)


@pytest.mark.parametrize("timeout", ["1", True, []])
def test_recv_refuses_other_types(lane: Lane, timeout: Any) -> None:
    with pytest.raises(TypeError, match="timeout_ms must be a number of milliseconds"):
        lane.subscribe().recv(timeout_ms=timeout)


def test_recv_times_out(lane: Lane) -> None:
    stream = lane.subscribe()
    assert stream.recv(timeout_ms=1.5) is None
    assert not stream.ended


@pytest.mark.parametrize(("capacity", "missed"), [(None, 300), (1, 300), (512, 0)])
def test_event_capacity_is_how_far_a_reader_may_fall_behind(capacity: int | None, missed: int) -> None:
    lane = Lane(event_capacity=capacity)
    stream = lane.subscribe()
    for _ in range(500):
        lane.enqueue("query", "t")
    stream.recv(timeout_ms=0)
    assert (stream.missed >= missed) if missed else (stream.missed == 0)


@pytest.mark.parametrize("wrong", [0, 1_000_001])
def test_event_capacity_is_checked(wrong: int) -> None:
    with pytest.raises(ValueError, match="event_capacity must be an int from 1 to 1000000"):
        Lane(event_capacity=wrong)

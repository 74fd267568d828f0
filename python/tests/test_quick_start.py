"""The quick start of the documentation, verbatim."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_lane import Lane

BASIC_USAGE = '''\
from a3s_lane import Lane

lane = Lane()   # default lanes: system, control, query, session, skill, prompt
lane.start()

# Submit schedules work in priority order and blocks until it runs.
# Returns the payload as confirmation — the queue provides scheduling,
# concurrency control, and rate limiting.
result = lane.submit("query", "fetch_data", {"url": "https://api.example.com/data"})

# Subscribe to lifecycle events
stream = lane.subscribe()
event = stream.recv(timeout_ms=1000)
if event:
    print(f"[{event.timestamp}] {event.key}")

# Shutdown
lane.shutdown()
lane.drain(timeout_secs=30.0)
'''

CUSTOM_LANES = '''\
from a3s_lane import Lane, LaneConfig

lane = Lane.with_lanes([
    LaneConfig("high", priority=0, min_concurrency=1, max_concurrency=4),
    LaneConfig("low",  priority=1, min_concurrency=1, max_concurrency=2),
])
lane.start()
'''


def run(snippet: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(snippet, "quick start", "exec"), names)
    return names


def test_basic_usage() -> None:
    names = run(BASIC_USAGE)
    assert names["result"] == {"url": "https://api.example.com/data"}
    # Nothing happened between the subscription and the first look.
    assert names["event"] is None
    stats = names["lane"].stats()
    assert (stats.total_pending, stats.total_active) == (0, 0)


def test_basic_usage_prints_the_event_when_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    lane = Lane()
    lane.start()
    names = {"lane": lane, "stream": lane.subscribe()}
    lane.submit("query", "fetch_data", {})
    lines = BASIC_USAGE.splitlines()
    first = lines.index("event = stream.recv(timeout_ms=1000)")
    exec("\n".join(lines[first : first + 3]), names)
    assert capsys.readouterr().out.endswith("] queue.command.submitted\n")


def test_custom_lanes() -> None:
    lane = run(CUSTOM_LANES)["lane"]
    assert [(status.lane_id, status.max_concurrency) for status in lane.stats().lanes] == [("high", 4), ("low", 2)]
    assert lane.submit("low", "echo", [1]) == [1]

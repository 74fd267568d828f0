"""The quick start, run where nothing but the package is installed."""

import sys

from a3s_lane import Lane, LaneConfig

lane = Lane()   # default lanes: system, control, query, session, skill, prompt
lane.start()

# Submit schedules work in priority order and blocks until it runs.
# Returns the payload as confirmation — the queue provides scheduling,
# concurrency control, and rate limiting.
result = lane.submit("query", "fetch_data", {"url": "https://api.example.com/data"})
assert result == {"url": "https://api.example.com/data"}, result

# Subscribe to lifecycle events
stream = lane.subscribe()
lane.submit("query", "fetch_data", {"url": "https://api.example.com/data"})
event = stream.recv(timeout_ms=10_000)
assert event is not None
print(f"[{event.timestamp}] {event.key}")

# Shutdown
lane.shutdown()
lane.drain(timeout_secs=30.0)

lane = Lane.with_lanes([
    LaneConfig("high", priority=0, min_concurrency=1, max_concurrency=4),
    LaneConfig("low",  priority=1, min_concurrency=1, max_concurrency=2),
])
lane.start()
assert lane.submit("low", "echo", 1) == 1
lane.shutdown()
lane.drain(timeout_secs=30.0)

print(f"quick start passed on CPython {sys.version.split()[0]}")

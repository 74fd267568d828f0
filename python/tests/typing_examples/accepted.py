"""Never run: mypy checks that these uses have these types."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from a3s_lane import (
    EventStream,
    Lane,
    LaneConfig,
    LaneError,
    LaneEvent,
    LaneStatus,
    QueueStats,
    RetryPolicy,
    __version__,
)
from a3s_lane.testing import ScriptedResult, submit_scripted

config = LaneConfig("api", 0, timeout_secs=1, retry_policy=RetryPolicy.exponential(3))
assert_type(config.timeout_secs, "float | None")
assert_type(config.retry_policy, "RetryPolicy | None")
config.timeout_secs = 30
config.timeout_secs = None
assert_type(config == config, bool)
assert_type(__version__, str)

assert_type(Lane(), Lane)
assert_type(Lane(dlq_size=10), Lane)
lane = Lane.with_lanes([config])
assert_type(lane, Lane)
Lane.with_lanes(config for _ in range(1))

with lane as entered:
    assert_type(entered, Lane)
    assert_type(lane.submit("api", "fetch", {"url": "https://api.example.com"}), Any)

assert_type(lane.stats(), QueueStats)
assert_type(lane.stats().lanes, "list[LaneStatus]")
assert_type(lane.subscribe_filtered({"queue.command.started"}), EventStream)

with lane.subscribe() as stream:
    assert_type(stream.recv(timeout_ms=1000), "LaneEvent | None")
    for event in stream:
        assert_type(event, LaneEvent)
        if isinstance(event.payload, dict):
            assert_type(event.payload["lane_id"], Any)

result = submit_scripted(lane, "api", "t", [[{"sleep_ms": 5}, {"return": 1}]])
assert_type(result, ScriptedResult)
assert_type(result.result(timeout_secs=1), Any)

try:
    lane.start()
except LaneError as error:
    assert_type(error.code, str)

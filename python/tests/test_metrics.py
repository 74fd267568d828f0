"""Metrics: what a lane has counted and timed."""

from __future__ import annotations

import dataclasses
import json

import pytest

from a3s_lane import ConfigError, Lane, LaneConfig, MetricsSnapshot, RetryPolicy
from a3s_lane.testing import enqueue_scripted


def test_counts_and_times() -> None:
    config = LaneConfig("api", 0, max_concurrency=1, retry_policy=RetryPolicy.fixed(1, 0))
    with Lane.with_lanes([config], dlq_size=5, metrics=True) as lane:
        lane.submit("api", "t")
        enqueue_scripted(lane, "api", "flaky", [[{"fail": "x"}], [{"return": 1}]]).result()
        with pytest.raises(Exception, match="y"):
            enqueue_scripted(lane, "api", "fails", [[{"unrecoverable": "y"}]]).result()
        figures = lane.metrics()
    assert isinstance(figures, MetricsSnapshot)
    for name, count in {"submitted": 3, "completed": 2, "failed": 1, "retried": 1, "dead_lettered": 1}.items():
        assert figures.counters[f"lane.commands.{name}"] == count, name
        assert figures.counters[f"lane.commands.{name}.api"] == count, name
    assert figures.gauges["lane.queue.depth.api"] == 0.0
    latency = figures.histograms["lane.command.latency_ms.api"]
    assert latency.count == 2
    assert 0 <= latency.min <= latency.mean <= latency.max <= latency.sum
    assert latency.percentiles.p50 <= latency.percentiles.p90 <= latency.percentiles.p95 <= latency.percentiles.p99
    assert list(figures.counters) == sorted(figures.counters)


def test_a_snapshot_is_data() -> None:
    lane = Lane(metrics=True)
    before = lane.metrics()
    lane.enqueue("query", "t")
    after = lane.metrics()
    assert after.gauges["lane.queue.depth.query"] == 1.0
    assert after != before
    assert json.loads(json.dumps(dataclasses.asdict(after)))["gauges"]["lane.queue.depth.query"] == 1.0


def test_without_metrics_there_are_none() -> None:
    for lane in (Lane(), Lane(metrics=False)):
        with pytest.raises(ConfigError, match=r"metrics are off: make it with Lane\(metrics=True\)"):
            lane.metrics()

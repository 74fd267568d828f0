"""What a lane has counted and timed, as data."""

from __future__ import annotations

import dataclasses

__all__ = ["HistogramPercentiles", "HistogramStats", "MetricsSnapshot"]


@dataclasses.dataclass(frozen=True)
class HistogramPercentiles:
    """Four percentiles of a histogram, each within 1 % of the true value; 0 when there is no value."""

    __module__ = "a3s_lane"

    p50: float
    p90: float
    p95: float
    p99: float


@dataclasses.dataclass(frozen=True)
class HistogramStats:
    """The figures of one histogram. ``min``, ``max`` and ``mean`` are 0 when there is no value."""

    __module__ = "a3s_lane"

    count: int
    sum: float
    min: float
    max: float
    mean: float
    percentiles: HistogramPercentiles


@dataclasses.dataclass(frozen=True)
class MetricsSnapshot:
    """All figures of a :class:`Lane` at one moment, by name. Names that were never written are absent."""

    __module__ = "a3s_lane"

    counters: dict[str, int]
    gauges: dict[str, float]
    histograms: dict[str, HistogramStats]


def snapshot(
    counters: dict[str, int],
    gauges: dict[str, float],
    histograms: dict[str, tuple[int, float, float, float, float, tuple[float, float, float, float]]],
) -> MetricsSnapshot:
    """The compiled half calls this."""
    return MetricsSnapshot(
        dict(sorted(counters.items())),
        dict(sorted(gauges.items())),
        {
            name: HistogramStats(count, total, low, high, mean, HistogramPercentiles(*percentiles))
            for name, (count, total, low, high, mean, percentiles) in sorted(histograms.items())
        },
    )

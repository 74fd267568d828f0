"""Never run: mypy must refuse each of these lines; an ignore that is not needed is an error under --strict."""

from __future__ import annotations

from a3s_lane import EventStream, Lane, LaneConfig, LaneEvent, QueueStats, RetryPolicy

Lane(10)  # type: ignore
Lane(dlq_size="10")  # type: ignore[arg-type]
Lane.with_lanes(LaneConfig("api", 0))  # type: ignore[arg-type]
LaneConfig("api")  # type: ignore[call-arg]
LaneConfig("api", 0.5)  # type: ignore[arg-type]
LaneConfig("api", 0, min_concurrency=None)  # type: ignore[arg-type]
LaneConfig("api", 0, 1, 1, 1, 1, RetryPolicy.none())  # type: ignore
RetryPolicy()  # type: ignore[call-arg]


def read_only(event: LaneEvent, stats: QueueStats, stream: EventStream) -> None:
    event.key = "x"  # type: ignore[misc]
    stats.total_pending = 1  # type: ignore[misc]
    stream.missed = 1  # type: ignore[misc]
    event.payload["lane_id"]  # type: ignore[index]
    stream.recv().key  # type: ignore[union-attr]
    stream.recv("1")  # type: ignore[arg-type]


class Mine(Lane):  # type: ignore[misc]
    pass

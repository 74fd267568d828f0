"""Never run: mypy and pyright must refuse each of these lines; an ignore that is not needed is an error under --strict."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from a3s_lane import (
    AlertManager,
    CommandContext,
    CommandHandle,
    EventStream,
    Lane,
    LaneConfig,
    LaneEvent,
    Limiter,
    QueueStats,
    RetryPolicy,
    Unique,
)

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


def options(lane: Lane, config: LaneConfig, handle: CommandHandle) -> None:
    lane.enqueue("api", "t", None, "id")  # type: ignore
    lane.enqueue("api", "t", colour="red")  # type: ignore[call-arg]
    lane.enqueue("api", "t", jitter="some")  # type: ignore[arg-type]
    lane.submit("api", "t", priority=0.5)  # type: ignore[arg-type]
    lane.submit_many("api", [("t", 1, {"colour": "red"})])  # type: ignore[typeddict-unknown-key]
    lane.set_limiter("tokens", 5)  # type: ignore[arg-type]
    lane.set_max_concurrency()  # type: ignore[call-arg]
    lane.shutdown_within("5")  # type: ignore[arg-type]
    config.overflow = "explode"  # type: ignore[assignment]
    config.key_weights["gold"] = 3  # type: ignore[index]
    handle.id = "x"  # type: ignore[misc]
    handle.result("1")  # type: ignore[arg-type]
    Limiter(1)  # type: ignore[call-arg]
    Unique("x", on_conflict="win")  # type: ignore[arg-type]


async def handlers(lane: Lane) -> None:
    @lane.handler("t")
    def function(payload: int) -> int:
        return payload

    lane.handler()  # type: ignore[call-arg]
    lane.handler("t", executor="fibre")  # type: ignore[arg-type]
    function("1")  # type: ignore[arg-type]
    lane.register_handler("t", 5)  # type: ignore[arg-type]
    await lane.submit_async("api")  # type: ignore[call-arg]
    async with Lane(handler_threads="4"):  # type: ignore[arg-type]
        pass


def watched(lane: Lane, alerts: AlertManager) -> None:
    AlertManager(queue_depth=3)  # type: ignore[arg-type]
    alerts.add_callback(lambda: None)  # type: ignore
    alerts.latency_ms = 5  # type: ignore[assignment]
    Lane(alerts=print)  # type: ignore[arg-type]
    lane.metrics().counters = {}  # type: ignore[misc]

    @lane.middleware  # type: ignore
    def too_few(payload: object, ctx: CommandContext) -> object:
        return payload

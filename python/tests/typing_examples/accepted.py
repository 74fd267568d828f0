"""Never run: mypy and pyright check that these uses have these types."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

from typing_extensions import assert_type

from a3s_lane import (
    Alert,
    AlertManager,
    Chunk,
    CommandContext,
    CommandHandle,
    EventStream,
    Lane,
    LaneConfig,
    LaneError,
    LaneEvent,
    LaneStatus,
    Leftover,
    Limiter,
    MetricsSnapshot,
    PriorityBoost,
    QueueStats,
    RateLimit,
    RetryPolicy,
    ShutdownReport,
    SubmitOptions,
    Unique,
    __version__,
)
from a3s_lane.testing import ScriptedResult, enqueue_scripted, submit_many_scripted, submit_scripted

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
    assert_type(error.traceback, "str | None")

config.overflow = "wait"
config.limiters = ["tokens"]
assert_type(config.limiters, "tuple[str, ...]")
config.key_weights = {"gold": 3}
assert_type(config.key_weights["gold"], int)
config.rate_limit = RateLimit(5, 1)
config.priority_boost = PriorityBoost(60, [(30, 1), (5.5, 2)])
assert_type(Lane(max_concurrency=6, limiters={"tokens": Limiter(90_000, 60, reserve=10, urgent_up_to=1)}), Lane)

handle = lane.enqueue(
    "api",
    "fetch",
    {"a": 1},
    id="order-1",
    run_at=datetime.now(timezone.utc),
    retry_policy=RetryPolicy.none(),
    jitter="full",
    unique=Unique("report", window_secs=60, on_conflict="join"),
    metadata={"trace": "x"},
)
assert_type(handle, CommandHandle)
assert_type(handle.result(timeout_secs=1), Any)
assert_type(handle.cancel(), bool)
assert_type(handle.explain(), "dict[str, Any] | None")
for chunk in handle.chunks():
    assert_type(chunk, Chunk)
    assert_type(chunk.index, int)
for value in handle.progress():
    assert_type(value, Any)
assert_type({handle}, "set[CommandHandle]")

options: SubmitOptions = {"key": "tenant-7", "priority": -1}
for answer in lane.submit_many("api", [("a",), ("b", 2), ("c", None, options), ("d", 4, {"ttl_secs": 5})]):
    assert_type(answer, "CommandHandle | LaneError")
assert_type(enqueue_scripted(lane, "api", "t", [[]], **options), CommandHandle)
assert_type(submit_many_scripted(lane, "api", [("t", [[{"emit": 1}]])]), "list[CommandHandle | LaneError]")
assert_type(lane.cancel_key("tenant-7"), int)
lane.set_max_concurrency(None)
report = lane.shutdown_within(5)
assert_type(report, ShutdownReport)
assert_type(report.stopped, "list[Leftover]")
assert_type(report.is_clean, bool)


alerts = AlertManager(queue_depth=(10, 100), latency_ms=(0.5, 2))
alerts.queue_depth = None
assert_type(alerts.latency_ms, "tuple[float, float] | None")


@alerts.add_callback
def warn(alert: Alert) -> None:
    assert_type(alert.current_value, float)


assert_type(Lane(metrics=True, alerts=alerts).metrics(), MetricsSnapshot)
assert_type(lane.metrics().counters["lane.commands.completed"], int)
assert_type(lane.metrics().histograms["lane.command.latency_ms"].percentiles.p99, float)


@lane.middleware
def around(payload: dict[str, Any], ctx: CommandContext, next: Callable[[Any], Any]) -> Any:
    assert_type(ctx.command_type, str)
    return next(payload)


@lane.middleware
async def around_async(payload: Any, ctx: CommandContext, next: Callable[[Any], Awaitable[Any]]) -> str:
    return str(await next(payload))


@lane.handler("fetch")
def fetch(payload: str, ctx: CommandContext) -> int:
    assert_type(ctx.attempt, int)
    assert_type(ctx.time_left, "float | None")
    assert_type(ctx.enqueue_child("api", "fetch"), CommandHandle)
    return len(payload)


@lane.handler("crunch", executor="process")
def crunch(payload: int) -> int:
    return payload + 1


@lane.handler("stream")
async def talk(payload: object) -> str:
    return "end"


# A decorated function keeps its type.
assert_type(crunch(1), int)
assert_type(fetch.enqueue("api", "x", priority=1), CommandHandle)
assert_type(fetch.submit("api", "x"), Any)
assert_type(lane.remove_handler("fetch"), bool)
lane.register_handler("fetch", fetch)


async def awaited() -> None:
    assert_type(await talk(None), str)
    assert_type(await talk.submit_async("api"), Any)
    async with Lane(handler_threads=4) as entered:
        assert_type(entered, Lane)
        assert_type(await entered.submit_async("query", "t", 1, cost=2), Any)
        waiting = await entered.enqueue_async("query", "t")
        assert_type(waiting, CommandHandle)
        assert_type(await waiting, Any)
        async for chunk in waiting:
            assert_type(chunk, Chunk)
        async for progress in waiting.progress():
            assert_type(progress, Any)
        async for happened in entered.events({"queue.command.completed"}):
            assert_type(happened, LaneEvent)
        assert_type(await entered.shutdown_within_async(1), ShutdownReport)
        await entered.drain_async(1)

"""From the tables of scenarios to the settings of this package."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from a3s_lane import Lane, LaneConfig, Limiter, PriorityBoost, RateLimit, RetryPolicy, SubmitOptions, Unique
from a3s_lane.testing import ManualClock, SubmissionLog, create_lane

Table = dict[str, Any]


def only(what: str, table: Table, *known: str) -> Table:
    """The table, whose keys must all be known, without what is null."""
    unknown = table.keys() - set(known)
    assert not unknown, f"{what} has the unknown fields {sorted(unknown)}"
    return {name: value for name, value in table.items() if value is not None}


def secs(milliseconds: float) -> float:
    return milliseconds / 1000


def retry_policy(table: Table) -> RetryPolicy:
    only("retry", table, "max_retries", "initial_delay_ms", "max_delay_ms", "multiplier")
    return RetryPolicy(
        max_retries=table["max_retries"],
        initial_delay_secs=secs(table["initial_delay_ms"]),
        max_delay_secs=secs(table["max_delay_ms"]),
        multiplier=table["multiplier"],
    )


def rate_limit(table: Table) -> RateLimit:
    only("rate_limit", table, "max_commands", "window_ms")
    return RateLimit(table["max_commands"], secs(table["window_ms"]))


def boost(table: Table) -> PriorityBoost:
    only("boost", table, "deadline_ms", "steps")
    return PriorityBoost(secs(table["deadline_ms"]), [(secs(left), by) for left, by in table["steps"]])


# Each field of a lane: the attribute and how to read the value.
LANE: dict[str, tuple[str, Any]] = {
    "min": ("min_concurrency", int),
    "max": ("max_concurrency", int),
    "timeout_ms": ("timeout_secs", secs),
    "retry": ("retry_policy", retry_policy),
    "pressure_threshold": ("pressure_threshold", int),
    "max_pending": ("max_pending", int),
    "overflow": ("overflow", str),
    "preemptible": ("preemptible", bool),
    "grace_ms": ("grace_secs", secs),
    "progress_timeout_ms": ("progress_timeout_secs", secs),
    "max_concurrency_per_key": ("max_concurrency_per_key", int),
    "key_weights": ("key_weights", dict),
    "retry_jitter": ("retry_jitter", str),
    "rate_limit": ("rate_limit", rate_limit),
    "burst": ("burst", int),
    "limiters": ("limiters", tuple),
    "boost": ("priority_boost", boost),
}


def lane_config(table: Table) -> LaneConfig:
    given = only("lane", table, "id", "priority", *LANE)
    settings = {LANE[name][0]: LANE[name][1](value) for name, value in given.items() if name in LANE}
    return LaneConfig(given["id"], given["priority"], **settings)


def limiter(table: Table) -> Limiter:
    given = only("limiter", table, "max_commands", "window_ms", "algorithm", "burst", "counting_commands", "reserve")
    names = ("algorithm", "burst", "counting_commands")
    settings: Table = {name: given[name] for name in names if name in given}
    if "reserve" in given:
        reserve = only("reserve", given["reserve"], "amount", "urgent_up_to")
        settings |= {"reserve": reserve["amount"], "urgent_up_to": reserve["urgent_up_to"]}
    return Limiter(given["max_commands"], secs(given["window_ms"]), **settings)


def unique(table: Table) -> Unique:
    given = only("unique", table, "key", "window_ms", "on_conflict")
    window = given.get("window_ms")
    return Unique(given["key"], None if window is None else secs(window), given.get("on_conflict", "reject"))


def moment(text: str) -> datetime:
    # Before Python 3.11 `fromisoformat` knows no "Z".
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# Each option: the argument and how to read the value.
OPTIONS: dict[str, tuple[str, Any]] = {
    "id": ("id", str),
    "priority": ("priority", int),
    "delay_ms": ("delay_secs", secs),
    "run_at": ("run_at", moment),
    "ttl_ms": ("ttl_secs", secs),
    "timeout_ms": ("timeout_secs", secs),
    "no_timeout": ("no_timeout", bool),
    "progress_timeout_ms": ("progress_timeout_secs", secs),
    "retry": ("retry_policy", retry_policy),
    "jitter": ("jitter", str),
    "key": ("key", str),
    "unique": ("unique", unique),
    "cost": ("cost", int),
    "metadata": ("metadata", dict),
    "preemptible": ("preemptible", bool),
}


def submit_options(table: Table) -> SubmitOptions:
    given = only("options", table, *OPTIONS)
    options: Any = {OPTIONS[name][0]: OPTIONS[name][1](value) for name, value in given.items()}
    return options  # type: ignore[no-any-return]


def lane_of(scenario: Table, clock: ManualClock | None, log: SubmissionLog) -> Lane:
    """The lanes that a scenario asks for."""
    lanes = scenario.get("lanes")
    return create_lane(
        None if lanes is None else map(lane_config, lanes),
        clock=clock,
        inline=scenario.get("inline", False),
        submission_log=log,
        dlq_size=scenario.get("dlq_size"),
        max_concurrency=scenario.get("max_concurrency"),
        limiters={name: limiter(table) for name, table in scenario.get("limiters", {}).items()},
    )

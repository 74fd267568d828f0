"""Plays one scenario of tests/scenarios against this package.

The tables are shared with the other languages. What this player does not know is an error, so that no step and no
expectation is skipped in silence.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from a3s_lane import EventStream, Lane, LaneConfig, LaneError, QueueStats, RetryPolicy
from a3s_lane.testing import ScriptedResult, submit_scripted
from conftest import LIMIT_SECS, wait_until

Table = dict[str, Any]

ENDINGS = {"completed", "failed", "timeout", "retry", "cancelled", "expired", "preempted"}


def only(what: str, table: Table, *known: str) -> Table:
    """The table, whose keys must all be known."""
    unknown = table.keys() - set(known)
    assert not unknown, f"{what} has the unknown fields {sorted(unknown)}"
    return table


def retry_policy(table: Table | None) -> RetryPolicy | None:
    if table is None:
        return None
    only("retry", table, "max_retries", "initial_delay_ms", "max_delay_ms", "multiplier")
    return RetryPolicy(
        max_retries=table["max_retries"],
        initial_delay_secs=table["initial_delay_ms"] / 1000,
        max_delay_secs=table["max_delay_ms"] / 1000,
        multiplier=table["multiplier"],
    )


def lane_config(table: Table) -> LaneConfig:
    only("lane", table, "id", "priority", "min", "max", "timeout_ms", "retry", "pressure_threshold")
    config = LaneConfig(table["id"], table["priority"], pressure_threshold=table.get("pressure_threshold"))
    config.min_concurrency = table.get("min", config.min_concurrency)
    config.max_concurrency = table.get("max", config.max_concurrency)
    timeout_ms = table.get("timeout_ms")
    config.timeout_secs = None if timeout_ms is None else timeout_ms / 1000
    config.retry_policy = retry_policy(table.get("retry"))
    return config


class Heard:
    """One event as the tables see it."""

    def __init__(self, key: str, payload: Table) -> None:
        self.key = key
        self.lane_id: str | None = payload.get("lane_id")
        self.command_id: str | None = payload.get("command_id")
        self.command_type: str | None = payload.get("command_type")

    @property
    def kind(self) -> str:
        """The key without its prefix: `started`, `lane.pressure`."""
        for prefix in ("queue.command.", "queue."):
            if self.key.startswith(prefix):
                return self.key[len(prefix) :]
        return self.key


class Recorder:
    """Reads a stream in a thread of its own until it ends."""

    def __init__(self, stream: EventStream) -> None:
        self.events: list[Heard] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for event in self._stream:
            assert event.payload is None or isinstance(event.payload, dict)
            self.events.append(Heard(event.key, event.payload or {}))

    def finish(self) -> list[Heard]:
        self._thread.join(LIMIT_SECS)
        assert not self._thread.is_alive(), "the stream did not end"
        assert self._stream.missed == 0, "the stream lost events"
        return self.events


def subset_holds(stats: QueueStats, expected: Table) -> bool:
    only("stats", expected, "total_pending", "total_active", "dead_letter_count", "lanes")
    totals = {name: value for name, value in expected.items() if name != "lanes"}
    if any(getattr(stats, name) != value for name, value in totals.items()):
        return False
    found = {status.lane_id: status for status in stats.lanes}
    names = {"pending": "pending", "active": "active", "min": "min_concurrency", "max": "max_concurrency"}
    return all(
        getattr(found[lane_id], names[name]) == value
        for lane_id, status in expected.get("lanes", {}).items()
        for name, value in only(f"stats of {lane_id}", status, *names).items()
    )


class Player:
    """The steps, one method each."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.results: dict[str, ScriptedResult] = {}

    def step(self, step: Table) -> None:
        assert len(step) == 1, f"a step has one name: {step}"
        ((name, fields),) = step.items()
        play = getattr(self, f"_{name}", None)
        assert play is not None, f"unknown step {name!r}"
        play(fields)

    def _start(self, fields: Table) -> None:
        only("start", fields)
        self.lane.start()

    def _shutdown(self, fields: Table) -> None:
        only("shutdown", fields)
        self.lane.shutdown()

    def _submit(self, fields: Table) -> None:
        only("submit", fields, "as", "lane", "script", "error")
        name, script = fields["as"], fields.get("script", [[]])
        assert name not in self.results, f"two commands are called {name}"

        def submit() -> None:
            self.results[name] = submit_scripted(self.lane, fields["lane"], name, script)

        self._expect(fields, submit)

    def _echo(self, fields: Table) -> None:
        only("echo", fields, "lane", "type", "payload", "error")

        def echo() -> None:
            assert self.lane.submit(fields["lane"], fields["type"], fields["payload"]) == fields["payload"]

        self._expect(fields, echo)

    def _await(self, fields: Table) -> None:
        only("await", fields, "as", "ok", "error")
        assert ("ok" in fields) != (fields.get("error") is not None), "await needs either ok or error"
        result = self.results[fields["as"]]

        def wait() -> None:
            value = result.result(LIMIT_SECS)
            assert value == fields["ok"], f"{fields['as']} returned {value!r}"

        self._expect(fields, wait)

    def _drain(self, fields: Table) -> None:
        only("drain", fields, "timeout_ms", "error")
        self._expect(fields, lambda: self.lane.drain(fields["timeout_ms"] / 1000))

    def _stats(self, fields: Table) -> None:
        wait_until(lambda: subset_holds(self.lane.stats(), fields))

    @staticmethod
    def _expect(fields: Table, act: Any) -> None:
        if fields.get("error") is None:
            act()
            return
        with pytest.raises(LaneError) as caught:
            act()
        assert caught.value.code == fields["error"]


def most_active(events: list[Heard]) -> dict[str | None, int]:
    """How many commands of each lane ran at once at most."""
    active: Counter[str | None] = Counter()
    most: Counter[str | None] = Counter()
    for event in events:
        if event.kind == "started":
            active[event.lane_id] += 1
        elif event.kind in ENDINGS:
            active[event.lane_id] -= 1
        most[event.lane_id] = max(most[event.lane_id], active[event.lane_id])
    return most


def check_events(expected: Table, everything: list[Heard], chosen: list[Heard]) -> None:
    only("events", expected, "keys", "order", "each", "max_active")
    types = {event.command_id: event.command_type for event in everything if event.command_type}

    def command(event: Heard) -> str | None:
        return event.command_type or types.get(event.command_id)

    def name(event: Heard) -> str:
        subject = command(event) or event.lane_id
        return event.kind if subject is None else f"{event.kind} {subject}"

    if "order" in expected:
        assert [name(event) for event in chosen] == expected["order"]
    for subject, kinds in expected.get("each", {}).items():
        assert [event.kind for event in chosen if command(event) == subject] == kinds, f"events of {subject}"
    most = most_active(everything)
    for lane_id, limit in expected.get("max_active", {}).items():
        assert most[lane_id] == limit, f"most active of {lane_id}"


def play(scenario: Table) -> None:
    """Plays all steps, then checks the events."""
    only("scenario", scenario, "name", "about", "lanes", "dlq_size", "steps", "events")
    dlq_size = scenario.get("dlq_size")
    if scenario.get("lanes") is None:
        lane = Lane(dlq_size=dlq_size)
    else:
        lane = Lane.with_lanes(map(lane_config, scenario["lanes"]), dlq_size=dlq_size)
    expected = scenario.get("events") or {}
    # Everything, to know commands by name; and what the scenario asks for.
    everything = Recorder(lane.subscribe())
    keys = expected.get("keys")
    chosen = Recorder(lane.subscribe() if keys is None else lane.subscribe_filtered(keys))
    player = Player(lane)
    for step in scenario["steps"]:
        player.step(step)
    # Only the end of a stream proves that nothing else comes.
    lane.start()
    lane.shutdown()
    heard, wanted = everything.finish(), chosen.finish()
    if not any("shutdown" in step for step in scenario["steps"]):
        heard, wanted = (
            [event for event in events if not event.kind.startswith("shutdown.")] for events in (heard, wanted)
        )
    check_events(expected, heard, wanted)

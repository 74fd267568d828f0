"""What subscribers of a scenario hear, and what it expects of that."""

from __future__ import annotations

import threading
from collections import defaultdict

from a3s_lane import EventStream
from conftest import LIMIT_SECS
from scenario_settings import Table, only

ENDINGS = {"completed", "failed", "timeout", "retry", "cancelled", "preempted"}


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


def most_active(events: list[Heard]) -> dict[str | None, int]:
    """How many commands of each lane ran at once at most."""
    active: defaultdict[str | None, set[str | None]] = defaultdict(set)
    most: defaultdict[str | None, int] = defaultdict(int)
    for event in events:
        running = active[event.lane_id]
        if event.kind == "started":
            running.add(event.command_id)
        elif event.kind in ENDINGS:
            # What never started is not among them.
            running.discard(event.command_id)
        most[event.lane_id] = max(most[event.lane_id], len(running))
    return most


def check_events(expected: Table, names: dict[str, str], everything: list[Heard], chosen: list[Heard]) -> None:
    """`names` are those of the commands with handles, by their ids."""
    only("events", expected, "keys", "order", "each", "max_active")
    types: dict[str | None, str] = {
        event.command_id: event.command_type for event in everything if event.command_type
    }
    types.update(names.items())

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

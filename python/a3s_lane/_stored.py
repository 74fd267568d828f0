"""What a storage keeps, as data."""

from __future__ import annotations

import asyncio
import collections.abc
import dataclasses
import datetime
import enum
import os
import typing

__all__ = [
    "UNSET",
    "DeadLetter",
    "FailedAttempt",
    "HistoryEntry",
    "Inspection",
    "LaneInspection",
    "Unclaimed",
    "Unset",
    "inspect_async",
]


class Unset(enum.Enum):
    """The class of ``UNSET``, which stands for a payload that is absent: ``None`` is a payload."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


Unset.__module__ = "a3s_lane"
UNSET: typing.Final = Unset.UNSET


@dataclasses.dataclass(frozen=True)
class FailedAttempt:
    """One attempt that failed. ``started_at`` is ``None`` where nobody could say, ``traceback`` where no handler raised it."""

    __module__ = "a3s_lane"

    attempt: int
    error: str
    code: str
    traceback: str | None
    started_at: datetime.datetime | None
    failed_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A command that failed for good.

    ``payload`` is ``UNSET`` when none was kept. ``options`` is what its submission set, as a dict of JSON. ``error``, ``code`` and
    ``traceback`` are of its last attempt, ``failures`` are its failed attempts, oldest first.
    """

    __module__ = "a3s_lane"

    command_id: str
    command_type: str
    lane_id: str
    payload: typing.Any
    options: dict[str, typing.Any]
    error: str
    code: str
    traceback: str | None
    attempts: int
    failures: list[FailedAttempt]
    failed_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Unclaimed:
    """A stored command that cannot enter its lane.

    ``reason`` is ``"no_handler"``, ``"no_lane"`` or ``"unreadable"``, and ``detail`` a text for people. ``attempts`` have ended,
    ``crashes`` of them with their process. ``due_at`` is when the next may begin, ``None`` for at once.
    """

    __module__ = "a3s_lane"

    command_id: str
    command_type: str
    lane_id: str
    reason: typing.Literal["no_handler", "no_lane", "unreadable"]
    detail: str
    options: dict[str, typing.Any]
    attempts: int
    crashes: int
    submitted_at: datetime.datetime
    due_at: datetime.datetime | None


@dataclasses.dataclass(frozen=True)
class HistoryEntry:
    """Something that happened to a stored command. ``number`` counts from 1; ``attempt`` is the one that ended, if any."""

    __module__ = "a3s_lane"

    number: int
    at: datetime.datetime
    event: typing.Literal["submitted", "retried", "requeued", "crashed", "completed", "failed", "revived"]
    lane_id: str
    command_id: str
    command_type: str
    attempt: int | None
    code: str | None
    error: str | None


@dataclasses.dataclass(frozen=True)
class LaneInspection:
    """The pending commands of one lane, of which the oldest was submitted at ``oldest_created_at``."""

    __module__ = "a3s_lane"

    lane_id: str
    pending: int
    oldest_created_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a ``storage=`` directory holds: the same as ``a3s-lane inspect --json`` prints.

    ``format`` is that of its file. ``pending`` commands are in ``lanes``, by name; ``running`` of them run now, or ran when their
    process ended. ``file_bytes`` and ``log_bytes`` are the sizes of the database and its log. ``problems`` is what SQLite's integrity
    check finds wrong, and what is wrong with the log; empty for a storage that is whole.
    """

    __module__ = "a3s_lane"

    directory: str
    format: int
    lanes: list[LaneInspection]
    pending: int
    running: int
    dead_letters: int
    results: int
    history: int
    file_bytes: int
    log_bytes: int
    problems: list[str]


def inspect_async(
    directory: str | os.PathLike[str],
) -> collections.abc.Coroutine[typing.Any, typing.Any, Inspection]:
    """As :func:`inspect`, without blocking the event loop."""
    from a3s_lane import _a3s_lane

    return asyncio.to_thread(_a3s_lane.inspect, directory)


inspect_async.__module__ = "a3s_lane"

_Fields = dict[str, typing.Any]


def _read_times(fields: _Fields, *names: str) -> _Fields:
    for name in names:
        if fields[name] is not None:
            fields[name] = datetime.datetime.fromisoformat(fields[name])
    return fields


# The compiled half calls these.


def dead_letter(fields: _Fields) -> DeadLetter:
    fields.setdefault("payload", UNSET)
    failures = [FailedAttempt(**_read_times(each, "started_at", "failed_at")) for each in fields["failures"]]
    return DeadLetter(**_read_times({**fields, "failures": failures}, "failed_at"))


def unclaimed(fields: _Fields) -> Unclaimed:
    return Unclaimed(**_read_times(fields, "submitted_at", "due_at"))


def history_entry(fields: _Fields) -> HistoryEntry:
    return HistoryEntry(**_read_times(fields, "at"))


def inspection(fields: _Fields) -> Inspection:
    lanes = [LaneInspection(**_read_times(each, "oldest_created_at")) for each in fields["lanes"]]
    return Inspection(**{**fields, "lanes": lanes})

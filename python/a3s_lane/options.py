"""The types of settings, for type checkers."""

from __future__ import annotations

import collections.abc
import datetime
import typing

from a3s_lane._a3s_lane import RetryPolicy, Unique

__all__ = ["DeadLetterFilter", "SubmitOptions"]


class SubmitOptions(typing.TypedDict, total=False):
    """The keyword arguments of :meth:`Lane.enqueue`, as the third member of the tuples of :meth:`Lane.submit_many`."""

    id: str | None
    priority: int
    delay_secs: float | None
    run_at: datetime.datetime | None
    ttl_secs: float | None
    timeout_secs: float | None
    no_timeout: bool
    progress_timeout_secs: float | None
    retry_policy: RetryPolicy | None
    jitter: typing.Literal["none", "full", "equal"] | None
    key: str | None
    unique: str | Unique | None
    cost: int
    metadata: collections.abc.Mapping[str, object] | None
    preemptible: bool


class DeadLetterFilter(typing.TypedDict, total=False):
    """The keyword arguments of the methods of :class:`DeadLetters` that say which letters are meant."""

    ids: collections.abc.Iterable[str] | None
    lane_id: str | None
    command_type: str | None
    code: str | None
    since: datetime.datetime | None
    until: datetime.datetime | None
    limit: int | None

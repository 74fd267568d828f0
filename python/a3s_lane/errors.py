"""The exceptions of a3s-lane: one class per kind of error, all below :class:`LaneError`.

Wrong arguments raise the built-in ``TypeError`` and ``ValueError`` instead; the text names the argument.
"""

from __future__ import annotations

__all__ = [
    "CommandCancelledError",
    "CommandError",
    "CommandNotFoundError",
    "ConfigError",
    "CrashedError",
    "DuplicateError",
    "ExpiredError",
    "JobLeaseConflictError",
    "JobNotFoundError",
    "JobStateConflictError",
    "LaneError",
    "LaneFullError",
    "LaneNotFoundError",
    "LaneTimeoutError",
    "LimiterNotFoundError",
    "NotStartedError",
    "OtherError",
    "PanickedError",
    "QueueError",
    "ShutdownInProgressError",
    "StalledError",
    "StorageError",
    "Unrecoverable",
    "UnrecoverableError",
    "WouldBlockError",
]


class LaneError(RuntimeError):
    """Something went wrong in a lane; ``code`` is a stable name of the kind of error.

    Where a handler failed, ``traceback`` is the text that the interpreter would have printed.
    """

    code: str = "LANE_ERROR"
    traceback: str | None = None


class LaneNotFoundError(LaneError):
    """No lane has this id."""

    code = "LANE_NOT_FOUND"


class QueueError(LaneError):
    """The queue itself failed, for example because it belongs to the parent of a forked process."""

    code = "QUEUE_ERROR"


class ConfigError(LaneError, ValueError):
    """A setting is wrong; the text names the lane and the field."""

    code = "CONFIG_ERROR"


class CommandError(LaneError):
    """The command's own code reported a failure."""

    code = "COMMAND_ERROR"


class LaneTimeoutError(LaneError, TimeoutError):
    """An attempt ran longer than it may, or ``drain`` ran out of time."""

    code = "TIMEOUT"


class ShutdownInProgressError(LaneError):
    """The queue no longer accepts commands."""

    code = "SHUTDOWN_IN_PROGRESS"


class JobNotFoundError(LaneError):
    """No job has this id."""

    code = "JOB_NOT_FOUND"


class JobStateConflictError(LaneError):
    """The job is not in a state that allows the request."""

    code = "JOB_STATE_CONFLICT"


class JobLeaseConflictError(LaneError):
    """The caller no longer owns the job's lease."""

    code = "JOB_LEASE_CONFLICT"


class UnrecoverableError(LaneError):
    """The command failed in a way that no retry can mend."""

    code = "UNRECOVERABLE"


Unrecoverable = UnrecoverableError
"""What a handler raises to stop retries."""


class PanickedError(LaneError):
    """The command panicked; the text holds its message."""

    code = "PANICKED"


class CommandCancelledError(LaneError):
    """The command was cancelled before it ended."""

    code = "CANCELLED"


class ExpiredError(LaneError):
    """The command's time to live ran out before it started."""

    code = "EXPIRED"


class LaneFullError(LaneError):
    """The lane holds as many pending commands as it may."""

    code = "LANE_FULL"


class NotStartedError(LaneError):
    """The call would wait for a queue that was never started."""

    code = "NOT_STARTED"


class StorageError(LaneError):
    """The storage refused or failed."""

    code = "STORAGE_ERROR"


class StalledError(LaneError, TimeoutError):
    """An attempt gave no sign of life for longer than it may."""

    code = "STALLED"


class DuplicateError(LaneError):
    """Another command holds the id or the unique key of this one."""

    code = "DUPLICATE"


class CommandNotFoundError(LaneError):
    """No command has this id."""

    code = "COMMAND_NOT_FOUND"


class LimiterNotFoundError(LaneError):
    """No limiter has this name."""

    code = "LIMITER_NOT_FOUND"


class CrashedError(LaneError):
    """The process ended again and again while the command ran."""

    code = "CRASHED"


class WouldBlockError(LaneError):
    """The call would block the event loop that runs the handlers of the lanes, and so wait for ever."""

    code = "WOULD_BLOCK"


class OtherError(LaneError):
    """Anything else."""

    code = "OTHER"


_BY_CODE: dict[str, type[LaneError]] = {
    error.code: error
    for error in (
        LaneNotFoundError,
        QueueError,
        ConfigError,
        CommandError,
        LaneTimeoutError,
        ShutdownInProgressError,
        JobNotFoundError,
        JobStateConflictError,
        JobLeaseConflictError,
        UnrecoverableError,
        PanickedError,
        CommandCancelledError,
        ExpiredError,
        LaneFullError,
        NotStartedError,
        StorageError,
        StalledError,
        DuplicateError,
        CommandNotFoundError,
        LimiterNotFoundError,
        CrashedError,
        WouldBlockError,
        OtherError,
    )
}


def _for_code(code: str, message: str) -> LaneError:
    """The exception for an error of the core; the compiled half of the package calls this."""
    known = _BY_CODE.get(code)
    if known is not None:
        return known(message)
    # A kind of error that has no class of its own keeps its code.
    error = LaneError(message)
    error.code = code
    return error

"""Priority lanes for asynchronous work.

A lane is a named queue with a priority and a concurrency limit. The most urgent lane with runnable work goes next::

    from a3s_lane import Lane

    with Lane() as lane:
        result = lane.submit("query", "fetch_data", {"url": "https://api.example.com/data"})
"""

from a3s_lane._a3s_lane import (
    EventStream,
    Lane,
    LaneConfig,
    LaneEvent,
    LaneStatus,
    QueueStats,
    RetryPolicy,
    __version__,
)
from a3s_lane.errors import (
    CommandCancelledError,
    CommandError,
    ConfigError,
    ExpiredError,
    JobLeaseConflictError,
    JobNotFoundError,
    JobStateConflictError,
    LaneError,
    LaneFullError,
    LaneNotFoundError,
    LaneTimeoutError,
    NotStartedError,
    OtherError,
    PanickedError,
    QueueError,
    ShutdownInProgressError,
    StorageError,
    UnrecoverableError,
)

__all__ = [
    "CommandCancelledError",
    "CommandError",
    "ConfigError",
    "EventStream",
    "ExpiredError",
    "JobLeaseConflictError",
    "JobNotFoundError",
    "JobStateConflictError",
    "Lane",
    "LaneConfig",
    "LaneError",
    "LaneEvent",
    "LaneFullError",
    "LaneNotFoundError",
    "LaneStatus",
    "LaneTimeoutError",
    "NotStartedError",
    "OtherError",
    "PanickedError",
    "QueueError",
    "QueueStats",
    "RetryPolicy",
    "ShutdownInProgressError",
    "StorageError",
    "UnrecoverableError",
    "__version__",
]

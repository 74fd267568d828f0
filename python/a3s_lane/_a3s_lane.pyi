from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, final

from typing_extensions import Self

__all__ = [
    "EventStream",
    "Lane",
    "LaneConfig",
    "LaneEvent",
    "LaneStatus",
    "QueueStats",
    "RetryPolicy",
    "ScriptedResult",
    "__version__",
    "submit_scripted",
]

__version__: Final[str]

@final
class Lane:
    """A set of lanes: named queues with a priority and a concurrency limit each.

    ``Lane()`` has the lanes system (priority 0), control (1), query (2), session (3), skill (4) and prompt (5);
    :meth:`with_lanes` makes others. ``dlq_size`` is how many failed commands are kept as dead letters, 1 or more;
    ``None`` keeps none. As a context manager a ``Lane`` starts on entry. On normal exit it shuts down and waits until
    the work is done, at most one hour; on an exception it shuts down without waiting. All methods may be called from
    any thread.
    """

    def __new__(cls, *, dlq_size: int | None = None) -> Self: ...
    @classmethod
    def with_lanes(cls, configs: Iterable[LaneConfig], *, dlq_size: int | None = None) -> Lane:
        """A ``Lane`` with the given lanes instead of the default ones.

        Raises ``ValueError`` when ``configs`` is empty or names a lane twice, and :class:`ConfigError` when settings
        contradict each other.
        """
    def start(self) -> None:
        """Starts to run commands. Commands that were handed in before run now. May be called again."""
    # `Any` out because the result has the shape of the payload, which only the caller knows.
    def submit(self, lane_id: str, command_type: str, payload: object = None) -> Any:
        """Runs a command in a lane and returns its result, which is the payload.

        Waits for a free slot and for the command itself; other threads run meanwhile and Ctrl-C interrupts the wait, not
        the command. ``payload`` is anything that ``json.dumps`` accepts without NaN and infinities; integers must lie
        between -2**63 and 2**64 - 1. Raises :class:`LaneNotFoundError`, :class:`NotStartedError` before :meth:`start`,
        :class:`ShutdownInProgressError` after :meth:`shutdown`, and ``ValueError`` for a payload that is not JSON.
        """
    def subscribe(self) -> EventStream:
        """Subscribes to all events from now on."""
    def subscribe_filtered(self, keys: Iterable[str]) -> EventStream:
        """Subscribes to the events from now on whose key is one of ``keys``, and to notices of lost events."""
    def stats(self) -> QueueStats:
        """What is waiting and running now."""
    def shutdown(self) -> None:
        """Stops taking new commands. What was taken still runs. May be called again."""
    def drain(self, timeout_secs: float) -> None:
        """Waits until nothing is waiting or running, at most ``timeout_secs`` seconds.

        Raises :class:`LaneTimeoutError` when the time is over; the commands still run.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...

@final
class LaneConfig:
    """The settings of one lane.

    ``priority`` is 0 (most urgent) to 255. ``max_concurrency`` is how many commands run at once, ``min_concurrency`` how
    many slots are kept for the lane where all lanes share a total. ``timeout_secs`` limits each attempt, in seconds
    (``int`` or ``float``, above 0). At ``pressure_threshold`` pending commands the lane reports ``queue.lane.pressure``.
    Attributes can be changed until the configuration is given to :meth:`Lane.with_lanes`, which copies it.
    """

    lane_id: str
    """The name of the lane; not empty."""
    priority: int
    """How urgent the lane is: 0 is the most urgent, 255 the least."""
    min_concurrency: int
    """Slots kept for this lane where all lanes share a total, 0 to 4294967295; not above ``max_concurrency``."""
    max_concurrency: int
    """Most commands of this lane that run at once, 1 to 4294967295."""
    timeout_secs: float | None
    """Most seconds that one attempt may take; ``None`` means no limit."""
    pressure_threshold: int | None
    """Pending commands at which the lane reports pressure, 1 to 4294967295; ``None`` means never."""
    retry_policy: RetryPolicy | None
    """How often a failed command runs again; ``None`` means never."""
    def __new__(
        cls,
        lane_id: str,
        priority: int,
        min_concurrency: int = 1,
        max_concurrency: int = 10,
        timeout_secs: float | None = None,
        pressure_threshold: int | None = None,
        *,
        retry_policy: RetryPolicy | None = None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class RetryPolicy:
    """How often and how soon a failed command runs again.

    Retry ``n`` waits ``initial_delay_secs * multiplier ** (n - 1)``, at most ``max_delay_secs``. What is not given is as
    in :meth:`exponential`: 0.1 s, 30 s and 2. Times are seconds, ``int`` or ``float``.
    """

    def __new__(
        cls,
        *,
        max_retries: int,
        initial_delay_secs: float | None = None,
        max_delay_secs: float | None = None,
        multiplier: float | None = None,
    ) -> Self: ...
    @staticmethod
    def exponential(max_retries: int) -> RetryPolicy:
        """Waits 0.1 s before the first retry, then twice as long each time, at most 30 s."""
    @staticmethod
    def fixed(max_retries: int, delay_secs: float) -> RetryPolicy:
        """Waits ``delay_secs`` before each retry."""
    @staticmethod
    def none() -> RetryPolicy:
        """Never retries: a failure is final."""
    @property
    def max_retries(self) -> int:
        """Most retries after the first attempt."""
    @property
    def initial_delay_secs(self) -> float:
        """Seconds before the first retry."""
    @property
    def max_delay_secs(self) -> float:
        """Most seconds before any retry."""
    @property
    def multiplier(self) -> float:
        """Factor from one delay to the next."""
    def delay_secs_for_attempt(self, attempt: int) -> float:
        """How many seconds retry ``attempt`` waits, counted from 1; 0.0 without retries."""
    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class LaneEvent:
    """One thing that happened in a lane, as an :class:`EventStream` delivers it."""

    @property
    def key(self) -> str:
        """What happened, such as ``queue.command.started``."""
    @property
    def payload(self) -> str | dict[str, Any] | None:
        """The details: ``None``, a text, or a new dict such as ``{"lane_id": "query", "command_id": "..."}``."""
    @property
    def timestamp(self) -> str:
        """When it happened, in RFC 3339 form with microseconds in UTC: ``2026-11-22T10:00:00.123456+00:00``."""

@final
class EventStream(Iterator[LaneEvent]):
    """The events of a :class:`Lane`, in order, from the moment of subscription.

    A stream that falls behind by more than 100 events loses the oldest ones and then delivers one
    ``queue.events.lagged`` event with ``{"missed": n}``. It ends after ``queue.shutdown.complete``. Iterate over it, or
    call :meth:`recv`. Any number of threads may read one stream: each event goes to one of them.
    """

    def recv(self, timeout_ms: float | None = None) -> LaneEvent | None:
        """Waits for the next event, at most ``timeout_ms`` milliseconds.

        Returns ``None`` when the time is over or the stream has ended; :attr:`ended` tells which. 0 only takes what has
        already arrived. Without a limit Ctrl-C still interrupts the wait.
        """
    @property
    def missed(self) -> int:
        """How many events this stream has lost so far because nobody read it in time."""
    @property
    def ended(self) -> bool:
        """Whether the stream has delivered its last event or was closed."""
    def close(self) -> None:
        """Ends the stream: threads that wait in :meth:`recv` return ``None`` at once. May be called again."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> LaneEvent: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...

@final
class LaneStatus:
    """What is waiting and running in one lane."""

    @property
    def lane_id(self) -> str:
        """The name of the lane."""
    @property
    def pending(self) -> int:
        """Commands that wait, those waiting for a retry included."""
    @property
    def active(self) -> int:
        """Commands that run."""
    @property
    def min_concurrency(self) -> int:
        """The lane's ``min_concurrency``."""
    @property
    def max_concurrency(self) -> int:
        """The lane's ``max_concurrency``."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class QueueStats:
    """What is waiting and running in all lanes together."""

    @property
    def total_pending(self) -> int:
        """Commands that wait in all lanes together."""
    @property
    def total_active(self) -> int:
        """Commands that run in all lanes together."""
    @property
    def dead_letter_count(self) -> int:
        """Commands in the dead letter queue; 0 without one."""
    @property
    def lanes(self) -> list[LaneStatus]:
        """One entry per lane, the most urgent first, lanes of equal priority in the order they were given."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class ScriptedResult:
    """The result of a command that :func:`submit_scripted` has handed to a lane."""

    def result(self, timeout_secs: float | None = None) -> Any:
        """Waits for the command and returns its value or raises its error. May be called again.

        Raises the built-in ``TimeoutError``, which is no :class:`LaneError`, after ``timeout_secs`` seconds of waiting.
        """
    def done(self) -> bool:
        """Whether the command has ended."""

def submit_scripted(
    lane: Lane,
    lane_id: str,
    command_type: str,
    script: Sequence[Sequence[Mapping[str, object]]],
) -> ScriptedResult:
    """Hands a command that follows ``script`` to a lane and returns at once, also before :meth:`Lane.start`.

    ``script`` is a list of attempts, each a list of steps that run in order: ``{"sleep_ms": 20}``, ``{"fail": "text"}``,
    ``{"panic": "text"}``, ``{"return": value}``. An attempt that ends without the last three returns ``None``. The last
    attempt of the list is repeated when there are more retries.
    """

import builtins
from asyncio import AbstractEventLoop, Future
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, TypeVar, final

from typing_extensions import ParamSpec, Self, Unpack

from a3s_lane._handler_function import HandlerFunction
from a3s_lane._metrics import MetricsSnapshot
from a3s_lane._stored import DeadLetter, HistoryEntry, Inspection, Unclaimed
from a3s_lane.errors import LaneError
from a3s_lane.options import SubmitOptions

__all__ = [
    "Alert",
    "AlertManager",
    "Chunk",
    "ChunkStream",
    "CommandContext",
    "CommandHandle",
    "DeadLetters",
    "EventStream",
    "Lane",
    "LaneConfig",
    "LaneEvent",
    "LaneStatus",
    "Leftover",
    "Limiter",
    "ManualClock",
    "PriorityBoost",
    "ProgressStream",
    "QueueStats",
    "RateLimit",
    "Retention",
    "RetryPolicy",
    "ScriptedResult",
    "ShutdownReport",
    "SubmissionLog",
    "Submitted",
    "Unique",
    "__version__",
    "create_lane",
    "drain_now",
    "enqueue_scripted",
    "inspect",
    "submit_many_scripted",
    "submit_scripted",
    "_LoopAnchor",
    "_Pending",
    "_add_middleware",
    "_begin_close",
    "_begin_drain",
    "_begin_enqueue",
    "_begin_enter",
    "_begin_find",
    "_begin_history",
    "_begin_shutdown",
    "_begin_submit",
    "_begin_unclaimed",
    "_empty_outboxes",
    "_end_of_work",
    "_register",
]

__version__: Final[str]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_M = TypeVar("_M", bound=Callable[[Any, CommandContext, Callable[[Any], Any]], Any])
_A = TypeVar("_A", bound=Callable[[Alert], object])

@final
class Lane:
    """A set of lanes: named queues with a priority and a concurrency limit each.

    ``Lane()`` has the lanes system (priority 0), control (1), query (2), session (3), skill (4) and prompt (5);
    :meth:`with_lanes` makes others. ``dlq_size`` is how many failed commands are kept as dead letters, 1 or more;
    ``None`` keeps none. ``max_concurrency`` is how many commands run at once over all lanes, of which each lane's
    ``min_concurrency`` is kept for it; ``None`` is no limit. ``limiters`` are the limiters that lanes use by name.
    ``handler_threads`` is how many ``def`` handlers run at once, 64 by default. With ``metrics`` it counts and times what it does
    for :meth:`metrics`. ``alerts`` is an :class:`AlertManager`. ``event_capacity`` is how many events an :class:`EventStream` may
    fall behind, 1 to 1000000, 100 by default.

    ``storage`` is a directory where commands outlive the process; making the ``Lane`` opens it, and raises :class:`StorageError`. With
    ``durability`` ``"full"`` what was accepted survives a power cut, with ``"relaxed"`` a crash of the process. ``results`` and
    ``history`` say, as a :class:`Retention`, how much of them is kept; by default nothing is. A command during whose attempts the process
    ended ``max_crashes`` times becomes a dead letter, of which ``max_dead_letters`` are kept.

    As a context manager a ``Lane`` starts on entry, as an async one on the event loop that runs. On normal exit it shuts down and
    waits until the work is done, at most one hour; on an exception it shuts down without waiting, and with a ``storage`` what runs is
    stopped and stays stored. All methods may be called
    from any thread.
    """

    def __new__(
        cls,
        *,
        dlq_size: int | None = None,
        max_concurrency: int | None = None,
        limiters: dict[str, Limiter] | None = None,
        handler_threads: int | None = None,
        metrics: bool = False,
        alerts: AlertManager | None = None,
        event_capacity: int | None = None,
        storage: str | PathLike[str] | None = None,
        durability: Literal["full", "relaxed"] = "full",
        max_crashes: int = 3,
        results: Retention | None = None,
        history: Retention | None = None,
        max_dead_letters: int = 10000,
    ) -> Self: ...
    @classmethod
    def with_lanes(
        cls,
        configs: Iterable[LaneConfig],
        *,
        dlq_size: int | None = None,
        max_concurrency: int | None = None,
        limiters: dict[str, Limiter] | None = None,
        handler_threads: int | None = None,
        metrics: bool = False,
        alerts: AlertManager | None = None,
        event_capacity: int | None = None,
        storage: str | PathLike[str] | None = None,
        durability: Literal["full", "relaxed"] = "full",
        max_crashes: int = 3,
        results: Retention | None = None,
        history: Retention | None = None,
        max_dead_letters: int = 10000,
    ) -> Lane:
        """A ``Lane`` with the given lanes instead of the default ones.

        Raises ``ValueError`` when ``configs`` is empty or names a lane twice, and :class:`ConfigError` when settings
        contradict each other. The other arguments are those of ``Lane``.
        """
    def start(self) -> None:
        """Starts to run commands. Commands that were handed in before run now, and before them those that earlier processes have left
        in the ``storage``. May be called again.

        Raises :class:`StorageError` when the storage cannot be read or another ``Lane`` runs on it; nothing runs then.
        """
    # `Any` out because the result has the shape of the payload, which only the caller knows.
    def submit(
        self,
        lane_id: str,
        command_type: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay_secs: float | None = None,
        run_at: datetime | None = None,
        ttl_secs: float | None = None,
        timeout_secs: float | None = None,
        no_timeout: bool = False,
        progress_timeout_secs: float | None = None,
        retry_policy: RetryPolicy | None = None,
        jitter: Literal["none", "full", "equal"] | None = None,
        key: str | None = None,
        unique: str | Unique | None = None,
        cost: int = 1,
        metadata: Mapping[str, object] | None = None,
        preemptible: bool = True,
    ) -> Any:
        """Runs a command in a lane and returns its result, which is the payload.

        Waits for a free slot and for the command itself; other threads run meanwhile and Ctrl-C interrupts the wait, not
        the command. ``payload`` is anything that ``json.dumps`` accepts without NaN and infinities; integers must lie
        between -2**63 and 2**64 - 1. The other arguments are those of :meth:`enqueue`. Raises the command's error, what
        :meth:`enqueue` raises, and :class:`NotStartedError` before :meth:`start`.
        """
    def enqueue(
        self,
        lane_id: str,
        command_type: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay_secs: float | None = None,
        run_at: datetime | None = None,
        ttl_secs: float | None = None,
        timeout_secs: float | None = None,
        no_timeout: bool = False,
        progress_timeout_secs: float | None = None,
        retry_policy: RetryPolicy | None = None,
        jitter: Literal["none", "full", "equal"] | None = None,
        key: str | None = None,
        unique: str | Unique | None = None,
        cost: int = 1,
        metadata: Mapping[str, object] | None = None,
        preemptible: bool = True,
    ) -> CommandHandle:
        """Hands a command to a lane and returns its handle at once, also before :meth:`start`.

        ``id`` names the command; else it gets a UUID. ``priority`` is its place inside the lane, lower first.
        ``delay_secs`` or ``run_at``, a ``datetime`` with a time zone, is when it may start; after ``ttl_secs`` without a
        start it ends with :class:`ExpiredError`. ``timeout_secs``, ``no_timeout``, ``progress_timeout_secs``,
        ``retry_policy`` and ``jitter`` replace the lane's settings for it. Commands of one ``key`` take turns with those of
        others and can be paused and cancelled together. ``unique``, a name or :class:`Unique`, admits no second command of
        that name. ``cost`` is what limiters charge, 0 to 2**53 - 1; ``metadata`` is a dict that goes with the command; one
        that is not ``preemptible`` is never stopped for a more urgent lane.

        Waits only where a full lane's ``overflow`` is ``"wait"``; Ctrl-C interrupts that, and nothing is submitted. With a storage it
        waits for that too; interrupted there, the command may be stored, and run after the next start. Raises :class:`LaneNotFoundError`, :class:`ShutdownInProgressError` after :meth:`shutdown`, :class:`LaneFullError`,
        :class:`DuplicateError` for an ``id`` or ``unique`` that is taken, :class:`ConfigError` for a ``cost`` that a limiter
        could never grant, and ``ValueError`` for a payload that is not JSON.
        """
    def submit_many(
        self,
        lane_id: str,
        commands: Iterable[tuple[str] | tuple[str, object] | tuple[str, object, SubmitOptions]],
    ) -> list[CommandHandle | LaneError]:
        """Hands many commands to a lane, in their order; none of others comes in between unless one has to wait.

        Each is a tuple ``(command_type, payload, options)`` of which the last two may be left out; ``options`` is a dict of
        the arguments of :meth:`enqueue`. Returns for each its handle, or the :class:`LaneError` with which it was refused:
        one that is refused does not keep the others out. A wrong argument raises, and nothing is submitted.
        """
    def cancel(self, command_id: str) -> bool:
        """Cancels the command with this id; returns whether there was one to cancel. See :meth:`CommandHandle.cancel`."""
    def cancel_lane(self, lane_id: str) -> int:
        """Cancels every command of a lane, waiting or running; returns how many."""
    def cancel_key(self, key: str) -> int:
        """Cancels every command with this ``key``, in all lanes; returns how many."""
    def pause_lane(self, lane_id: str) -> None:
        """Starts no commands of this lane until :meth:`resume_lane`. What runs goes on, and so does the time of delays, limits
        and ``ttl_secs``.
        """
    def resume_lane(self, lane_id: str) -> None:
        """Lets a paused lane start commands again."""
    def pause_key(self, key: str) -> None:
        """Starts no commands with this ``key``, in any lane, until :meth:`resume_key`."""
    def resume_key(self, key: str) -> None:
        """Lets commands with a paused ``key`` start again."""
    def set_lane(self, config: LaneConfig) -> None:
        """Adds a lane, or changes the one of this ``lane_id``; its commands stay, and running ones keep their time limits.

        Raises :class:`ConfigError` when settings contradict each other; then nothing has changed.
        """
    def remove_lane(self, lane_id: str) -> None:
        """Takes a lane out. Raises :class:`QueueError` while it has commands: cancel them or let them end first."""
    def set_max_concurrency(self, max_concurrency: int | None) -> None:
        """Changes how many commands run at once over all lanes, 1 to 4294967295; ``None`` is no limit. What runs goes on.

        Raises :class:`ConfigError` when it is below the sum of the lanes' ``min_concurrency``.
        """
    def set_limiter(self, name: str, limiter: Limiter) -> None:
        """Changes a limiter that was given to ``Lane``; what was used up under the old limit counts under the new one.

        Raises :class:`LimiterNotFoundError`.
        """
    def explain(self, command_id: str) -> dict[str, Any] | None:
        """Where a command is and everything it waits for, or ``None`` when it has ended or there is none with this id.

        A new dict: ``command_id``, ``lane_id``, ``status``, ``attempts`` so far, ``age_secs`` since the submission, and
        ``reasons``: a list of dicts such as ``{"reason": "lane_full", "max": 1, "running": ["..."]}``. The reasons are
        ``not_started``, ``lane_paused``, ``key_paused``, ``delayed``, ``expired``, ``behind``, ``lane_full``, ``key_busy``,
        ``total_reached``, ``reserved`` and ``rate_limited``. A command that runs, or starts right now, has none.
        """
    def find(self, command_id: str) -> CommandHandle | None:
        """A handle of the command with this id, of this process or an earlier one, or ``None``: it waits or runs, or it has ended and
        ``results`` of the storage are kept. An error that was kept has its code and its text.

        ``None`` also for what is unclaimed. Raises :class:`StorageError`.
        """
    def unclaimed(self) -> list[Unclaimed]:
        """The stored commands that cannot enter their lanes, oldest first: they wait for a handler of their type or for their lane,
        and enter when it is registered. Empty without a storage. Raises :class:`StorageError`.
        """
    def load_history(
        self,
        *,
        command_id: str | None = None,
        lane_id: str | None = None,
        since: datetime | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[HistoryEntry]:
        """What has happened to stored commands, oldest first, as far as ``history`` keeps it. The arguments say of which, together:
        of one command, of one lane, at the time ``since`` or later, with a higher number than ``after``, and at most ``limit``.

        Raises :class:`ConfigError` without a storage, and :class:`StorageError`.
        """
    @property
    def dead_letters(self) -> DeadLetters:
        """The commands that failed for good."""
    def snapshot(self) -> dict[str, Any]:
        """The whole state as a new dict that ``json.dumps`` accepts, for people and tests: it costs a walk through all commands.

        It has ``taken_at``, ``started``, ``shutting_down``, ``total_limit``, ``pending``, ``active``, ``paused_keys``,
        ``lanes`` (most urgent first, each with ``id``, ``priority``, ``effective_priority``, ``pending``, ``active``,
        ``min``, ``max`` and ``paused``) and ``commands`` (each as from :meth:`explain`, and its ``key``).
        """
    def subscribe(self) -> EventStream:
        """Subscribes to all events from now on."""
    def subscribe_filtered(self, keys: Iterable[str]) -> EventStream:
        """Subscribes to the events from now on whose key is one of ``keys``, and to notices of lost events."""
    def stats(self) -> QueueStats:
        """What is waiting and running now."""
    def metrics(self) -> MetricsSnapshot:
        """What the lanes have counted and timed so far.

        Raises :class:`ConfigError` for a ``Lane`` without ``metrics=True``.
        """
    def shutdown(self) -> None:
        """Stops taking new commands. What was taken still runs. May be called again."""
    def shutdown_within(self, secs: float) -> ShutdownReport:
        """Ends the lanes: takes and starts nothing more, and gives what runs ``secs`` seconds to end. What still runs then is
        asked to stop and, after its lane's ``grace_secs``, dropped. Returns what was left.

        Everything that was left settles with :class:`QueueError`. Ctrl-C interrupts the wait; what runs goes on then.
        """
    def close(self) -> None:
        """Ends the lanes at once, as :meth:`shutdown_within` with 0 does, and the use of the ``storage``: another process can open the
        directory when this returns. What has to ask the storage then raises :class:`StorageError`. May be called again.
        """
    def drain(self, timeout_secs: float) -> None:
        """Waits until nothing is waiting or running, at most ``timeout_secs`` seconds.

        Raises :class:`LaneTimeoutError` when the time is over; the commands still run.
        """
    def events(self, keys: Iterable[str] | None = None) -> EventStream:
        """The events from now on, for ``async for``: all of them, or those whose key is one of ``keys``."""
    def submit_async(
        self,
        lane_id: str,
        command_type: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay_secs: float | None = None,
        run_at: datetime | None = None,
        ttl_secs: float | None = None,
        timeout_secs: float | None = None,
        no_timeout: bool = False,
        progress_timeout_secs: float | None = None,
        retry_policy: RetryPolicy | None = None,
        jitter: Literal["none", "full", "equal"] | None = None,
        key: str | None = None,
        unique: str | Unique | None = None,
        cost: int = 1,
        metadata: Mapping[str, object] | None = None,
        preemptible: bool = True,
    ) -> Coroutine[Any, Any, Any]:
        """Runs a command in a lane and gives its result, as :meth:`submit` does, without blocking the event loop.

        Waiting is not running: cancelling the task that waits does not cancel the command.
        """
    def enqueue_async(
        self,
        lane_id: str,
        command_type: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay_secs: float | None = None,
        run_at: datetime | None = None,
        ttl_secs: float | None = None,
        timeout_secs: float | None = None,
        no_timeout: bool = False,
        progress_timeout_secs: float | None = None,
        retry_policy: RetryPolicy | None = None,
        jitter: Literal["none", "full", "equal"] | None = None,
        key: str | None = None,
        unique: str | Unique | None = None,
        cost: int = 1,
        metadata: Mapping[str, object] | None = None,
        preemptible: bool = True,
    ) -> Coroutine[Any, Any, CommandHandle]:
        """Hands a command to a lane and gives its handle, as :meth:`enqueue` does, without blocking the event loop where a full
        lane's ``overflow`` is ``"wait"``. Cancelling the wait submits nothing.
        """
    def drain_async(self, timeout_secs: float) -> Coroutine[Any, Any, None]:
        """Waits until nothing is waiting or running, as :meth:`drain` does, without blocking the event loop."""
    def shutdown_within_async(self, secs: float) -> Coroutine[Any, Any, ShutdownReport]:
        """Ends the lanes, as :meth:`shutdown_within` does, without blocking the event loop."""
    def close_async(self) -> Coroutine[Any, Any, None]:
        """As :meth:`close`, without blocking the event loop."""
    def find_async(self, command_id: str) -> Coroutine[Any, Any, CommandHandle | None]:
        """As :meth:`find`, without blocking the event loop."""
    def unclaimed_async(self) -> Coroutine[Any, Any, list[Unclaimed]]:
        """As :meth:`unclaimed`, without blocking the event loop."""
    def load_history_async(
        self,
        *,
        command_id: str | None = None,
        lane_id: str | None = None,
        since: datetime | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Coroutine[Any, Any, list[HistoryEntry]]:
        """As :meth:`load_history`, without blocking the event loop."""
    def handler(
        self, command_type: str, *, executor: Literal["thread", "process"] | None = None
    ) -> Callable[[Callable[_P, _R]], HandlerFunction[_P, _R]]:
        """A decorator that makes a function the handler of a command type.

        The function takes ``(payload)`` or ``(payload, ctx)``, where ``ctx`` is a :class:`CommandContext`, and returns what is
        JSON. An ``async def`` runs on the event loop of ``async with lane``, or that of the first call that is awaited, else on
        one that the lane starts; a ``def`` on a thread of the lane, or with ``executor="process"`` in another process. A payload
        that is annotated as a dataclass or a pydantic model is one. The function stays what it is and gains ``submit``,
        ``submit_async`` and ``enqueue``.
        """
    def register_handler(
        self, command_type: str, function: Callable[..., Any], *, executor: Literal["thread", "process"] | None = None
    ) -> None:
        """Makes a function the handler of a command type, as :meth:`handler` does; one that was there is replaced."""
    def remove_handler(self, command_type: str) -> bool:
        """Takes the handler of a command type away, so that its commands return their payload; returns whether there was one.
        What runs goes on.
        """
    def middleware(self, function: _M) -> _M:
        """Puts a function around handlers, those to come too, and returns it: a decorator.

        It takes ``(payload, ctx, next)``, calls ``next(payload)`` for the handler's result and returns its own. A ``def`` goes
        around every handler that is a ``def``, an ``async def``, in which ``next`` is awaited, around every ``async def``. What was
        added first is the outermost. It runs where the handler runs, in each attempt, and may call ``next`` with another
        payload, several times or not at all. ``payload`` is what JSON made of it, also where the handler takes a model.
        """
    def __aenter__(self) -> Coroutine[Any, Any, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> Coroutine[Any, Any, None]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...

@final
class Alert:
    """One alert about one lane."""

    @property
    def level(self) -> Literal["info", "warning", "critical"]:
        """How serious it is: ``"warning"`` or ``"critical"``."""
    @property
    def lane_id(self) -> str:
        """The lane it is about."""
    @property
    def message(self) -> str:
        """A sentence for people."""
    @property
    def current_value(self) -> float:
        """The commands that wait, or the latency in milliseconds."""
    @property
    def threshold(self) -> float:
        """The threshold that was reached, in the same unit."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class AlertManager:
    """Calls back when a lane is too deep or its commands are too slow. Give it to ``Lane`` as ``alerts``.

    ``queue_depth`` and ``latency_ms`` are each a pair ``(warning, critical)``, or ``None`` for no such alerts: how many commands
    wait in a lane, 1 to 4294967295, and how many milliseconds the attempt of a completed command took, at least 0. A threshold is
    reached by what is equal to it or above it. A lane's depth raises an alert when its level rises, so that a long queue does
    not call back for each command in it; a latency does for each command. One may serve several ``Lane`` objects.
    """

    def __new__(
        cls, *, queue_depth: tuple[int, int] | None = None, latency_ms: tuple[float, float] | None = None
    ) -> Self: ...
    def add_callback(self, callback: _A) -> _A:
        """Calls ``callback`` with each later :class:`Alert`, and returns it: a decorator too.

        Callbacks are called one after the other, in the order in which they were added and the alerts were raised, on a thread
        of their own, soon after. They may use the lanes; the lanes do not wait for them. What a callback raises is logged by the
        logger ``a3s_lane``, and the others are still called. When 1024 alerts wait for slow callbacks, the oldest are lost,
        which is logged.
        """
    @property
    def queue_depth(self) -> tuple[int, int] | None:
        """The thresholds for commands that wait in a lane, ``(warning, critical)``; ``None`` means no such alerts."""
    @queue_depth.setter
    def queue_depth(self, value: tuple[int, int] | None) -> None: ...
    @property
    def latency_ms(self) -> tuple[float, float] | None:
        """The thresholds for milliseconds that a command runs, ``(warning, critical)``; ``None`` means no such alerts."""
    @latency_ms.setter
    def latency_ms(self, value: tuple[float, float] | None) -> None: ...

@final
class CommandContext:
    """One attempt of a command, as its handler sees it: the second argument of a handler.

    After the end of the attempt it does nothing.
    """

    @property
    def id(self) -> str:
        """The command's id."""
    @property
    def command_type(self) -> str:
        """What kind of work it is."""
    @property
    def lane_id(self) -> str:
        """The lane in which the command runs."""
    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1. A preempted attempt is not counted."""
    @property
    def time_left(self) -> float | None:
        """Seconds that this attempt may still take; ``None`` without a time limit, 0 once it has passed."""
    @property
    def deadline(self) -> float | None:
        """When this attempt must have ended, on the clock of ``time.monotonic()``; ``None`` without a time limit."""
    @property
    def metadata(self) -> dict[str, Any]:
        """What was given as ``metadata``, as a new dict."""
    @property
    def cancelled(self) -> bool:
        """Whether this attempt was asked to stop: by a cancel, a preemption, a time limit or the end of the lanes."""
    @property
    def stop_reason(self) -> Literal["deadline", "stall", "cancel", "preempt", "shutdown"] | None:
        """Why this attempt was asked to stop: ``"deadline"``, ``"stall"``, ``"cancel"``, ``"preempt"`` or ``"shutdown"``; ``None``
        when it was not.
        """
    def check(self) -> None:
        """Raises :class:`CommandCancelledError` when this attempt was asked to stop."""
    def progress(self, value: object) -> None:
        """Tells how far the work is: to :meth:`CommandHandle.progress` and as an event. Is a sign of life too."""
    def emit(self, chunk: object) -> None:
        """Hands out a part of the result before the end: to :meth:`CommandHandle.chunks`. Is a sign of life too. Nobody sees it
        when the command was submitted without a handle.
        """
    def heartbeat(self) -> None:
        """Shows that the work gets on: ``progress_timeout_secs`` counts from now."""
    def settle_cost(self, cost: int) -> None:
        """Corrects what the lane's limiters were charged to what the work really cost, 0 to 2**53 - 1. The last call counts."""
    # In an `async def` handler this is awaitable; `Any` for the same reason as in `Lane.submit`.
    def submit_child(
        self,
        lane_id: str,
        command_type: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay_secs: float | None = None,
        run_at: datetime | None = None,
        ttl_secs: float | None = None,
        timeout_secs: float | None = None,
        no_timeout: bool = False,
        progress_timeout_secs: float | None = None,
        retry_policy: RetryPolicy | None = None,
        jitter: Literal["none", "full", "equal"] | None = None,
        key: str | None = None,
        unique: str | Unique | None = None,
        cost: int = 1,
        metadata: Mapping[str, object] | None = None,
        preemptible: bool = True,
    ) -> Any:
        """Runs a command on behalf of this one and returns its result; awaitable in an ``async def`` handler.

        While this handler waits, the child may use its slot, so that work that submits to its own lane cannot wait for itself.
        The arguments are those of :meth:`Lane.submit`.
        """
    def enqueue_child(
        self,
        lane_id: str,
        command_type: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay_secs: float | None = None,
        run_at: datetime | None = None,
        ttl_secs: float | None = None,
        timeout_secs: float | None = None,
        no_timeout: bool = False,
        progress_timeout_secs: float | None = None,
        retry_policy: RetryPolicy | None = None,
        jitter: Literal["none", "full", "equal"] | None = None,
        key: str | None = None,
        unique: str | Unique | None = None,
        cost: int = 1,
        metadata: Mapping[str, object] | None = None,
        preemptible: bool = True,
    ) -> CommandHandle:
        """Hands in a command on behalf of this one and returns its handle at once; see :meth:`submit_child`."""
    def _begin_child(
        self, lane_id: str, command_type: str, payload: object, options: dict[str, Any] | None
    ) -> Any: ...

@final
class CommandHandle:
    """One command that was handed to a lane.

    Waiting is not running: a handle that is dropped, or a wait that is interrupted, never cancels the command. Only
    :meth:`cancel` does. Handles are equal when they have the same ``id`` in the same :class:`Lane`.
    """

    @property
    def id(self) -> str:
        """The command's id: the submitter's own, or a UUID."""
    @property
    def lane_id(self) -> str:
        """The lane it was handed to."""
    @property
    def status(
        self,
    ) -> Literal["pending", "delayed", "running", "completed", "failed", "timed_out", "cancelled", "expired"]:
        """Where the command is now: ``"pending"``, ``"delayed"`` (waits for a time) or ``"running"``, and in the end
        ``"completed"``, ``"failed"``, ``"timed_out"``, ``"cancelled"`` or ``"expired"``.
        """
    # `Any` for the same reason as in `Lane.submit`.
    def result(self, timeout_secs: float | None = None) -> Any:
        """Waits for the command and returns its value or raises its error. May be called any number of times, by many threads.

        Raises the built-in ``TimeoutError``, which is no :class:`LaneError`, after ``timeout_secs`` seconds of waiting; the
        command goes on. Without a limit Ctrl-C still interrupts the wait. Before :meth:`Lane.start` it waits for that too.
        """
    def cancel(self) -> bool:
        """Cancels the command; returns whether there was something to cancel.

        A waiting command ends at once. A running one is asked to stop and, after its lane's ``grace_secs``, dropped; when it
        completes first, it is completed.
        """
    def explain(self) -> dict[str, Any] | None:
        """Where the command is and everything it waits for, or ``None`` once it has ended; see :meth:`Lane.explain`."""
    def progress(self) -> ProgressStream:
        """How far the command is, as it reports itself: the newest value, then every newer one, until it has ended."""
    def chunks(self) -> ChunkStream:
        """The command's partial results, from the first one, until it has ended."""
    def __await__(self) -> Generator[Any, Any, Any]:
        """Waits for the command, as :meth:`result` does, without blocking the event loop. May be awaited any number of times."""
    def __aiter__(self) -> AsyncIterator[Chunk]:
        """The command's partial results, for ``async for``."""
    def _begin_result(self) -> Any: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class DeadLetters:
    """The dead letters of a :class:`Lane`: in its storage or, without one, the last ``dlq_size`` in memory. Oldest first.

    Filters say which letters are meant, and together mean those to which all apply: ``ids``, ``lane_id``, ``command_type``,
    ``code`` of the last error, ``since`` (failed then or later) and ``until`` (failed before then), each a ``datetime`` with a time
    zone, and ``limit``, so many of the oldest. Without any all letters are meant.

    All methods raise :class:`ConfigError` for a ``Lane`` with neither ``storage`` nor ``dlq_size``, and :class:`StorageError`. Each
    has a twin, such as :meth:`list_async`, that does not block the event loop.
    """

    def list(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> builtins.list[DeadLetter]:
        """The letters that the filter means."""
    def retry(self, command_id: str, payload: Any = ...) -> CommandHandle:
        """Puts the command of a letter back into its lane, with its old id and options, from its first attempt on, and returns its
        handle. Its delay and its time to live are over. ``payload`` takes the place of the old one.

        The letter is gone when the command is in, and stays after an error. Raises :class:`CommandNotFoundError`,
        :class:`DuplicateError` when another call has the letter in hand or another command its id or ``unique`` name,
        :class:`ConfigError` when it has no payload or its type no handler, and what :meth:`Lane.enqueue` raises.
        """
    def retry_all(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> builtins.list[tuple[str, CommandHandle | LaneError]]:
        """Retries every letter that the filter means. One that cannot be retried keeps no other back: for each there is the
        command's id, and its handle or the error.
        """
    def discard(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> int:
        """Throws away the letters that the filter means, and with each the other letters of its command; returns how many."""
    def export(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> str:
        """The letters that the filter means as text, one JSON object a line. They stay."""
    def import_(self, lines: str) -> int:
        """Keeps letters that :meth:`export` has written, behind those that are there; returns how many are new.

        Raises :class:`ConfigError` with the number of a line that is no dead letter; then nothing was imported.
        """
    def list_async(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Coroutine[Any, Any, builtins.list[DeadLetter]]:
        """As :meth:`list`, without blocking the event loop."""
    def retry_async(self, command_id: str, payload: Any = ...) -> Coroutine[Any, Any, CommandHandle]:
        """As :meth:`retry`, without blocking the event loop."""
    def retry_all_async(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Coroutine[Any, Any, builtins.list[tuple[str, CommandHandle | LaneError]]]:
        """As :meth:`retry_all`, without blocking the event loop."""
    def discard_async(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Coroutine[Any, Any, int]:
        """As :meth:`discard`, without blocking the event loop."""
    def export_async(
        self,
        *,
        ids: Iterable[str] | None = None,
        lane_id: str | None = None,
        command_type: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Coroutine[Any, Any, str]:
        """As :meth:`export`, without blocking the event loop."""
    def import_async(self, lines: str) -> Coroutine[Any, Any, int]:
        """As :meth:`import_`, without blocking the event loop."""

@final
class Retention:
    """How much a storage keeps of what is over: results, or history.

    What is older than ``max_age_secs``, seven days by default, is not read any more; ``None`` is no limit. Of the rest the newest
    ``max_count`` are kept, 100,000 by default; 0 keeps none.
    """

    def __new__(cls, *, max_age_secs: float | None = 604800, max_count: int = 100000) -> Self: ...
    @property
    def max_age_secs(self) -> float | None:
        """The age in seconds up to which something is kept; ``None`` is no limit."""
    @property
    def max_count(self) -> int:
        """How many are kept."""
    def __getnewargs_ex__(self) -> tuple[Any, ...]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class ProgressStream(Iterator[Any]):
    """How far a command is, as it reports itself: an iterator.

    The first value is the newest one at that time. A reader that is slower than the command skips values. The iteration
    waits for the next value, which Ctrl-C interrupts, and ends when the command has ended. Of many threads that read one
    iterator each value goes to one.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, Any]: ...

@final
class ChunkStream(Iterator[Chunk]):
    """The partial results of a command: an iterator over :class:`Chunk`.

    Every reader gets them all from the first one, however late it comes, within bounds: the newest 1024 chunks are kept,
    or fewer when they are more than about 1 MiB together. The iteration waits for the next chunk, which Ctrl-C interrupts,
    and ends when the command has ended. Of many threads that read one iterator each chunk goes to one.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> Chunk: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, Chunk]: ...

@final
class Chunk:
    """One partial result of a command."""

    @property
    def attempt(self) -> int:
        """The attempt that gave it, counted from 1."""
    @property
    def index(self) -> int:
        """Its number among all chunks of the command, those of earlier attempts included, counted from 0."""
    @property
    def missed(self) -> int:
        """How many chunks right before this one came too late for the reader."""
    @property
    def value(self) -> Any:
        """What the command gave, as a new object."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class LaneConfig:
    """The settings of one lane.

    ``priority`` is 0 (most urgent) to 255. ``max_concurrency`` is how many commands run at once, ``min_concurrency`` how
    many slots are kept for the lane where all lanes share a total. ``timeout_secs`` limits each attempt, in seconds
    (``int`` or ``float``, above 0). At ``pressure_threshold`` pending commands the lane reports ``queue.lane.pressure``.
    What the other arguments mean stands with the attributes of their names. Attributes can be changed until the
    configuration is given to :meth:`Lane.with_lanes` or :meth:`Lane.set_lane`, which copy it.
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
    max_pending: int | None
    """Most commands that wait in the lane, 1 to 4294967295; ``None`` means no bound. See ``overflow``."""
    overflow: Literal["reject", "wait", "drop_oldest"]
    """What happens to a new command when ``max_pending`` wait: ``"reject"`` refuses it with :class:`LaneFullError`,
    ``"wait"`` makes its submitter wait for room, ``"drop_oldest"`` cancels the one that was submitted first among those
    ready to run. A retry always finds room.
    """
    preemptible: bool
    """Whether a running command of this lane may be stopped and queued again, at the front, when a more urgent lane lacks
    only the total of slots.
    """
    grace_secs: float
    """Seconds for which a running command may go on after it was cancelled or preempted; 0 stops it at once."""
    progress_timeout_secs: float | None
    """Most seconds that a running command may go without progress or a heartbeat, else the attempt fails with
    :class:`StalledError`; ``None`` means no limit.
    """
    max_concurrency_per_key: int | None
    """Most commands of one ``key`` that run at once in this lane, 1 to 4294967295; ``None`` means no limit of its own."""
    retry_jitter: Literal["none", "full", "equal"]
    """How much of a retry's delay is left to chance: ``"none"``, ``"full"`` (anything from zero to the delay) or
    ``"equal"`` (anything from half the delay to the delay).
    """
    rate_limit: RateLimit | None
    """How many commands may start per window of time; ``None`` means no limit."""
    burst: int | None
    """Most commands that a lane with a ``rate_limit`` starts at once after it was idle, 1 to 2**53 - 1; ``None`` means the
    limit's ``max_commands``.
    """
    priority_boost: PriorityBoost | None
    """How the lane becomes more urgent while its commands wait; ``None`` means not at all."""
    @property
    def key_weights(self) -> MappingProxyType[str, int]:
        """How large a share of the lane a key has, 1 to 4294967295: a key of weight 3 is served three times as often as one of
        weight 1. Keys that are not named have weight 1. Set it as a whole: what is returned is read-only.
        """
    @key_weights.setter
    def key_weights(self, value: dict[str, int] | MappingProxyType[str, int] | None) -> None: ...
    @property
    def limiters(self) -> tuple[str, ...]:
        """The names of the limiters that every start of this lane must pass, at most 4. The ``Lane`` has them by name."""
    @limiters.setter
    def limiters(self, value: Iterable[str]) -> None: ...
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
        max_pending: int | None = None,
        overflow: Literal["reject", "wait", "drop_oldest"] = "reject",
        preemptible: bool = False,
        grace_secs: float = 0,
        progress_timeout_secs: float | None = None,
        max_concurrency_per_key: int | None = None,
        key_weights: dict[str, int] | MappingProxyType[str, int] | None = None,
        retry_jitter: Literal["none", "full", "equal"] = "none",
        rate_limit: RateLimit | None = None,
        burst: int | None = None,
        priority_boost: PriorityBoost | None = None,
        limiters: Iterable[str] = (),
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class RateLimit:
    """At most so many starts per window of time.

    ``max_commands`` is 1 to 2**53 - 1, ``window_secs`` is seconds above 0, ``int`` or ``float``. A lane that was idle may
    start ``max_commands`` at once, or its ``burst`` where :class:`LaneConfig` sets one.
    """

    def __new__(cls, max_commands: int, window_secs: float) -> Self: ...
    @property
    def max_commands(self) -> int:
        """Most starts per window."""
    @property
    def window_secs(self) -> float:
        """Seconds of one window."""
    def __getnewargs__(self) -> tuple[Any, ...]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Limiter:
    """One limit for all lanes that name it in their ``limiters``.

    Each start is charged the command's ``cost``, or 1 with ``counting_commands``. At most ``max_commands`` of such units are
    granted per ``window_secs``: with ``"token_bucket"`` at a steady rate after a ``burst`` (``max_commands`` if not given),
    with ``"sliding_window"`` in any window. ``reserve`` units are left for lanes of priority 0 to ``urgent_up_to``.
    """

    def __new__(
        cls,
        max_commands: int,
        window_secs: float,
        *,
        algorithm: Literal["token_bucket", "sliding_window"] = "token_bucket",
        burst: int | None = None,
        counting_commands: bool = False,
        reserve: int | None = None,
        urgent_up_to: int = 0,
    ) -> Self: ...
    @property
    def max_commands(self) -> int:
        """Most units per window."""
    @property
    def window_secs(self) -> float:
        """Seconds of one window."""
    @property
    def algorithm(self) -> Literal["token_bucket", "sliding_window"]:
        """``"token_bucket"`` or ``"sliding_window"``."""
    @property
    def burst(self) -> int | None:
        """Most units that a token bucket grants at once; ``None`` means ``max_commands``."""
    @property
    def counting_commands(self) -> bool:
        """Whether each start is charged 1 instead of its command's cost."""
    @property
    def reserve(self) -> int | None:
        """Units that are left for urgent lanes; ``None`` means none."""
    @property
    def urgent_up_to(self) -> int:
        """The highest priority number of a lane that may use the reserve."""
    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class PriorityBoost:
    """By how much a lane becomes more urgent as its oldest command approaches its deadline.

    ``deadline_secs`` counts from the submission; a command that has waited so long makes its lane as urgent as priority 0.
    Each step ``(secs_left, boost)`` takes ``boost``, 0 to 255, off the priority number once at most ``secs_left`` seconds
    are left; where several match, the shortest wins.
    """

    def __new__(cls, deadline_secs: float, steps: Iterable[tuple[float, int]] = ()) -> Self: ...
    @property
    def deadline_secs(self) -> float:
        """Seconds of waiting after which the lane is as urgent as priority 0."""
    @property
    def steps(self) -> tuple[tuple[float, int], ...]:
        """The steps ``(secs_left, boost)``, the longest time left first."""
    def __getnewargs__(self) -> tuple[Any, ...]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Unique:
    """Allows at most one command of a name, in all lanes together.

    A command holds ``key`` until it has ended, and at least for ``window_secs`` after its submission. ``on_conflict`` says
    what happens to a submission while another command holds the key: ``"reject"`` raises :class:`DuplicateError`,
    ``"join"`` returns the result or handle of the other command, ``"replace"`` cancels the other command.
    """

    def __new__(
        cls,
        key: str,
        window_secs: float | None = None,
        on_conflict: Literal["reject", "join", "replace"] = "reject",
    ) -> Self: ...
    @property
    def key(self) -> str:
        """The name; not empty."""
    @property
    def window_secs(self) -> float | None:
        """Seconds after the submission for which the key is held at least; ``None`` means until the command has ended."""
    @property
    def on_conflict(self) -> Literal["reject", "join", "replace"]:
        """``"reject"``, ``"join"`` or ``"replace"``."""
    def __getnewargs__(self) -> tuple[Any, ...]: ...
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

    A stream that falls behind by more than the ``event_capacity`` of its ``Lane`` loses the oldest ones and then delivers one
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
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, LaneEvent]: ...
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
class ShutdownReport:
    """What :meth:`Lane.shutdown_within` could not bring to its end."""

    @property
    def stopped(self) -> list[Leftover]:
        """Commands that ran and were stopped when the time was up, in the order in which they stopped."""
    @property
    def pending(self) -> list[Leftover]:
        """Commands that waited, in the order of submission."""
    @property
    def is_clean(self) -> bool:
        """Whether nothing was left."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Leftover:
    """One command that did not come to its end."""

    @property
    def command_id(self) -> str:
        """Its id."""
    @property
    def command_type(self) -> str:
        """What kind of work it is."""
    @property
    def lane_id(self) -> str:
        """Its lane."""
    @property
    def attempts(self) -> int:
        """Attempts before; one that was stopped does not count."""
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
    ``{"unrecoverable": "text"}``, which is not retried, ``{"panic": "text"}``, ``{"return": value}``,
    ``{"return_metadata": {}}``, ``{"progress": value}``, ``{"emit": value}``, ``{"heartbeat": {}}``, ``{"settle_cost": 5}``,
    ``{"await_cancel": {}}`` and ``{"child": {"lane_id": "...", "command_type": "...", "script": [...]}}``, which submits a
    command of its own and waits for it. An attempt in which no step fails, panics or returns ends with ``None``. The last
    attempt of the list is repeated when there are more retries.
    """

def enqueue_scripted(
    lane: Lane,
    lane_id: str,
    command_type: str,
    script: Sequence[Sequence[Mapping[str, object]]],
    **options: Unpack[SubmitOptions],
) -> CommandHandle:
    """Like :func:`submit_scripted`, with the options of :meth:`Lane.enqueue`, and returns the command's handle."""

def submit_many_scripted(
    lane: Lane,
    lane_id: str,
    commands: Iterable[
        tuple[str, Sequence[Sequence[Mapping[str, object]]]]
        | tuple[str, Sequence[Sequence[Mapping[str, object]]], SubmitOptions]
    ],
) -> list[CommandHandle | LaneError]:
    """Like :meth:`Lane.submit_many`, with a script in the place of each payload."""

@final
class ManualClock:
    """The time of a lane, for tests: it stands still until :meth:`advance` moves it.

    Delays, time limits, ``ttl_secs``, rate limits and boosts of a :class:`Lane` from :func:`create_lane` go by it. The bodies
    of commands do not: one that sleeps sleeps in real time. One clock may serve several lanes.
    """

    def __new__(cls) -> Self: ...
    def advance(self, secs: float) -> None:
        """Moves the time on. What becomes due runs soon after; :func:`drain_now` waits for that."""
    @property
    def elapsed_secs(self) -> float:
        """The seconds since the clock was made, as moved by hand."""

@final
class SubmissionLog:
    """Remembers what a lane accepts, so that a test can ask whether code under test has submitted something.

    It belongs to a :class:`Lane` from :func:`create_lane`, and grows with each command: for tests only.
    """

    def __new__(cls) -> Self: ...
    def submitted(self) -> list[Submitted]:
        """Everything so far, in the order of acceptance."""
    def assert_submitted(self, lane_id: str, command_type: str) -> Submitted:
        """The first command of this type that was submitted to this lane.

        Raises ``AssertionError`` when there is none; the text says what was submitted instead.
        """
    def assert_not_submitted(self, lane_id: str, command_type: str) -> None:
        """Raises ``AssertionError`` when a command of this type was submitted to this lane."""

@final
class Submitted:
    """One accepted command."""

    @property
    def lane_id(self) -> str:
        """Its lane."""
    @property
    def command_type(self) -> str:
        """What kind of work it is."""
    @property
    def payload(self) -> Any:
        """Its payload, or its script."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

def inspect(directory: str | PathLike[str]) -> Inspection:
    """What the directory of a ``storage=`` holds, also while another process uses it. Reads all of it, and changes nothing.

    Raises :class:`StorageError` where there is no storage, or one that cannot be read. What is damaged but can be read in part is
    told by ``problems``.
    """

def create_lane(
    configs: Iterable[LaneConfig] | None = None,
    *,
    clock: ManualClock | None = None,
    inline: bool = False,
    submission_log: SubmissionLog | None = None,
    dlq_size: int | None = None,
    max_concurrency: int | None = None,
    limiters: dict[str, Limiter] | None = None,
    handler_threads: int | None = None,
    metrics: bool = False,
    alerts: AlertManager | None = None,
    event_capacity: int | None = None,
    storage: str | PathLike[str] | None = None,
    durability: Literal["full", "relaxed"] = "full",
    max_crashes: int = 3,
    results: Retention | None = None,
    history: Retention | None = None,
    max_dead_letters: int = 10000,
) -> Lane:
    """A ``Lane`` that tests can steer: the lanes of ``configs``, or the six of ``Lane()``.

    It goes by ``clock``. With ``inline``, once it has started, a submission returns when its command has run, and everything
    else that could run without time going on. ``submission_log`` remembers what it accepts. The other arguments are those
    of :class:`Lane`.
    """

def drain_now(lane: Lane) -> int:
    """Runs everything that waits, without waiting for its time: where only delays, back-offs or rate limits are left, a
    :class:`ManualClock` is moved on to the next one. Returns how many commands are left, which nothing but a resume or
    another limit can start.

    With the real clock it waits for delays. Raises :class:`NotStartedError` before :meth:`Lane.start`.
    """

# What `a3s_lane._asyncio` and `a3s_lane._handlers` use.

@final
class _Pending:
    @property
    def future(self) -> Future[Any]: ...
    def leave(self) -> Any: ...
    def abandon(self) -> None: ...

@final
class _LoopAnchor:
    @property
    def closed(self) -> bool: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> None: ...
    def settle(self, asyncio_loop: AbstractEventLoop) -> None: ...
    def end(self) -> None: ...

def _register(
    lane: Lane, command_type: str, function: Callable[..., Any], takes_context: bool, kind: str
) -> None: ...
def _add_middleware(lane: Lane, function: Callable[..., Any], is_coroutine: bool) -> None: ...
def _empty_outboxes() -> None: ...
def _begin_submit(
    lane: Lane, lane_id: str, command_type: str, payload: object, options: dict[str, Any] | None
) -> Any: ...
def _begin_enqueue(
    lane: Lane, lane_id: str, command_type: str, payload: object, options: dict[str, Any] | None
) -> Any: ...
def _begin_close(lane: Lane) -> Any: ...
def _begin_drain(lane: Lane, timeout_secs: float) -> Any: ...
def _begin_shutdown(lane: Lane, secs: float) -> Any: ...
def _end_of_work(lane: Lane) -> None: ...
def _begin_enter(lane: Lane) -> Any: ...
def _begin_find(lane: Lane, command_id: str) -> Any: ...
def _begin_history(lane: Lane, **filter: Any) -> Any: ...
def _begin_unclaimed(lane: Lane) -> Any: ...

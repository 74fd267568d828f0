//! The lanes of one queue: the class that users hold.

use std::collections::HashSet;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyType};
use serde_json::Value;

use crate::batch::{self, wrap};
use crate::builder;
use crate::calls::{check, now, try_now};
use crate::command::{PyCommand, new_command};
use crate::dead_letters::DeadLetters;
use crate::from_json::from_json;
use crate::handle::CommandHandle;
use crate::process::ProcessLocal;
use crate::queue::{self, Queue};
use crate::report::{self, ShutdownReport};
use crate::stats::QueueStats;
use crate::stream::EventStream;
use crate::to_json::to_json;
use crate::wait::try_wait;
use crate::{argument, limiter, metrics, names, stored, submit_options};

/// A set of lanes: named queues with a priority and a concurrency limit each.
///
/// ``Lane()`` has the lanes system (priority 0), control (1), query (2), session (3), skill (4) and prompt (5);
/// :meth:`with_lanes` makes others. ``dlq_size`` is how many failed commands are kept as dead letters, 1 or more;
/// ``None`` keeps none. ``max_concurrency`` is how many commands run at once over all lanes, of which each lane's
/// ``min_concurrency`` is kept for it; ``None`` is no limit. ``limiters`` are the limiters that lanes use by name.
/// ``handler_threads`` is how many ``def`` handlers run at once, 64 by default. With ``metrics`` it counts and times what it does
/// for :meth:`metrics`. ``alerts`` is an :class:`AlertManager`. ``event_capacity`` is how many events an :class:`EventStream` may
/// fall behind, 1 to 1000000, 100 by default.
///
/// ``storage`` is a directory where commands outlive the process; making the ``Lane`` opens it, and raises :class:`StorageError`. With
/// ``durability`` ``"full"`` what was accepted survives a power cut, with ``"relaxed"`` a crash of the process. ``results`` and
/// ``history`` say, as a :class:`Retention`, how much of them is kept; by default nothing is. A command during whose attempts the process
/// ended ``max_crashes`` times becomes a dead letter, of which ``max_dead_letters`` are kept.
///
/// As a context manager a ``Lane`` starts on entry, as an async one on the event loop that runs. On normal exit it shuts down and
/// waits until the work is done, at most one hour; on an exception it shuts down without waiting, and with a ``storage`` what runs is
/// stopped and stays stored. All methods may be called
/// from any thread.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct Lane {
    pub(crate) queue: ProcessLocal<Queue>,
}

#[pymethods]
impl Lane {
    #[new]
    #[pyo3(
        signature = (**settings),
        text_signature = "(*, dlq_size=None, max_concurrency=None, limiters=None, handler_threads=None, metrics=False, alerts=None, event_capacity=None, storage=None, durability='full', max_crashes=3, results=None, history=None, max_dead_letters=10000)"
    )]
    fn new(py: Python<'_>, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Self::build(py, builder::default_lanes("Lane()", settings)?)
    }

    /// A ``Lane`` with the given lanes instead of the default ones.
    ///
    /// Raises ``ValueError`` when ``configs`` is empty or names a lane twice, and :class:`ConfigError` when settings
    /// contradict each other. The other arguments are those of ``Lane``.
    #[classmethod]
    #[pyo3(
        signature = (configs, **settings),
        text_signature = "($cls, configs, *, dlq_size=None, max_concurrency=None, limiters=None, handler_threads=None, metrics=False, alerts=None, event_capacity=None, storage=None, durability='full', max_crashes=3, results=None, history=None, max_dead_letters=10000)"
    )]
    fn with_lanes(
        _cls: &Bound<'_, PyType>,
        py: Python<'_>,
        configs: &Bound<'_, PyAny>,
        settings: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Self::build(
            py,
            builder::lanes_of(configs, "Lane.with_lanes()", settings)?,
        )
    }

    /// Starts to run commands. Commands that were handed in before run now, and before them those that earlier processes have left
    /// in the ``storage``. May be called again.
    ///
    /// Raises :class:`StorageError` when the storage cannot be read or another ``Lane`` runs on it; nothing runs then.
    pub(crate) fn start(&self, py: Python<'_>) -> PyResult<()> {
        self.start_now(py)
    }

    /// Runs a command in a lane and returns its result, which is the payload.
    ///
    /// Waits for a free slot and for the command itself; other threads run meanwhile and Ctrl-C interrupts the wait, not
    /// the command. ``payload`` is anything that ``json.dumps`` accepts without NaN and infinities; integers must lie
    /// between -2**63 and 2**64 - 1. The other arguments are those of :meth:`enqueue`. Raises the command's error, what
    /// :meth:`enqueue` raises, and :class:`NotStartedError` before :meth:`start`.
    #[pyo3(
        signature = (lane_id, command_type, payload = None, **options),
        text_signature = "($self, lane_id, command_type, payload=None, *, id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, preemptible=True)"
    )]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        lane_id: &Bound<'py, PyAny>,
        command_type: &Bound<'py, PyAny>,
        payload: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let queue = self.queue(py)?;
        let lane_id = names::name("lane_id", lane_id)?;
        let command = new_command(py, &queue.handlers, command_type, payload)?;
        let options = submit_options::read("submit()", "", options)?;
        check(py, &queue.places, "`await lane.submit_async()`")?;
        let manager = &queue.manager;
        let result = match options {
            None => try_wait(py, queue::run(manager, &lane_id, command)),
            Some(options) => try_wait(py, queue::run_with(manager, &lane_id, command, options)),
        }?;
        from_json(py, &result)
    }

    /// Hands a command to a lane and returns its handle at once, also before :meth:`start`.
    ///
    /// ``id`` names the command; else it gets a UUID. ``priority`` is its place inside the lane, lower first.
    /// ``delay_secs`` or ``run_at``, a ``datetime`` with a time zone, is when it may start; after ``ttl_secs`` without a
    /// start it ends with :class:`ExpiredError`. ``timeout_secs``, ``no_timeout``, ``progress_timeout_secs``,
    /// ``retry_policy`` and ``jitter`` replace the lane's settings for it. Commands of one ``key`` take turns with those of
    /// others and can be paused and cancelled together. ``unique``, a name or :class:`Unique`, admits no second command of
    /// that name. ``cost`` is what limiters charge, 0 to 2**53 - 1; ``metadata`` is a dict that goes with the command; one
    /// that is not ``preemptible`` is never stopped for a more urgent lane.
    ///
    /// Waits only where a full lane's ``overflow`` is ``"wait"``; Ctrl-C interrupts that, and nothing is submitted. With a storage it
    /// waits for that too; interrupted there, the command may be stored, and run after the next start. Raises :class:`LaneNotFoundError`, :class:`ShutdownInProgressError` after :meth:`shutdown`, :class:`LaneFullError`,
    /// :class:`DuplicateError` for an ``id`` or ``unique`` that is taken, :class:`ConfigError` for a ``cost`` that a limiter
    /// could never grant, and ``ValueError`` for a payload that is not JSON.
    #[pyo3(
        signature = (lane_id, command_type, payload = None, **options),
        text_signature = "($self, lane_id, command_type, payload=None, *, id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, preemptible=True)"
    )]
    fn enqueue(
        &self,
        py: Python<'_>,
        lane_id: &Bound<'_, PyAny>,
        command_type: &Bound<'_, PyAny>,
        payload: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<CommandHandle> {
        let queue = self.queue(py)?;
        let lane_id = names::name("lane_id", lane_id)?;
        let command = new_command(py, &queue.handlers, command_type, payload)?;
        let options = submit_options::read("enqueue()", "", options)?.unwrap_or_default();
        let submitted = queue.enqueue(&lane_id, command, options);
        let handle = queue.submitting(py, &lane_id, "`await lane.enqueue_async()`", submitted)?;
        Ok(wrap(handle, queue))
    }

    /// Hands many commands to a lane, in their order; none of others comes in between unless one has to wait.
    ///
    /// Each is a tuple ``(command_type, payload, options)`` of which the last two may be left out; ``options`` is a dict of
    /// the arguments of :meth:`enqueue`. Returns for each its handle, or the :class:`LaneError` with which it was refused:
    /// one that is refused does not keep the others out. A wrong argument raises, and nothing is submitted.
    fn submit_many<'py>(
        &self,
        py: Python<'py>,
        lane_id: &Bound<'py, PyAny>,
        commands: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let queue = self.queue(py)?;
        let lane_id = names::name("lane_id", lane_id)?;
        batch::submit_many(py, queue, &lane_id, commands, &|field, kind, payload| {
            let payload = payload.map_or(Ok(Value::Null), |payload| to_json(field, payload))?;
            Ok(Box::new(PyCommand::new(
                py,
                &queue.handlers,
                kind.into(),
                payload,
            )?))
        })
    }

    /// Cancels the command with this id; returns whether there was one to cancel. See :meth:`CommandHandle.cancel`.
    fn cancel(&self, py: Python<'_>, command_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let queue = self.queue(py)?;
        let id = argument::text("command_id", command_id)?;
        now(py, &queue.places, || queue.manager.cancel(&id))
    }

    /// Cancels every command of a lane, waiting or running; returns how many.
    fn cancel_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<usize> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_now(py, &queue.places, || queue.manager.cancel_lane(&id))
    }

    /// Cancels every command with this ``key``, in all lanes; returns how many.
    fn cancel_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let queue = self.queue(py)?;
        let key = argument::name("key", key)?;
        now(py, &queue.places, || queue.manager.cancel_key(&key))
    }

    /// Starts no commands of this lane until :meth:`resume_lane`. What runs goes on, and so does the time of delays, limits
    /// and ``ttl_secs``.
    fn pause_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_now(py, &queue.places, || queue.manager.pause_lane(&id))
    }

    /// Lets a paused lane start commands again.
    fn resume_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_now(py, &queue.places, || queue.manager.resume_lane(&id))
    }

    /// Starts no commands with this ``key``, in any lane, until :meth:`resume_key`.
    fn pause_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let key = argument::name("key", key)?;
        now(py, &queue.places, || queue.manager.pause_key(&key))
    }

    /// Lets commands with a paused ``key`` start again.
    fn resume_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let key = argument::name("key", key)?;
        now(py, &queue.places, || queue.manager.resume_key(&key))
    }

    /// Adds a lane, or changes the one of this ``lane_id``; its commands stay, and running ones keep their time limits.
    ///
    /// Raises :class:`ConfigError` when settings contradict each other; then nothing has changed.
    fn set_lane(&self, py: Python<'_>, config: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let config = builder::read_config("config", config)?;
        try_now(py, &queue.places, || queue.set_lane(&config))
    }

    /// Takes a lane out. Raises :class:`QueueError` while it has commands: cancel them or let them end first.
    fn remove_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_now(py, &queue.places, || queue.remove_lane(&id))
    }

    /// Changes how many commands run at once over all lanes, 1 to 4294967295; ``None`` is no limit. What runs goes on.
    ///
    /// Raises :class:`ConfigError` when it is below the sum of the lanes' ``min_concurrency``.
    #[pyo3(signature = (max_concurrency))]
    fn set_max_concurrency(
        &self,
        py: Python<'_>,
        max_concurrency: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let queue = self.queue(py)?;
        let total = builder::max_concurrency(max_concurrency)?;
        try_now(py, &queue.places, || {
            queue.manager.set_max_concurrency(total)
        })
    }

    /// Changes a limiter that was given to ``Lane``; what was used up under the old limit counts under the new one.
    ///
    /// Raises :class:`LimiterNotFoundError`.
    fn set_limiter(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        limiter: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let queue = self.queue(py)?;
        let name = argument::name("name", name)?;
        let config = limiter::one("limiter", limiter)?;
        try_now(py, &queue.places, || {
            queue.manager.set_limiter(&name, config)
        })
    }

    /// Where a command is and everything it waits for, or ``None`` when it has ended or there is none with this id.
    ///
    /// A new dict: ``command_id``, ``lane_id``, ``status``, ``attempts`` so far, ``age_secs`` since the submission, and
    /// ``reasons``: a list of dicts such as ``{"reason": "lane_full", "max": 1, "running": ["..."]}``. The reasons are
    /// ``not_started``, ``lane_paused``, ``key_paused``, ``delayed``, ``expired``, ``behind``, ``lane_full``, ``key_busy``,
    /// ``total_reached``, ``reserved`` and ``rate_limited``. A command that runs, or starts right now, has none.
    fn explain<'py>(
        &self,
        py: Python<'py>,
        command_id: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let queue = self.queue(py)?;
        let id = argument::text("command_id", command_id)?;
        let explanation = now(py, &queue.places, || queue.manager.explain(&id))?;
        explanation
            .map(|explanation| report::explanation(py, &explanation))
            .transpose()
    }

    /// A handle of the command with this id, of this process or an earlier one, or ``None``: it waits or runs, or it has ended and
    /// ``results`` of the storage are kept. An error that was kept has its code and its text.
    ///
    /// ``None`` also for what is unclaimed. Raises :class:`StorageError`.
    fn find(
        &self,
        py: Python<'_>,
        command_id: &Bound<'_, PyAny>,
    ) -> PyResult<Option<CommandHandle>> {
        self.find_now(py, &argument::text("command_id", command_id)?)
    }

    /// The stored commands that cannot enter their lanes, oldest first: they wait for a handler of their type or for their lane,
    /// and enter when it is registered. Empty without a storage. Raises :class:`StorageError`.
    fn unclaimed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let queue = self.queue(py)?;
        stored::unclaimed_list(py, &queue.reading(py, queue.manager.unclaimed())?)
    }

    /// What has happened to stored commands, oldest first, as far as ``history`` keeps it. The arguments say of which, together:
    /// of one command, of one lane, at the time ``since`` or later, with a higher number than ``after``, and at most ``limit``.
    ///
    /// Raises :class:`ConfigError` without a storage, and :class:`StorageError`.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, command_id=None, lane_id=None, since=None, after=None, limit=None)"
    )]
    fn load_history<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.read_history(py, filter)
    }

    /// The commands that failed for good.
    #[getter]
    fn dead_letters(slf: Bound<'_, Self>) -> DeadLetters {
        DeadLetters::new(slf.unbind())
    }

    /// The whole state as a new dict that ``json.dumps`` accepts, for people and tests: it costs a walk through all commands.
    ///
    /// It has ``taken_at``, ``started``, ``shutting_down``, ``total_limit``, ``pending``, ``active``, ``paused_keys``,
    /// ``lanes`` (most urgent first, each with ``id``, ``priority``, ``effective_priority``, ``pending``, ``active``,
    /// ``min``, ``max`` and ``paused``) and ``commands`` (each as from :meth:`explain`, and its ``key``).
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let queue = self.queue(py)?;
        let snapshot = now(py, &queue.places, || queue.manager.snapshot())?;
        report::snapshot(py, &snapshot)
    }

    /// Subscribes to all events from now on.
    fn subscribe(&self, py: Python<'_>) -> PyResult<EventStream> {
        let queue = self.queue(py)?;
        Ok(EventStream::new(queue.manager.subscribe(), &queue.places))
    }

    /// Subscribes to the events from now on whose key is one of ``keys``, and to notices of lost events.
    fn subscribe_filtered(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<EventStream> {
        let keys: HashSet<String> = argument::texts("keys", keys)?.into_iter().collect();
        let queue = self.queue(py)?;
        let wanted = move |event: &a3s_lane::LaneEvent| keys.contains(&event.key);
        let stream = queue.manager.subscribe_filtered(wanted);
        Ok(EventStream::new(stream, &queue.places))
    }

    /// The events from now on, for ``async for``: all of them, or those whose key is one of ``keys``.
    #[pyo3(signature = (keys = None))]
    fn events(&self, py: Python<'_>, keys: Option<&Bound<'_, PyAny>>) -> PyResult<EventStream> {
        keys.map_or_else(
            || self.subscribe(py),
            |keys| self.subscribe_filtered(py, keys),
        )
    }

    /// What is waiting and running now.
    fn stats(&self, py: Python<'_>) -> PyResult<QueueStats> {
        let queue = self.queue(py)?;
        let stats = queue.reading(py, queue.manager.stats())?;
        Ok(QueueStats::new(&stats, &queue.order()))
    }

    /// What the lanes have counted and timed so far.
    ///
    /// Raises :class:`ConfigError` for a ``Lane`` without ``metrics=True``.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        metrics::snapshot(py, self.queue(py)?)
    }

    /// Stops taking new commands. What was taken still runs. May be called again.
    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        self.shutdown_now(py)
    }

    /// Ends the lanes: takes and starts nothing more, and gives what runs ``secs`` seconds to end. What still runs then is
    /// asked to stop and, after its lane's ``grace_secs``, dropped. Returns what was left.
    ///
    /// Everything that was left settles with :class:`QueueError`. Ctrl-C interrupts the wait; what runs goes on then.
    fn shutdown_within(&self, py: Python<'_>, secs: &Bound<'_, PyAny>) -> PyResult<ShutdownReport> {
        self.queue(py)?;
        self.end_within(py, argument::seconds("secs", secs)?)
    }

    /// Ends the lanes at once, as :meth:`shutdown_within` with 0 does, and the use of the ``storage``: another process can open the
    /// directory when this returns. What has to ask the storage then raises :class:`StorageError`. May be called again.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.close_now(py)
    }

    /// Waits until nothing is waiting or running, at most ``timeout_secs`` seconds.
    ///
    /// Raises :class:`LaneTimeoutError` when the time is over; the commands still run.
    fn drain(&self, py: Python<'_>, timeout_secs: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = argument::seconds("timeout_secs", timeout_secs)?;
        self.drain_for(py, limit)
    }

    /// A decorator that makes a function the handler of a command type.
    ///
    /// The function takes ``(payload)`` or ``(payload, ctx)``, where ``ctx`` is a :class:`CommandContext`, and returns what is
    /// JSON. An ``async def`` runs on the event loop of ``async with lane``, or that of the first call that is awaited, else on
    /// one that the lane starts; a ``def`` on a thread of the lane, or with ``executor="process"`` in another process. A payload
    /// that is annotated as a dataclass or a pydantic model is one. The function stays what it is and gains ``submit``,
    /// ``submit_async`` and ``enqueue``.
    #[pyo3(signature = (command_type, *, executor = None))]
    fn handler<'py>(
        slf: &Bound<'py, Self>,
        command_type: &Bound<'py, PyAny>,
        executor: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._handlers")?;
        module.call_method1("decorator", (slf, command_type, executor))
    }

    /// Makes a function the handler of a command type, as :meth:`handler` does; one that was there is replaced.
    #[pyo3(signature = (command_type, function, *, executor = None))]
    fn register_handler<'py>(
        slf: &Bound<'py, Self>,
        command_type: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        executor: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let module = slf.py().import("a3s_lane._handlers")?;
        module.call_method1("register", (slf, command_type, function, executor))?;
        Ok(())
    }

    /// Takes the handler of a command type away, so that its commands return their payload; returns whether there was one.
    /// What runs goes on.
    fn remove_handler(&self, py: Python<'_>, command_type: &Bound<'_, PyAny>) -> PyResult<bool> {
        let queue = self.queue(py)?;
        let command_type = argument::text("command_type", command_type)?;
        Ok(queue.handlers.remove(&queue.manager, &command_type))
    }

    /// Puts a function around handlers, those to come too, and returns it: a decorator.
    ///
    /// It takes ``(payload, ctx, next)``, calls ``next(payload)`` for the handler's result and returns its own. A ``def`` goes
    /// around every handler that is a ``def``, an ``async def``, in which ``next`` is awaited, around every ``async def``. What was
    /// added first is the outermost. It runs where the handler runs, in each attempt, and may call ``next`` with another
    /// payload, several times or not at all. ``payload`` is what JSON made of it, also where the handler takes a model.
    fn middleware<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._handlers")?;
        module.call_method1("add_middleware", (slf, function))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.queue.get("Lane") {
            Ok(queue) => queue.traverse(&visit),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        if let Ok(queue) = self.queue.get("Lane") {
            queue.handlers.clear();
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Py<Self>> {
        slf.get().start(slf.py())?;
        Ok(slf.unbind())
    }

    #[pyo3(signature = (exc_type = None, exc_value = None, traceback = None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_value, traceback);
        self.leave(py, exc_type.is_some())
    }

    fn __repr__(&self) -> String {
        match self.queue.get("Lane") {
            Ok(queue) => format!("Lane({})", queue.order().join(", ")),
            Err(_) => "Lane(of another process)".into(),
        }
    }
}

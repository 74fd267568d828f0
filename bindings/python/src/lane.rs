//! The lanes of one queue: the class that users hold.

use std::collections::HashSet;
use std::time::Duration;

use a3s_lane::JsonCommand;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyType};
use serde_json::Value;

use crate::batch::{self, wrap};
use crate::builder::{self, Plan, Shared};
use crate::error::raise;
use crate::from_json::from_json;
use crate::handle::CommandHandle;
use crate::process::ProcessLocal;
use crate::queue::Queue;
use crate::report::{self, ShutdownReport};
use crate::stats::QueueStats;
use crate::stream::EventStream;
use crate::to_json::to_json;
use crate::wait::{try_wait, wait};
use crate::{argument, limiter, submit_options};

/// The longest wait at the end of a `with` block.
const EXIT_DRAIN: Duration = Duration::from_secs(3600);

/// A set of lanes: named queues with a priority and a concurrency limit each.
///
/// ``Lane()`` has the lanes system (priority 0), control (1), query (2), session (3), skill (4) and prompt (5);
/// :meth:`with_lanes` makes others. ``dlq_size`` is how many failed commands are kept as dead letters, 1 or more;
/// ``None`` keeps none. ``max_concurrency`` is how many commands run at once over all lanes, of which each lane's
/// ``min_concurrency`` is kept for it; ``None`` is no limit. ``limiters`` are the limiters that lanes use by name. As a
/// context manager a ``Lane`` starts on entry. On normal exit it shuts down and waits until the work is done, at most one
/// hour; on an exception it shuts down without waiting. All methods may be called from any thread.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct Lane {
    queue: ProcessLocal<Queue>,
}

impl Lane {
    pub(crate) fn build(py: Python<'_>, plan: Plan) -> PyResult<Self> {
        let manager = try_wait(py, plan.builder.build())?;
        Ok(Self {
            queue: ProcessLocal::new(Queue::new(manager, plan.lanes)),
        })
    }

    pub(crate) fn queue(&self, py: Python<'_>) -> PyResult<&Queue> {
        self.queue.get("Lane").map_err(|error| raise(py, &error))
    }

    fn drain_for(&self, py: Python<'_>, limit: Duration) -> PyResult<()> {
        try_wait(py, self.queue(py)?.manager.drain(limit))
    }
}

/// What a submission names.
fn command(
    command_type: &Bound<'_, PyAny>,
    payload: Option<&Bound<'_, PyAny>>,
) -> PyResult<JsonCommand> {
    let command_type = argument::text("command_type", command_type)?;
    let payload = payload.map_or(Ok(Value::Null), |payload| to_json("payload", payload))?;
    Ok(JsonCommand::new(command_type, payload))
}

#[pymethods]
impl Lane {
    #[new]
    #[pyo3(signature = (*, dlq_size = None, max_concurrency = None, limiters = None))]
    fn new(
        py: Python<'_>,
        dlq_size: Option<&Bound<'_, PyAny>>,
        max_concurrency: Option<&Bound<'_, PyAny>>,
        limiters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let shared = Shared {
            dlq_size,
            max_concurrency,
            limiters,
        };
        Self::build(py, builder::default_lanes(&shared)?)
    }

    /// A ``Lane`` with the given lanes instead of the default ones.
    ///
    /// Raises ``ValueError`` when ``configs`` is empty or names a lane twice, and :class:`ConfigError` when settings
    /// contradict each other. The other arguments are those of ``Lane``.
    #[classmethod]
    #[pyo3(signature = (configs, *, dlq_size = None, max_concurrency = None, limiters = None))]
    fn with_lanes(
        _cls: &Bound<'_, PyType>,
        py: Python<'_>,
        configs: &Bound<'_, PyAny>,
        dlq_size: Option<&Bound<'_, PyAny>>,
        max_concurrency: Option<&Bound<'_, PyAny>>,
        limiters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let shared = Shared {
            dlq_size,
            max_concurrency,
            limiters,
        };
        Self::build(py, builder::lanes_of(configs, &shared)?)
    }

    /// Starts to run commands. Commands that were handed in before run now. May be called again.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        try_wait(py, self.queue(py)?.manager.start())
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
        let lane_id = argument::text("lane_id", lane_id)?;
        let command = command(command_type, payload)?;
        let options = submit_options::read("submit()", "", options)?;
        let result = try_wait(py, queue.run(&lane_id, command, options))?;
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
    /// Waits only where a full lane's ``overflow`` is ``"wait"``; Ctrl-C interrupts that, and nothing is submitted. Raises
    /// :class:`LaneNotFoundError`, :class:`ShutdownInProgressError` after :meth:`shutdown`, :class:`LaneFullError`,
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
        let lane_id = argument::text("lane_id", lane_id)?;
        let command = Box::new(command(command_type, payload)?);
        let options = submit_options::read("enqueue()", "", options)?.unwrap_or_default();
        let handle = try_wait(py, queue.enqueue(&lane_id, command, options))?;
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
        let lane_id = argument::text("lane_id", lane_id)?;
        batch::submit_many(py, queue, &lane_id, commands, &|field, kind, payload| {
            let payload = payload.map_or(Ok(Value::Null), |payload| to_json(field, payload))?;
            Ok(Box::new(JsonCommand::new(kind, payload)))
        })
    }

    /// Cancels the command with this id; returns whether there was one to cancel. See :meth:`CommandHandle.cancel`.
    fn cancel(&self, py: Python<'_>, command_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let queue = self.queue(py)?;
        let id = argument::text("command_id", command_id)?;
        wait(py, async { queue.manager.cancel(&id) })
    }

    /// Cancels every command of a lane, waiting or running; returns how many.
    fn cancel_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<usize> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_wait(py, async { queue.manager.cancel_lane(&id) })
    }

    /// Cancels every command with this ``key``, in all lanes; returns how many.
    fn cancel_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let queue = self.queue(py)?;
        let key = argument::name("key", key)?;
        wait(py, async { queue.manager.cancel_key(&key) })
    }

    /// Starts no commands of this lane until :meth:`resume_lane`. What runs goes on, and so does the time of delays, limits
    /// and ``ttl_secs``.
    fn pause_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_wait(py, async { queue.manager.pause_lane(&id) })
    }

    /// Lets a paused lane start commands again.
    fn resume_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_wait(py, async { queue.manager.resume_lane(&id) })
    }

    /// Starts no commands with this ``key``, in any lane, until :meth:`resume_key`.
    fn pause_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let key = argument::name("key", key)?;
        wait(py, async { queue.manager.pause_key(&key) })
    }

    /// Lets commands with a paused ``key`` start again.
    fn resume_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let key = argument::name("key", key)?;
        wait(py, async { queue.manager.resume_key(&key) })
    }

    /// Adds a lane, or changes the one of this ``lane_id``; its commands stay, and running ones keep their time limits.
    ///
    /// Raises :class:`ConfigError` when settings contradict each other; then nothing has changed.
    fn set_lane(&self, py: Python<'_>, config: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let config = builder::read_config("config", config)?;
        try_wait(py, async { queue.set_lane(&config) })
    }

    /// Takes a lane out. Raises :class:`QueueError` while it has commands: cancel them or let them end first.
    fn remove_lane(&self, py: Python<'_>, lane_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let id = argument::text("lane_id", lane_id)?;
        try_wait(py, async { queue.remove_lane(&id) })
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
        try_wait(py, async { queue.manager.set_max_concurrency(total) })
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
        try_wait(py, async { queue.manager.set_limiter(&name, config) })
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
        let explanation = wait(py, async { queue.manager.explain(&id) })?;
        explanation
            .map(|explanation| report::explanation(py, &explanation))
            .transpose()
    }

    /// The whole state as a new dict that ``json.dumps`` accepts, for people and tests: it costs a walk through all commands.
    ///
    /// It has ``taken_at``, ``started``, ``shutting_down``, ``total_limit``, ``pending``, ``active``, ``paused_keys``,
    /// ``lanes`` (most urgent first, each with ``id``, ``priority``, ``effective_priority``, ``pending``, ``active``,
    /// ``min``, ``max`` and ``paused``) and ``commands`` (each as from :meth:`explain`, and its ``key``).
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let queue = self.queue(py)?;
        let snapshot = wait(py, async { queue.manager.snapshot() })?;
        report::snapshot(py, &snapshot)
    }

    /// Subscribes to all events from now on.
    fn subscribe(&self, py: Python<'_>) -> PyResult<EventStream> {
        Ok(EventStream::new(self.queue(py)?.manager.subscribe()))
    }

    /// Subscribes to the events from now on whose key is one of ``keys``, and to notices of lost events.
    fn subscribe_filtered(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<EventStream> {
        let keys: HashSet<String> = argument::texts("keys", keys)?.into_iter().collect();
        let manager = &self.queue(py)?.manager;
        let stream = manager.subscribe_filtered(move |event| keys.contains(&event.key));
        Ok(EventStream::new(stream))
    }

    /// What is waiting and running now.
    fn stats(&self, py: Python<'_>) -> PyResult<QueueStats> {
        let queue = self.queue(py)?;
        let stats = try_wait(py, queue.manager.stats())?;
        Ok(QueueStats::new(&stats, &queue.order()))
    }

    /// Stops taking new commands. What was taken still runs. May be called again.
    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.queue(py)?.manager.shutdown())
    }

    /// Ends the lanes: takes and starts nothing more, and gives what runs ``secs`` seconds to end. What still runs then is
    /// asked to stop and, after its lane's ``grace_secs``, dropped. Returns what was left.
    ///
    /// Everything that was left settles with :class:`QueueError`. Ctrl-C interrupts the wait; what runs goes on then.
    fn shutdown_within(&self, py: Python<'_>, secs: &Bound<'_, PyAny>) -> PyResult<ShutdownReport> {
        let queue = self.queue(py)?;
        let limit = argument::seconds("secs", secs)?;
        let report = wait(py, queue.manager.shutdown_within(limit))?;
        Ok(ShutdownReport::new(report))
    }

    /// Waits until nothing is waiting or running, at most ``timeout_secs`` seconds.
    ///
    /// Raises :class:`LaneTimeoutError` when the time is over; the commands still run.
    fn drain(&self, py: Python<'_>, timeout_secs: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = argument::seconds("timeout_secs", timeout_secs)?;
        self.drain_for(py, limit)
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Py<Self>> {
        slf.get().start(slf.py())?;
        Ok(slf.unbind())
    }

    #[pyo3(signature = (
        exc_type = None,
        exc_value = None,
        traceback = None
    ))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_value, traceback);
        if self.queue.is_foreign() {
            // A child of fork leaves the block of its parent; the lanes are not its to end.
            return Ok(());
        }
        self.shutdown(py)?;
        match exc_type {
            None => self.drain_for(py, EXIT_DRAIN),
            Some(_) => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        match self.queue.get("Lane") {
            Ok(queue) => format!("Lane({})", queue.order().join(", ")),
            Err(_) => "Lane(of another process)".into(),
        }
    }
}

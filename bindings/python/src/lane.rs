//! The lanes of one queue: the class that users hold.

use std::collections::HashSet;
use std::time::Duration;

use a3s_lane::{JsonCommand, LaneError, QueueManager};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyType};
use serde_json::Value;

use crate::argument;
use crate::builder::{self, Plan};
use crate::error::raise;
use crate::from_json::from_json;
use crate::process::ProcessLocal;
use crate::stats::QueueStats;
use crate::stream::EventStream;
use crate::to_json::to_json;
use crate::wait::{try_wait, wait};

/// The longest wait at the end of a `with` block.
const EXIT_DRAIN: Duration = Duration::from_secs(3600);

/// A set of lanes: named queues with a priority and a concurrency limit each.
///
/// ``Lane()`` has the lanes system (priority 0), control (1), query (2), session (3), skill (4) and prompt (5);
/// :meth:`with_lanes` makes others. ``dlq_size`` is how many failed commands are kept as dead letters, 1 or more;
/// ``None`` keeps none. As a context manager a ``Lane`` starts on entry. On normal exit it shuts down and waits until
/// the work is done, at most one hour; on an exception it shuts down without waiting. All methods may be called from
/// any thread.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct Lane {
    queue: ProcessLocal<Queue>,
}

struct Queue {
    manager: QueueManager,
    /// The lanes, most urgent first.
    order: Vec<String>,
}

impl Lane {
    fn build(py: Python<'_>, plan: Plan) -> PyResult<Self> {
        let manager = try_wait(py, plan.builder.build())?;
        Ok(Self {
            queue: ProcessLocal::new(Queue {
                manager,
                order: plan.order,
            }),
        })
    }

    fn queue(&self, py: Python<'_>) -> PyResult<&Queue> {
        self.queue.get("Lane").map_err(|error| raise(py, &error))
    }

    pub(crate) fn manager(&self, py: Python<'_>) -> PyResult<&QueueManager> {
        Ok(&self.queue(py)?.manager)
    }

    fn drain_for(&self, py: Python<'_>, limit: Duration) -> PyResult<()> {
        try_wait(py, self.manager(py)?.drain(limit))
    }
}

impl Queue {
    async fn run(&self, lane_id: &str, command: JsonCommand) -> a3s_lane::Result<Value> {
        if !self.manager.is_started() && !self.manager.is_shutting_down() {
            return Err(LaneError::NotStarted("call start() before submit()".into()));
        }
        let settled = self.manager.submit(lane_id, Box::new(command)).await?;
        settled
            .await
            .map_err(|_| LaneError::QueueError("the command was dropped before it ended".into()))?
    }
}

#[pymethods]
impl Lane {
    #[new]
    #[pyo3(signature = (*, dlq_size = None))]
    fn new(py: Python<'_>, dlq_size: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Self::build(py, builder::default_lanes(dlq_size)?)
    }

    /// A ``Lane`` with the given lanes instead of the default ones.
    ///
    /// Raises ``ValueError`` when ``configs`` is empty or names a lane twice, and :class:`ConfigError` when settings
    /// contradict each other.
    #[classmethod]
    #[pyo3(signature = (configs, *, dlq_size = None))]
    fn with_lanes(
        _cls: &Bound<'_, PyType>,
        py: Python<'_>,
        configs: &Bound<'_, PyAny>,
        dlq_size: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Self::build(py, builder::lanes_of(configs, dlq_size)?)
    }

    /// Starts to run commands. Commands that were handed in before run now. May be called again.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        try_wait(py, self.manager(py)?.start())
    }

    /// Runs a command in a lane and returns its result, which is the payload.
    ///
    /// Waits for a free slot and for the command itself; other threads run meanwhile and Ctrl-C interrupts the wait, not
    /// the command. ``payload`` is anything that ``json.dumps`` accepts without NaN and infinities; integers must lie
    /// between -2**63 and 2**64 - 1. Raises :class:`LaneNotFoundError`, :class:`NotStartedError` before :meth:`start`,
    /// :class:`ShutdownInProgressError` after :meth:`shutdown`, and ``ValueError`` for a payload that is not JSON.
    #[pyo3(signature = (lane_id, command_type, payload = None))]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        lane_id: &Bound<'py, PyAny>,
        command_type: &Bound<'py, PyAny>,
        payload: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let queue = self.queue(py)?;
        let lane_id = argument::text("lane_id", lane_id)?;
        let command_type = argument::text("command_type", command_type)?;
        let payload = payload.map_or(Ok(Value::Null), |payload| to_json("payload", payload))?;
        let result = try_wait(
            py,
            queue.run(&lane_id, JsonCommand::new(command_type, payload)),
        )?;
        from_json(py, &result)
    }

    /// Subscribes to all events from now on.
    fn subscribe(&self, py: Python<'_>) -> PyResult<EventStream> {
        Ok(EventStream::new(self.manager(py)?.subscribe()))
    }

    /// Subscribes to the events from now on whose key is one of ``keys``, and to notices of lost events.
    fn subscribe_filtered(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<EventStream> {
        let keys: HashSet<String> = argument::texts("keys", keys)?.into_iter().collect();
        Ok(EventStream::new(self.manager(py)?.subscribe_filtered(
            move |event| keys.contains(&event.key),
        )))
    }

    /// What is waiting and running now.
    fn stats(&self, py: Python<'_>) -> PyResult<QueueStats> {
        let queue = self.queue(py)?;
        let stats = try_wait(py, queue.manager.stats())?;
        Ok(QueueStats::new(&stats, &queue.order))
    }

    /// Stops taking new commands. What was taken still runs. May be called again.
    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.manager(py)?.shutdown())
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
            Ok(queue) => format!("Lane({})", queue.order.join(", ")),
            Err(_) => "Lane(of another process)".into(),
        }
    }
}

//! Commands that follow a script, for tests of code that uses lanes.

use std::time::Duration;

use a3s_lane::LaneError;
use a3s_lane::testing::ScriptedCommand;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList};
use serde_json::Value;
use tokio::sync::oneshot::Receiver;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::batch::{self, wrap};
use crate::error::raise;
use crate::from_json::from_json;
use crate::handle::CommandHandle;
use crate::lane::Lane;
use crate::process::ProcessLocal;
use crate::to_json::to_json;
use crate::wait::wait;
use crate::{argument, submit_options};

/// The result of a command that :func:`submit_scripted` has handed to a lane.
#[pyclass(frozen, module = "a3s_lane.testing")]
pub(crate) struct ScriptedResult {
    outcome: ProcessLocal<Mutex<Outcome>>,
}

enum Outcome {
    Awaited(Receiver<a3s_lane::Result<Value>>),
    Settled(a3s_lane::Result<Value>),
}

impl Outcome {
    /// Takes what has arrived, if anything has.
    fn look(&mut self) {
        if let Self::Awaited(receiver) = self
            && let Ok(result) = receiver.try_recv()
        {
            *self = Self::Settled(result);
        }
    }
}

/// The outcome once it is settled.
async fn settled(outcome: &Mutex<Outcome>) -> MutexGuard<'_, Outcome> {
    let mut outcome = outcome.lock().await;
    if let Outcome::Awaited(receiver) = &mut *outcome {
        let result = receiver.await.unwrap_or_else(|_| {
            Err(LaneError::QueueError(
                "the lane was dropped before the command ended".into(),
            ))
        });
        *outcome = Outcome::Settled(result);
    }
    outcome
}

/// Hands a command that follows ``script`` to a lane and returns at once, also before :meth:`Lane.start`.
///
/// ``script`` is a list of attempts, each a list of steps that run in order: ``{"sleep_ms": 20}``, ``{"fail": "text"}``,
/// ``{"unrecoverable": "text"}``, which is not retried, ``{"panic": "text"}``, ``{"return": value}``,
/// ``{"return_metadata": {}}``, ``{"progress": value}``, ``{"emit": value}``, ``{"heartbeat": {}}``, ``{"settle_cost": 5}``,
/// ``{"await_cancel": {}}`` and ``{"child": {"lane_id": "...", "command_type": "...", "script": [...]}}``, which submits a
/// command of its own and waits for it. An attempt in which no step fails, panics or returns ends with ``None``. The last
/// attempt of the list is repeated when there are more retries.
#[pyfunction]
pub(crate) fn submit_scripted(
    py: Python<'_>,
    lane: &Bound<'_, PyAny>,
    lane_id: &Bound<'_, PyAny>,
    command_type: &Bound<'_, PyAny>,
    script: &Bound<'_, PyAny>,
) -> PyResult<ScriptedResult> {
    let queue = queue_of(lane)?.queue(py)?;
    let manager = &queue.manager;
    let lane_id = argument::text("lane_id", lane_id)?;
    let command_type = argument::text("command_type", command_type)?;
    let command = command(py, "script", command_type, script)?;
    let submitted = manager.submit(&lane_id, Box::new(command));
    let receiver = queue.submitting(py, &lane_id, "`enqueue_async`", submitted)?;
    Ok(ScriptedResult {
        outcome: ProcessLocal::new(Mutex::new(Outcome::Awaited(receiver))),
    })
}

/// Like :func:`submit_scripted`, with the options of :meth:`Lane.enqueue`, and returns the command's handle.
#[pyfunction]
#[pyo3(signature = (lane, lane_id, command_type, script, **options))]
pub(crate) fn enqueue_scripted(
    py: Python<'_>,
    lane: &Bound<'_, PyAny>,
    lane_id: &Bound<'_, PyAny>,
    command_type: &Bound<'_, PyAny>,
    script: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<CommandHandle> {
    let queue = queue_of(lane)?.queue(py)?;
    let lane_id = argument::text("lane_id", lane_id)?;
    let command_type = argument::text("command_type", command_type)?;
    let command = Box::new(command(py, "script", command_type, script)?);
    let options = submit_options::read("enqueue_scripted()", "", options)?.unwrap_or_default();
    let submitted = queue.enqueue(&lane_id, command, options);
    let handle = queue.submitting(py, &lane_id, "`enqueue_async`", submitted)?;
    Ok(wrap(handle, queue))
}

/// Like :meth:`Lane.submit_many`, with a script in the place of each payload.
#[pyfunction]
pub(crate) fn submit_many_scripted<'py>(
    py: Python<'py>,
    lane: &Bound<'py, PyAny>,
    lane_id: &Bound<'py, PyAny>,
    commands: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let queue = queue_of(lane)?.queue(py)?;
    let lane_id = argument::text("lane_id", lane_id)?;
    batch::submit_many(py, queue, &lane_id, commands, &|field, kind, script| {
        let none = py.None().into_bound(py);
        let script = script.unwrap_or(&none);
        Ok(Box::new(command(py, field, kind, script)?))
    })
}

pub(crate) fn queue_of<'a>(lane: &'a Bound<'_, PyAny>) -> PyResult<&'a Lane> {
    lane.cast::<Lane>()
        .map(|lane| lane.get())
        .map_err(|_| argument::wrong_class("lane", "Lane", lane))
}

/// The command that follows `script`.
fn command(
    py: Python<'_>,
    field: &str,
    command_type: String,
    script: &Bound<'_, PyAny>,
) -> PyResult<ScriptedCommand> {
    let script = to_json(field, script)?;
    ScriptedCommand::from_json(command_type, &script).map_err(|error| raise(py, &error))
}

impl ScriptedResult {
    fn outcome(&self, py: Python<'_>) -> PyResult<&Mutex<Outcome>> {
        self.outcome
            .get("ScriptedResult")
            .map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl ScriptedResult {
    /// Waits for the command and returns its value or raises its error. May be called again.
    ///
    /// Raises the built-in ``TimeoutError``, which is no :class:`LaneError`, after ``timeout_secs`` seconds of waiting.
    #[pyo3(signature = (timeout_secs = None))]
    fn result<'py>(
        &self,
        py: Python<'py>,
        timeout_secs: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let limit = timeout_secs
            .map(|value| argument::seconds("timeout_secs", value))
            .transpose()?
            .unwrap_or(Duration::MAX);
        let outcome = self.outcome(py)?;
        let Ok(outcome) = wait(py, async { timeout(limit, settled(outcome)).await })? else {
            return Err(PyTimeoutError::new_err(
                "the command did not end within timeout_secs",
            ));
        };
        match &*outcome {
            Outcome::Settled(Ok(value)) => from_json(py, value),
            Outcome::Settled(Err(error)) => Err(raise(py, error)),
            Outcome::Awaited(_) => Err(raise(py, &LaneError::QueueError("no result".into()))),
        }
    }

    /// Whether the command has ended.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        // Whoever holds the lock is waiting for the end.
        let Ok(mut outcome) = self.outcome(py)?.try_lock() else {
            return Ok(false);
        };
        outcome.look();
        Ok(matches!(*outcome, Outcome::Settled(_)))
    }
}

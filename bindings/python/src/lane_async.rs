//! What `a3s_lane._asyncio` and `a3s_lane._handlers` need of a lane set.
//!
//! The functions that begin a call return its result when it has one at once, and else a `_Pending`.

use std::sync::Arc;

use a3s_lane::LaneError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};
use serde_json::Value;

use crate::calls::{begin, begin_timed};
use crate::command::{json_result, new_command};
use crate::error::raise;
use crate::handle::CommandHandle;
use crate::handlers::Kind;
use crate::lane::Lane;
use crate::places::Places;
use crate::report::ShutdownReport;
use crate::{argument, names, queue, submit_options};

/// Makes a function the handler of a command type.
#[pyfunction(name = "_register")]
pub(crate) fn register(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    command_type: &Bound<'_, PyAny>,
    function: Py<PyAny>,
    takes_context: bool,
    kind: &str,
) -> PyResult<()> {
    let queue = lane.get().queue(py)?;
    let command_type = argument::text("command_type", command_type)?;
    let kind = match kind {
        "coroutine" => Kind::Coroutine,
        "process" => Kind::Process,
        _ => Kind::Thread,
    };
    let function = (function, takes_context, kind);
    queue
        .handlers
        .register(py, &queue.manager, command_type, function)
}

/// Puts a function around handlers.
#[pyfunction(name = "_add_middleware")]
pub(crate) fn add_middleware(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    function: Py<PyAny>,
    is_coroutine: bool,
) -> PyResult<()> {
    let queue = lane.get().queue(py)?;
    queue
        .handlers
        .add_middleware(py, &queue.manager, function, is_coroutine)
}

/// Begins [`Lane::submit_async`].
#[pyfunction(name = "_begin_submit")]
pub(crate) fn begin_submit(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    lane_id: &Bound<'_, PyAny>,
    command_type: &Bound<'_, PyAny>,
    payload: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let queue = lane.get().queue(py)?;
    let lane_id = names::name("lane_id", lane_id)?;
    let command = new_command(py, &queue.handlers, command_type, payload)?;
    let options = submit_options::read("submit_async()", "", options)?;
    let place = queue.running_place(py)?;
    let manager = Arc::clone(&queue.manager);
    let run = async move { queue::run(&manager, &lane_id, command, options).await };
    begin(py, &place, json_result, run)
}

/// Begins [`Lane::enqueue_async`].
#[pyfunction(name = "_begin_enqueue")]
pub(crate) fn begin_enqueue(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    lane_id: &Bound<'_, PyAny>,
    command_type: &Bound<'_, PyAny>,
    payload: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let queue = lane.get().queue(py)?;
    let lane_id = names::name("lane_id", lane_id)?;
    let command = new_command(py, &queue.handlers, command_type, payload)?;
    let options = submit_options::read("enqueue_async()", "", options)?.unwrap_or_default();
    let place = queue.running_place(py)?;
    let (manager, places) = (Arc::clone(&queue.manager), Arc::clone(&queue.places));
    let submitted = async move {
        let handle = manager.submit_with(&lane_id, command, options).await?;
        Ok((handle, places))
    };
    begin(py, &place, wrap_handle, submitted)
}

type Submitted = Result<(a3s_lane::CommandHandle, Arc<Places>), LaneError>;

fn wrap_handle(py: Python<'_>, submitted: Submitted) -> PyResult<Py<PyAny>> {
    let (handle, places) = submitted.map_err(|error| raise(py, &error))?;
    Ok(Py::new(py, CommandHandle::new(handle, &places))?.into_any())
}

/// Begins [`Lane::drain_async`].
#[pyfunction(name = "_begin_drain")]
pub(crate) fn begin_drain(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    timeout_secs: &Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    let limit = argument::seconds("timeout_secs", timeout_secs)?;
    let queue = lane.get().queue(py)?;
    let place = queue.running_place(py)?;
    let manager = Arc::clone(&queue.manager);
    let drained = async move { manager.drain(limit).await.map(|()| Value::Null) };
    begin_timed(py, &place, json_result, drained)
}

/// Begins [`Lane::shutdown_within_async`].
#[pyfunction(name = "_begin_shutdown")]
pub(crate) fn begin_shutdown(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    secs: &Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    let limit = argument::seconds("secs", secs)?;
    let queue = lane.get().queue(py)?;
    let place = queue.running_place(py)?;
    let manager = Arc::clone(&queue.manager);
    let ended = async move { manager.shutdown_within(limit).await };
    let wrapped = |py: Python<'_>, report| Ok(Py::new(py, ShutdownReport::new(report))?.into_any());
    begin_timed(py, &place, wrapped, ended)
}

/// Begins [`Lane::close_async`].
#[pyfunction(name = "_begin_close")]
pub(crate) fn begin_close(py: Python<'_>, lane: &Bound<'_, Lane>) -> PyResult<Py<PyAny>> {
    let queue = lane.get().queue(py)?;
    let place = queue.running_place(py)?;
    let manager = Arc::clone(&queue.manager);
    let closed = async move { manager.close().await.map(|()| Value::Null) };
    begin_timed(py, &place, json_result, closed)
}

/// Ends the handlers' threads and loop where nothing can come any more.
#[pyfunction(name = "_end_of_work")]
pub(crate) fn end_of_work(py: Python<'_>, lane: &Bound<'_, Lane>) -> PyResult<()> {
    lane.get().end_of_work(py)
}

/// Makes the event loop of this thread the home of the handlers, if they have none, and begins to start.
#[pyfunction(name = "_begin_enter")]
pub(crate) fn begin_enter(py: Python<'_>, lane: &Bound<'_, Lane>) -> PyResult<Py<PyAny>> {
    let queue = lane.get().queue(py)?;
    let place = queue.running_place(py)?;
    let manager = Arc::clone(&queue.manager);
    let started = async move { manager.start().await.map(|()| Value::Null) };
    begin_timed(py, &place, json_result, started)
}

//! What a lane set offers to event loops, and what `a3s_lane._asyncio` and `a3s_lane._handlers` need for it.
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
use crate::imported::Imported;
use crate::lane::Lane;
use crate::places::Places;
use crate::report::ShutdownReport;
use crate::{argument, lane_life, names, queue, submit_options};

#[pymethods]
impl Lane {
    /// Runs a command in a lane and gives its result, as :meth:`submit` does, without blocking the event loop.
    ///
    /// Waiting is not running: cancelling the task that waits does not cancel the command.
    #[pyo3(
        signature = (lane_id, command_type, payload = None, **options),
        text_signature = "($self, lane_id, command_type, payload=None, *, id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, preemptible=True)"
    )]
    fn submit_async<'py>(
        slf: &Bound<'py, Self>,
        lane_id: &Bound<'py, PyAny>,
        command_type: &Bound<'py, PyAny>,
        payload: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // The package puts that function in the place of this one, which says how it is called.
        static SUBMIT: Imported = Imported::new("a3s_lane._calls", "submit");
        SUBMIT
            .get(slf.py())?
            .call1((slf, lane_id, command_type, payload, options))
    }

    /// Hands a command to a lane and gives its handle, as :meth:`enqueue` does, without blocking the event loop where a full
    /// lane's ``overflow`` is ``"wait"``. Cancelling the wait submits nothing.
    #[pyo3(
        signature = (lane_id, command_type, payload = None, **options),
        text_signature = "($self, lane_id, command_type, payload=None, *, id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, preemptible=True)"
    )]
    fn enqueue_async<'py>(
        slf: &Bound<'py, Self>,
        lane_id: &Bound<'py, PyAny>,
        command_type: &Bound<'py, PyAny>,
        payload: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._asyncio")?;
        module.call_method1("enqueue", (slf, lane_id, command_type, payload, options))
    }

    /// Waits until nothing is waiting or running, as :meth:`drain` does, without blocking the event loop.
    fn drain_async<'py>(
        slf: &Bound<'py, Self>,
        timeout_secs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._asyncio")?;
        module.call_method1("drain", (slf, timeout_secs))
    }

    /// Ends the lanes, as :meth:`shutdown_within` does, without blocking the event loop.
    fn shutdown_within_async<'py>(
        slf: &Bound<'py, Self>,
        secs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._asyncio")?;
        module.call_method1("shutdown_within", (slf, secs))
    }

    /// As :meth:`close`, without blocking the event loop.
    fn close_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._asyncio")?;
        module.call_method1("close", (slf,))
    }

    /// As :meth:`find`, without blocking the event loop.
    fn find_async<'py>(
        slf: &Bound<'py, Self>,
        command_id: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lane_life::later(slf, "_begin_find", Some(command_id), None)
    }

    /// As :meth:`unclaimed`, without blocking the event loop.
    fn unclaimed_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        lane_life::later(slf, "_begin_unclaimed", None, None)
    }

    /// As :meth:`load_history`, without blocking the event loop.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, command_id=None, lane_id=None, since=None, after=None, limit=None)"
    )]
    fn load_history_async<'py>(
        slf: &Bound<'py, Self>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lane_life::later(slf, "_begin_history", None, filter)
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("a3s_lane._asyncio")?;
        module.call_method1("enter", (slf,))
    }

    #[pyo3(signature = (exc_type = None, exc_value = None, traceback = None))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        exc_type: Option<&Bound<'py, PyAny>>,
        exc_value: Option<&Bound<'py, PyAny>>,
        traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (exc_value, traceback);
        lane_life::leave_async(slf, exc_type)
    }
}

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
    // Apart, because each command needs memory for the one that it is.
    match options {
        None => begin(py, &place, json_result, async move {
            queue::run(&manager, &lane_id, command).await
        }),
        Some(options) => begin(py, &place, json_result, async move {
            queue::run_with(&manager, &lane_id, command, options).await
        }),
    }
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

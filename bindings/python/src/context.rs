//! What a handler knows about its attempt, and what it can tell.

use std::sync::Arc;

use a3s_lane::{CommandContext, LaneError, StopReason};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};
use serde_json::Value;

use crate::calls::{begin, unless};
use crate::command::{json_result, new_command};
use crate::error::raise;
use crate::from_json::from_json;
use crate::handle::CommandHandle;
use crate::handlers::{Function, Handlers};
use crate::link::Link;
use crate::place::Place;
use crate::process::ProcessLocal;
use crate::to_json::to_json;
use crate::wait::wait;
use crate::{argument, names, submit_options};

/// One attempt of a command, as its handler sees it: the second argument of a handler.
///
/// After the end of the attempt it does nothing.
#[pyclass(frozen, name = "CommandContext", module = "a3s_lane")]
pub(crate) struct HandlerContext {
    attempt: ProcessLocal<Attempt>,
}

struct Attempt {
    link: Arc<Link>,
    function: Arc<Function>,
    /// Where the handler runs, if on an event loop.
    place: Option<Arc<Place>>,
    handlers: Arc<Handlers>,
}

impl Attempt {
    /// The attempt for something that only one which goes on can do.
    fn live(&self, py: Python<'_>) -> PyResult<CommandContext> {
        self.link.context().map_err(|ended| {
            let text = format!("the attempt of command {} has ended", ended.id);
            raise(py, &LaneError::QueueError(text))
        })
    }
}

impl HandlerContext {
    pub(crate) fn new(
        link: Arc<Link>,
        function: &Arc<Function>,
        place: Option<Arc<Place>>,
        handlers: &Arc<Handlers>,
    ) -> Self {
        Self {
            attempt: ProcessLocal::new(Attempt {
                link,
                function: Arc::clone(function),
                place,
                handlers: Arc::clone(handlers),
            }),
        }
    }

    fn attempt(&self, py: Python<'_>) -> PyResult<&Attempt> {
        self.attempt
            .get("CommandContext")
            .map_err(|error| raise(py, &error))
    }

    /// Tells the queue something.
    fn tell(&self, py: Python<'_>, tell: impl FnOnce(&CommandContext)) -> PyResult<()> {
        let attempt = self.attempt(py)?;
        let Ok(context) = attempt.link.context() else {
            return Ok(());
        };
        match attempt.place.as_ref().filter(|place| place.is_here()) {
            Some(place) => place.within(py, || tell(&context)),
            None => tell(&context),
        }
        Ok(())
    }

    fn child(
        &self,
        py: Python<'_>,
        callee: &str,
        command_type: &Bound<'_, PyAny>,
        payload: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(Box<dyn a3s_lane::Command>, a3s_lane::SubmitOptions)> {
        let attempt = self.attempt(py)?;
        let command = new_command(py, &attempt.handlers, command_type, payload)?;
        let options = submit_options::read(callee, "", options)?.unwrap_or_default();
        Ok((command, options))
    }
}

#[pymethods]
impl HandlerContext {
    /// The command's id.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(match self.attempt(py)?.link.context() {
            Ok(context) => context.id(),
            Err(ended) => ended.id,
        })
    }

    /// What kind of work it is.
    #[getter]
    fn command_type(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(&self.attempt(py)?.function.command_type)
    }

    /// The lane in which the command runs.
    #[getter]
    fn lane_id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(match self.attempt(py)?.link.context() {
            Ok(context) => context.lane_id().to_owned(),
            Err(ended) => ended.lane_id,
        })
    }

    /// The number of this attempt, from 1. A preempted attempt is not counted.
    #[getter(attempt)]
    fn attempt_number(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(match self.attempt(py)?.link.context() {
            Ok(context) => context.attempt(),
            Err(ended) => ended.number,
        })
    }

    /// Seconds that this attempt may still take; ``None`` without a time limit, 0 once it has passed.
    #[getter]
    fn time_left(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let context = self.attempt(py)?.link.context().ok();
        let left = context.and_then(|context| context.time_left());
        Ok(left.map(|left| left.as_secs_f64()))
    }

    /// When this attempt must have ended, on the clock of ``time.monotonic()``; ``None`` without a time limit.
    #[getter]
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let Some(left) = self.time_left(py)? else {
            return Ok(None);
        };
        let now: f64 = py.import("time")?.call_method0("monotonic")?.extract()?;
        Ok(Some(now + left))
    }

    /// What was given as ``metadata``, as a new dict.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let context = self.attempt(py)?.link.context();
        let metadata = match &context {
            Ok(context) => context.metadata(),
            Err(ended) => &ended.metadata,
        };
        for (name, value) in metadata {
            dict.set_item(name, from_json(py, value)?)?;
        }
        Ok(dict)
    }

    /// Whether this attempt was asked to stop: by a cancel, a preemption, a time limit or the end of the lanes.
    #[getter]
    fn cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        let context = self.attempt(py)?.link.context();
        Ok(context.is_ok_and(|context| context.is_cancelled()))
    }

    /// Why this attempt was asked to stop: ``"deadline"``, ``"stall"``, ``"cancel"``, ``"preempt"`` or ``"shutdown"``; ``None``
    /// when it was not.
    #[getter]
    fn stop_reason(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        let Ok(context) = self.attempt(py)?.link.context() else {
            return Ok(None);
        };
        // Only an attempt that was asked before hears of it.
        if !context.is_cancelled() {
            return Ok(None);
        }
        Ok(context.stop_reason().map(|reason| match reason {
            StopReason::Deadline => "deadline",
            StopReason::Stall => "stall",
            StopReason::Cancel => "cancel",
            StopReason::Preempt => "preempt",
            _ => "shutdown",
        }))
    }

    /// Raises :class:`CommandCancelledError` when this attempt was asked to stop.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        match self.stop_reason(py)? {
            None => Ok(()),
            Some(reason) => Err(raise(
                py,
                &LaneError::Cancelled(format!("asked to stop ({reason})")),
            )),
        }
    }

    /// Tells how far the work is: to :meth:`CommandHandle.progress` and as an event. Is a sign of life too.
    fn progress(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = to_json("value", value)?;
        self.tell(py, |context| context.progress(value))
    }

    /// Hands out a part of the result before the end: to :meth:`CommandHandle.chunks`. Is a sign of life too. Nobody sees it
    /// when the command was submitted without a handle.
    fn emit(&self, py: Python<'_>, chunk: &Bound<'_, PyAny>) -> PyResult<()> {
        let chunk = to_json("chunk", chunk)?;
        self.tell(py, |context| context.emit(chunk))
    }

    /// Shows that the work gets on: ``progress_timeout_secs`` counts from now.
    fn heartbeat(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, CommandContext::heartbeat)
    }

    /// Corrects what the lane's limiters were charged to what the work really cost, 0 to 2**53 - 1. The last call counts.
    fn settle_cost(&self, py: Python<'_>, cost: &Bound<'_, PyAny>) -> PyResult<()> {
        let cost = argument::amount("cost", cost, 0)?;
        self.tell(py, |context| context.settle_cost(cost))
    }

    /// Runs a command on behalf of this one and returns its result; awaitable in an ``async def`` handler.
    ///
    /// While this handler waits, the child may use its slot, so that work that submits to its own lane cannot wait for itself.
    /// The arguments are those of :meth:`Lane.submit`.
    #[pyo3(
        signature = (lane_id, command_type, payload = None, **options),
        text_signature = "($self, lane_id, command_type, payload=None, *, id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, preemptible=True)"
    )]
    fn submit_child<'py>(
        slf: &Bound<'py, Self>,
        lane_id: &Bound<'py, PyAny>,
        command_type: &Bound<'py, PyAny>,
        payload: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let attempt = this.attempt(py)?;
        if attempt.place.is_some() {
            return py.import("a3s_lane._asyncio")?.call_method1(
                "submit_child",
                (slf, lane_id, command_type, payload, options),
            );
        }
        let lane_id = names::name("lane_id", lane_id)?;
        let (command, options) =
            this.child(py, "submit_child()", command_type, payload, options)?;
        let context = attempt.live(py)?;
        let stopped = context.cancellation();
        let child = async {
            context
                .submit_child(&lane_id, command, options)
                .await?
                .await
        };
        match wait(py, unless(child, stopped.cancelled()))? {
            Some(result) => json_result(py, result).map(|result| result.into_bound(py)),
            None => Err(raise(
                py,
                &LaneError::Cancelled("while it waited for its child".into()),
            )),
        }
    }

    /// Hands in a command on behalf of this one and returns its handle at once; see :meth:`submit_child`.
    #[pyo3(
        signature = (lane_id, command_type, payload = None, **options),
        text_signature = "($self, lane_id, command_type, payload=None, *, id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, preemptible=True)"
    )]
    fn enqueue_child(
        &self,
        py: Python<'_>,
        lane_id: &Bound<'_, PyAny>,
        command_type: &Bound<'_, PyAny>,
        payload: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<CommandHandle> {
        let attempt = self.attempt(py)?;
        let lane_id = names::name("lane_id", lane_id)?;
        let (command, options) =
            self.child(py, "enqueue_child()", command_type, payload, options)?;
        let places = &attempt.handlers.places;
        let context = attempt.live(py)?;
        let submitted = context.submit_child(&lane_id, command, options);
        let handle = attempt
            .handlers
            .submitting
            .wait(py, &lane_id, "await", submitted)?
            .map_err(|refused| raise(py, &refused.into()))?;
        Ok(CommandHandle::new(handle, places))
    }

    fn _begin_child(
        &self,
        py: Python<'_>,
        lane_id: &Bound<'_, PyAny>,
        command_type: &Bound<'_, PyAny>,
        payload: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let attempt = self.attempt(py)?;
        let lane_id = names::name("lane_id", lane_id)?;
        let (command, options) =
            self.child(py, "submit_child()", command_type, payload, options)?;
        let (place, _) = attempt.handlers.places.running(py)?;
        let context = attempt.live(py)?;
        let child = async move {
            let handle = context.submit_child(&lane_id, command, options).await?;
            handle.await
        };
        begin::<a3s_lane::Result<Value>>(py, &place, json_result, child)
    }

    fn __repr__(&self) -> String {
        match self.attempt.get("CommandContext") {
            Ok(attempt) => {
                let (id, number) = match attempt.link.context() {
                    Ok(context) => (context.id(), context.attempt()),
                    Err(ended) => (ended.id, ended.number),
                };
                format!("CommandContext(id={id:?}, attempt={number})")
            }
            Err(_) => "CommandContext(of another process)".into(),
        }
    }
}

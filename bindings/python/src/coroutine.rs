//! Running an `async def` as a task of its event loop.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use a3s_lane::{CommandContext, LaneError, Result};
use pyo3::prelude::*;
use pyo3::types::PyAny;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::context::HandlerContext;
use crate::from_json::from_json;
use crate::guarded;
use crate::handlers::{Function, Handlers, finished, gone};
use crate::imported::Imported;
use crate::interned::interned;
use crate::link::Link;
use crate::place::Place;
use crate::process::{self, ProcessLocal};
use crate::slot::Slot;

/// One attempt of a coroutine.
pub(crate) async fn run(
    function: &Arc<Function>,
    place: &Arc<Place>,
    payload: &Value,
    variables: Option<&Py<PyAny>>,
    context: &CommandContext,
    handlers: &Arc<Handlers>,
) -> Result<Value> {
    if !place.is_here() {
        return elsewhere(function, place, payload, variables, context, handlers).await;
    }
    let started =
        Python::try_attach(|py| start(py, function, place, payload, variables, context, handlers));
    match started {
        None => Err(gone()),
        Some(Started::Ended(outcome)) => outcome,
        Some(Started::Running(running)) => running.await,
    }
}

/// As [`run`], from another thread: the handlers moved to another loop while the command was on its way to the old one.
async fn elsewhere(
    function: &Arc<Function>,
    place: &Arc<Place>,
    payload: &Value,
    variables: Option<&Py<PyAny>>,
    context: &CommandContext,
    handlers: &Arc<Handlers>,
) -> Result<Value> {
    let variables = match variables {
        None => None,
        Some(variables) => Some(Python::try_attach(|py| variables.clone_ref(py)).ok_or_else(gone)?),
    };
    let (function, here, payload, context, handlers) = (
        Arc::clone(function),
        Arc::clone(place),
        payload.clone(),
        context.clone(),
        Arc::clone(handlers),
    );
    let (mut tell, told) = oneshot::channel();
    place.event_loop.spawn(async move {
        let outcome = {
            let started = async {
                Python::try_attach(|py| {
                    start(
                        py,
                        &function,
                        &here,
                        &payload,
                        variables.as_ref(),
                        &context,
                        &handlers,
                    )
                })
            };
            let mut run = pin!(async {
                match started.await {
                    None => Err(gone()),
                    Some(Started::Ended(outcome)) => outcome,
                    Some(Started::Running(running)) => running.await,
                }
            });
            poll_fn(|cx| match tell.poll_closed(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => run.as_mut().poll(cx).map(Some),
            })
            .await
        };
        if let Some(outcome) = outcome {
            let _ = tell.send(outcome);
        }
    });
    told.await.unwrap_or_else(|_| {
        Err(LaneError::QueueError(
            "the event loop of the command's handler has ended".into(),
        ))
    })
}

enum Started {
    /// It never had to wait.
    Ended(Result<Value>),
    Running(Running),
}

fn start(
    py: Python<'_>,
    function: &Arc<Function>,
    place: &Arc<Place>,
    payload: &Value,
    variables: Option<&Py<PyAny>>,
    context: &CommandContext,
    handlers: &Arc<Handlers>,
) -> Started {
    let link = function.takes_context.then(|| Link::new(context.clone()));
    let begun = || -> PyResult<Started> {
        static START: Imported = Imported::new("a3s_lane._asyncio", "start");
        let context_of = || {
            let place = Some(Arc::clone(place));
            let link = link.clone().unwrap_or_else(|| Link::new(context.clone()));
            HandlerContext::new(link, function, place, handlers)
        };
        let asyncio_loop = place.asyncio_loop();
        let start = START.get(py)?;
        let payload = from_json(py, payload)?;
        let callable = &*function.callable;
        let process = process::generation();
        let task = if function.takes_context {
            let context = context_of();
            guarded::call(start, (asyncio_loop, variables, callable, payload, context))
        } else {
            guarded::call(start, (asyncio_loop, variables, callable, payload))
        };
        process::end_child(py, process, &task);
        let task = task?;
        if !is_task(&task)? {
            return Ok(Started::Ended(finished(py, Ok(task))));
        }
        let slot = Arc::new(Slot::default());
        let done = TaskDone {
            inner: ProcessLocal::new((Arc::clone(&slot), Arc::clone(place))),
        };
        task.call_method1(interned!(py, "add_done_callback"), (done,))?;
        place.suspend(&slot);
        Ok(Started::Running(Running {
            slot,
            place: Arc::clone(place),
            task: Some(task.unbind()),
            link: link.clone(),
            stop: Some(Box::pin(context.cancellation().cancelled_owned())),
        }))
    };
    let started = begun().unwrap_or_else(|error| Started::Ended(finished(py, Err(error))));
    if let (Some(link), Started::Ended(Err(_))) = (&link, &started) {
        link.end();
    }
    started
}

/// Whether the work goes on in a task. A result is never one: JSON has none.
fn is_task(started: &Bound<'_, PyAny>) -> PyResult<bool> {
    static FUTURE: Imported = Imported::new("asyncio", "Future");
    let class = FUTURE.get(started.py())?;
    // By its class alone: `isinstance` would also ask the object, at each command.
    started.get_type().is_subclass(class)
}

/// A task that is suspended. Dropping this cancels it.
struct Running {
    slot: Arc<Slot>,
    place: Arc<Place>,
    task: Option<Py<PyAny>>,
    /// That of its context, if it has one.
    link: Option<Arc<Link>>,
    /// Ready when the attempt is asked to stop.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Future for Running {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(stop) = &mut this.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            this.stop = None;
            // The task learns of it now, and may use the grace that its lane has.
            if let Some(task) = &this.task {
                let cancelled = Python::try_attach(|py| task.clone_ref(py));
                if let Some(task) = cancelled {
                    this.place.cancel_soon(task);
                }
            }
        }
        let outcome = ready!(this.slot.poll(cx));
        this.task = None;
        if let (Some(link), Err(_)) = (&this.link, &outcome) {
            link.end();
        }
        Poll::Ready(outcome)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.place.resume(&self.slot);
        if let Some(task) = self.task.take() {
            self.place.cancel_soon(task);
        }
    }
}

/// Called by the loop when a task has ended.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct TaskDone {
    inner: ProcessLocal<(Arc<Slot>, Arc<Place>)>,
}

#[pymethods]
impl TaskDone {
    fn __call__(&self, py: Python<'_>, task: &Bound<'_, PyAny>) {
        let Ok((slot, place)) = self.inner.get("Lane") else {
            return;
        };
        let outcome = finished(py, task.call_method0(interned!(py, "result")));
        place.within(py, || slot.settle(outcome));
    }
}

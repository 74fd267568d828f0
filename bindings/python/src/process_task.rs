//! Running a function in another process.

use std::future::poll_fn;
use std::sync::Arc;

use a3s_lane::{CommandContext, Result};
use pyo3::prelude::*;
use pyo3::types::PyAny;
use serde_json::Value;

use crate::context::HandlerContext;
use crate::handlers::{Function, Handlers, finished, gone};
use crate::link::Link;
use crate::process::ProcessLocal;
use crate::slot::Slot;
use crate::threads::Threads;

/// One attempt. No thread waits for its end.
pub(crate) async fn run(
    function: &Arc<Function>,
    payload: &Value,
    context: &CommandContext,
    handlers: &Arc<Handlers>,
) -> Result<Value> {
    let started = Python::try_attach(|py| {
        let no_context =
            || HandlerContext::new(Link::new(context.clone()), function, None, handlers);
        let begun = || -> PyResult<Running> {
            let slot = Arc::new(Slot::default());
            let future = function.call(py, payload, None, no_context)?;
            let done = FutureDone {
                slot: ProcessLocal::new(Arc::clone(&slot)),
            };
            future.call_method1("add_done_callback", (done,))?;
            Ok(Running {
                slot,
                threads: Arc::clone(&handlers.threads),
                future: Some(future.unbind()),
            })
        };
        begun().map_err(|error| finished(py, Err(error)))
    });
    match started {
        None => Err(gone()),
        Some(Err(outcome)) => outcome,
        Some(Ok(mut running)) => {
            let outcome = poll_fn(|cx| running.slot.poll(cx)).await;
            running.future = None;
            outcome
        }
    }
}

/// A `concurrent.futures.Future` that is not done. Dropping this cancels it, which works until a process has taken it.
struct Running {
    slot: Arc<Slot>,
    threads: Arc<Threads>,
    future: Option<Py<PyAny>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.threads.cancel_soon(future);
        }
    }
}

/// Called by the pool of processes when a future is done.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct FutureDone {
    slot: ProcessLocal<Arc<Slot>>,
}

#[pymethods]
impl FutureDone {
    fn __call__(&self, py: Python<'_>, future: &Bound<'_, PyAny>) {
        if let Ok(slot) = self.slot.get("Lane") {
            slot.settle(finished(py, future.call_method0("result")));
        }
    }
}

//! What a submitter holds of one command.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};
use tokio::time::timeout;

use crate::argument;
use crate::calls::{begin, blocking, now};
use crate::command::json_result;
use crate::error::raise;
use crate::feed::{ChunkStream, ProgressStream};
use crate::from_json::from_json;
use crate::imported::Imported;
use crate::places::Places;
use crate::process::ProcessLocal;
use crate::report;

/// What an event loop does instead of waiting for [`CommandHandle::result`].
const INSTEAD: &str = "`await handle`";

/// One command that was handed to a lane.
///
/// Waiting is not running: a handle that is dropped, or a wait that is interrupted, never cancels the command. Only
/// :meth:`cancel` does. Handles are equal when they have the same ``id`` in the same :class:`Lane`.
#[pyclass(frozen, eq, hash, module = "a3s_lane")]
pub(crate) struct CommandHandle(ProcessLocal<(a3s_lane::CommandHandle, Arc<Places>)>);

impl PartialEq for CommandHandle {
    fn eq(&self, other: &Self) -> bool {
        (self.queue(), self.id()) == (other.queue(), other.id())
    }
}

impl Hash for CommandHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.queue(), self.id()).hash(state);
    }
}

impl CommandHandle {
    /// A handle of a command of the lane set with these places.
    pub(crate) fn new(handle: a3s_lane::CommandHandle, places: &Arc<Places>) -> Self {
        Self(ProcessLocal::new((handle, Arc::clone(places))))
    }

    /// The lane set's number. As the names, it never changes, so that a forked child may read it too.
    fn queue(&self) -> u64 {
        self.0.constant(|(_, places)| places.number)
    }

    fn parts(&self, py: Python<'_>) -> PyResult<&(a3s_lane::CommandHandle, Arc<Places>)> {
        self.0
            .get("CommandHandle")
            .map_err(|error| raise(py, &error))
    }

    fn places(&self, py: Python<'_>) -> PyResult<&Arc<Places>> {
        Ok(&self.parts(py)?.1)
    }

    fn handle(&self, py: Python<'_>) -> PyResult<&a3s_lane::CommandHandle> {
        Ok(&self.parts(py)?.0)
    }
}

#[pymethods]
impl CommandHandle {
    /// The command's id: the submitter's own, or a UUID.
    #[getter]
    fn id(&self) -> &str {
        self.0.constant(|(handle, _)| handle.id())
    }

    /// The lane it was handed to.
    #[getter]
    fn lane_id(&self) -> &str {
        self.0.constant(|(handle, _)| handle.lane_id())
    }

    /// Where the command is now: ``"pending"``, ``"delayed"`` (waits for a time) or ``"running"``, and in the end
    /// ``"completed"``, ``"failed"``, ``"timed_out"``, ``"cancelled"`` or ``"expired"``.
    #[getter]
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.handle(py)?.status().to_string())
    }

    /// Waits for the command and returns its value or raises its error. May be called any number of times, by many threads.
    ///
    /// Raises the built-in ``TimeoutError``, which is no :class:`LaneError`, after ``timeout_secs`` seconds of waiting; the
    /// command goes on. Without a limit Ctrl-C still interrupts the wait. Before :meth:`Lane.start` it waits for that too.
    #[pyo3(signature = (timeout_secs = None))]
    fn result<'py>(
        &self,
        py: Python<'py>,
        timeout_secs: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let limit = timeout_secs
            .map(|value| argument::seconds("timeout_secs", value))
            .transpose()?;
        let handle = self.handle(py)?;
        let places = self.places(py)?;
        let outcome = match limit {
            None => blocking(py, places, INSTEAD, handle.result())?,
            Some(limit) => {
                let result = async { timeout(limit, handle.result()).await };
                blocking(py, places, INSTEAD, result)?.map_err(|_| {
                    PyTimeoutError::new_err("the command did not end within timeout_secs")
                })?
            }
        };
        match outcome {
            Ok(value) => from_json(py, &value),
            Err(error) => Err(raise(py, &error)),
        }
    }

    /// Cancels the command; returns whether there was something to cancel.
    ///
    /// A waiting command ends at once. A running one is asked to stop and, after its lane's ``grace_secs``, dropped; when it
    /// completes first, it is completed.
    fn cancel(&self, py: Python<'_>) -> PyResult<bool> {
        let handle = self.handle(py)?;
        now(py, self.places(py)?, || handle.cancel())
    }

    /// Where the command is and everything it waits for, or ``None`` once it has ended; see :meth:`Lane.explain`.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let handle = self.handle(py)?;
        let explanation = now(py, self.places(py)?, || handle.explain())?;
        explanation
            .map(|explanation| report::explanation(py, &explanation))
            .transpose()
    }

    /// How far the command is, as it reports itself: the newest value, then every newer one, until it has ended.
    fn progress(&self, py: Python<'_>) -> PyResult<ProgressStream> {
        Ok(ProgressStream::new(
            self.handle(py)?.progress(),
            self.places(py)?,
        ))
    }

    /// The command's partial results, from the first one, until it has ended.
    fn chunks(&self, py: Python<'_>) -> PyResult<ChunkStream> {
        Ok(ChunkStream::new(
            self.handle(py)?.chunks(),
            self.places(py)?,
        ))
    }

    /// Waits for the command, as :meth:`result` does, without blocking the event loop. May be awaited any number of times.
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static AWAIT: Imported = Imported::new("a3s_lane._asyncio", "await_result");
        AWAIT.get(slf.py())?.call1((slf,))
    }

    /// The command's partial results, for ``async for``.
    fn __aiter__(&self, py: Python<'_>) -> PyResult<ChunkStream> {
        self.chunks(py)
    }

    fn _begin_result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let handle = self.handle(py)?.clone();
        let (place, _) = self.places(py)?.running(py)?;
        begin(py, &place, json_result, handle.into_future())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let status = match self.0.get("CommandHandle") {
            Ok((handle, _)) => handle.status().to_string(),
            Err(_) => "of another process".to_owned(),
        };
        Ok(format!(
            "CommandHandle(id={}, lane_id={}, status='{status}')",
            PyString::new(py, self.id()).repr()?,
            PyString::new(py, self.lane_id()).repr()?
        ))
    }
}

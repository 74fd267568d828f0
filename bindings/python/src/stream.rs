//! A subscription to the events of a lane set.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyAny;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::argument;
use crate::calls::{begin, blocking};
use crate::error::raise;
use crate::event::LaneEvent;
use crate::feed::{end_of_stream, next_item};
use crate::places::Places;
use crate::process::ProcessLocal;

/// The events of a :class:`Lane`, in order, from the moment of subscription.
///
/// A stream that falls behind by more than the ``event_capacity`` of its ``Lane`` loses the oldest ones and then delivers one
/// ``queue.events.lagged`` event with ``{"missed": n}``. It ends after ``queue.shutdown.complete``. Iterate over it, or
/// call :meth:`recv`. Any number of threads may read one stream: each event goes to one of them.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct EventStream {
    source: ProcessLocal<Arc<Source>>,
}

struct Source {
    /// `None` once the stream has ended or was closed.
    events: Mutex<Option<a3s_lane::EventStream>>,
    missed: AtomicU64,
    ended: AtomicBool,
    closed: CancellationToken,
    places: Arc<Places>,
    /// Events whose reader was cancelled when it had them already.
    kept: std::sync::Mutex<VecDeque<Py<PyAny>>>,
}

impl EventStream {
    pub(crate) fn new(events: a3s_lane::EventStream, places: &Arc<Places>) -> Self {
        Self {
            source: ProcessLocal::new(Arc::new(Source {
                events: Mutex::new(Some(events)),
                missed: AtomicU64::new(0),
                ended: AtomicBool::new(false),
                closed: CancellationToken::new(),
                places: Arc::clone(places),
                kept: std::sync::Mutex::default(),
            })),
        }
    }

    fn source(&self, py: Python<'_>) -> PyResult<&Arc<Source>> {
        match self.source.get("EventStream") {
            Ok(source) => Ok(source),
            Err(error) => Err(raise(py, &error)),
        }
    }

    fn next(&self, py: Python<'_>, limit: Option<Duration>) -> PyResult<Option<Py<PyAny>>> {
        let source = self.source(py)?;
        if let Some(kept) = source.take_kept() {
            return Ok(Some(kept));
        }
        let places = &source.places;
        let event = match limit {
            None => blocking(py, places, INSTEAD, source.next())?,
            Some(limit) => {
                let next = async { timeout(limit, source.next()).await };
                blocking(py, places, INSTEAD, next)?.unwrap_or(None)
            }
        };
        event.map(|event| wrap(py, event)).transpose()
    }
}

/// What an event loop does instead of waiting for an event.
const INSTEAD: &str = "`async for`";

fn wrap(py: Python<'_>, event: a3s_lane::LaneEvent) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, LaneEvent::new(event))?.into_any())
}

impl Source {
    fn take_kept(&self) -> Option<Py<PyAny>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop_front()
    }

    async fn next(&self) -> Option<a3s_lane::LaneEvent> {
        self.closed
            .run_until_cancelled(self.receive())
            .await
            .flatten()
    }

    async fn receive(&self) -> Option<a3s_lane::LaneEvent> {
        let mut events = self.events.lock().await;
        let event = events.as_mut()?.recv().await;
        self.missed
            .store(events.as_ref()?.missed(), Ordering::Relaxed);
        if event.is_none() {
            self.ended.store(true, Ordering::Relaxed);
            *events = None;
        }
        event
    }

    fn close(&self) {
        self.closed.cancel();
        self.ended.store(true, Ordering::Relaxed);
        // A reader that holds the lock wakes up and leaves; what is buffered goes with the stream itself.
        if let Ok(mut events) = self.events.try_lock() {
            *events = None;
        }
    }
}

#[pymethods]
impl EventStream {
    /// Waits for the next event, at most ``timeout_ms`` milliseconds.
    ///
    /// Returns ``None`` when the time is over or the stream has ended; :attr:`ended` tells which. 0 only takes what has
    /// already arrived. Without a limit Ctrl-C still interrupts the wait.
    #[pyo3(signature = (timeout_ms = None))]
    fn recv(
        &self,
        py: Python<'_>,
        timeout_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let limit = timeout_ms
            .map(|value| argument::milliseconds("timeout_ms", value))
            .transpose()?;
        self.next(py, limit)
    }

    /// How many events this stream has lost so far because nobody read it in time.
    #[getter]
    fn missed(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.source(py)?.missed.load(Ordering::Relaxed))
    }

    /// Whether the stream has delivered its last event or was closed.
    #[getter]
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.source(py)?.ended.load(Ordering::Relaxed))
    }

    /// Ends the stream: threads that wait in :meth:`recv` return ``None`` at once. May be called again.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.source(py)?.close();
        Ok(())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.next(py, None)
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        next_item(slf.as_any())
    }

    fn _begin_next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let source = Arc::clone(self.source(py)?);
        if let Some(kept) = source.take_kept() {
            return Ok(kept);
        }
        let (place, _) = source.places.running(py)?;
        let next = async move { source.next().await };
        begin(
            py,
            &place,
            |py, event| match event {
                Some(event) => wrap(py, event),
                None => end_of_stream(py),
            },
            next,
        )
    }

    fn _put_back(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        let source = self.source(py)?;
        let mut kept = source.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(item);
        Ok(())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
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
        let _ = (exc_type, exc_value, traceback);
        if self.source.is_foreign() {
            // A child of fork leaves the block of its parent; the stream is not its to end.
            return Ok(());
        }
        self.close(py)
    }
}

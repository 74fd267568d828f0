//! What a command reports while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyAny;
use tokio::sync::Mutex;

use crate::calls::{begin, blocking};
use crate::error::raise;
use crate::from_json::from_json;
use crate::places::Places;
use crate::process::ProcessLocal;

/// What an event loop does instead of iterating.
const INSTEAD: &str = "`async for`";

/// A stream of the core, and what goes with it.
pub(crate) struct Source<S> {
    stream: Arc<Mutex<S>>,
    places: Arc<Places>,
    /// Items whose reader was cancelled when it had them already.
    kept: std::sync::Mutex<VecDeque<Py<PyAny>>>,
}

impl<S> Source<S> {
    fn new(stream: S, places: &Arc<Places>) -> ProcessLocal<Self> {
        ProcessLocal::new(Self {
            stream: Arc::new(Mutex::new(stream)),
            places: Arc::clone(places),
            kept: std::sync::Mutex::default(),
        })
    }

    fn take_kept(&self) -> Option<Py<PyAny>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop_front()
    }

    fn put_back(&self, item: Py<PyAny>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(item);
    }
}

/// A coroutine that gives the next item of a stream.
pub(crate) fn next_item<'py>(stream: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let module = stream.py().import("a3s_lane._asyncio")?;
    module.call_method1("next_item", (stream,))
}

/// What stands for an item when there is none.
pub(crate) fn end_of_stream(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(py.get_type::<PyStopAsyncIteration>().into_any().unbind())
}

/// How far a command is, as it reports itself: an iterator.
///
/// The first value is the newest one at that time. A reader that is slower than the command skips values. The iteration
/// waits for the next value, which Ctrl-C interrupts, and ends when the command has ended. Of many threads that read one
/// iterator each value goes to one.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct ProgressStream {
    source: ProcessLocal<Source<a3s_lane::ProgressStream>>,
}

impl ProgressStream {
    pub(crate) fn new(stream: a3s_lane::ProgressStream, places: &Arc<Places>) -> Self {
        Self {
            source: Source::new(stream, places),
        }
    }

    fn source(&self, py: Python<'_>) -> PyResult<&Source<a3s_lane::ProgressStream>> {
        self.source
            .get("ProgressStream")
            .map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl ProgressStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let source = self.source(py)?;
        if let Some(kept) = source.take_kept() {
            return Ok(Some(kept.into_bound(py)));
        }
        let next = async { source.stream.lock().await.recv().await };
        let value = blocking(py, &source.places, INSTEAD, next)?;
        value.map(|value| from_json(py, &value)).transpose()
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        next_item(slf.as_any())
    }

    fn _begin_next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let source = self.source(py)?;
        if let Some(kept) = source.take_kept() {
            return Ok(kept);
        }
        let (place, _) = source.places.running(py)?;
        let stream = Arc::clone(&source.stream);
        let next = async move { stream.lock().await.recv().await };
        begin(
            py,
            &place,
            |py, value| match value {
                Some(value) => Ok(from_json(py, &value)?.unbind()),
                None => end_of_stream(py),
            },
            next,
        )
    }

    fn _put_back(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        self.source(py)?.put_back(item);
        Ok(())
    }
}

/// The partial results of a command: an iterator over :class:`Chunk`.
///
/// Every reader gets them all from the first one, however late it comes, within bounds: the newest 1024 chunks are kept,
/// or fewer when they are more than about 1 MiB together. The iteration waits for the next chunk, which Ctrl-C interrupts,
/// and ends when the command has ended. Of many threads that read one iterator each chunk goes to one.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct ChunkStream {
    source: ProcessLocal<Source<a3s_lane::ChunkStream>>,
}

impl ChunkStream {
    pub(crate) fn new(stream: a3s_lane::ChunkStream, places: &Arc<Places>) -> Self {
        Self {
            source: Source::new(stream, places),
        }
    }

    fn source(&self, py: Python<'_>) -> PyResult<&Source<a3s_lane::ChunkStream>> {
        self.source
            .get("ChunkStream")
            .map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl ChunkStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let source = self.source(py)?;
        if let Some(kept) = source.take_kept() {
            return Ok(Some(kept));
        }
        let next = async { source.stream.lock().await.recv().await };
        let chunk = blocking(py, &source.places, INSTEAD, next)?;
        chunk.map(|chunk| Chunk::wrap(py, chunk)).transpose()
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        next_item(slf.as_any())
    }

    fn _begin_next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let source = self.source(py)?;
        if let Some(kept) = source.take_kept() {
            return Ok(kept);
        }
        let (place, _) = source.places.running(py)?;
        let stream = Arc::clone(&source.stream);
        let next = async move { stream.lock().await.recv().await };
        begin(
            py,
            &place,
            |py, chunk| match chunk {
                Some(chunk) => Chunk::wrap(py, chunk),
                None => end_of_stream(py),
            },
            next,
        )
    }

    fn _put_back(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        self.source(py)?.put_back(item);
        Ok(())
    }
}

/// One partial result of a command.
#[pyclass(frozen, eq, module = "a3s_lane")]
#[derive(PartialEq)]
pub(crate) struct Chunk {
    chunk: a3s_lane::Chunk,
}

impl Chunk {
    fn wrap(py: Python<'_>, chunk: a3s_lane::Chunk) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Self { chunk })?.into_any())
    }
}

#[pymethods]
impl Chunk {
    /// The attempt that gave it, counted from 1.
    #[getter]
    fn attempt(&self) -> u32 {
        self.chunk.attempt
    }

    /// Its number among all chunks of the command, those of earlier attempts included, counted from 0.
    #[getter]
    fn index(&self) -> u64 {
        self.chunk.index
    }

    /// How many chunks right before this one came too late for the reader.
    #[getter]
    fn missed(&self) -> u64 {
        self.chunk.missed
    }

    /// What the command gave, as a new object.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_json(py, &self.chunk.value)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Chunk(attempt={}, index={}, missed={}, value={})",
            self.chunk.attempt,
            self.chunk.index,
            self.chunk.missed,
            self.value(py)?.repr()?
        ))
    }
}

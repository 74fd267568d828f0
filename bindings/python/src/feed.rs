//! What a command reports while it runs.

use pyo3::prelude::*;
use pyo3::types::PyAny;
use tokio::sync::Mutex;

use crate::error::raise;
use crate::from_json::from_json;
use crate::process::ProcessLocal;
use crate::wait::wait;

/// How far a command is, as it reports itself: an iterator.
///
/// The first value is the newest one at that time. A reader that is slower than the command skips values. The iteration
/// waits for the next value, which Ctrl-C interrupts, and ends when the command has ended. Of many threads that read one
/// iterator each value goes to one.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct ProgressStream {
    source: ProcessLocal<Mutex<a3s_lane::ProgressStream>>,
}

impl ProgressStream {
    pub(crate) fn new(stream: a3s_lane::ProgressStream) -> Self {
        Self {
            source: ProcessLocal::new(Mutex::new(stream)),
        }
    }
}

#[pymethods]
impl ProgressStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let source = self
            .source
            .get("ProgressStream")
            .map_err(|error| raise(py, &error))?;
        let value = wait(py, async { source.lock().await.recv().await })?;
        value.map(|value| from_json(py, &value)).transpose()
    }
}

/// The partial results of a command: an iterator over :class:`Chunk`.
///
/// Every reader gets them all from the first one, however late it comes, within bounds: the newest 1024 chunks are kept,
/// or fewer when they are more than about 1 MiB together. The iteration waits for the next chunk, which Ctrl-C interrupts,
/// and ends when the command has ended. Of many threads that read one iterator each chunk goes to one.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct ChunkStream {
    source: ProcessLocal<Mutex<a3s_lane::ChunkStream>>,
}

impl ChunkStream {
    pub(crate) fn new(stream: a3s_lane::ChunkStream) -> Self {
        Self {
            source: ProcessLocal::new(Mutex::new(stream)),
        }
    }
}

#[pymethods]
impl ChunkStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Chunk>> {
        let source = self
            .source
            .get("ChunkStream")
            .map_err(|error| raise(py, &error))?;
        let chunk = wait(py, async { source.lock().await.recv().await })?;
        Ok(chunk.map(|chunk| Chunk { chunk }))
    }
}

/// One partial result of a command.
#[pyclass(frozen, eq, module = "a3s_lane")]
#[derive(PartialEq)]
pub(crate) struct Chunk {
    chunk: a3s_lane::Chunk,
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

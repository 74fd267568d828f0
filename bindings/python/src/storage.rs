//! A storage of commands in a directory, from the arguments of a lane set.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage;
use a3s_lane::{Durability, LocalStorage, QueueManagerBuilder};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use crate::argument::{self, Given};
use crate::stored;
use crate::wait::try_wait;

/// How much a storage keeps of what is over: results, or history.
///
/// What is older than ``max_age_secs``, seven days by default, is not read any more; ``None`` is no limit. Of the rest the newest
/// ``max_count`` are kept, 100,000 by default; 0 keeps none.
#[pyclass(frozen, eq, from_py_object, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct Retention {
    max_age: Option<Duration>,
    max_count: usize,
}

impl Retention {
    fn to_core(&self) -> storage::Retention {
        storage::Retention::new()
            .with_max_age(self.max_age.unwrap_or(Duration::MAX))
            .with_max_count(self.max_count)
    }
}

#[pymethods]
impl Retention {
    #[new]
    #[pyo3(
        signature = (*, max_age_secs = Given::No, max_count = Given::No),
        text_signature = "(*, max_age_secs=604800, max_count=100000)"
    )]
    fn new(max_age_secs: Given<'_>, max_count: Given<'_>) -> PyResult<Self> {
        let max_age = match max_age_secs {
            Given::No => Some(Duration::from_secs(7 * 24 * 60 * 60)),
            Given::Yes(secs) => argument::given(&secs)
                .map(|secs| argument::seconds_above_zero("max_age_secs", secs))
                .transpose()?,
        };
        let max_count = match max_count {
            Given::No => 100_000,
            Given::Yes(count) => argument::count("max_count", &count, 0..=u32::MAX)?,
        };
        Ok(Self { max_age, max_count })
    }

    /// The age in seconds up to which something is kept; ``None`` is no limit.
    #[getter]
    fn max_age_secs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.max_age
            .map(|age| argument::seconds_to_python(py, age))
            .transpose()
    }

    /// How many are kept.
    #[getter]
    fn max_count(&self) -> usize {
        self.max_count
    }

    /// Lets `pickle` and `copy` make the same again.
    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<((), Bound<'py, pyo3::types::PyDict>)> {
        let arguments = pyo3::types::PyDict::new(py);
        arguments.set_item("max_age_secs", self.max_age_secs(py)?)?;
        arguments.set_item("max_count", self.max_count)?;
        Ok(((), arguments))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let age = match self.max_age_secs(py)? {
            Some(age) => age.to_string(),
            None => "None".to_owned(),
        };
        Ok(format!(
            "Retention(max_age_secs={age}, max_count={})",
            self.max_count
        ))
    }
}

/// What the arguments say about the storage.
#[derive(Default)]
pub(crate) struct StorageArguments {
    directory: Option<PathBuf>,
    durability: Option<Durability>,
    max_crashes: Option<u32>,
    results: Option<storage::Retention>,
    history: Option<storage::Retention>,
    max_dead_letters: Option<usize>,
    /// The first argument that means nothing without a directory.
    first: Option<String>,
}

impl StorageArguments {
    /// Reads one argument; false when there is none of this name.
    pub(crate) fn set(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name {
            "storage" => {
                let given = argument::given(value);
                self.directory = given.map(|value| directory(name, value)).transpose()?;
            }
            "durability" => {
                let choices = [("full", Durability::Full), ("relaxed", Durability::Relaxed)];
                self.durability = Some(argument::choice(name, value, &choices)?);
            }
            "max_crashes" => {
                self.max_crashes = Some(argument::integer(name, value, 1..=u32::MAX)?);
            }
            "results" => self.results = retention(name, value)?,
            "history" => self.history = retention(name, value)?,
            "max_dead_letters" => {
                self.max_dead_letters = Some(argument::count(name, value, 0..=u32::MAX)?);
            }
            _ => return Ok(false),
        }
        if name != "storage" && !value.is_none() && self.first.is_none() {
            self.first = Some(name.to_owned());
        }
        Ok(true)
    }

    /// Refuses arguments that would do nothing.
    pub(crate) fn check(&self) -> PyResult<()> {
        match &self.first {
            Some(name) if self.directory.is_none() => Err(PyValueError::new_err(format!(
                "{name} must not be given without storage"
            ))),
            _ => Ok(()),
        }
    }

    /// Opens the storage. Blocks, without the GIL.
    pub(crate) fn open(
        self,
        py: Python<'_>,
        builder: QueueManagerBuilder,
    ) -> PyResult<(QueueManagerBuilder, Option<Arc<LocalStorage>>)> {
        let Some(directory) = self.directory else {
            return Ok((builder, None));
        };
        let mut storage = try_wait(py, LocalStorage::new(directory))?;
        if let Some(durability) = self.durability {
            storage = storage.with_durability(durability);
        }
        if let Some(results) = self.results {
            storage = storage.with_results(results);
        }
        if let Some(history) = self.history {
            storage = storage.with_history(history);
        }
        if let Some(letters) = self.max_dead_letters {
            storage = storage.with_max_dead_letters(letters);
        }
        let storage = Arc::new(storage);
        let mut builder = builder.with_storage(storage.clone());
        if let Some(max_crashes) = self.max_crashes {
            builder = builder.with_max_crashes(max_crashes);
        }
        Ok((builder, Some(storage)))
    }
}

/// What the directory of a ``storage=`` holds, also while another process uses it. Reads all of it, and changes nothing.
///
/// Raises :class:`StorageError` where there is no storage, or one that cannot be read. What is damaged but can be read in part is
/// told by ``problems``.
#[pyfunction]
pub(crate) fn inspect<'py>(
    py: Python<'py>,
    directory: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let directory = self::directory("directory", directory)?;
    let found = try_wait(py, LocalStorage::inspect(directory))?;
    stored::inspection(py, &found)
}

/// A `str` or an `os.PathLike`.
fn directory(field: &str, value: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    let path: PathBuf = value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyTypeError>(value.py()) {
            argument::wrong_class(field, "str or os.PathLike", value)
        } else {
            error
        }
    })?;
    if path.as_os_str().is_empty() {
        let text = format!("{field} must not be empty");
        return Err(PyValueError::new_err(text));
    }
    if value.is_instance_of::<PyString>() && path.as_os_str().as_encoded_bytes().contains(&0) {
        let text = format!("{field} must not contain a null character");
        return Err(PyValueError::new_err(text));
    }
    Ok(path)
}

fn retention(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<storage::Retention>> {
    let Some(value) = argument::given(value) else {
        return Ok(None);
    };
    let known = value
        .cast::<Retention>()
        .map_err(|_| argument::wrong_class(field, "Retention or None", value))?;
    Ok(Some(known.get().to_core()))
}

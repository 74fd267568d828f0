//! The commands of a lane set that failed for good.

use std::sync::Arc;

use a3s_lane::manager::Retried;
use a3s_lane::{DeadLetterFilter, DeadLetterRecord, LaneError};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList};

use crate::argument::{self, Given};
use crate::calls::{begin, check};
use crate::error::raise;
use crate::handle::CommandHandle;
use crate::lane::Lane;
use crate::places::Places;
use crate::queue::Queue;
use crate::stored;
use crate::submit_options::moment;
use crate::to_json::to_json;

/// The dead letters of a :class:`Lane`: in its storage or, without one, the last ``dlq_size`` in memory. Oldest first.
///
/// Filters say which letters are meant, and together mean those to which all apply: ``ids``, ``lane_id``, ``command_type``,
/// ``code`` of the last error, ``since`` (failed then or later) and ``until`` (failed before then), each a ``datetime`` with a time
/// zone, and ``limit``, so many of the oldest. Without any all letters are meant.
///
/// All methods raise :class:`ConfigError` for a ``Lane`` with neither ``storage`` nor ``dlq_size``, and :class:`StorageError`. Each
/// has a twin, such as :meth:`list_async`, that does not block the event loop.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct DeadLetters {
    lane: Py<Lane>,
}

type Answer<T> = Result<(T, Arc<Places>), LaneError>;

impl DeadLetters {
    pub(crate) fn new(lane: Py<Lane>) -> Self {
        Self { lane }
    }

    fn queue<'py>(&'py self, py: Python<'py>) -> PyResult<&'py Queue> {
        self.lane.get().queue(py)
    }

    /// A retry may wait for room in its lane.
    fn check(&self, py: Python<'_>, instead: &str) -> PyResult<()> {
        let queue = self.queue(py)?;
        if queue.storage.is_none() {
            return Ok(());
        }
        let instead = format!("`await lane.dead_letters.{instead}()`");
        check(py, &queue.places, &instead)
    }

    /// Waits for the answer of the core.
    fn ask<T, F>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(a3s_lane::DeadLetters) -> F,
    ) -> PyResult<T>
    where
        T: Send,
        F: Future<Output = Result<T, LaneError>> + Send,
    {
        let queue = self.queue(py)?;
        let asked = question(queue.manager.dead_letters());
        queue.reading(py, asked)
    }

    /// Begins a question to the core on the event loop of this thread.
    fn begin<T, F>(
        &self,
        py: Python<'_>,
        convert: fn(Python<'_>, Answer<T>) -> PyResult<Py<PyAny>>,
        question: impl FnOnce(a3s_lane::DeadLetters) -> F,
    ) -> PyResult<Py<PyAny>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LaneError>> + Send + 'static,
    {
        let queue = self.queue(py)?;
        let place = queue.running_place(py)?;
        let asked = question(queue.manager.dead_letters());
        let places = Arc::clone(&queue.places);
        begin(
            py,
            &place,
            convert,
            async move { Ok((asked.await?, places)) },
        )
    }
}

#[pymethods]
impl DeadLetters {
    /// The letters that the filter means.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn list<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let filter = read_filter("list()", filter)?;
        let letters = self.ask(py, |letters| async move { letters.list(&filter).await })?;
        to_list(py, letters)
    }

    /// Puts the command of a letter back into its lane, with its old id and options, from its first attempt on, and returns its
    /// handle. Its delay and its time to live are over. ``payload`` takes the place of the old one.
    ///
    /// The letter is gone when the command is in, and stays after an error. Raises :class:`CommandNotFoundError`,
    /// :class:`DuplicateError` when another call has the letter in hand or another command its id or ``unique`` name,
    /// :class:`ConfigError` when it has no payload or its type no handler, and what :meth:`Lane.enqueue` raises.
    #[pyo3(
        signature = (command_id, payload = Given::No),
        text_signature = "($self, command_id, payload=...)"
    )]
    fn retry(
        &self,
        py: Python<'_>,
        command_id: &Bound<'_, PyAny>,
        payload: Given<'_>,
    ) -> PyResult<CommandHandle> {
        let (id, payload) = read_retry(command_id, payload)?;
        self.check(py, "retry_async")?;
        let handle = self.ask(py, |letters| retry(letters, id, payload))?;
        Ok(CommandHandle::new(handle, &self.queue(py)?.places))
    }

    /// Retries every letter that the filter means. One that cannot be retried keeps no other back: for each there is the
    /// command's id, and its handle or the error.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn retry_all<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let filter = read_filter("retry_all()", filter)?;
        self.check(py, "retry_all_async")?;
        let retried = self.ask(
            py,
            |letters| async move { letters.retry_all(&filter).await },
        )?;
        retried_list(py, retried, &self.queue(py)?.places)
    }

    /// Throws away the letters that the filter means, and with each the other letters of its command; returns how many.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn discard(&self, py: Python<'_>, filter: Option<&Bound<'_, PyDict>>) -> PyResult<usize> {
        let filter = read_filter("discard()", filter)?;
        self.ask(py, |letters| async move { letters.discard(&filter).await })
    }

    /// The letters that the filter means as text, one JSON object a line. They stay.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn export(&self, py: Python<'_>, filter: Option<&Bound<'_, PyDict>>) -> PyResult<String> {
        let filter = read_filter("export()", filter)?;
        self.ask(py, |letters| async move { letters.export(&filter).await })
    }

    /// Keeps letters that :meth:`export` has written, behind those that are there; returns how many are new.
    ///
    /// Raises :class:`ConfigError` with the number of a line that is no dead letter; then nothing was imported.
    fn import_(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<usize> {
        let lines = argument::text("lines", lines)?;
        self.ask(py, |letters| async move { letters.import(&lines).await })
    }

    /// As :meth:`list`, without blocking the event loop.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn list_async<'py>(
        slf: &Bound<'py, Self>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stored::later(slf, "_begin_list", &[], filter)
    }

    /// As :meth:`retry`, without blocking the event loop.
    #[pyo3(
        signature = (command_id, payload = Given::No),
        text_signature = "($self, command_id, payload=...)"
    )]
    fn retry_async<'py>(
        slf: &Bound<'py, Self>,
        command_id: &Bound<'py, PyAny>,
        payload: Given<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut arguments = vec![command_id.clone()];
        if let Given::Yes(payload) = payload {
            arguments.push(payload);
        }
        stored::later(slf, "_begin_retry", &arguments, None)
    }

    /// As :meth:`retry_all`, without blocking the event loop.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn retry_all_async<'py>(
        slf: &Bound<'py, Self>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stored::later(slf, "_begin_retry_all", &[], filter)
    }

    /// As :meth:`discard`, without blocking the event loop.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn discard_async<'py>(
        slf: &Bound<'py, Self>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stored::later(slf, "_begin_discard", &[], filter)
    }

    /// As :meth:`export`, without blocking the event loop.
    #[pyo3(
        signature = (**filter),
        text_signature = "($self, *, ids=None, lane_id=None, command_type=None, code=None, since=None, until=None, limit=None)"
    )]
    fn export_async<'py>(
        slf: &Bound<'py, Self>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stored::later(slf, "_begin_export", &[], filter)
    }

    /// As :meth:`import_`, without blocking the event loop.
    fn import_async<'py>(
        slf: &Bound<'py, Self>,
        lines: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stored::later(slf, "_begin_import", std::slice::from_ref(lines), None)
    }

    #[pyo3(signature = (**filter))]
    fn _begin_list(
        &self,
        py: Python<'_>,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let filter = read_filter("list_async()", filter)?;
        let convert = |py: Python<'_>, answer: Answer<Vec<DeadLetterRecord>>| {
            let (letters, _) = answer.map_err(|error| raise(py, &error))?;
            Ok(to_list(py, letters)?.into_any().unbind())
        };
        self.begin(
            py,
            convert,
            |letters| async move { letters.list(&filter).await },
        )
    }

    #[pyo3(signature = (command_id, payload = Given::No))]
    fn _begin_retry(
        &self,
        py: Python<'_>,
        command_id: &Bound<'_, PyAny>,
        payload: Given<'_>,
    ) -> PyResult<Py<PyAny>> {
        let (id, payload) = read_retry(command_id, payload)?;
        let convert = |py: Python<'_>, answer: Answer<a3s_lane::CommandHandle>| {
            let (handle, places) = answer.map_err(|error| raise(py, &error))?;
            Ok(Py::new(py, CommandHandle::new(handle, &places))?.into_any())
        };
        self.begin(py, convert, |letters| retry(letters, id, payload))
    }

    #[pyo3(signature = (**filter))]
    fn _begin_retry_all(
        &self,
        py: Python<'_>,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let filter = read_filter("retry_all_async()", filter)?;
        let convert = |py: Python<'_>, answer: Answer<Vec<Retried>>| {
            let (retried, places) = answer.map_err(|error| raise(py, &error))?;
            Ok(retried_list(py, retried, &places)?.into_any().unbind())
        };
        self.begin(py, convert, |letters| async move {
            letters.retry_all(&filter).await
        })
    }

    #[pyo3(signature = (**filter))]
    fn _begin_discard(
        &self,
        py: Python<'_>,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let filter = read_filter("discard_async()", filter)?;
        self.begin(py, counted, |letters| async move {
            letters.discard(&filter).await
        })
    }

    #[pyo3(signature = (**filter))]
    fn _begin_export(
        &self,
        py: Python<'_>,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let filter = read_filter("export_async()", filter)?;
        let convert = |py: Python<'_>, answer: Answer<String>| {
            let (text, _) = answer.map_err(|error| raise(py, &error))?;
            Ok(text.into_pyobject(py)?.into_any().unbind())
        };
        self.begin(py, convert, |letters| async move {
            letters.export(&filter).await
        })
    }

    fn _begin_import(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let lines = argument::text("lines", lines)?;
        self.begin(py, counted, |letters| async move {
            letters.import(&lines).await
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lane)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("DeadLetters({})", self.lane.bind(py).repr()?))
    }
}

async fn retry(
    letters: a3s_lane::DeadLetters,
    id: String,
    payload: Option<serde_json::Value>,
) -> Result<a3s_lane::CommandHandle, LaneError> {
    match payload {
        None => letters.retry(&id).await,
        Some(payload) => letters.retry_with(&id, payload).await,
    }
}

fn counted(py: Python<'_>, answer: Answer<usize>) -> PyResult<Py<PyAny>> {
    let (count, _) = answer.map_err(|error| raise(py, &error))?;
    Ok(count.into_pyobject(py)?.into_any().unbind())
}

fn read_retry(
    command_id: &Bound<'_, PyAny>,
    payload: Given<'_>,
) -> PyResult<(String, Option<serde_json::Value>)> {
    let id = argument::text("command_id", command_id)?;
    let payload = match payload {
        Given::Yes(payload) if !stored::is_unset(&payload)? => Some(to_json("payload", &payload)?),
        _ => None,
    };
    Ok((id, payload))
}

fn read_filter(callee: &str, filter: Option<&Bound<'_, PyDict>>) -> PyResult<DeadLetterFilter> {
    let mut read = DeadLetterFilter::all();
    for (name, value) in filter.into_iter().flatten() {
        let name = argument::text("the name of a filter", &name)?;
        let value = argument::given(&value);
        let text = |value: &Bound<'_, PyAny>| argument::text(&name, value);
        let moment = |value: &Bound<'_, PyAny>| moment(&name, value);
        match &*name {
            "ids" => {
                if let Some(ids) = value {
                    read.ids = argument::texts(&name, ids)?;
                    if read.ids.is_empty() {
                        // For the core no ids are all ids; here they were listed.
                        read.limit = Some(0);
                    }
                }
            }
            "lane_id" => read.lane_id = value.map(text).transpose()?,
            "command_type" => read.command_type = value.map(text).transpose()?,
            "code" => read.code = value.map(text).transpose()?,
            "since" => read.since = value.map(moment).transpose()?,
            "until" => read.until = value.map(moment).transpose()?,
            "limit" => {
                if let Some(limit) = value {
                    let limit = argument::count(&name, limit, 0..=u32::MAX)?;
                    read.limit = Some(read.limit.map_or(limit, |known| known.min(limit)));
                }
            }
            _ => return Err(argument::unexpected(callee, &name)),
        }
    }
    Ok(read)
}

fn to_list(py: Python<'_>, letters: Vec<DeadLetterRecord>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for letter in letters {
        list.append(stored::dead_letter(py, &letter)?)?;
    }
    Ok(list)
}

fn retried_list<'py>(
    py: Python<'py>,
    retried: Vec<Retried>,
    places: &Arc<Places>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (id, outcome) in retried {
        match outcome {
            Ok(handle) => list.append((id, CommandHandle::new(handle, places)))?,
            Err(error) => list.append((id, raise(py, &error).into_value(py)))?,
        }
    }
    Ok(list)
}

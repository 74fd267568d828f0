//! What is stored, as Python sees it.

use a3s_lane::storage::{
    DeadLetterRecord, FailedAttempt, HistoryEntry, Inspection, StoredOptions, Unclaimed,
    UnclaimedReason,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyString, PyTuple};
use serde::Serialize;
use serde_json::Value;

use crate::from_json::from_json;
use crate::guarded;
use crate::interned::interned;
use crate::report::timestamp;

/// A coroutine that calls the method `begin` of `object` and waits for what it has begun.
pub(crate) fn later<'py, T>(
    object: &Bound<'py, T>,
    begin: &str,
    arguments: &[Bound<'py, PyAny>],
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let mut all = vec![object.as_any().getattr(begin)?];
    all.extend_from_slice(arguments);
    let all = PyTuple::new(py, all)?;
    let module = py.import("a3s_lane._asyncio")?;
    module.getattr("call")?.call(all, keywords)
}

/// Whether it is the object that stands for what is absent.
pub(crate) fn is_unset(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let module = value.py().import("a3s_lane._stored")?;
    Ok(value.is(module.getattr("UNSET")?))
}

/// An object of a class of `a3s_lane._stored`.
fn made<'py>(
    py: Python<'py>,
    name: &str,
    fields: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let module = py.import(interned!(py, "a3s_lane._stored"))?;
    guarded::call_method(module.as_any(), &PyString::new(py, name), (fields,))
}

pub(crate) fn dead_letter<'py>(
    py: Python<'py>,
    letter: &DeadLetterRecord,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("command_id", &letter.command_id)?;
    fields.set_item("command_type", &letter.command_type)?;
    fields.set_item("lane_id", &letter.lane_id)?;
    if let Some(payload) = &letter.payload {
        fields.set_item("payload", from_json(py, payload)?)?;
    }
    fields.set_item("options", options(py, &letter.options)?)?;
    fields.set_item("error", &letter.error)?;
    fields.set_item("code", &letter.code)?;
    fields.set_item("traceback", letter.traceback.as_deref())?;
    fields.set_item("attempts", letter.attempts)?;
    let failures = PyList::empty(py);
    for failure in &letter.failures {
        failures.append(failed_attempt(py, failure)?)?;
    }
    fields.set_item("failures", failures)?;
    fields.set_item("failed_at", timestamp(letter.failed_at))?;
    made(py, "dead_letter", fields)
}

fn failed_attempt<'py>(py: Python<'py>, failure: &FailedAttempt) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("attempt", failure.attempt)?;
    fields.set_item("error", &failure.error)?;
    fields.set_item("code", &failure.code)?;
    fields.set_item("traceback", failure.traceback.as_deref())?;
    fields.set_item("started_at", failure.started_at.map(timestamp))?;
    fields.set_item("failed_at", timestamp(failure.failed_at))?;
    Ok(fields)
}

pub(crate) fn unclaimed_list<'py>(
    py: Python<'py>,
    all: &[Unclaimed],
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for each in all {
        list.append(unclaimed(py, each)?)?;
    }
    Ok(list)
}

fn unclaimed<'py>(py: Python<'py>, unclaimed: &Unclaimed) -> PyResult<Bound<'py, PyAny>> {
    let record = &unclaimed.record;
    let reason = match &unclaimed.reason {
        UnclaimedReason::NoHandler => "no_handler",
        UnclaimedReason::NoLane => "no_lane",
        _ => "unreadable",
    };
    let fields = PyDict::new(py);
    fields.set_item("command_id", &record.command.id)?;
    fields.set_item("command_type", &record.command.command_type)?;
    fields.set_item("lane_id", &record.command.lane_id)?;
    fields.set_item("reason", reason)?;
    fields.set_item("detail", unclaimed.reason.to_string())?;
    fields.set_item("options", options(py, &record.options)?)?;
    fields.set_item("attempts", record.command.retry_count)?;
    fields.set_item("crashes", record.crashes)?;
    fields.set_item("submitted_at", timestamp(record.command.created_at))?;
    fields.set_item("due_at", record.due_at.map(timestamp))?;
    made(py, "unclaimed", fields)
}

pub(crate) fn inspection<'py>(py: Python<'py>, found: &Inspection) -> PyResult<Bound<'py, PyAny>> {
    let mut told = to_value(found)?;
    for (lane, inspected) in told["lanes"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .zip(&found.lanes)
    {
        // As Python before 3.11 reads it.
        lane["oldest_created_at"] = timestamp(inspected.oldest_created_at).into();
    }
    made(
        py,
        "inspection",
        from_json(py, &told)?.cast_into::<PyDict>()?,
    )
}

fn options<'py>(py: Python<'py>, options: &StoredOptions) -> PyResult<Bound<'py, PyAny>> {
    from_json(py, &to_value(options)?)
}

pub(crate) fn history_list<'py>(
    py: Python<'py>,
    entries: &[HistoryEntry],
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for entry in entries {
        let fields = PyDict::new(py);
        fields.set_item("number", entry.number)?;
        fields.set_item("at", timestamp(entry.at))?;
        fields.set_item("event", from_json(py, &to_value(&entry.event)?)?)?;
        fields.set_item("lane_id", &entry.lane_id)?;
        fields.set_item("command_id", &entry.command_id)?;
        fields.set_item("command_type", &entry.command_type)?;
        fields.set_item("attempt", entry.attempt)?;
        fields.set_item("code", entry.code.as_deref())?;
        fields.set_item("error", entry.error.as_deref())?;
        list.append(made(py, "history_entry", fields)?)?;
    }
    Ok(list)
}

fn to_value(value: &impl Serialize) -> PyResult<Value> {
    serde_json::to_value(value).map_err(|error| {
        PyRuntimeError::new_err(format!("internal error, please report it: {error}"))
    })
}

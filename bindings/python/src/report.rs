//! What a queue says about itself.

use a3s_lane::{Explanation, Snapshot, WaitReason};
use chrono::{DateTime, Utc};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::from_json::from_json;

/// A moment in RFC 3339 form, as `datetime.fromisoformat` reads it.
pub(crate) fn timestamp(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// Where a command is and what it waits for.
pub(crate) fn explanation<'py>(
    py: Python<'py>,
    explanation: &Explanation,
) -> PyResult<Bound<'py, PyDict>> {
    to_dict(py, explained(explanation)?)
}

/// The whole state.
pub(crate) fn snapshot<'py>(py: Python<'py>, snapshot: &Snapshot) -> PyResult<Bound<'py, PyDict>> {
    let mut fields = object(snapshot)?;
    fields.insert("taken_at".into(), timestamp(snapshot.taken_at).into());
    let commands = snapshot.commands.iter().map(|command| {
        let mut fields = explained(&command.explanation)?;
        fields.insert("key".into(), command.key.clone().into());
        Ok(Value::Object(fields))
    });
    fields.insert("commands".into(), commands.collect::<PyResult<_>>()?);
    to_dict(py, fields)
}

fn explained(explanation: &Explanation) -> PyResult<Map<String, Value>> {
    let mut fields = object(explanation)?;
    fields.remove("age_ms");
    fields.insert("age_secs".into(), (explanation.age_ms / 1e3).into());
    let reasons = explanation.reasons.iter().map(|reason| {
        let mut fields = object(reason)?;
        if let WaitReason::Delayed { until } | WaitReason::RateLimited { until: Some(until) } =
            reason
        {
            fields.insert("until".into(), timestamp(*until).into());
        }
        Ok(Value::Object(fields))
    });
    fields.insert("reasons".into(), reasons.collect::<PyResult<_>>()?);
    Ok(fields)
}

fn object(value: &impl Serialize) -> PyResult<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => Ok(fields),
        other => Err(PyRuntimeError::new_err(format!(
            "internal error, please report it: {other:?} is no object"
        ))),
    }
}

fn to_dict(py: Python<'_>, fields: Map<String, Value>) -> PyResult<Bound<'_, PyDict>> {
    Ok(from_json(py, &Value::Object(fields))?.cast_into()?)
}

/// What :meth:`Lane.shutdown_within` could not bring to its end.
#[pyclass(frozen, eq, module = "a3s_lane")]
#[derive(PartialEq)]
pub(crate) struct ShutdownReport {
    stopped: Vec<Leftover>,
    pending: Vec<Leftover>,
}

impl ShutdownReport {
    pub(crate) fn new(report: a3s_lane::ShutdownReport) -> Self {
        let all = |left: Vec<a3s_lane::Leftover>| left.into_iter().map(Leftover::new).collect();
        Self {
            stopped: all(report.stopped),
            pending: all(report.pending),
        }
    }
}

#[pymethods]
impl ShutdownReport {
    /// Commands that ran and were stopped when the time was up, in the order in which they stopped.
    #[getter]
    fn stopped(&self) -> Vec<Leftover> {
        self.stopped.clone()
    }

    /// Commands that waited, in the order of submission.
    #[getter]
    fn pending(&self) -> Vec<Leftover> {
        self.pending.clone()
    }

    /// Whether nothing was left.
    #[getter]
    fn is_clean(&self) -> bool {
        self.stopped.is_empty() && self.pending.is_empty()
    }

    fn __repr__(&self) -> String {
        format!(
            "ShutdownReport(stopped={}, pending={})",
            self.stopped.len(),
            self.pending.len()
        )
    }
}

/// One command that did not come to its end.
#[pyclass(frozen, eq, get_all, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct Leftover {
    /// Its id.
    command_id: String,
    /// What kind of work it is.
    command_type: String,
    /// Its lane.
    lane_id: String,
    /// Attempts before; one that was stopped does not count.
    attempts: u32,
}

impl Leftover {
    fn new(left: a3s_lane::Leftover) -> Self {
        Self {
            command_id: left.command_id,
            command_type: left.command_type,
            lane_id: left.lane_id,
            attempts: left.attempts,
        }
    }
}

#[pymethods]
impl Leftover {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = |text: &str| PyString::new(py, text).repr();
        Ok(format!(
            "Leftover(command_id={}, command_type={}, lane_id={}, attempts={})",
            shown(&self.command_id)?,
            shown(&self.command_type)?,
            shown(&self.lane_id)?,
            self.attempts
        ))
    }
}

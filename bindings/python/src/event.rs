//! One thing that happened in a lane.

use a3s_lane::EventPayload;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::from_json::from_json;
use crate::report::timestamp;

/// One thing that happened in a lane, as an :class:`EventStream` delivers it.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct LaneEvent {
    event: a3s_lane::LaneEvent,
}

impl LaneEvent {
    pub(crate) fn new(event: a3s_lane::LaneEvent) -> Self {
        Self { event }
    }
}

#[pymethods]
impl LaneEvent {
    /// What happened, such as ``queue.command.started``.
    #[getter]
    fn key(&self) -> &str {
        &self.event.key
    }

    /// The details: ``None``, a text, or a new dict such as ``{"lane_id": "query", "command_id": "..."}``.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.event.payload {
            EventPayload::Empty => Ok(py.None().into_bound(py)),
            EventPayload::String(text) => Ok(PyString::new(py, text).into_any()),
            EventPayload::Map(map) => {
                let dict = PyDict::new(py);
                for (key, value) in map {
                    dict.set_item(key, from_json(py, value)?)?;
                }
                Ok(dict.into_any())
            }
        }
    }

    /// When it happened, in RFC 3339 form with microseconds in UTC: ``2026-11-22T10:00:00.123456+00:00``.
    #[getter]
    fn timestamp(&self) -> String {
        timestamp(self.event.timestamp)
    }

    fn __repr__(&self) -> String {
        format!("LaneEvent(key='{}')", self.event.key)
    }
}

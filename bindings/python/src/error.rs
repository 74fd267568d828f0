//! From [`LaneError`] to the exceptions of `a3s_lane.errors`.

use a3s_lane::LaneError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyAny;

/// The exception for `error`: the class that `a3s_lane.errors` keeps for its code.
pub(crate) fn raise(py: Python<'_>, error: &LaneError) -> PyErr {
    static FOR_CODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let exception = FOR_CODE
        .import(py, "a3s_lane.errors", "_for_code")
        .and_then(|for_code| for_code.call1((error.code(), error.to_string())));
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(problem) => problem,
    }
}

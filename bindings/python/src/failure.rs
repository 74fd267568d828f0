//! Exceptions of handlers, on their way to whoever waits.

use a3s_lane::LaneError;
use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use crate::guarded;
use crate::imported::Imported;
use crate::interned::interned;
use crate::released::Held;

/// The codes that keep their meaning when a handler raises them; the others are failures of the command.
const CODES: [&str; 22] = [
    "LANE_NOT_FOUND",
    "QUEUE_ERROR",
    "CONFIG_ERROR",
    "COMMAND_ERROR",
    "TIMEOUT",
    "SHUTDOWN_IN_PROGRESS",
    "JOB_NOT_FOUND",
    "JOB_STATE_CONFLICT",
    "JOB_LEASE_CONFLICT",
    "UNRECOVERABLE",
    "PANICKED",
    "CANCELLED",
    "EXPIRED",
    "LANE_FULL",
    "NOT_STARTED",
    "STORAGE_ERROR",
    "STALLED",
    "DUPLICATE",
    "COMMAND_NOT_FOUND",
    "LIMITER_NOT_FOUND",
    "CRASHED",
    "OTHER",
];

/// What a handler raised, as it travels inside of an error.
struct Thrown {
    exception: Held,
    /// It says by itself what went wrong: whoever waits gets it as it is.
    is_lane_error: bool,
}

fn lane_error(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: Imported = Imported::new("a3s_lane.errors", "LaneError");
    CLASS.get(py)
}

/// The error of an attempt whose handler raised `exception`.
pub(crate) fn failure(py: Python<'_>, exception: PyErr) -> LaneError {
    let value = exception.value(py);
    if !value.is_instance_of::<PyException>() {
        note_exit(py, value);
    }
    // Before 3.12 an exception that leaves Python code is apart from its traceback.
    if let Some(traceback) = exception.traceback(py) {
        let _ = value.setattr(interned!(py, "__traceback__"), traceback);
    }
    let is_lane_error = lane_error(py).is_ok_and(|class| value.is_instance(class).unwrap_or(false));
    let text = text(value);
    let (code, text) = if is_lane_error {
        (known_code(value), text)
    } else {
        let name = value
            .get_type()
            .name()
            .map_or_else(|_| "Exception".into(), |name| name.to_string());
        let text = if text.is_empty() {
            name
        } else {
            format!("{name}: {text}")
        };
        ("COMMAND_ERROR", text)
    };
    let thrown = Thrown {
        exception: Held::new(value.clone().into_any().unbind()),
        is_lane_error,
    };
    LaneError::raised_at(code, text, traceback_text(value), thrown)
}

/// What the interpreter would print of an exception that nobody caught. `None` when that cannot be told.
fn traceback_text(value: &Bound<'_, PyBaseException>) -> Option<String> {
    static FORMAT: Imported = Imported::new("a3s_lane._handlers", "traceback_text");
    let format = FORMAT.get(value.py()).ok()?;
    let text = guarded::call(format, (value,)).ok()?;
    Some(text.cast::<PyString>().ok()?.to_string_lossy().into_owned())
}

fn text(value: &Bound<'_, PyBaseException>) -> String {
    let class = value.py().get_type::<PyString>();
    guarded::call(&class, (value,))
        .and_then(|text| Ok(text.cast_into::<PyString>()?))
        .map_or_else(
            |_| String::new(),
            |text| text.to_string_lossy().into_owned(),
        )
}

fn known_code(value: &Bound<'_, PyBaseException>) -> &'static str {
    let code: Option<String> = value.getattr("code").and_then(|code| code.extract()).ok();
    CODES
        .into_iter()
        .find(|known| Some(*known) == code.as_deref())
        .unwrap_or("COMMAND_ERROR")
}

/// An exit or an interrupt that a handler raised ends only its attempt. That must not go unnoticed.
fn note_exit(py: Python<'_>, value: &Bound<'_, PyBaseException>) {
    static NOTE: Imported = Imported::new("a3s_lane._handlers", "note_exit");
    let noted = NOTE.get(py).and_then(|note| guarded::call(note, (value,)));
    if let Err(error) = noted {
        guarded::report(py, error, None);
    }
}

/// The exception for an error that a handler raised in this process, if it is one.
pub(crate) fn raise_again(py: Python<'_>, error: &LaneError) -> Option<PyErr> {
    let LaneError::Raised(raised) = error else {
        return None;
    };
    let thrown: &Thrown = raised.thing().downcast_ref()?;
    let exception = thrown.exception.bind(py).clone();
    thrown.is_lane_error.then(|| PyErr::from_value(exception))
}

/// What `error` came from, if that was an exception in this process.
pub(crate) fn cause(py: Python<'_>, error: &LaneError) -> Option<PyErr> {
    let LaneError::Raised(raised) = error else {
        return None;
    };
    let thrown: &Thrown = raised.thing().downcast_ref()?;
    Some(PyErr::from_value(thrown.exception.bind(py).clone()))
}

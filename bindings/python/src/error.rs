//! From [`LaneError`] to the exceptions of `a3s_lane.errors`.

use a3s_lane::LaneError;
use pyo3::prelude::*;

use crate::imported::Imported;
use crate::interned::interned;
use crate::{failure, guarded};

/// The exception for `error`: the class that `a3s_lane.errors` keeps for its code. What a handler raised is its cause; a
/// `LaneError` that a handler raised is itself again.
pub(crate) fn raise(py: Python<'_>, error: &LaneError) -> PyErr {
    if let Some(same) = failure::raise_again(py, error) {
        return same;
    }
    let exception = with_code(py, error.code(), &error.to_string());
    if let Some(cause) = failure::cause(py, error) {
        exception.set_cause(py, Some(cause));
    }
    if let Some(text) = error.traceback() {
        // A missing attribute says that there is no text.
        let _ = exception
            .value(py)
            .setattr(interned!(py, "traceback"), text);
    }
    exception
}

/// The exception of this code.
pub(crate) fn with_code(py: Python<'_>, code: &str, text: &str) -> PyErr {
    static FOR_CODE: Imported = Imported::new("a3s_lane.errors", "_for_code");
    let exception = FOR_CODE
        .get(py)
        .and_then(|for_code| guarded::call(for_code, (code, text)));
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(problem) => problem,
    }
}

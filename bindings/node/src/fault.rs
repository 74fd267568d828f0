//! Errors on their way to JavaScript, and the guard that keeps panics from crossing the boundary.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use a3s_lane::LaneError;

/// Why a call failed: what becomes `code` and `message` of a `LaneError` in JavaScript.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// The `code` of the JavaScript error.
#[derive(Debug)]
pub struct Code(&'static str);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl Fault {
    /// The payload is not JSON, or holds a number that would lose digits.
    pub(crate) fn invalid_payload(message: impl Into<String>) -> Self {
        Self {
            code: "INVALID_PAYLOAD",
            message: message.into(),
        }
    }

    /// An argument other than a setting is out of its range.
    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self {
            code: "INVALID_ARGUMENT",
            message: message.into(),
        }
    }

    /// A panic in this library or below it.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        LaneError::QueueError(format!("internal error, please report it: {text}")).into()
    }
}

impl From<LaneError> for Fault {
    fn from(error: LaneError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<napi::Error> for Fault {
    fn from(error: napi::Error) -> Self {
        LaneError::QueueError(error.reason.clone()).into()
    }
}

/// Runs the body of an exported function.
///
/// A panic that reached Node's C++ frames would abort the process; here it becomes an error like any other.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T, Fault>) -> napi::Result<T, Code> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
        .map_err(|fault| napi::Error::new(Code(fault.code), fault.message))
}

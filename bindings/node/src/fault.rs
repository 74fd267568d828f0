//! Errors on their way to JavaScript, and the guard that keeps panics from crossing the boundary.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use a3s_lane::LaneError;

/// Why a call failed: what becomes `code` and `message` of a `LaneError` in JavaScript.
#[derive(Debug, Clone, PartialEq)]
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

    /// The call would block the thread that must run what it waits for.
    pub(crate) fn would_block(message: impl Into<String>) -> Self {
        Self {
            code: "WOULD_BLOCK",
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
        Self::from(&error)
    }
}

impl From<&LaneError> for Fault {
    fn from(error: &LaneError) -> Self {
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

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        LaneError::QueueError(format!("cannot be told as JSON: {error}")).into()
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let outcome: napi::Result<(), Code> = guard(|| panic!("boom {}", 1));
        let error = outcome.expect_err("the body panicked");
        assert_eq!(error.status.as_ref(), "QUEUE_ERROR");
        assert_eq!(
            error.reason,
            "Queue error: internal error, please report it: boom 1"
        );
    }

    #[test]
    fn every_exported_function_is_guarded() {
        let mut exported = 0;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for file in fs::read_dir(sources).expect("the sources are here") {
            let path = file.expect("a source file").path();
            let source = fs::read_to_string(&path).expect("a source file is text");
            let mut marked = false;
            let mut lines = source.lines().map(str::trim);
            while let Some(line) = lines.next() {
                marked |= line.starts_with("#[napi");
                if marked && line.starts_with("pub fn") {
                    let body = if line.ends_with('{') {
                        lines.next()
                    } else {
                        lines
                            .by_ref()
                            .find(|line| line.ends_with('{'))
                            .and_then(|_| lines.next())
                    };
                    let body = body.expect("a function has a body");
                    assert!(
                        body.starts_with("guard(|| "),
                        "{}: {line} is not guarded",
                        path.display()
                    );
                    exported += 1;
                }
                marked &= !line.starts_with("pub ") && !line.starts_with("impl ");
            }
        }
        assert_eq!(exported, 81, "the number of exported functions");
    }
}

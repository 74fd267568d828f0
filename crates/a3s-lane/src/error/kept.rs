//! Errors of which only the code and the text are kept.

use super::LaneError;

/// What a text of each kind begins with, and the variant that adds it.
type Texts = &'static [(&'static str, &'static str, fn(String) -> LaneError)];

const TEXTS: Texts = &[
    (
        "LANE_NOT_FOUND",
        "Lane not found: ",
        LaneError::LaneNotFound,
    ),
    ("QUEUE_ERROR", "Queue error: ", LaneError::QueueError),
    (
        "CONFIG_ERROR",
        "Configuration error: ",
        LaneError::ConfigError,
    ),
    (
        "COMMAND_ERROR",
        "Command execution error: ",
        LaneError::CommandError,
    ),
    ("JOB_NOT_FOUND", "Job not found: ", LaneError::JobNotFound),
    (
        "JOB_STATE_CONFLICT",
        "Job state conflict: ",
        LaneError::JobStateConflict,
    ),
    (
        "JOB_LEASE_CONFLICT",
        "Job lease conflict: ",
        LaneError::JobLeaseConflict,
    ),
    ("UNRECOVERABLE", "", LaneError::UnrecoverableJob),
    ("PANICKED", "Command panicked: ", LaneError::Panicked),
    ("CANCELLED", "Command was cancelled: ", LaneError::Cancelled),
    (
        "EXPIRED",
        "Command expired before it started: ",
        LaneError::Expired,
    ),
    ("LANE_FULL", "Lane is full: ", LaneError::LaneFull),
    (
        "NOT_STARTED",
        "Queue is not started: ",
        LaneError::NotStarted,
    ),
    ("STORAGE_ERROR", "Storage error: ", LaneError::Storage),
    ("DUPLICATE", "Duplicate command: ", LaneError::Duplicate),
    (
        "COMMAND_NOT_FOUND",
        "Command not found: ",
        LaneError::CommandNotFound,
    ),
    (
        "LIMITER_NOT_FOUND",
        "Limiter not found: ",
        LaneError::LimiterNotFound,
    ),
];

/// The kinds of errors that hold more than a text.
const OTHERS: &[&str] = &[
    "TIMEOUT",
    "STALLED",
    "SHUTDOWN_IN_PROGRESS",
    "CRASHED",
    "OTHER",
];

impl LaneError {
    /// The error that had this code and this text. An unknown code becomes [`Other`](Self::Other).
    pub(crate) fn kept(code: &str, text: String) -> Self {
        for (known, start, variant) in TEXTS {
            if *known == code
                && let Some(rest) = text.strip_prefix(start)
            {
                return variant(rest.to_owned());
            }
        }
        let codes = TEXTS.iter().map(|(known, _, _)| *known);
        let mut codes = codes.chain(OTHERS.iter().copied());
        match codes.find(|known| *known == code) {
            Some("OTHER") | None => Self::Other(text),
            Some(code) => Self::raised(code, text, ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_kept_error_has_its_code_and_its_text() {
        let limit = Duration::from_millis(1500);
        for error in [
            LaneError::CommandError("no".into()),
            LaneError::Timeout(limit),
            LaneError::Stalled(limit),
            LaneError::Cancelled("while it ran".into()),
            LaneError::unrecoverable("no such account"),
            LaneError::Crashed(3),
            LaneError::Other("x".into()),
            // A text of another language, without the beginning.
            LaneError::raised("COMMAND_ERROR", "ValueError: bad", ()),
        ] {
            let kept = LaneError::kept(error.code(), error.to_string());
            assert_eq!(
                (kept.code(), kept.to_string()),
                (error.code(), error.to_string())
            );
        }
        for (code, start, variant) in TEXTS {
            let error = variant("x".to_owned());
            assert_eq!(
                (error.code(), error.to_string()),
                (*code, format!("{start}x"))
            );
            let kept = LaneError::kept(code, error.to_string());
            assert_eq!(format!("{kept:?}"), format!("{error:?}"));
        }
        assert_eq!(LaneError::kept("NEWER", "x".into()).code(), "OTHER");
    }
}

//! How a command ended.

use a3s_lane::{LaneError, Result};
use serde::Serialize;
use serde_json::Value;

use crate::job::History;

/// The code of a command that the end of the run kept from another attempt.
const INTERRUPTED: &str = "INTERRUPTED";

/// The final state of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Completed,
    Failed,
    Timeout,
    /// It was not started within its time to live.
    Expired,
    /// Read, but the run was interrupted before it started.
    NotRun,
}

impl Status {
    /// The word in results and messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Expired => "expired",
            Self::NotRun => "not_run",
        }
    }
}

/// What a result means, given how it came about.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<String>,
    pub(crate) code: Option<&'static str>,
}

impl Verdict {
    pub(crate) fn of(result: Result<Value>, history: &History) -> Self {
        let error = match result {
            Ok(value) => {
                return Self {
                    status: Status::Completed,
                    result: Some(value),
                    error: None,
                    code: None,
                };
            }
            Err(error) => error,
        };
        let (status, text, code) = match (&error, &history.last_error) {
            _ if history.stopped => {
                let text = "the run was interrupted while the command ran".to_owned();
                (Status::Failed, text, INTERRUPTED)
            }
            (_, None) if history.refused => {
                let text = "the run was interrupted before the command started".to_owned();
                (Status::NotRun, text, INTERRUPTED)
            }
            (_, Some(last)) if history.refused => {
                let text = format!("the run was interrupted before a retry: {last}");
                (Status::Failed, text, INTERRUPTED)
            }
            (LaneError::Timeout(_) | LaneError::Stalled(_), _) => {
                (Status::Timeout, error.to_string(), error.code())
            }
            (LaneError::Expired(_), _) => (Status::Expired, error.to_string(), error.code()),
            _ => (Status::Failed, error.to_string(), error.code()),
        };
        Self {
            status,
            result: None,
            error: Some(text),
            code: Some(code),
        }
    }

    /// Whether the command was kept from its own outcome.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.code == Some(INTERRUPTED)
    }

    /// Whether this is the expected outcome. A command that was interrupted has not met its expectation, even if it
    /// expects to fail.
    pub(crate) fn meets(&self, expect: Status) -> bool {
        self.status == expect && !self.is_interrupted()
    }
}

/// One line of the results file.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// Line of the input, counted from 1; absent for a command that an earlier run has read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// The id of a stored command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    pub(crate) lane: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) status: Status,
    /// Whether the status is the expected one.
    pub(crate) ok: bool,
    pub(crate) attempts: u32,
    /// From reading the line to the start of its first attempt.
    pub(crate) wait_ms: f64,
    /// All attempts together.
    pub(crate) run_ms: f64,
    /// What the handler returned, or what a failed process left behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'a str>,
}

/// Milliseconds with microsecond precision.
pub(crate) fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failed_once() -> History {
        History {
            attempts: 1,
            last_error: Some("boom".to_owned()),
            ..History::default()
        }
    }

    #[test]
    fn results_become_statuses() {
        let of = |result| Verdict::of(result, &failed_once());
        let completed = of(Ok(Value::Null));
        assert_eq!(
            (completed.status, completed.code),
            (Status::Completed, None)
        );
        let failed = of(Err(LaneError::CommandError("boom".to_owned())));
        assert_eq!(
            (failed.status, failed.code),
            (Status::Failed, Some("COMMAND_ERROR"))
        );
        let timeout = of(Err(LaneError::Timeout(Duration::from_secs(1))));
        assert_eq!(
            (timeout.status, timeout.code),
            (Status::Timeout, Some("TIMEOUT"))
        );
        let stalled = of(Err(LaneError::Stalled(Duration::from_secs(1))));
        assert_eq!(
            (stalled.status, stalled.code),
            (Status::Timeout, Some("STALLED"))
        );
        let expired = of(Err(LaneError::Expired("too late".to_owned())));
        assert_eq!(
            (expired.status, expired.code),
            (Status::Expired, Some("EXPIRED"))
        );
        assert!(expired.meets(Status::Expired) && !expired.meets(Status::Failed));
        assert!(
            failed.meets(Status::Failed)
                && timeout.meets(Status::Timeout)
                && completed.meets(Status::Completed)
        );
        assert!(
            !failed.meets(Status::Timeout)
                && !timeout.meets(Status::Failed)
                && !completed.meets(Status::Failed)
        );
    }

    #[test]
    fn what_was_interrupted_meets_no_expectation() {
        let cancelled = || Err(LaneError::Cancelled("the run was interrupted".to_owned()));
        let mut history = failed_once();
        history.stopped = true;
        let stopped = Verdict::of(cancelled(), &history);
        assert_eq!(
            (stopped.status, stopped.code),
            (Status::Failed, Some("INTERRUPTED"))
        );
        assert!(!stopped.meets(Status::Failed));

        let mut history = failed_once();
        history.refused = true;
        let kept_from_retry = Verdict::of(cancelled(), &history);
        assert_eq!(
            kept_from_retry.error.as_deref(),
            Some("the run was interrupted before a retry: boom")
        );
        assert!(!kept_from_retry.meets(Status::Failed));

        let never_started = History {
            refused: true,
            ..History::default()
        };
        let not_run = Verdict::of(cancelled(), &never_started);
        assert_eq!(
            (not_run.status, not_run.code),
            (Status::NotRun, Some("INTERRUPTED"))
        );
    }
}

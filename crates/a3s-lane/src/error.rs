//! The one error type of the crate.

use std::time::Duration;

/// What can go wrong when work is submitted, run or configured.
///
/// The text of each variant is stable; programs should match on the variant or on [`code`](Self::code).
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum LaneError {
    /// No lane has this id.
    #[error("Lane not found: {0}")]
    LaneNotFound(String),
    /// The queue itself failed, for example because its runtime was shut down.
    #[error("Queue error: {0}")]
    QueueError(String),
    /// A setting is wrong; the text names the lane and the field.
    #[error("Configuration error: {0}")]
    ConfigError(String),
    /// The command's own code reported a failure.
    #[error("Command execution error: {0}")]
    CommandError(String),
    /// An attempt ran longer than its lane allows, or a wait such as `drain` ran out. Holds the limit.
    #[error("Command timed out after {0:?}")]
    Timeout(Duration),
    /// The queue no longer accepts work.
    #[error("Queue is shutting down, not accepting new commands")]
    ShutdownInProgress,
    /// No job has this id.
    #[error("Job not found: {0}")]
    JobNotFound(String),
    /// The job is not in a state that allows the request.
    #[error("Job state conflict: {0}")]
    JobStateConflict(String),
    /// The caller no longer owns the job's lease.
    #[error("Job lease conflict: {0}")]
    JobLeaseConflict(String),
    /// The command failed in a way that no retry can mend.
    #[error("{0}")]
    UnrecoverableJob(String),
    /// The command panicked; holds the panic's message.
    #[error("Command panicked: {0}")]
    Panicked(String),
    /// The command was cancelled before it ended.
    #[error("Command was cancelled: {0}")]
    Cancelled(String),
    /// The command's time to live ran out before it started.
    #[error("Command expired before it started: {0}")]
    Expired(String),
    /// The lane holds as many pending commands as it may.
    #[error("Lane is full: {0}")]
    LaneFull(String),
    /// The call would wait for a queue that was never started.
    #[error("Queue is not started: {0}")]
    NotStarted(String),
    /// The storage refused or failed.
    #[error("Storage error: {0}")]
    Storage(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl LaneError {
    /// A stable machine-readable name of the error's kind, such as `LANE_NOT_FOUND`.
    ///
    /// The same string is the `code` of the errors in the Python and Node packages.
    pub fn code(&self) -> &'static str {
        match self {
            Self::LaneNotFound(_) => "LANE_NOT_FOUND",
            Self::QueueError(_) => "QUEUE_ERROR",
            Self::ConfigError(_) => "CONFIG_ERROR",
            Self::CommandError(_) => "COMMAND_ERROR",
            Self::Timeout(_) => "TIMEOUT",
            Self::ShutdownInProgress => "SHUTDOWN_IN_PROGRESS",
            Self::JobNotFound(_) => "JOB_NOT_FOUND",
            Self::JobStateConflict(_) => "JOB_STATE_CONFLICT",
            Self::JobLeaseConflict(_) => "JOB_LEASE_CONFLICT",
            Self::UnrecoverableJob(_) => "UNRECOVERABLE",
            Self::Panicked(_) => "PANICKED",
            Self::Cancelled(_) => "CANCELLED",
            Self::Expired(_) => "EXPIRED",
            Self::LaneFull(_) => "LANE_FULL",
            Self::NotStarted(_) => "NOT_STARTED",
            Self::Storage(_) => "STORAGE_ERROR",
            Self::Other(_) => "OTHER",
        }
    }

    /// An error that stops retries: the command fails for good at this attempt.
    pub fn unrecoverable_job(message: impl Into<String>) -> Self {
        Self::UnrecoverableJob(message.into())
    }

    /// Whether this error stops retries.
    pub fn is_unrecoverable_job(&self) -> bool {
        matches!(self, Self::UnrecoverableJob(_))
    }
}

/// `std::result::Result` with [`LaneError`].
pub type Result<T> = std::result::Result<T, LaneError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compatible_texts_are_exact() {
        let text = |error: LaneError| error.to_string();
        assert_eq!(
            text(LaneError::LaneNotFound("x".into())),
            "Lane not found: x"
        );
        assert_eq!(text(LaneError::QueueError("x".into())), "Queue error: x");
        assert_eq!(
            text(LaneError::ConfigError("x".into())),
            "Configuration error: x"
        );
        assert_eq!(
            text(LaneError::CommandError("x".into())),
            "Command execution error: x"
        );
        assert_eq!(
            text(LaneError::Timeout(Duration::from_millis(1500))),
            "Command timed out after 1.5s"
        );
        assert_eq!(
            text(LaneError::ShutdownInProgress),
            "Queue is shutting down, not accepting new commands"
        );
        assert_eq!(text(LaneError::JobNotFound("x".into())), "Job not found: x");
        assert_eq!(
            text(LaneError::JobStateConflict("x".into())),
            "Job state conflict: x"
        );
        assert_eq!(
            text(LaneError::JobLeaseConflict("x".into())),
            "Job lease conflict: x"
        );
        assert_eq!(text(LaneError::unrecoverable_job("x")), "x");
        assert_eq!(text(LaneError::Other("x".into())), "x");
    }

    #[test]
    fn only_unrecoverable_stops_retries() {
        assert!(LaneError::unrecoverable_job("x").is_unrecoverable_job());
        assert!(!LaneError::CommandError("x".into()).is_unrecoverable_job());
    }
}

//! The one error type of the crate.

mod kept;
mod raised;

use std::time::Duration;

pub use raised::Raised;

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
    /// An attempt gave no sign of life for longer than it may. Holds the limit.
    #[error("Command gave no sign of life for {0:?}")]
    Stalled(Duration),
    /// Another command holds the id or the unique key of this one.
    #[error("Duplicate command: {0}")]
    Duplicate(String),
    /// No command has this id.
    #[error("Command not found: {0}")]
    CommandNotFound(String),
    /// No named limiter has this name.
    #[error("Limiter not found: {0}")]
    LimiterNotFound(String),
    /// The process ended while the command ran, so many times: it does not run again.
    #[error("The process ended while the command ran, {0} times")]
    Crashed(u32),
    /// A handler of another language failed; keeps what it raised.
    #[error("{0}")]
    Raised(Raised),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl LaneError {
    /// Whether a time limit has passed, of whatever kind.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Stalled(_))
    }

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
            Self::Stalled(_) => "STALLED",
            Self::Duplicate(_) => "DUPLICATE",
            Self::CommandNotFound(_) => "COMMAND_NOT_FOUND",
            Self::LimiterNotFound(_) => "LIMITER_NOT_FOUND",
            Self::Crashed(_) => "CRASHED",
            Self::Raised(raised) => raised.code(),
            Self::Other(_) => "OTHER",
        }
    }

    /// An error that stops retries: the command fails for good at this attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneError;
    ///
    /// let error = LaneError::unrecoverable("no such account");
    /// assert!(error.is_unrecoverable());
    /// assert_eq!(error.code(), "UNRECOVERABLE");
    /// assert_eq!(error.to_string(), "no such account");
    /// ```
    pub fn unrecoverable(message: impl Into<String>) -> Self {
        Self::UnrecoverableJob(message.into())
    }

    /// Whether this error stops retries.
    pub fn is_unrecoverable(&self) -> bool {
        match self {
            Self::UnrecoverableJob(_) => true,
            Self::Raised(raised) => raised.code() == "UNRECOVERABLE",
            _ => false,
        }
    }

    /// The same as [`unrecoverable`](Self::unrecoverable), by its older name.
    pub fn unrecoverable_job(message: impl Into<String>) -> Self {
        Self::unrecoverable(message)
    }

    /// The same as [`is_unrecoverable`](Self::is_unrecoverable), by its older name.
    pub fn is_unrecoverable_job(&self) -> bool {
        self.is_unrecoverable()
    }

    /// A copy, for results that several callers wait for.
    ///
    /// Not `Clone`: a later variant may hold the source of an error, which nobody can copy.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::LaneNotFound(text) => Self::LaneNotFound(text.clone()),
            Self::QueueError(text) => Self::QueueError(text.clone()),
            Self::ConfigError(text) => Self::ConfigError(text.clone()),
            Self::CommandError(text) => Self::CommandError(text.clone()),
            Self::Timeout(limit) => Self::Timeout(*limit),
            Self::ShutdownInProgress => Self::ShutdownInProgress,
            Self::JobNotFound(text) => Self::JobNotFound(text.clone()),
            Self::JobStateConflict(text) => Self::JobStateConflict(text.clone()),
            Self::JobLeaseConflict(text) => Self::JobLeaseConflict(text.clone()),
            Self::UnrecoverableJob(text) => Self::UnrecoverableJob(text.clone()),
            Self::Panicked(text) => Self::Panicked(text.clone()),
            Self::Cancelled(text) => Self::Cancelled(text.clone()),
            Self::Expired(text) => Self::Expired(text.clone()),
            Self::LaneFull(text) => Self::LaneFull(text.clone()),
            Self::NotStarted(text) => Self::NotStarted(text.clone()),
            Self::Storage(text) => Self::Storage(text.clone()),
            Self::Stalled(limit) => Self::Stalled(*limit),
            Self::Duplicate(text) => Self::Duplicate(text.clone()),
            Self::CommandNotFound(text) => Self::CommandNotFound(text.clone()),
            Self::LimiterNotFound(text) => Self::LimiterNotFound(text.clone()),
            Self::Crashed(times) => Self::Crashed(*times),
            Self::Raised(raised) => Self::Raised(raised.clone()),
            Self::Other(text) => Self::Other(text.clone()),
        }
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
    fn texts_of_the_newer_variants_are_exact() {
        let limit = Duration::from_millis(1500);
        for (error, code, text) in [
            (
                LaneError::Stalled(limit),
                "STALLED",
                "Command gave no sign of life for 1.5s",
            ),
            (
                LaneError::Duplicate("x".into()),
                "DUPLICATE",
                "Duplicate command: x",
            ),
            (
                LaneError::CommandNotFound("x".into()),
                "COMMAND_NOT_FOUND",
                "Command not found: x",
            ),
            (
                LaneError::LimiterNotFound("x".into()),
                "LIMITER_NOT_FOUND",
                "Limiter not found: x",
            ),
            (
                LaneError::Crashed(3),
                "CRASHED",
                "The process ended while the command ran, 3 times",
            ),
        ] {
            assert_eq!((error.code(), error.to_string().as_str()), (code, text));
        }
    }

    #[test]
    fn a_duplicate_is_the_same_error() {
        let limit = Duration::from_millis(7);
        let errors = [
            LaneError::LaneNotFound("a".into()),
            LaneError::QueueError("b".into()),
            LaneError::ConfigError("c".into()),
            LaneError::CommandError("d".into()),
            LaneError::Timeout(limit),
            LaneError::ShutdownInProgress,
            LaneError::JobNotFound("e".into()),
            LaneError::JobStateConflict("f".into()),
            LaneError::JobLeaseConflict("g".into()),
            LaneError::UnrecoverableJob("h".into()),
            LaneError::Panicked("i".into()),
            LaneError::Cancelled("j".into()),
            LaneError::Expired("k".into()),
            LaneError::LaneFull("l".into()),
            LaneError::NotStarted("m".into()),
            LaneError::Storage("n".into()),
            LaneError::Stalled(limit),
            LaneError::Duplicate("o".into()),
            LaneError::CommandNotFound("p".into()),
            LaneError::LimiterNotFound("q".into()),
            LaneError::Crashed(3),
            LaneError::Other("r".into()),
        ];
        for error in errors {
            assert_eq!(format!("{:?}", error.duplicate()), format!("{error:?}"));
        }
    }

    #[test]
    fn only_unrecoverable_stops_retries() {
        for error in [
            LaneError::unrecoverable("x"),
            LaneError::unrecoverable_job("x"),
        ] {
            assert!(error.is_unrecoverable() && error.is_unrecoverable_job());
        }
        let other = LaneError::CommandError("x".into());
        assert!(!other.is_unrecoverable() && !other.is_unrecoverable_job());
    }
}

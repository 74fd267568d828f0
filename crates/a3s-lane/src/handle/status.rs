//! Where a command is in its life.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a command is in its life.
///
/// `Pending`, `Delayed` and `Running` may follow each other in any order, by retries and preemption; the others are final.
///
/// # Examples
///
/// ```
/// use a3s_lane::CommandStatus;
///
/// assert!(!CommandStatus::Running.is_settled());
/// assert!(CommandStatus::TimedOut.is_settled());
/// assert_eq!(CommandStatus::TimedOut.to_string(), "timed_out");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandStatus {
    /// It is ready and waits for its turn.
    Pending,
    /// It waits for a time: its own delay, or that of a retry.
    Delayed,
    /// An attempt runs.
    Running,
    /// It returned a value.
    Completed,
    /// Its last attempt failed.
    Failed,
    /// Its last attempt met its time limit, or gave no sign of life for too long.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// Its time to live ran out before it started.
    Expired,
}

impl CommandStatus {
    /// Whether the command has its final outcome.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Delayed | Self::Running)
    }
}

impl fmt::Display for CommandStatus {
    /// The name in serialised form, such as `timed_out`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Delayed => "delayed",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_name_and_knows_whether_it_is_final() {
        for (status, name, settled) in [
            (CommandStatus::Pending, "pending", false),
            (CommandStatus::Delayed, "delayed", false),
            (CommandStatus::Running, "running", false),
            (CommandStatus::Completed, "completed", true),
            (CommandStatus::Failed, "failed", true),
            (CommandStatus::TimedOut, "timed_out", true),
            (CommandStatus::Cancelled, "cancelled", true),
            (CommandStatus::Expired, "expired", true),
        ] {
            assert_eq!(status.to_string(), name);
            assert_eq!(serde_json::to_value(status).expect("plain data"), name);
            assert_eq!(status.is_settled(), settled, "{name}");
        }
    }
}

//! What has happened to stored commands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::StoredCommandId;

/// What happened to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HistoryEvent {
    /// It was stored.
    Submitted,
    /// An attempt failed, and it runs again.
    Retried,
    /// An attempt was stopped and does not count.
    Requeued,
    /// Its process ended during an attempt.
    Crashed,
    /// It has completed.
    Completed,
    /// It failed for good, timed out, was cancelled or expired; the code says which.
    Failed,
    /// It was a dead letter and waits again.
    Revived,
}

/// One entry of the history that a [`LocalStorage`](super::LocalStorage) keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its place in the history, counted from 1.
    pub number: u64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: HistoryEvent,
    /// The lane of the command.
    pub lane_id: String,
    /// The command's unique name.
    pub command_id: StoredCommandId,
    /// What kind of work it is.
    pub command_type: String,
    /// The attempt that ended, where the event is about one.
    pub attempt: Option<u32>,
    /// The [`code`](crate::LaneError::code) of the error.
    pub code: Option<String>,
    /// The error's text.
    pub error: Option<String>,
}

/// Which entries of the history are meant. A filter that says nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HistoryFilter {
    /// Only of this command.
    pub command_id: Option<StoredCommandId>,
    /// Only of this lane.
    pub lane_id: Option<String>,
    /// Only what happened at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only entries with a higher number: the last one of the page before.
    pub after: Option<u64>,
    /// At most so many, the oldest ones; absent for no limit.
    pub limit: Option<usize>,
}

impl HistoryFilter {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// What happened to one command.
    pub fn of(command_id: impl Into<StoredCommandId>) -> Self {
        Self {
            command_id: Some(command_id.into()),
            ..Self::default()
        }
    }
}

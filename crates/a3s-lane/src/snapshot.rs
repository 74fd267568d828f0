//! The whole state of a queue as data.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::command::{LaneId, Priority};
use crate::explain::Explanation;

/// The state of a queue at one moment, from [`QueueManager::snapshot`](crate::QueueManager::snapshot).
///
/// Taking one costs a walk through all commands, and for each waiting one through those before it: for people and
/// tests, not for a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// Commands may start.
    pub started: bool,
    /// No new commands are accepted.
    pub shutting_down: bool,
    /// The most commands that run at once, over all lanes.
    pub total_limit: Option<usize>,
    /// Commands that wait.
    pub pending: usize,
    /// Slots that are taken.
    pub active: usize,
    /// Keys that are paused, in alphabetical order.
    pub paused_keys: Vec<String>,
    /// Every lane, most urgent first.
    pub lanes: Vec<LaneSnapshot>,
    /// Every command, in the order of submission.
    pub commands: Vec<CommandSnapshot>,
}

/// The state of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Its name.
    pub id: LaneId,
    /// How urgent it is by its configuration.
    pub priority: Priority,
    /// How urgent it is now.
    pub effective_priority: Priority,
    /// Commands that wait.
    pub pending: usize,
    /// Slots that are taken.
    pub active: usize,
    /// Its minimum: slots kept for it under a total limit.
    pub min: usize,
    /// Its slots.
    pub max: usize,
    /// It starts nothing.
    pub paused: bool,
}

/// The state of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommandSnapshot {
    /// Its fairness key.
    pub key: Option<String>,
    /// Where it is and what it waits for.
    #[serde(flatten)]
    pub explanation: Explanation,
}

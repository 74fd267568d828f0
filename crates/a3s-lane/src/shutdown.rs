//! What was left when a queue ended.

use serde::{Deserialize, Serialize};

use crate::command::{CommandId, LaneId};

/// What [`QueueManager::shutdown_within`](crate::QueueManager::shutdown_within) could not bring to its end.
///
/// In a lane with a storage all of it stays stored, and no attempt is counted for what was stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Commands that ran and were stopped when the time was up, in the order in which they stopped.
    pub stopped: Vec<Leftover>,
    /// Commands that waited, in the order of submission.
    pub pending: Vec<Leftover>,
}

impl ShutdownReport {
    /// Whether nothing was left.
    pub fn is_clean(&self) -> bool {
        self.stopped.is_empty() && self.pending.is_empty()
    }
}

/// One command that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Leftover {
    /// Its id.
    pub command_id: CommandId,
    /// What kind of work it is; empty for a command object that still blocks its thread, unless its lane has a time limit or
    /// preemption.
    pub command_type: String,
    /// Its lane.
    pub lane_id: LaneId,
    /// Attempts before; one that was stopped does not count.
    pub attempts: u32,
}

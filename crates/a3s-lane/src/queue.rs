//! Commands, lanes and the queue that runs them.

mod command_queue;
mod lane;

use serde::{Deserialize, Serialize};

pub use crate::command::{Command, CommandId, JsonCommand, LaneId, Priority, lane_ids, priorities};
pub use command_queue::CommandQueue;
pub use lane::Lane;

use crate::scheduler::LaneCounts;

/// How full a lane is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaneStatus {
    /// Commands that wait to run, those that wait for a retry included.
    pub pending: usize,
    /// Commands that run now.
    pub active: usize,
    /// The lane's `min_concurrency`.
    pub min: usize,
    /// The lane's `max_concurrency`.
    pub max: usize,
}

impl From<LaneCounts> for LaneStatus {
    fn from(counts: LaneCounts) -> Self {
        Self {
            pending: counts.pending,
            active: counts.active,
            min: counts.min,
            max: counts.max,
        }
    }
}

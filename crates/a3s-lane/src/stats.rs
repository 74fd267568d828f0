//! The counts of a whole queue.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::queue::{CommandQueue, LaneStatus};

/// How full a queue and its lanes are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct QueueStats {
    /// Commands that wait to run, those that wait for a retry included.
    pub total_pending: usize,
    /// Commands that run now.
    pub total_active: usize,
    /// Dead letters that are kept.
    pub dead_letter_count: usize,
    /// Each lane by its id.
    pub lanes: HashMap<String, LaneStatus>,
}

impl QueueStats {
    pub(crate) async fn of(queue: &CommandQueue) -> Self {
        let lanes = queue.status().await;
        Self {
            total_pending: lanes.values().map(|lane| lane.pending).sum(),
            total_active: lanes.values().map(|lane| lane.active).sum(),
            dead_letter_count: match queue.dlq() {
                Some(dlq) => dlq.len().await,
                None => 0,
            },
            lanes,
        }
    }
}

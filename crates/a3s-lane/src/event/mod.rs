//! What happens in a queue, told to whoever listens.
//!
//! The queue reports small records; a record becomes a [`LaneEvent`] in the subscriber's hands. So a queue that nobody
//! listens to builds and allocates nothing, and a slow subscriber costs the queue nothing: it loses the oldest events
//! and is told how many.

mod emitter;
mod record;
mod stream;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use emitter::EventEmitter;
pub(crate) use record::{CommandName, What, prepare};
pub use stream::EventStream;

/// The name of a kind of event, such as `queue.command.started`.
pub type EventKey = String;

/// The keys of the queue's own events.
pub mod events {
    /// A command was accepted. Payload: `lane_id`.
    pub const QUEUE_COMMAND_SUBMITTED: &str = "queue.command.submitted";
    /// An attempt starts. Payload: `lane_id`, `command_id`, `command_type`.
    pub const QUEUE_COMMAND_STARTED: &str = "queue.command.started";
    /// A command succeeded. Payload: `lane_id`, `command_id`.
    pub const QUEUE_COMMAND_COMPLETED: &str = "queue.command.completed";
    /// An attempt failed and another follows. Payload: `lane_id`, `command_id`, `attempt` (the retry's number, from 1).
    pub const QUEUE_COMMAND_RETRY: &str = "queue.command.retry";
    /// A command failed for good and a dead letter was kept. Payload: `lane_id`, `command_id`, `command_type`.
    pub const QUEUE_COMMAND_DEAD_LETTERED: &str = "queue.command.dead_lettered";
    /// A command failed for good, other than by its time limit. Payload: `lane_id`, `command_id`, `error`.
    pub const QUEUE_COMMAND_FAILED: &str = "queue.command.failed";
    /// A command's last attempt met its time limit. Payload: `lane_id`, `command_id`, `error`.
    pub const QUEUE_COMMAND_TIMEOUT: &str = "queue.command.timeout";
    /// A command was cancelled. Payload: `lane_id`, `command_id`, `reason`.
    pub const QUEUE_COMMAND_CANCELLED: &str = "queue.command.cancelled";
    /// A command's time to live ran out before it started. Payload: `lane_id`, `command_id`.
    pub const QUEUE_COMMAND_EXPIRED: &str = "queue.command.expired";
    /// A running command was stopped for a more urgent lane and is queued again. Payload: `lane_id`, `command_id`.
    pub const QUEUE_COMMAND_PREEMPTED: &str = "queue.command.preempted";
    /// A running command reports how far it is. Payload: `lane_id`, `command_id`, `progress` (the value it reports).
    pub const QUEUE_COMMAND_PROGRESS: &str = "queue.command.progress";
    /// A lane's pending commands reached its pressure threshold. Payload: `lane_id`.
    pub const QUEUE_LANE_PRESSURE: &str = "queue.lane.pressure";
    /// A lane under pressure has no pending command left. Payload: `lane_id`.
    pub const QUEUE_LANE_IDLE: &str = "queue.lane.idle";
    /// A lane starts no more commands until it is resumed. Payload: `lane_id`.
    pub const QUEUE_LANE_PAUSED: &str = "queue.lane.paused";
    /// A paused lane starts commands again. Payload: `lane_id`.
    pub const QUEUE_LANE_RESUMED: &str = "queue.lane.resumed";
    /// The command of a dead letter is pending again. Payload: `lane_id`, `command_id`, `command_type`.
    pub const QUEUE_DEAD_LETTER_RETRIED: &str = "queue.dead_letter.retried";
    /// A dead letter was discarded by a call. Payload: `lane_id`, `command_id`, `command_type`.
    pub const QUEUE_DEAD_LETTER_DISCARDED: &str = "queue.dead_letter.discarded";
    /// The queue stopped accepting work. Sent once. No payload.
    pub const QUEUE_SHUTDOWN_STARTED: &str = "queue.shutdown.started";
    /// The queue was shut down and its last command has settled. Sent once, the last event of a queue. No payload.
    pub const QUEUE_SHUTDOWN_COMPLETE: &str = "queue.shutdown.complete";
    /// This subscriber was too slow and lost events. Payload: `missed` (how many since the event before this one).
    ///
    /// Made by the stream itself, whatever its filter.
    pub const QUEUE_EVENTS_LAGGED: &str = "queue.events.lagged";
}

/// What an event says besides its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventPayload {
    /// Nothing.
    Empty,
    /// A message.
    String(String),
    /// Named values.
    Map(HashMap<String, serde_json::Value>),
}

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaneEvent {
    /// Which kind of event: one of [`events`], or your own.
    pub key: EventKey,
    /// What it says.
    pub payload: EventPayload,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
}

impl LaneEvent {
    /// An event that happens now.
    pub fn new(key: impl Into<String>, payload: EventPayload) -> Self {
        Self {
            key: key.into(),
            payload,
            timestamp: Utc::now(),
        }
    }

    /// An event that happens now and says nothing more.
    pub fn empty(key: impl Into<String>) -> Self {
        Self::new(key, EventPayload::Empty)
    }

    /// An event that happens now, with a message.
    pub fn with_string(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(key, EventPayload::String(message.into()))
    }

    /// An event that happens now, with named values.
    pub fn with_map(key: impl Into<String>, map: HashMap<String, serde_json::Value>) -> Self {
        Self::new(key, EventPayload::Map(map))
    }
}

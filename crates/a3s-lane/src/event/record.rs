//! The queue's own events in a form that costs little to send.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;
use uuid::{Builder, Uuid};

use super::{EventPayload, LaneEvent, events};

/// The id of a command, kept as numbers until somebody reads it.
///
/// A queue draws one random number; a command's id is that number with the command's serial in its last 62 bits, as
/// an RFC 9562 version 8 UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandName(Uuid);

impl CommandName {
    pub(crate) fn new(queue: u64, serial: u64) -> Self {
        let bits = (u128::from(queue) << 64) | u128::from(serial);
        Self(Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid())
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Custom(Arc<LaneEvent>),
    Submitted(Arc<str>),
    Started(Arc<str>, CommandName, Arc<str>),
    Completed(Arc<str>, CommandName),
    Retry(Arc<str>, CommandName, u32),
    DeadLettered(Arc<str>, CommandName, Arc<str>),
    Failed(Arc<str>, CommandName, Arc<str>),
    Timeout(Arc<str>, CommandName, Arc<str>),
    Pressure(Arc<str>),
    Idle(Arc<str>),
    ShutdownStarted,
    ShutdownComplete,
}

/// What happened, and when.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Becomes a calendar date in the subscriber.
    pub(super) at: SystemTime,
    pub(super) what: What,
}

impl Record {
    pub(super) fn now(what: What) -> Self {
        Self {
            at: SystemTime::now(),
            what,
        }
    }

    /// The event as subscribers see it.
    pub(super) fn into_event(self) -> LaneEvent {
        let (key, payload) = match self.what {
            What::Custom(event) => return Arc::unwrap_or_clone(event),
            What::Submitted(lane) => (
                events::QUEUE_COMMAND_SUBMITTED,
                map([("lane_id", lane.as_ref().into())]),
            ),
            What::Started(lane, name, kind) => (
                events::QUEUE_COMMAND_STARTED,
                of_command(&lane, name, "command_type", kind.as_ref().into()),
            ),
            What::Completed(lane, name) => (
                events::QUEUE_COMMAND_COMPLETED,
                map([
                    ("lane_id", lane.as_ref().into()),
                    ("command_id", name.to_string().into()),
                ]),
            ),
            What::Retry(lane, name, attempt) => (
                events::QUEUE_COMMAND_RETRY,
                of_command(&lane, name, "attempt", attempt.into()),
            ),
            What::DeadLettered(lane, name, kind) => (
                events::QUEUE_COMMAND_DEAD_LETTERED,
                of_command(&lane, name, "command_type", kind.as_ref().into()),
            ),
            What::Failed(lane, name, error) => (
                events::QUEUE_COMMAND_FAILED,
                of_command(&lane, name, "error", error.as_ref().into()),
            ),
            What::Timeout(lane, name, error) => (
                events::QUEUE_COMMAND_TIMEOUT,
                of_command(&lane, name, "error", error.as_ref().into()),
            ),
            What::Pressure(lane) => (
                events::QUEUE_LANE_PRESSURE,
                map([("lane_id", lane.as_ref().into())]),
            ),
            What::Idle(lane) => (
                events::QUEUE_LANE_IDLE,
                map([("lane_id", lane.as_ref().into())]),
            ),
            What::ShutdownStarted => (events::QUEUE_SHUTDOWN_STARTED, EventPayload::Empty),
            What::ShutdownComplete => (events::QUEUE_SHUTDOWN_COMPLETE, EventPayload::Empty),
        };
        LaneEvent {
            key: key.to_owned(),
            payload,
            timestamp: self.at.into(),
        }
    }
}

fn of_command(lane: &str, name: CommandName, field: &str, value: Value) -> EventPayload {
    map([
        ("lane_id", lane.into()),
        ("command_id", name.to_string().into()),
        (field, value),
    ])
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> EventPayload {
    let fields = fields.map(|(field, value)| (field.to_owned(), value));
    EventPayload::Map(HashMap::from(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_uuids() {
        let id = |queue, serial| CommandName::new(queue, serial).to_string();
        let parsed = Uuid::parse_str(&id(u64::MAX, 7)).expect("an id is a UUID");
        assert_eq!(parsed.get_version_num(), 8);
        assert_ne!(id(1, 1), id(1, 2));
        assert_ne!(id(1 << 60, 1), id(2 << 60, 1));
    }
}

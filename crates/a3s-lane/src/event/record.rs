//! The queue's own events in a form that costs little to send.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
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
    pub(super) at: DateTime<Utc>,
    pub(super) what: What,
}

impl Record {
    /// The event as subscribers see it.
    pub(super) fn into_event(self) -> LaneEvent {
        let (key, fields): (&str, Vec<(&str, Value)>) = match self.what {
            What::Custom(event) => return Arc::unwrap_or_clone(event),
            What::Submitted(lane) => (events::QUEUE_COMMAND_SUBMITTED, vec![lane_id(&lane)]),
            What::Started(lane, name, kind) => (
                events::QUEUE_COMMAND_STARTED,
                vec![lane_id(&lane), command_id(name), command_type(&kind)],
            ),
            What::Completed(lane, name) => (
                events::QUEUE_COMMAND_COMPLETED,
                vec![lane_id(&lane), command_id(name)],
            ),
            What::Retry(lane, name, attempt) => (
                events::QUEUE_COMMAND_RETRY,
                vec![
                    lane_id(&lane),
                    command_id(name),
                    ("attempt", attempt.into()),
                ],
            ),
            What::DeadLettered(lane, name, kind) => (
                events::QUEUE_COMMAND_DEAD_LETTERED,
                vec![lane_id(&lane), command_id(name), command_type(&kind)],
            ),
            What::Failed(lane, name, error) => (
                events::QUEUE_COMMAND_FAILED,
                vec![lane_id(&lane), command_id(name), ("error", (*error).into())],
            ),
            What::Timeout(lane, name, error) => (
                events::QUEUE_COMMAND_TIMEOUT,
                vec![lane_id(&lane), command_id(name), ("error", (*error).into())],
            ),
            What::Pressure(lane) => (events::QUEUE_LANE_PRESSURE, vec![lane_id(&lane)]),
            What::Idle(lane) => (events::QUEUE_LANE_IDLE, vec![lane_id(&lane)]),
            What::ShutdownStarted => (events::QUEUE_SHUTDOWN_STARTED, Vec::new()),
            What::ShutdownComplete => (events::QUEUE_SHUTDOWN_COMPLETE, Vec::new()),
        };
        let payload = if fields.is_empty() {
            EventPayload::Empty
        } else {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            EventPayload::Map(HashMap::from_iter(fields))
        };
        LaneEvent {
            key: key.to_owned(),
            payload,
            timestamp: self.at,
        }
    }
}

fn lane_id(lane: &str) -> (&'static str, Value) {
    ("lane_id", lane.into())
}

fn command_id(name: CommandName) -> (&'static str, Value) {
    ("command_id", name.to_string().into())
}

fn command_type(kind: &str) -> (&'static str, Value) {
    ("command_type", kind.into())
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

//! The queue's own events in a form that costs little to send.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use serde_json::Value;
use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid};

use super::{EventPayload, LaneEvent, events};

/// The id of a command, kept as numbers until somebody reads it.
///
/// A queue draws one random number; a command's id is that number with the command's serial in its last 62 bits, as
/// an RFC 9562 version 8 UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommandName {
    Drawn(Uuid),
    /// Chosen by the submitter.
    Given(Arc<str>),
}

/// The bits of a serial that an id keeps: the rest tells the UUID's variant.
const SERIAL_BITS: u64 = (1 << 62) - 1;

impl CommandName {
    pub(crate) fn new(queue: u64, serial: u64) -> Self {
        let bits = (u128::from(queue) << 64) | u128::from(serial);
        Self::Drawn(Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid())
    }

    /// The serial in an id that the queue has drawn.
    pub(crate) fn serial_of(queue: u64, id: &str) -> Option<u64> {
        let serial = Uuid::parse_str(id).ok()?.as_u64_pair().1 & SERIAL_BITS;
        let name = Self::new(queue, serial);
        (name.to_string() == id).then_some(serial)
    }

    /// The length of an id that was drawn, as text.
    pub(crate) const TEXT: usize = Hyphenated::LENGTH;

    /// As `to_string`, without the machinery of formatting.
    pub(crate) fn to_text(&self) -> String {
        self.text(&mut [0; Self::TEXT]).to_owned()
    }

    /// The id as text, in `buffer` if it was drawn.
    pub(crate) fn text<'a>(&'a self, buffer: &'a mut [u8; Self::TEXT]) -> &'a str {
        match self {
            Self::Drawn(id) => id.hyphenated().encode_lower(buffer),
            Self::Given(id) => id,
        }
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drawn(id) => id.hyphenated().fmt(f),
            Self::Given(id) => f.write_str(id),
        }
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
    Cancelled(Arc<str>, CommandName, Arc<str>),
    Expired(Arc<str>, CommandName),
    Preempted(Arc<str>, CommandName),
    Progress(Arc<str>, CommandName, Arc<Value>),
    Pressure(Arc<str>),
    Idle(Arc<str>),
    Paused(Arc<str>),
    Resumed(Arc<str>),
    LetterRetried(Arc<str>, CommandName, Arc<str>),
    LetterDiscarded(Arc<str>, CommandName, Arc<str>),
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
            What::Submitted(lane) => (events::QUEUE_COMMAND_SUBMITTED, of_lane(&lane)),
            What::Started(lane, name, kind) => (
                events::QUEUE_COMMAND_STARTED,
                of_command(&COMMAND_TYPE, &lane, name, &*kind),
            ),
            What::Completed(lane, name) => (
                events::QUEUE_COMMAND_COMPLETED,
                of_command(&COMMAND, &lane, name, Value::Null),
            ),
            What::Retry(lane, name, attempt) => (
                events::QUEUE_COMMAND_RETRY,
                of_command(&ATTEMPT, &lane, name, attempt),
            ),
            What::DeadLettered(lane, name, kind) => (
                events::QUEUE_COMMAND_DEAD_LETTERED,
                of_command(&COMMAND_TYPE, &lane, name, &*kind),
            ),
            What::Failed(lane, name, error) => (
                events::QUEUE_COMMAND_FAILED,
                of_command(&ERROR, &lane, name, &*error),
            ),
            What::Timeout(lane, name, error) => (
                events::QUEUE_COMMAND_TIMEOUT,
                of_command(&ERROR, &lane, name, &*error),
            ),
            What::Cancelled(lane, name, reason) => (
                events::QUEUE_COMMAND_CANCELLED,
                of_command(&REASON, &lane, name, &*reason),
            ),
            What::Expired(lane, name) => (
                events::QUEUE_COMMAND_EXPIRED,
                of_command(&COMMAND, &lane, name, Value::Null),
            ),
            What::Preempted(lane, name) => (
                events::QUEUE_COMMAND_PREEMPTED,
                of_command(&COMMAND, &lane, name, Value::Null),
            ),
            What::Progress(lane, name, progress) => (
                events::QUEUE_COMMAND_PROGRESS,
                of_command(&PROGRESS, &lane, name, Arc::unwrap_or_clone(progress)),
            ),
            What::Pressure(lane) => (events::QUEUE_LANE_PRESSURE, of_lane(&lane)),
            What::Idle(lane) => (events::QUEUE_LANE_IDLE, of_lane(&lane)),
            What::Paused(lane) => (events::QUEUE_LANE_PAUSED, of_lane(&lane)),
            What::Resumed(lane) => (events::QUEUE_LANE_RESUMED, of_lane(&lane)),
            What::LetterRetried(lane, name, kind) => (
                events::QUEUE_DEAD_LETTER_RETRIED,
                of_command(&COMMAND_TYPE, &lane, name, &*kind),
            ),
            What::LetterDiscarded(lane, name, kind) => (
                events::QUEUE_DEAD_LETTER_DISCARDED,
                of_command(&COMMAND_TYPE, &lane, name, &*kind),
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

type Fields = HashMap<String, Value>;

/// The fields of one kind of event, without values. To copy such a map costs half of making it: its keys are not hashed
/// again.
type Blank = LazyLock<Fields>;

static LANE: Blank = LazyLock::new(|| blank(&["lane_id"]));
static COMMAND: Blank = LazyLock::new(|| blank(&["lane_id", "command_id"]));
static COMMAND_TYPE: Blank = LazyLock::new(|| blank(&["lane_id", "command_id", "command_type"]));
static ATTEMPT: Blank = LazyLock::new(|| blank(&["lane_id", "command_id", "attempt"]));
static REASON: Blank = LazyLock::new(|| blank(&["lane_id", "command_id", "reason"]));
static PROGRESS: Blank = LazyLock::new(|| blank(&["lane_id", "command_id", "progress"]));
static ERROR: Blank = LazyLock::new(|| blank(&["lane_id", "command_id", "error"]));

/// Makes all of them now.
pub(crate) fn prepare() {
    for blank in [
        &LANE,
        &COMMAND,
        &COMMAND_TYPE,
        &ATTEMPT,
        &REASON,
        &PROGRESS,
        &ERROR,
    ] {
        LazyLock::force(blank);
    }
}

fn blank(fields: &[&str]) -> Fields {
    let blank = |field: &&str| ((*field).to_owned(), Value::Null);
    fields.iter().map(blank).collect()
}

fn of_lane(lane: &str) -> EventPayload {
    let mut fields = LANE.clone();
    for value in fields.values_mut() {
        *value = lane.into();
    }
    EventPayload::Map(fields)
}

/// `rest` is the value of the field that is neither the lane's nor the command's id, if there is one.
fn of_command(
    blank: &Fields,
    lane: &str,
    name: CommandName,
    rest: impl Into<Value>,
) -> EventPayload {
    let mut rest = rest.into();
    let mut fields = blank.clone();
    for (field, value) in &mut fields {
        *value = match field.as_str() {
            "lane_id" => lane.into(),
            "command_id" => name.to_text().into(),
            _ => rest.take(),
        };
    }
    EventPayload::Map(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The key and the payload of what happened.
    fn told(what: What) -> (String, Value) {
        let event = Record::now(what).into_event();
        let payload = serde_json::to_value(event.payload).expect("a payload is plain data");
        (event.key, payload)
    }

    #[test]
    fn what_happens_to_a_command_names_the_lane_and_the_command() {
        let lane: Arc<str> = "api".into();
        let name = CommandName::new(1, 2);
        let id = name.to_string();
        let bare = json!({"lane_id": "api", "command_id": id});
        let told_with = |field: &str, value: Value| {
            let mut payload = bare.clone();
            payload[field] = value;
            payload
        };
        for (what, key, payload) in [
            (
                What::Completed(lane.clone(), name.clone()),
                "queue.command.completed",
                bare.clone(),
            ),
            (
                What::Cancelled(lane.clone(), name.clone(), "by its submitter".into()),
                "queue.command.cancelled",
                told_with("reason", json!("by its submitter")),
            ),
            (
                What::Expired(lane.clone(), name.clone()),
                "queue.command.expired",
                bare.clone(),
            ),
            (
                What::Preempted(lane.clone(), name.clone()),
                "queue.command.preempted",
                bare.clone(),
            ),
            (
                What::Progress(lane.clone(), name.clone(), Arc::new(json!({"done": 3}))),
                "queue.command.progress",
                told_with("progress", json!({"done": 3})),
            ),
            (
                What::LetterRetried(lane.clone(), name.clone(), "mail".into()),
                "queue.dead_letter.retried",
                told_with("command_type", json!("mail")),
            ),
            (
                What::LetterDiscarded(lane.clone(), name.clone(), "mail".into()),
                "queue.dead_letter.discarded",
                told_with("command_type", json!("mail")),
            ),
        ] {
            assert_eq!(told(what), (key.to_owned(), payload));
        }
    }

    #[test]
    fn what_happens_to_a_lane_names_the_lane() {
        let lane: Arc<str> = "api".into();
        for (what, key) in [
            (What::Submitted(lane.clone()), "queue.command.submitted"),
            (What::Pressure(lane.clone()), "queue.lane.pressure"),
            (What::Idle(lane.clone()), "queue.lane.idle"),
            (What::Paused(lane.clone()), "queue.lane.paused"),
            (What::Resumed(lane.clone()), "queue.lane.resumed"),
        ] {
            assert_eq!(told(what), (key.to_owned(), json!({"lane_id": "api"})));
        }
    }

    #[test]
    fn an_event_names_its_lane_and_its_command() {
        let (lane, kind) = (Arc::from("a lane"), Arc::from("a type"));
        let name = CommandName::new(3, 4);
        let event = Record::now(What::Started(lane, name.clone(), kind)).into_event();
        let EventPayload::Map(fields) = event.payload else {
            panic!("a map, not {:?}", event.payload);
        };
        let expected = [
            ("lane_id", "a lane".to_owned()),
            ("command_id", name.to_string()),
            ("command_type", "a type".to_owned()),
        ];
        let expected = expected.map(|(field, value)| (field.to_owned(), Value::from(value)));
        assert_eq!(fields, HashMap::from(expected));
    }

    #[test]
    fn ids_are_unique_uuids() {
        let id = |queue, serial| CommandName::new(queue, serial).to_string();
        let parsed = Uuid::parse_str(&id(u64::MAX, 7)).expect("an id is a UUID");
        assert_eq!(parsed.get_version_num(), 8);
        assert_ne!(id(1, 1), id(1, 2));
        assert_ne!(id(1 << 60, 1), id(2 << 60, 1));
        assert_eq!(CommandName::serial_of(7, &id(7, 9)), Some(9));
        assert_eq!(CommandName::serial_of(8, &id(7, 9)), None);
        assert_eq!(CommandName::serial_of(7, "order-1"), None);
    }
}

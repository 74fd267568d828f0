//! What a storage keeps, as data.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{StoredCommand, StoredCommandId, StoredDeadLetter};
use crate::error::LaneError;
use crate::retry::{Jitter, RetryPolicy};
use crate::submission::OnConflict;

/// All that is kept of a pending command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommandRecord {
    /// What 0.4 kept. Its `retry_count` is how many attempts have ended, by failure or with their process: the next one has this
    /// number plus one.
    pub command: StoredCommand,
    /// What its submission asked for.
    #[serde(default)]
    pub options: StoredOptions,
    /// Its failed attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedAttempt>,
    /// How often its process ended while it ran.
    #[serde(default)]
    pub crashes: u32,
    /// When its next attempt may begin, if it must wait for a delay or a retry.
    #[serde(default)]
    pub due_at: Option<DateTime<Utc>>,
    /// The payload was left out: `command.payload` is null, and [`Storage::load_command`](super::Storage::load_command) has it.
    #[serde(skip)]
    pub without_payload: bool,
}

impl From<StoredCommand> for CommandRecord {
    /// A command without options, as 0.4 stored it.
    fn from(command: StoredCommand) -> Self {
        Self {
            command,
            options: StoredOptions::default(),
            failures: Vec::new(),
            crashes: 0,
            due_at: None,
            without_payload: false,
        }
    }
}

/// The settings of a submission, with times of the wall clock instead of spans.
///
/// Storages keep it as one JSON object. What is not set follows the lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StoredOptions {
    /// The place inside its lane; lower numbers go first.
    pub priority: i32,
    /// Whose command it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it leaves unrun, if it has not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The longest time of an attempt; `Some(None)` is no limit.
    #[serde(skip_serializing_if = "Option::is_none", with = "explicit_none")]
    pub timeout: Option<Option<Duration>>,
    /// The longest time without a sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_timeout: Option<Duration>,
    /// How often it runs again when it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// How much of a retry's delay is left to chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// What limiters charge.
    pub cost: u64,
    /// Whether it may be preempted.
    pub preemptible: bool,
    /// Named values that its handler can read.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The unique key that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<StoredUnique>,
}

impl Default for StoredOptions {
    fn default() -> Self {
        Self {
            priority: 0,
            key: None,
            expires_at: None,
            timeout: None,
            progress_timeout: None,
            retry_policy: None,
            jitter: None,
            cost: 1,
            preemptible: true,
            metadata: Map::new(),
            unique: None,
        }
    }
}

/// A unique key that a stored command holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredUnique {
    /// The key.
    pub key: String,
    /// Until when it is held at least.
    pub until: Option<DateTime<Utc>>,
    /// What its submission did about another holder.
    pub on_conflict: OnConflict,
}

impl StoredUnique {
    /// A key that is held until its command settles.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            until: None,
            on_conflict: OnConflict::default(),
        }
    }
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Its number, counted from 1.
    pub attempt: u32,
    /// The text of its error.
    pub error: String,
    /// The [`code`](crate::LaneError::code) of its error.
    pub code: String,
    /// Where a handler in Python or JavaScript raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// When it began; absent where nobody could say.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_at: DateTime<Utc>,
}

impl FailedAttempt {
    /// An attempt that failed at this time with this error.
    pub fn new(
        attempt: u32,
        code: impl Into<String>,
        error: impl Into<String>,
        failed_at: DateTime<Utc>,
    ) -> Self {
        Self {
            attempt,
            error: error.into(),
            code: code.into(),
            traceback: None,
            started_at: None,
            failed_at,
        }
    }
}

/// Commands read from a storage, oldest first.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CommandPage {
    /// The commands.
    pub records: Vec<CommandRecord>,
    /// Where the next page begins; absent on the last page.
    pub next: Option<u64>,
}

impl CommandPage {
    /// A page that goes on at `next`.
    pub fn new(records: Vec<CommandRecord>, next: Option<u64>) -> Self {
        Self { records, next }
    }
}

/// A failed attempt after which the command runs again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RetryNote {
    /// The command's unique name.
    pub id: StoredCommandId,
    /// The attempt that failed. Its number is the command's new `retry_count`.
    pub failure: FailedAttempt,
    /// When the next attempt may begin; absent for at once.
    pub due_at: Option<DateTime<Utc>>,
}

impl RetryNote {
    /// The command runs again after this failure, at once.
    pub fn new(id: impl Into<StoredCommandId>, failure: FailedAttempt) -> Self {
        Self {
            id: id.into(),
            failure,
            due_at: None,
        }
    }
}

/// How a command left the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoredOutcome {
    /// With this result.
    Completed(Value),
    /// It failed for good, timed out, was cancelled or expired.
    Failed {
        /// The [`code`](crate::LaneError::code) of the error.
        code: String,
        /// The error's text.
        error: String,
    },
}

impl StoredOutcome {
    /// It left with this error.
    pub(crate) fn of(error: &LaneError) -> Self {
        Self::Failed {
            code: error.code().to_owned(),
            error: error.to_string(),
        }
    }
}

/// A command that has settled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settlement {
    /// The command's unique name.
    pub id: StoredCommandId,
    /// What kind of work it was.
    pub command_type: Arc<str>,
    /// The lane it was in.
    pub lane_id: Arc<str>,
    /// How it ended.
    pub outcome: StoredOutcome,
    /// When it ended.
    pub settled_at: DateTime<Utc>,
    /// The dead letter of a command that failed for good. Boxed: most have none.
    pub letter: Option<Box<DeadLetterRecord>>,
}

impl Settlement {
    /// A command that has ended now, without a dead letter.
    pub fn new(
        id: impl Into<StoredCommandId>,
        command_type: impl Into<Arc<str>>,
        lane_id: impl Into<Arc<str>>,
        outcome: StoredOutcome,
    ) -> Self {
        Self {
            id: id.into(),
            command_type: command_type.into(),
            lane_id: lane_id.into(),
            outcome,
            settled_at: Utc::now(),
            letter: None,
        }
    }
}

/// The kept outcome of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredResult {
    /// The command's unique name.
    pub id: StoredCommandId,
    /// What kind of work it was.
    pub command_type: String,
    /// The lane it was in.
    pub lane_id: String,
    /// How it ended.
    pub outcome: StoredOutcome,
    /// When it ended.
    pub settled_at: DateTime<Utc>,
}

impl From<Settlement> for StoredResult {
    fn from(settlement: Settlement) -> Self {
        Self {
            id: settlement.id,
            command_type: String::from(&*settlement.command_type),
            lane_id: String::from(&*settlement.lane_id),
            outcome: settlement.outcome,
            settled_at: settlement.settled_at,
        }
    }
}

/// All that is kept of a command that failed for good: enough to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterRecord {
    /// The command's unique name.
    pub command_id: String,
    /// What kind of work it was.
    pub command_type: String,
    /// The lane it ran in.
    pub lane_id: String,
    /// The data from which it can be rebuilt, which may be null; absent for a command that gave none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub payload: Option<Value>,
    /// What its submission asked for.
    #[serde(default)]
    pub options: StoredOptions,
    /// The text of its last error.
    pub error: String,
    /// The code of its last error.
    pub code: String,
    /// Where a handler in Python or JavaScript raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// How often it ran.
    pub attempts: u32,
    /// Its failed attempts, oldest first; the newest ones where there were very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedAttempt>,
    /// When its last attempt failed.
    pub failed_at: DateTime<Utc>,
}

impl From<StoredDeadLetter> for DeadLetterRecord {
    /// A dead letter as 0.4 stored it: without payload, options and earlier failures.
    fn from(letter: StoredDeadLetter) -> Self {
        Self {
            command_id: letter.command_id,
            command_type: letter.command_type,
            lane_id: letter.lane_id,
            payload: None,
            options: StoredOptions::default(),
            error: letter.error,
            code: "COMMAND_ERROR".to_owned(),
            traceback: None,
            attempts: letter.attempts,
            failures: Vec::new(),
            failed_at: letter.failed_at,
        }
    }
}

impl From<DeadLetterRecord> for StoredDeadLetter {
    fn from(record: DeadLetterRecord) -> Self {
        Self {
            command_id: record.command_id,
            command_type: record.command_type,
            lane_id: record.lane_id,
            error: record.error,
            attempts: record.attempts,
            failed_at: record.failed_at,
        }
    }
}

/// Which dead letters are meant. A filter that says nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// Only these commands; empty means any.
    pub ids: Vec<String>,
    /// Only of this lane.
    pub lane_id: Option<String>,
    /// Only of this type.
    pub command_type: Option<String>,
    /// Only with an error of this code.
    pub code: Option<String>,
    /// Only those that failed at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those that failed before this time.
    pub until: Option<DateTime<Utc>>,
    /// At most so many, the oldest ones; absent for no limit.
    pub limit: Option<usize>,
}

impl DeadLetterFilter {
    /// Every dead letter.
    pub fn all() -> Self {
        Self::default()
    }

    /// The dead letters of one command.
    pub fn of(id: impl Into<String>) -> Self {
        Self {
            ids: vec![id.into()],
            ..Self::default()
        }
    }

    /// Whether it means this letter, the limit aside.
    pub fn matches(&self, letter: &DeadLetterRecord) -> bool {
        let is = |wanted: &Option<String>, got: &str| wanted.as_ref().is_none_or(|it| it == got);
        (self.ids.is_empty() || self.ids.contains(&letter.command_id))
            && is(&self.lane_id, &letter.lane_id)
            && is(&self.command_type, &letter.command_type)
            && is(&self.code, &letter.code)
            && self.since.is_none_or(|since| letter.failed_at >= since)
            && self.until.is_none_or(|until| letter.failed_at < until)
    }

    /// The letters that it means, of these.
    pub(crate) fn apply(
        &self,
        letters: impl Iterator<Item = DeadLetterRecord>,
    ) -> Vec<DeadLetterRecord> {
        letters
            .filter(|letter| self.matches(letter))
            .take(self.limit.unwrap_or(usize::MAX))
            .collect()
    }
}

/// A null that is there is a value.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// `Some(None)` is null and `None` is absent.
mod explicit_none {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::option_option,
        clippy::ref_option,
        reason = "the field's type, as serde passes it"
    )]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<Duration>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .and_then(Option::as_ref)
            .serialize(serializer)
    }

    #[expect(clippy::option_option, reason = "the field's type")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<Duration>>, D::Error> {
        Option::<Duration>::deserialize(deserializer).map(Some)
    }
}

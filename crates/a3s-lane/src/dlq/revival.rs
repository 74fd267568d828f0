//! How a dead letter becomes a command again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::error::{LaneError, Result};
use crate::storage::{CommandRecord, DeadLetterRecord, StoredCommand, StoredOptions};
use crate::submission::{OnConflict, SubmitOptions, Unique};

impl DeadLetterRecord {
    /// Of several letters of a command only the newest, where its oldest stood; `letters` are in their order, oldest first.
    pub fn newest(letters: Vec<Self>) -> Vec<Self> {
        let mut places = HashMap::new();
        let mut newest: Vec<Self> = Vec::with_capacity(letters.len());
        for letter in letters {
            match places.get(&letter.command_id) {
                Some(&place) => newest[place] = letter,
                None => {
                    places.insert(letter.command_id.clone(), newest.len());
                    newest.push(letter);
                }
            }
        }
        newest
    }

    /// Its command as a pending one: the same id, lane, payload and options, due at once and without a failed attempt. Its time
    /// to live is over, so it has none any more.
    ///
    /// For [`Storage::revive_dead_letter`](crate::Storage::revive_dead_letter) of a storage that no manager has open; a manager
    /// retries with [`DeadLetters::retry`](crate::DeadLetters::retry).
    ///
    /// # Errors
    ///
    /// [`LaneError::ConfigError`] for a letter without payload.
    pub fn into_pending(self) -> Result<CommandRecord> {
        let Some(payload) = self.payload else {
            return Err(without_payload(&self.command_id, &self.command_type));
        };
        let mut record = CommandRecord::from(StoredCommand {
            id: self.command_id,
            command_type: self.command_type,
            lane_id: self.lane_id,
            payload,
            retry_count: 0,
            created_at: Utc::now(),
            last_attempt_at: None,
        });
        record.options = StoredOptions {
            expires_at: None,
            ..self.options
        };
        Ok(record)
    }
}

/// The error of a letter that does not say what its command was to do.
pub(crate) fn without_payload(id: &str, command_type: &str) -> LaneError {
    LaneError::ConfigError(format!(
        "dead letter of command {id}: a {command_type:?} kept no payload to run it again with; its `Command` has no `payload()`"
    ))
}

impl StoredOptions {
    /// The options of a dead letter's command that runs again at this time.
    ///
    /// Its unique key neither joins another command nor replaces it: that was its first submission's wish.
    pub(crate) fn again(self, now: DateTime<Utc>) -> SubmitOptions {
        let left =
            |until: DateTime<Utc>| (until - now).to_std().ok().filter(|left| !left.is_zero());
        SubmitOptions {
            priority: self.priority,
            key: self.key,
            timeout: self.timeout,
            progress_timeout: self.progress_timeout,
            retry_policy: self.retry_policy,
            jitter: self.jitter,
            cost: self.cost,
            preemptible: self.preemptible,
            metadata: self.metadata,
            unique: self.unique.map(|unique| Unique {
                key: unique.key,
                window: unique.until.and_then(left),
                on_conflict: OnConflict::Reject,
            }),
            ..SubmitOptions::default()
        }
    }
}

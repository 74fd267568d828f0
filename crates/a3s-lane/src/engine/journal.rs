//! What a lane's storage is told of its commands.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::job::{Extras, Work};
use super::settle::Finished;
use super::taken::command_type;
use super::{Engine, LaneInfo, State, attempt, record};
use crate::error::Result;
use crate::event::{CommandName, What};
use crate::scheduler::{CommandKey, Verdict};
use crate::storage::{
    DeadLetterRecord, FailedAttempt, RetryNote, Settlement, Storage, StoredOutcome,
};

/// What came of telling a storage.
#[derive(Default)]
pub(super) struct Told {
    pub(super) letter: Option<Box<DeadLetterRecord>>,
    /// The chosen id of a command that has left its storage.
    pub(super) removed: Option<Arc<str>>,
    /// The storage has taken down how the command has ended.
    pub(super) settled: bool,
}

impl Engine {
    /// Notes that an attempt begins, before it does. It runs all the same when that fails: then only a crash goes uncounted.
    pub(super) async fn note_start(
        &self,
        lane: &LaneInfo,
        key: CommandKey,
        extras: Option<&Extras>,
        attempt: u32,
    ) {
        let Some(storage) = &lane.storage else {
            return;
        };
        let name = self.name(key, extras);
        let mut buffer = [0; CommandName::TEXT];
        let id = name.text(&mut buffer);
        if let Err(error) = storage.start_command(id, attempt).await {
            tracing::error!(command_id = %id, %error, "failed to note the start of an attempt");
        }
    }

    /// Tells the lane's storage how an attempt has ended, while it still holds its slot. The result goes to the submitter
    /// whatever the storage says: a command that stays stored runs once more after a restart.
    pub(super) async fn note_end(&self, finished: &Finished, verdict: Verdict) -> Told {
        let Some(storage) = &finished.lane.storage else {
            let letter = self.dead_letter(finished, verdict);
            return Told {
                letter,
                ..Told::default()
            };
        };
        let name = self.name(finished.key, finished.extras.as_deref());
        let id = name.to_string();
        let told = match verdict {
            Verdict::Retry { .. } => {
                let noted = self.note_retry(&**storage, &id, finished).await;
                (noted, Told::default())
            }
            Verdict::Preempted | Verdict::Withdrawn => {
                (storage.requeue_command(&id).await, Told::default())
            }
            Verdict::Settle if finished.abandoned => {
                (storage.requeue_command(&id).await, Told::default())
            }
            Verdict::Settle | Verdict::Cancelled => {
                let mut told = Told {
                    letter: self.dead_letter(finished, verdict),
                    ..Told::default()
                };
                if let Some(letter) = &mut told.letter {
                    self.complete(letter, finished, &**storage).await;
                }
                self.note_settled(storage, finished, &mut told).await;
                (Ok(()), told)
            }
        };
        let (noted, told) = told;
        if let Err(error) = noted {
            tracing::error!(command_id = %id, %error, "failed to note the end of an attempt");
        }
        told
    }

    async fn note_retry(&self, storage: &dyn Storage, id: &str, finished: &Finished) -> Result<()> {
        let Some(failure) = finished.failed_attempt() else {
            return Ok(());
        };
        let delay = {
            let mut state = self.lock();
            let serial = finished.key.serial();
            state.kept.add_failure(serial, failure.clone());
            let command = state.scheduler.command(finished.key);
            command.map_or(0, |command| command.retry_delay)
        };
        let calendar = self.calendar();
        let mut note = RetryNote::new(id, failure);
        note.due_at = (delay > 0).then(|| calendar.date(calendar.now.saturating_add(delay)));
        storage.retry_command(note).await
    }

    /// How a command has ended, without its dead letter.
    pub(super) fn settlement(&self, finished: &Finished, settled_at: DateTime<Utc>) -> Settlement {
        let outcome = match &finished.result {
            Ok(value) => StoredOutcome::Completed(value.clone()),
            Err(error) => StoredOutcome::of(error),
        };
        Settlement {
            id: self
                .name(finished.key, finished.extras.as_deref())
                .to_text(),
            command_type: (finished.lane).kind(finished.work.as_ref().map_or("", command_type)),
            lane_id: Arc::clone(&finished.lane.id),
            outcome,
            settled_at,
            letter: None,
        }
    }

    async fn note_settled(&self, storage: &Arc<dyn Storage>, finished: &Finished, told: &mut Told) {
        let settlement = |letter: &Option<Box<DeadLetterRecord>>| {
            let mut settlement = self.settlement(finished, Utc::now());
            settlement.letter.clone_from(letter);
            settlement
        };
        let given = self.lock().depart_ended(finished);
        let settled = vec![settlement(&told.letter)];
        match storage.settle_commands(settled).await {
            Ok(()) => {
                told.removed = given;
                told.settled = true;
            }
            Err(error) => {
                // Made again: no end that is told needs a copy.
                self.keep_untold(storage, settlement(&told.letter), &error);
            }
        }
    }

    /// Forgets that a command had to be told from what is stored. Called when it has left the scheduler.
    pub(super) fn end_told(&self, removed: Option<Arc<str>>) {
        if let Some(id) = removed {
            self.lock().kept.was_removed(id);
        }
    }

    /// Takes a command out of its storage that was cancelled between two attempts.
    pub(super) async fn note_cancelled(&self, lane: &LaneInfo, name: CommandName, kind: &str) {
        let Some(storage) = &lane.storage else {
            return;
        };
        let error = crate::LaneError::Cancelled("before its next attempt".to_owned());
        let settlement = record::failed(&name, kind, lane, &error);
        let settled = storage.settle_commands(vec![settlement.clone()]).await;
        match settled {
            Ok(()) => self.lock().kept.was_removed(settlement.id.into()),
            Err(error) => self.keep_untold(storage, settlement, &error),
        }
    }

    /// Keeps note of a failed attempt; returns the dead letter when it was the last. `None` where nobody keeps them.
    #[cold]
    pub(super) fn dead_letter(
        &self,
        finished: &Finished,
        verdict: Verdict,
    ) -> Option<Box<DeadLetterRecord>> {
        if self.dlq.is_none() && finished.lane.storage.is_none() {
            return None;
        }
        let failure = finished.failed_attempt()?;
        let serial = finished.key.serial();
        match verdict {
            Verdict::Retry { .. } => self.lock().kept.add_failure(serial, failure),
            Verdict::Settle => return Some(self.letter(finished, failure)),
            Verdict::Cancelled | Verdict::Withdrawn | Verdict::Preempted => {}
        }
        None
    }

    fn letter(&self, finished: &Finished, last: FailedAttempt) -> Box<DeadLetterRecord> {
        let calendar = self.calendar();
        let extras = finished.extras.as_deref();
        let name = self.name(finished.key, extras);
        let kind = finished.work.as_ref().map_or("", command_type);
        let (failures, options) = {
            let mut state = self.lock();
            let failures = state.kept.take_failures(finished.key.serial());
            let command = state.scheduler.command(finished.key);
            let terms = command.and_then(|command| command.terms);
            (failures, record::options(terms, extras, &calendar))
        };
        let (lane, attempts) = (&finished.lane.id, finished.attempt);
        let mut letter = record::letter(&name, kind, lane, attempts, failures, last);
        letter.options = options;
        letter.payload = finished.work.as_ref().and_then(payload);
        letter
    }

    /// Adds the payload of a command that was restored without it.
    async fn complete(
        &self,
        letter: &mut DeadLetterRecord,
        finished: &Finished,
        storage: &dyn Storage,
    ) {
        let restored = finished.extras.as_ref();
        let restored = restored.is_some_and(|extras| extras.restored);
        if !restored || letter.payload.is_some() {
            return;
        }
        match storage.load_command(&letter.command_id).await {
            Ok(record) => letter.payload = record.map(|record| record.command.payload),
            Err(error) => {
                let id = &letter.command_id;
                tracing::error!(command_id = %id, %error, "failed to load the payload of a dead letter");
            }
        }
    }

    /// Keeps a dead letter in memory and tells of it.
    pub(super) fn bury(
        &self,
        lane: &LaneInfo,
        name: impl FnOnce() -> CommandName,
        letter: Box<DeadLetterRecord>,
    ) {
        self.emitter.report(|| {
            let kind = letter.command_type.as_str().into();
            What::DeadLettered(Arc::clone(&lane.id), name(), kind)
        });
        if let Some(dlq) = &self.dlq {
            dlq.push_now(*letter);
        }
    }
}

impl State {
    /// Keeps the id of a command that its submitter has named, until its storage has taken down how it ended.
    pub(super) fn depart_ended(&mut self, finished: &Finished) -> Option<Arc<str>> {
        let extras = finished.extras.as_ref()?;
        let id = Arc::clone(extras.id.as_ref()?);
        self.kept.depart(Arc::clone(&id), &extras.handle);
        Some(id)
    }
}

/// The payload of a command; `None` when asking for it panics.
fn payload(work: &Work) -> Option<Value> {
    attempt::guarded(|| work.payload()).ok().flatten()
}

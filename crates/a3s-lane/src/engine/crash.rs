//! Commands whose process has ended too often while they ran.

use std::sync::Arc;

use super::observer::Sample;
use super::restore::{self, Source};
use super::{Engine, LaneInfo, record, trace};
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::scheduler::LaneKey;
use crate::storage::{CommandRecord, DeadLetterRecord, Settlement, StoredOutcome};

/// What the metrics count of each.
const SAMPLES: [Sample; 2] = [Sample::Failed { run_ns: 0 }, Sample::DeadLettered];

impl Engine {
    /// Makes dead letters of commands whose process has ended too often while they ran. Returns those that cannot be read: they stay
    /// stored, and do not run.
    pub(super) async fn bury_crashed(
        &self,
        source: &Source,
        crashed: Vec<CommandRecord>,
    ) -> Vec<CommandRecord> {
        let mut unread = Vec::new();
        let mut settlements = Vec::with_capacity(crashed.len());
        for record in crashed {
            match self.crash_of(source, &record).await {
                Ok(settlement) => settlements.push(settlement),
                Err(error) => {
                    let id = &record.command.id;
                    tracing::error!(command_id = %id, %error, "failed to read a command that crashed too often");
                    unread.push(record);
                }
            }
        }
        if settlements.is_empty() {
            return unread;
        }
        let letters: Vec<_> = settlements
            .iter()
            .filter_map(|settlement| settlement.letter.clone())
            .collect();
        let told = source.storage.settle_commands(settlements.clone()).await;
        if let Err(error) = told {
            // They are told again, as all ends are. Until then they are known here as settled.
            for settlement in settlements {
                let id = settlement.id.as_str().into();
                let handle = restore::settled(settlement.clone().into());
                self.lock().kept.depart(id, &handle);
                self.keep_untold(&source.storage, settlement, &error);
            }
        }
        for letter in letters {
            let id = letter.command_id.clone();
            let Some((key, lane)) = self.tell_of_crash(letter) else {
                continue;
            };
            trace::settled(&lane.id, false, 0);
            for sample in SAMPLES {
                self.record_awaited(&lane, key, sample).await;
            }
            tracing::error!(command_id = %id, lane_id = %lane.id, "a command is a dead letter: its process ended too often while it ran");
        }
        unread
    }

    /// Tells who listens of a dead letter; returns its lane, if it is there.
    fn tell_of_crash(&self, letter: Box<DeadLetterRecord>) -> Option<(LaneKey, Arc<LaneInfo>)> {
        let state = self.lock();
        let key = *state.names.get(letter.lane_id.as_str())?;
        let lane = Arc::clone(&state.lanes[key.index()]);
        let id: Arc<str> = letter.command_id.as_str().into();
        let name = || CommandName::Given(Arc::clone(&id));
        let error: Arc<str> = letter.error.as_str().into();
        self.bury(&lane, name, letter);
        self.emitter
            .report(|| What::Failed(Arc::clone(&lane.id), name(), error));
        let counts = state.counts(key);
        for sample in SAMPLES {
            lane.observer.record(sample, || counts);
        }
        Some((key, lane))
    }

    async fn crash_of(&self, source: &Source, record: &CommandRecord) -> Result<Settlement> {
        let full = match record.without_payload {
            true => source.storage.load_command(&record.command.id).await?,
            false => None,
        };
        let record = full.unwrap_or_else(|| record.clone());
        let error = LaneError::Crashed(record.crashes);
        let stored = record.command;
        let last = record::failure(stored.retry_count, &error, 0);
        let mut letter = record::letter(
            &CommandName::Given(stored.id.as_str().into()),
            &stored.command_type,
            &stored.lane_id,
            stored.retry_count,
            record.failures,
            last,
        );
        letter.payload = Some(stored.payload);
        letter.options = record.options;
        let outcome = StoredOutcome::Failed {
            code: letter.code.clone(),
            error: letter.error.clone(),
        };
        let mut settlement =
            Settlement::new(stored.id, stored.command_type, stored.lane_id, outcome);
        settlement.letter = Some(letter);
        Ok(settlement)
    }
}

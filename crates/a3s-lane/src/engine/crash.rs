//! Commands whose process has ended too often while they ran.

use std::sync::Arc;

use super::observer::Sample;
use super::restore::Source;
use super::{Engine, record};
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::storage::{CommandRecord, Settlement, StoredOutcome};

impl Engine {
    /// Makes dead letters of commands whose process has ended too often while they ran.
    pub(super) async fn bury_crashed(&self, source: &Source, crashed: Vec<CommandRecord>) {
        if crashed.is_empty() {
            return;
        }
        let mut settlements = Vec::with_capacity(crashed.len());
        for record in crashed {
            match self.crash_of(source, record).await {
                Ok(settlement) => settlements.push(settlement),
                Err(error) => {
                    tracing::error!(%error, "failed to read a command that crashed too often");
                }
            }
        }
        let letters: Vec<_> = settlements
            .iter()
            .filter_map(|settlement| settlement.letter.clone())
            .collect();
        if let Err(error) = source.storage.settle_commands(settlements).await {
            // They stay stored, and do not run.
            tracing::error!(%error, "failed to store dead letters of commands that crashed too often");
            return;
        }
        for letter in letters {
            let state = self.lock();
            let Some(&key) = state.names.get(letter.lane_id.as_str()) else {
                continue;
            };
            let lane = Arc::clone(&state.lanes[key.index()]);
            let id: Arc<str> = letter.command_id.as_str().into();
            let name = || CommandName::Given(Arc::clone(&id));
            let error: Arc<str> = letter.error.as_str().into();
            self.bury(&lane, name, letter);
            self.emitter
                .report(|| What::Failed(Arc::clone(&lane.id), name(), error));
            let counts = state.counts(key);
            lane.observer
                .record(Sample::Failed { run_ns: 0 }, || counts);
            lane.observer.record(Sample::DeadLettered, || counts);
            drop(state);
            tracing::error!(command_id = %id, lane_id = %lane.id, "a command is a dead letter: its process ended too often while it ran");
        }
    }

    async fn crash_of(&self, source: &Source, record: CommandRecord) -> Result<Settlement> {
        let record = if record.without_payload {
            let id = record.command.id.clone();
            let full = source.storage.load_command(&id).await?;
            full.unwrap_or(record)
        } else {
            record
        };
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

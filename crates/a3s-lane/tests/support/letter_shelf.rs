//! A storage in memory that keeps all that it can be told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use a3s_lane::storage::CommandRecord;
use a3s_lane::{
    DeadLetterFilter, DeadLetterRecord, LaneError, Result, Storage, StoredCommand, StoredDeadLetter,
};
use async_trait::async_trait;

use super::Gate;

/// Keeps commands with their options and dead letters with all that is in them.
#[derive(Default)]
pub(crate) struct LetterShelf {
    kept: Mutex<Kept>,
    is_broken: AtomicBool,
    /// Revivals pass it, where there is one.
    revivals: Option<Gate>,
}

#[derive(Default)]
struct Kept {
    commands: Vec<CommandRecord>,
    letters: Vec<DeadLetterRecord>,
}

impl LetterShelf {
    pub(crate) fn with_revivals_behind(gate: &Gate) -> Arc<Self> {
        Arc::new(Self {
            revivals: Some(gate.clone()),
            ..Self::default()
        })
    }

    pub(crate) fn commands(&self) -> Vec<CommandRecord> {
        self.kept().commands.clone()
    }

    /// From now on every call is an error.
    pub(crate) fn break_down(&self) {
        self.is_broken.store(true, Ordering::SeqCst);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("not poisoned")
    }

    fn whole(&self) -> Result<MutexGuard<'_, Kept>> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(LaneError::Storage("disk full".to_owned()));
        }
        Ok(self.kept())
    }
}

impl Kept {
    fn save(&mut self, record: CommandRecord) {
        self.commands
            .retain(|known| known.command.id != record.command.id);
        self.commands.push(record);
    }
}

#[async_trait]
impl Storage for LetterShelf {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.whole()?.save(command.into());
        Ok(())
    }
    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        let kept = self.whole()?;
        Ok(kept.commands.iter().map(|it| it.command.clone()).collect())
    }
    async fn remove_command(&self, id: &str) -> Result<()> {
        self.whole()?.commands.retain(|it| it.command.id != id);
        Ok(())
    }
    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.whole()?.letters.push(letter.into());
        Ok(())
    }
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        let kept = self.whole()?;
        Ok(kept.letters.iter().cloned().map(Into::into).collect())
    }
    async fn clear_dead_letters(&self) -> Result<()> {
        self.whole()?.letters.clear();
        Ok(())
    }
    async fn clear_all(&self) -> Result<()> {
        *self.whole()? = Kept::default();
        Ok(())
    }
    async fn save_commands(&self, records: Vec<CommandRecord>) -> Result<()> {
        let mut kept = self.whole()?;
        records.into_iter().for_each(|record| kept.save(record));
        Ok(())
    }
    async fn settle_commands(&self, settlements: Vec<a3s_lane::storage::Settlement>) -> Result<()> {
        let mut kept = self.whole()?;
        for settlement in settlements {
            kept.commands.retain(|it| it.command.id != settlement.id);
            kept.letters.extend(settlement.letter);
        }
        Ok(())
    }
    async fn find_dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        let kept = self.whole()?;
        let found = kept.letters.iter().filter(|letter| filter.matches(letter));
        let limit = filter.limit.unwrap_or(usize::MAX);
        Ok(found.take(limit).cloned().collect())
    }
    async fn import_dead_letters(&self, letters: Vec<DeadLetterRecord>) -> Result<()> {
        self.whole()?.letters.extend(letters);
        Ok(())
    }
    async fn remove_dead_letters(&self, ids: &[String]) -> Result<usize> {
        let letters = &mut self.whole()?.letters;
        let before = letters.len();
        letters.retain(|letter| !ids.contains(&letter.command_id));
        Ok(before - letters.len())
    }
    async fn revive_dead_letter(&self, record: CommandRecord) -> Result<()> {
        if let Some(gate) = &self.revivals {
            gate.pass().await;
        }
        let mut kept = self.whole()?;
        kept.letters
            .retain(|letter| letter.command_id != record.command.id);
        kept.save(record);
        Ok(())
    }
}

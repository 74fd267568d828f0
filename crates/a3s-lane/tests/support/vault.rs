//! A complete storage in memory, with faults on demand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use a3s_lane::storage::{
    CommandPage, CommandRecord, DeadLetterFilter, DeadLetterRecord, RetryNote, Settlement,
    StoredResult,
};
use a3s_lane::{LaneError, Result, Storage, StoredCommand, StoredDeadLetter};
use async_trait::async_trait;
use chrono::Utc;
use tokio::sync::Barrier;

use super::{Gate, Log};

/// The fault of all calls.
const ANY: &str = "any";

/// Keeps everything that the trait can be told.
#[derive(Default)]
pub(crate) struct Vault {
    shelves: Mutex<Shelves>,
    /// What it was asked, as `save 2`, `start 1`, `retry`, `settle 1`.
    pub(crate) log: Log,
    /// Pages come without payloads.
    lean: bool,
    /// Commands in a page at most; 0 for as many as are asked for.
    page: usize,
    /// The calls that fail.
    faults: Mutex<HashSet<&'static str>>,
    /// The type of command that it cannot settle, and whether it panics then.
    unsettled: Mutex<Option<(&'static str, bool)>>,
    /// The type of command that it cannot save, and whether it panics then.
    unsaved: Mutex<Option<(&'static str, bool)>>,
    /// Where calls for one command of that type meet before they are refused.
    refused_at: Mutex<Option<Arc<Barrier>>>,
    /// Pages pass it after they were read.
    gate: Option<Gate>,
    /// Revivals pass it.
    revivals: Option<Gate>,
    /// Saves pass it.
    saves: Option<Gate>,
}

#[derive(Clone, Default)]
struct Shelves {
    commands: Vec<Shelved>,
    letters: Vec<DeadLetterRecord>,
    results: Vec<StoredResult>,
    number: u64,
}

#[derive(Clone)]
struct Shelved {
    number: u64,
    record: CommandRecord,
    running: Option<u32>,
}

impl Vault {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// With so many commands in a page, with or without their payloads.
    pub(crate) fn with_pages(page: usize, lean: bool) -> Arc<Self> {
        Arc::new(Self {
            lean,
            page,
            ..Self::default()
        })
    }

    /// Without payloads in its pages.
    pub(crate) fn lean(lean: bool) -> Arc<Self> {
        Self::with_pages(0, lean)
    }

    pub(crate) fn behind(gate: &Gate) -> Arc<Self> {
        Arc::new(Self {
            gate: Some(gate.clone()),
            ..Self::default()
        })
    }

    pub(crate) fn with_revivals_behind(gate: &Gate) -> Arc<Self> {
        Arc::new(Self {
            revivals: Some(gate.clone()),
            ..Self::default()
        })
    }

    pub(crate) fn with_saves_behind(gate: &Gate) -> Arc<Self> {
        Arc::new(Self {
            saves: Some(gate.clone()),
            ..Self::default()
        })
    }

    /// What another process finds when this one was killed now.
    pub(crate) fn after_crash(&self) -> Arc<Self> {
        let mut shelves = self.lock().clone();
        for shelved in &mut shelves.commands {
            if let Some(attempt) = shelved.running.take() {
                shelved.record.crashes += 1;
                shelved.record.command.retry_count = attempt;
            }
        }
        Arc::new(Self {
            shelves: Mutex::new(shelves),
            lean: self.lean,
            page: self.page,
            ..Self::default()
        })
    }

    pub(crate) fn records(&self) -> Vec<CommandRecord> {
        let shelves = self.lock();
        let records = shelves.commands.iter();
        records.map(|shelved| shelved.record.clone()).collect()
    }

    /// The types of what is stored.
    pub(crate) fn types(&self) -> Vec<String> {
        let records = self.records().into_iter();
        records.map(|record| record.command.command_type).collect()
    }

    pub(crate) fn letters(&self) -> Vec<DeadLetterRecord> {
        self.lock().letters.clone()
    }

    /// Puts a record in as an earlier process would have left it, in place of one of its id.
    pub(crate) fn put(&self, record: CommandRecord) {
        let mut shelves = self.lock();
        let known = shelves.commands.iter_mut();
        let mut known = known.filter(|known| known.record.command.id == record.command.id);
        if let Some(known) = known.next() {
            known.record = record;
            return;
        }
        shelves.number += 1;
        let number = shelves.number;
        shelves.commands.push(Shelved {
            number,
            record,
            running: None,
        });
    }

    pub(crate) fn set_fault(&self, call: &'static str, fails: bool) {
        let mut faults = self.faults.lock().expect("not poisoned");
        if fails {
            faults.insert(call);
        } else {
            faults.remove(call);
        }
    }

    /// From now on it cannot settle commands of this type.
    pub(crate) fn fail_to_settle(&self, command_type: &'static str, panics: bool) {
        *self.unsettled.lock().expect("not poisoned") = Some((command_type, panics));
    }

    /// From now on it cannot save commands of this type.
    pub(crate) fn fail_to_save(&self, command_type: &'static str, panics: bool) {
        *self.unsaved.lock().expect("not poisoned") = Some((command_type, panics));
    }

    /// From now on calls for one such command alone wait for each other, so many of them.
    pub(crate) fn refuse_together(&self, calls: usize) {
        *self.refused_at.lock().expect("not poisoned") = Some(Arc::new(Barrier::new(calls)));
    }

    /// From now on every call is an error.
    pub(crate) fn break_down(&self) {
        self.set_fault(ANY, true);
    }

    fn ask(&self, call: &'static str, detail: impl ToString) -> Result<()> {
        self.log
            .push(format!("{call} {}", detail.to_string()).trim_end());
        let faults = self.faults.lock().expect("not poisoned");
        if faults.contains(call) || faults.contains(ANY) {
            return Err(LaneError::Storage("disk full".to_owned()));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().expect("not poisoned")
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Shelved)) {
        let mut shelves = self.lock();
        let mut commands = shelves.commands.iter_mut();
        if let Some(shelved) = commands.find(|shelved| shelved.record.command.id == id) {
            change(shelved);
        }
    }
}

#[async_trait]
impl Storage for Vault {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.save_commands(vec![command.into()]).await
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        self.ask("all", "")?;
        let records = self.records().into_iter();
        Ok(records.map(|record| record.command).collect())
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        self.ask("remove", "")?;
        let mut shelves = self.lock();
        shelves
            .commands
            .retain(|shelved| shelved.record.command.id != id);
        Ok(())
    }

    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.import_dead_letters(vec![letter.into()]).await
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        let letters = self.find_dead_letters(&DeadLetterFilter::all()).await?;
        Ok(letters.into_iter().map(StoredDeadLetter::from).collect())
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        self.lock().letters.clear();
        Ok(())
    }

    async fn clear_all(&self) -> Result<()> {
        *self.lock() = Shelves::default();
        Ok(())
    }

    async fn save_commands(&self, records: Vec<CommandRecord>) -> Result<()> {
        self.ask("save", records.len())?;
        // A turn for others, as a disk would give.
        tokio::task::yield_now().await;
        if let Some(gate) = &self.saves {
            gate.pass().await;
        }
        let unsaved = *self.unsaved.lock().expect("not poisoned");
        if let Some((unsaved, panics)) = unsaved
            && records.iter().any(|it| it.command.command_type == unsaved)
        {
            assert!(!panics, "a bad storage");
            return Err(LaneError::Storage("too large".to_owned()));
        }
        for record in records {
            self.put(record);
        }
        Ok(())
    }

    async fn load_page(&self, from: Option<u64>, limit: usize) -> Result<CommandPage> {
        self.ask("page", "")?;
        let limit = if self.page == 0 { limit } else { self.page };
        let page = {
            let shelves = self.lock();
            let rest = shelves.commands.iter();
            let mut rest = rest.filter(|shelved| from.is_none_or(|from| shelved.number >= from));
            let mut records: Vec<CommandRecord> = Vec::new();
            for shelved in rest.by_ref().take(limit) {
                records.push(shelved.record.clone());
            }
            if self.lean {
                for record in &mut records {
                    record.command.payload = serde_json::Value::Null;
                    record.without_payload = true;
                }
            }
            CommandPage::new(records, rest.next().map(|shelved| shelved.number))
        };
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        Ok(page)
    }

    async fn load_command(&self, id: &str) -> Result<Option<CommandRecord>> {
        self.ask("load", "")?;
        let mut records = self.records().into_iter();
        Ok(records.find(|record| record.command.id == id))
    }

    async fn start_command(&self, id: &str, attempt: u32) -> Result<()> {
        self.ask("start", attempt)?;
        self.change(id, |shelved| shelved.running = Some(attempt));
        Ok(())
    }

    async fn requeue_command(&self, id: &str) -> Result<()> {
        self.ask("requeue", "")?;
        self.change(id, |shelved| {
            shelved.running = None;
            shelved.record.command.last_attempt_at = Some(Utc::now());
        });
        Ok(())
    }

    async fn retry_command(&self, note: RetryNote) -> Result<()> {
        self.ask("retry", note.failure.attempt)?;
        self.change(&note.id, |shelved| {
            shelved.running = None;
            let record = &mut shelved.record;
            record.command.retry_count = note.failure.attempt;
            record.command.last_attempt_at = Some(note.failure.failed_at);
            record.due_at = note.due_at;
            record.failures.push(note.failure);
        });
        Ok(())
    }

    async fn settle_commands(&self, settlements: Vec<Settlement>) -> Result<()> {
        self.ask("settle", settlements.len())?;
        let unsettled = *self.unsettled.lock().expect("not poisoned");
        if let Some((unsettled, panics)) = unsettled
            && settlements.iter().any(|it| *it.command_type == *unsettled)
        {
            assert!(!panics, "a bad storage");
            let meeting = self.refused_at.lock().expect("not poisoned").clone();
            if let Some(meeting) = meeting.filter(|_| settlements.len() == 1) {
                meeting.wait().await;
            }
            return Err(LaneError::Storage("too large".to_owned()));
        }
        let mut shelves = self.lock();
        for settlement in settlements {
            shelves
                .commands
                .retain(|shelved| shelved.record.command.id != settlement.id);
            shelves
                .letters
                .extend(settlement.letter.clone().map(|it| *it));
            shelves.results.push(settlement.into());
        }
        Ok(())
    }

    async fn load_result(&self, id: &str) -> Result<Option<StoredResult>> {
        self.ask("result", "")?;
        let shelves = self.lock();
        let result = shelves.results.iter().find(|result| result.id == id);
        Ok(result.cloned())
    }

    async fn find_dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        self.ask("letters", "")?;
        let letters = self.letters().into_iter();
        let found = letters.filter(|letter| filter.matches(letter));
        Ok(found.take(filter.limit.unwrap_or(usize::MAX)).collect())
    }

    async fn import_dead_letters(&self, letters: Vec<DeadLetterRecord>) -> Result<()> {
        self.ask("import", letters.len())?;
        self.lock().letters.extend(letters);
        Ok(())
    }

    async fn remove_dead_letters(&self, ids: &[String]) -> Result<usize> {
        self.ask("discard", ids.len())?;
        let letters = &mut self.lock().letters;
        let before = letters.len();
        letters.retain(|letter| !ids.contains(&letter.command_id));
        Ok(before - letters.len())
    }

    async fn revive_dead_letter(&self, record: CommandRecord) -> Result<()> {
        self.revive_dead_letters(vec![record]).await
    }

    async fn revive_dead_letters(&self, records: Vec<CommandRecord>) -> Result<()> {
        self.ask("revive", records.len())?;
        if let Some(gate) = &self.revivals {
            gate.pass().await;
        }
        for record in records {
            let id = record.command.id.clone();
            self.lock().letters.retain(|letter| letter.command_id != id);
            self.put(record);
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.ask("close", "")
    }
}

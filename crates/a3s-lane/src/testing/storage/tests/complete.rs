//! A complete storage in memory, and what the rules say when something is wrong with it.

use super::*;
use crate::storage::{CommandPage, RetryNote, Settlement, StoredOptions};

/// What is wrong with a complete storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    LosesOptions,
    LosesFailures,
    PagesWithoutOptions,
    PagesWithoutBounds,
    PagesByPlace,
    RetriesWithoutFailure,
    RetriesAtOnce,
    CountsNoCrash,
    CountsAgain,
    RequeuesCount,
    SettledCount,
    RetriedCount,
    StoppedHaveNotBegun,
    LosesPayloads,
    FindsAnyCode,
    FindsAnyType,
    CountsCommands,
    BuriesAgain,
}

#[derive(Clone, Default)]
struct Kept {
    commands: Vec<(u64, CommandRecord)>,
    letters: Vec<DeadLetterRecord>,
    /// Which attempts have begun and not ended, by id.
    begun: HashMap<String, u32>,
    /// The settlements that it was told.
    told: Vec<(String, DateTime<Utc>)>,
    number: u64,
}

struct Whole {
    kept: Mutex<Kept>,
    flaw: Flaw,
}

impl Whole {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// As after the end of its process.
    fn reopened(&self) -> Self {
        let mut kept = lock(&self.kept).clone();
        let begun = kept.begun.clone();
        if !self.has(Flaw::CountsAgain) {
            kept.begun.clear();
        }
        for (_, record) in &mut kept.commands {
            if let Some(attempt) = begun.get(&record.command.id)
                && !self.has(Flaw::CountsNoCrash)
            {
                record.crashes += 1;
                record.command.retry_count = *attempt;
            }
        }
        Self {
            kept: Mutex::new(kept),
            flaw: self.flaw,
        }
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut CommandRecord)) {
        let mut kept = lock(&self.kept);
        let mut commands = kept.commands.iter_mut();
        if let Some((_, record)) = commands.find(|(_, record)| record.command.id == id) {
            change(record);
        }
    }

    fn ends(&self, id: &str, flaw: Flaw) {
        if !self.has(flaw) {
            lock(&self.kept).begun.remove(id);
        }
    }
}

#[async_trait]
impl Storage for Whole {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.save_commands(vec![command.into()]).await
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        let commands = lock(&self.kept).commands.clone().into_iter();
        Ok(commands.map(|(_, record)| record.command).collect())
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        let mut kept = lock(&self.kept);
        kept.commands.retain(|(_, record)| record.command.id != id);
        kept.begun.remove(id);
        Ok(())
    }

    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.import_dead_letters(vec![letter.into()]).await
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        let letters = lock(&self.kept).letters.clone().into_iter();
        Ok(letters.map(StoredDeadLetter::from).collect())
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        lock(&self.kept).letters.clear();
        Ok(())
    }

    async fn clear_all(&self) -> Result<()> {
        *lock(&self.kept) = Kept::default();
        Ok(())
    }

    async fn save_commands(&self, records: Vec<CommandRecord>) -> Result<()> {
        let mut kept = lock(&self.kept);
        for mut record in records {
            if self.has(Flaw::LosesOptions) {
                record.options = StoredOptions::default();
            }
            if self.has(Flaw::LosesFailures) {
                record.failures.clear();
            }
            let mut known = kept.commands.iter_mut();
            let known = known.find(|(_, known)| known.command.id == record.command.id);
            if let Some((_, known)) = known {
                *known = record;
                continue;
            }
            kept.number += 1;
            let number = kept.number;
            kept.commands.push((number, record));
        }
        Ok(())
    }

    async fn load_page(&self, from: Option<u64>, limit: usize) -> Result<CommandPage> {
        let mut commands = lock(&self.kept).commands.clone();
        if self.has(Flaw::PagesByPlace) {
            for (place, (number, _)) in commands.iter_mut().enumerate() {
                *number = place as u64;
            }
        }
        let limit = match self.flaw {
            Flaw::PagesWithoutBounds => usize::MAX,
            _ => limit,
        };
        commands.retain(|(number, _)| from.is_none_or(|from| *number >= from));
        let next = commands.get(limit).map(|(number, _)| *number);
        let records = commands.into_iter().take(limit).map(|(_, mut record)| {
            if self.has(Flaw::PagesWithoutOptions) {
                record.options = StoredOptions::default();
            }
            record
        });
        Ok(CommandPage::new(records.collect(), next))
    }

    async fn load_command(&self, id: &str) -> Result<Option<CommandRecord>> {
        let commands = lock(&self.kept).commands.clone();
        let mut records = commands.into_iter().map(|(_, record)| record);
        Ok(records.find(|record| record.command.id == id))
    }

    async fn start_command(&self, id: &str, attempt: u32) -> Result<()> {
        lock(&self.kept).begun.insert(id.to_owned(), attempt);
        Ok(())
    }

    async fn requeue_command(&self, id: &str) -> Result<()> {
        self.ends(id, Flaw::RequeuesCount);
        if !self.has(Flaw::StoppedHaveNotBegun) {
            self.change(id, |record| record.command.last_attempt_at = Some(time(0)));
        }
        Ok(())
    }

    async fn retry_command(&self, note: RetryNote) -> Result<()> {
        self.ends(&note.id, Flaw::RetriedCount);
        self.change(&note.id, |record| {
            record.command.retry_count = note.failure.attempt;
            record.command.last_attempt_at = Some(note.failure.failed_at);
            if !self.has(Flaw::RetriesAtOnce) {
                record.due_at = note.due_at;
            }
            if !self.has(Flaw::RetriesWithoutFailure) {
                record.failures.push(note.failure);
            }
        });
        Ok(())
    }

    async fn settle_commands(&self, settlements: Vec<Settlement>) -> Result<()> {
        for settlement in settlements {
            self.ends(&settlement.id, Flaw::SettledCount);
            let mut kept = lock(&self.kept);
            let id = &settlement.id;
            kept.commands.retain(|(_, record)| record.command.id != *id);
            let told = (settlement.id, settlement.settled_at);
            if kept.told.contains(&told) && !self.has(Flaw::BuriesAgain) {
                continue;
            }
            kept.told.push(told);
            kept.letters.extend(settlement.letter.map(|letter| *letter));
        }
        Ok(())
    }

    async fn find_dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        let mut filter = filter.clone();
        if self.has(Flaw::FindsAnyCode) {
            filter.code = None;
        }
        if self.has(Flaw::FindsAnyType) {
            filter.command_type = None;
        }
        Ok(filter.apply(lock(&self.kept).letters.clone().into_iter()))
    }

    async fn count_dead_letters(&self) -> Result<usize> {
        let kept = lock(&self.kept);
        Ok(match self.flaw {
            Flaw::CountsCommands => kept.commands.len(),
            _ => kept.letters.len(),
        })
    }

    async fn import_dead_letters(&self, letters: Vec<DeadLetterRecord>) -> Result<()> {
        for mut letter in letters {
            if self.has(Flaw::LosesPayloads) {
                letter.payload = None;
            }
            lock(&self.kept).letters.push(letter);
        }
        Ok(())
    }
}

async fn check(flaw: Flaw) {
    let storages: Mutex<HashMap<String, Arc<Whole>>> = Mutex::default();
    storage_conformance(StorageLevel::Complete, async |name: String| {
        let mut storages = lock(&storages);
        let opened = match storages.get(&name) {
            Some(storage) => storage.reopened(),
            None => Whole {
                kept: Mutex::default(),
                flaw,
            },
        };
        let opened = Arc::new(opened);
        storages.insert(name, Arc::clone(&opened));
        opened as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test]
async fn a_complete_storage_keeps_to_every_rule() {
    check(Flaw::None).await;
}

/// Each flaw breaks its rule and no earlier one, so each rule bites.
#[tokio::test]
async fn a_broken_rule_of_a_complete_storage_is_named() {
    for (flaw, expected) in [
        (
            Flaw::LosesOptions,
            "options_and_failures_are_kept: a record should be",
        ),
        (
            Flaw::LosesFailures,
            "options_and_failures_are_kept: a record should be",
        ),
        (
            Flaw::PagesWithoutOptions,
            "options_and_failures_are_kept: the options in a page should be",
        ),
        (
            Flaw::PagesWithoutBounds,
            "pages_are_bounded_and_stable: the length of a page of 3 should be 3, but is 8",
        ),
        (
            Flaw::PagesByPlace,
            "pages_are_bounded_and_stable: the next page after commands were removed should be",
        ),
        (
            Flaw::RetriesWithoutFailure,
            "a_retry_keeps_its_failure: the failures should be",
        ),
        (
            Flaw::RetriesAtOnce,
            "a_retry_keeps_its_failure: due_at should be",
        ),
        (
            Flaw::CountsNoCrash,
            "crashes_are_counted: crashes and retry_count when opened for the 1. time after should be (1, 1), but is (0, 0)",
        ),
        (
            Flaw::CountsAgain,
            "crashes_are_counted: crashes and retry_count when opened for the 2. time after should be (1, 1), but is (2, 1)",
        ),
        (
            Flaw::RequeuesCount,
            "ended_attempts_are_no_crashes: crashes and retry_count of one that was requeued should be (0, 0), but is (1, 1)",
        ),
        (
            Flaw::RetriedCount,
            "ended_attempts_are_no_crashes: crashes and retry_count of one that was retried should be (0, 1), but is (1, 1)",
        ),
        (
            Flaw::SettledCount,
            "ended_attempts_are_no_crashes: crashes and retry_count of one that was settled should be (0, 0), but is (1, 1)",
        ),
        (
            Flaw::StoppedHaveNotBegun,
            "a_stopped_command_has_begun: one that has begun should have a last_attempt_at",
        ),
        (
            Flaw::LosesPayloads,
            "dead_letters_hold_all_that_is_known: the letters should be",
        ),
        (
            Flaw::FindsAnyCode,
            "dead_letters_hold_all_that_is_known: the letters found by their code should be",
        ),
        (
            Flaw::FindsAnyType,
            "dead_letters_are_found_and_removed: the letters found by `of a type` should be",
        ),
        (
            Flaw::CountsCommands,
            "dead_letters_are_found_and_removed: how many there are should be 5, but is 0",
        ),
        (
            Flaw::BuriesAgain,
            "a_settlement_that_is_told_again_changes_nothing: the letters should be",
        ),
    ] {
        let checked = std::panic::AssertUnwindSafe(check(flaw)).catch_unwind();
        let panic = checked.await.expect_err("the rule is broken");
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        let expected = format!("storage conformance: {expected}");
        assert!(text.starts_with(&expected), "{flaw:?}: {text}");
    }
}

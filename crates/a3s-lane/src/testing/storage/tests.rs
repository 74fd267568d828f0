mod complete;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;

use super::*;
use crate::storage::StoredDeadLetter;

/// What is wrong with a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Forgetful,
    Duplicates,
    NeverRemoves,
    NewestFirst,
    ClearsAll,
    CountsNothing,
    FailsOnUnknown,
    RevivesOne,
}

/// A storage as of 0.4: in memory, with the required methods only.
struct Minimal {
    commands: Mutex<Vec<StoredCommand>>,
    letters: Mutex<Vec<StoredDeadLetter>>,
    flaw: Flaw,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Storage for Minimal {
    async fn save_command(&self, mut command: StoredCommand) -> Result<()> {
        if self.flaw == Flaw::CountsNothing {
            command.retry_count = 0;
        }
        let mut commands = lock(&self.commands);
        if self.flaw != Flaw::Duplicates {
            commands.retain(|other| other.id != command.id);
        }
        commands.push(command);
        Ok(())
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        Ok(lock(&self.commands).clone())
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        let mut commands = lock(&self.commands);
        let known = commands.iter().any(|command| command.id == id);
        if !known && self.flaw == Flaw::FailsOnUnknown {
            return Err(crate::LaneError::Storage("no such command".into()));
        }
        if self.flaw != Flaw::NeverRemoves {
            commands.retain(|command| command.id != id);
        }
        Ok(())
    }

    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        let mut letters = lock(&self.letters);
        if self.flaw == Flaw::NewestFirst {
            letters.insert(0, letter);
        } else {
            letters.push(letter);
        }
        Ok(())
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        Ok(lock(&self.letters).clone())
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        lock(&self.letters).clear();
        if self.flaw == Flaw::ClearsAll {
            lock(&self.commands).clear();
        }
        Ok(())
    }

    async fn revive_dead_letters(&self, records: Vec<CommandRecord>) -> Result<()> {
        let count = match self.flaw {
            Flaw::RevivesOne => 1,
            _ => records.len(),
        };
        for record in records.into_iter().take(count) {
            self.revive_dead_letter(record).await?;
        }
        Ok(())
    }

    async fn clear_all(&self) -> Result<()> {
        lock(&self.commands).clear();
        lock(&self.letters).clear();
        Ok(())
    }
}

async fn check(level: StorageLevel, flaw: Flaw) {
    let storages: Mutex<HashMap<String, Arc<Minimal>>> = Mutex::default();
    storage_conformance(level, async |name: String| {
        let new = || {
            Arc::new(Minimal {
                commands: Mutex::default(),
                letters: Mutex::default(),
                flaw,
            })
        };
        let mut storages = lock(&storages);
        if flaw == Flaw::Forgetful {
            storages.clear();
        }
        Arc::clone(storages.entry(name).or_insert_with(new)) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test]
async fn a_storage_of_0_4_keeps_what_the_defaults_promise() {
    check(StorageLevel::Required, Flaw::None).await;
}

#[tokio::test]
async fn a_broken_rule_is_named() {
    let required = StorageLevel::Required;
    for (level, flaw, expected) in [
        (
            required,
            Flaw::Forgetful,
            "commands_are_kept: load_command(\"command-0\") should find it",
        ),
        (
            required,
            Flaw::Duplicates,
            "saving_replaces_and_removing_forgets: the ids that are left should be",
        ),
        (
            required,
            Flaw::NeverRemoves,
            "saving_replaces_and_removing_forgets: the ids that are left should be",
        ),
        (
            required,
            Flaw::RevivesOne,
            "dead_letters_are_revived_together: the pending commands should be",
        ),
        (
            required,
            Flaw::NewestFirst,
            "dead_letters_are_kept_in_order: the dead letters, oldest first, should be",
        ),
        (
            required,
            Flaw::ClearsAll,
            "clearing_forgets_what_it_names: commands and letters after clear_dead_letters should be (1, 0), but is (0, 0)",
        ),
        (
            required,
            Flaw::CountsNothing,
            "commands_are_kept: a saved command should be",
        ),
        (
            required,
            Flaw::FailsOnUnknown,
            "saving_replaces_and_removing_forgets: remove_command of an unknown id failed: ",
        ),
        (
            StorageLevel::Complete,
            Flaw::None,
            "options_and_failures_are_kept: a record should be",
        ),
    ] {
        let checked = std::panic::AssertUnwindSafe(check(level, flaw))
            .catch_unwind()
            .await;
        let panic = checked.expect_err("the rule is broken");
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        let expected = format!("storage conformance: {expected}");
        assert!(text.starts_with(&expected), "{flaw:?}: {text}");
    }
}

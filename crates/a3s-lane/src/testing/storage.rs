//! What every [`Storage`] must keep to, as a suite that its tests can run.

mod commands;
mod letters;

use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::error::Result;
use crate::storage::{
    CommandRecord, DeadLetterFilter, DeadLetterRecord, FailedAttempt, Storage, StoredCommand,
};

/// How much of [`Storage`] is implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageLevel {
    /// The methods without a default, as in 0.4: the others are checked for what their defaults promise.
    Required,
    /// All methods: options, failures, crashes and payloads of dead letters are kept as well.
    Complete,
}

/// Checks that a storage keeps to what [`Storage`] says. Needs a tokio runtime; takes as long as some hundred calls.
///
/// `open` opens the storage of a name. For a new name that is an empty storage; for a known one, after every handle of it was
/// dropped, a storage that holds what the one before has kept, as after the end of the process. Nothing but what a call has
/// reported as done is expected there. A storage that keeps [results](Storage::load_result) must keep those of the suite.
///
/// What needs a fault to be seen is not checked: that a call that names several commands is made as a whole, and that what is
/// acknowledged survives a crash.
///
/// # Panics
///
/// When a rule is broken: the text has its name and what was found.
///
/// # Cancel safety
///
/// Cancel safe: a suite that is dropped leaves the storages behind that it has opened.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "local-storage")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::sync::Arc;
///
/// use a3s_lane::storage::{LocalStorage, Storage};
/// use a3s_lane::testing::{StorageLevel, storage_conformance};
///
/// let place = tempfile::tempdir().expect("a temporary directory");
/// storage_conformance(StorageLevel::Complete, async |name: String| {
///     let storage = LocalStorage::new(place.path().join(name)).await;
///     Arc::new(storage.expect("it opens")) as Arc<dyn Storage>
/// })
/// .await;
/// # }
/// # #[cfg(not(feature = "local-storage"))]
/// # fn main() {}
/// ```
pub async fn storage_conformance(
    level: StorageLevel,
    open: impl AsyncFn(String) -> Arc<dyn Storage>,
) {
    let suite = Suite { open };
    suite.commands_are_kept().await;
    suite.saving_replaces_and_removing_forgets().await;
    suite.clearing_forgets_what_it_names().await;
    suite.concurrent_calls_lose_nothing().await;
    suite.pages_hold_every_command_once().await;
    suite.a_retry_counts().await;
    suite.a_settled_command_is_gone().await;
    suite.dead_letters_are_kept_in_order().await;
    suite.dead_letters_are_found_and_removed().await;
    suite.a_revived_command_is_no_dead_letter().await;
    suite.dead_letters_are_revived_together().await;
    if level == StorageLevel::Complete {
        suite.options_and_failures_are_kept().await;
        suite.pages_are_bounded_and_stable().await;
        suite.a_retry_keeps_its_failure().await;
        suite.crashes_are_counted().await;
        suite.ended_attempts_are_no_crashes().await;
        suite.a_stopped_command_has_begun().await;
        suite
            .a_settlement_that_is_told_again_changes_nothing()
            .await;
        suite.dead_letters_hold_all_that_is_known().await;
    }
}

struct Suite<F> {
    open: F,
}

impl<F: AsyncFn(String) -> Arc<dyn Storage>> Suite<F> {
    async fn open(&self, rule: Rule) -> Arc<dyn Storage> {
        (self.open)(rule.0.to_owned()).await
    }

    /// Opens it again, as after the end of the process.
    async fn reopen(&self, rule: Rule, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        rule.ok("close", storage.close().await);
        drop(storage);
        self.open(rule).await
    }
}

/// The name of a rule, for whoever breaks it.
#[derive(Debug, Clone, Copy)]
struct Rule(&'static str);

impl Rule {
    /// What a call returns that may not fail.
    #[track_caller]
    fn ok<T>(self, call: &str, result: Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("storage conformance: {}: {call} failed: {error}", self.0),
        }
    }

    #[track_caller]
    fn is(self, holds: bool, what: &str) {
        assert!(holds, "storage conformance: {}: {what}", self.0);
    }

    #[track_caller]
    fn same<T: PartialEq + Debug>(self, what: &str, found: T, expected: T) {
        assert!(
            found == expected,
            "storage conformance: {}: {what} should be {expected:?}, but is {found:?}",
            self.0
        );
    }

    async fn ids(self, storage: &dyn Storage) -> Vec<String> {
        let commands = self.ok("load_commands", storage.load_commands().await);
        let mut ids: Vec<_> = commands.into_iter().map(|command| command.id).collect();
        ids.sort();
        ids
    }

    async fn letters(self, storage: &dyn Storage) -> Vec<DeadLetterRecord> {
        let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
        self.ok("find_dead_letters", letters)
    }

    async fn letter_ids(self, storage: &dyn Storage) -> Vec<String> {
        let letters = self.letters(storage).await;
        letters
            .into_iter()
            .map(|letter| letter.command_id)
            .collect()
    }

    async fn command(self, storage: &dyn Storage, id: &str) -> CommandRecord {
        let found = self.ok("load_command", storage.load_command(id).await);
        found.unwrap_or_else(|| {
            panic!(
                "storage conformance: {}: load_command({id:?}) should find it",
                self.0
            )
        })
    }
}

/// Times that every storage can keep: whole milliseconds.
fn time(number: u32) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_700_000_000_123 + i64::from(number) * 1000)
}

fn command(number: u32) -> StoredCommand {
    StoredCommand {
        id: format!("command-{number}"),
        command_type: "mail".into(),
        lane_id: "skill".into(),
        payload: json!({"n": number, "text": "\u{1F980} \"quoted\"\n", "list": [null, true, 1.5]}),
        retry_count: 0,
        created_at: time(number),
        last_attempt_at: None,
    }
}

fn failure(attempt: u32) -> FailedAttempt {
    let error = format!("error {attempt}");
    FailedAttempt::new(attempt, "TIMEOUT", error, time(100 + attempt))
}

#[cfg(test)]
mod tests;

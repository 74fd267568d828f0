//! Rules of pending commands.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Rule, Suite, command, failure, time};
use crate::retry::RetryPolicy;
use crate::storage::{
    CommandRecord, RetryNote, Settlement, Storage, StoredCommand, StoredOptions, StoredOutcome,
    StoredResult, StoredUnique,
};

fn as_json(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn record(number: u32) -> CommandRecord {
    let mut record = CommandRecord::from(command(number));
    record.options = StoredOptions {
        priority: -7,
        key: Some("tenant".into()),
        expires_at: Some(time(50)),
        timeout: Some(None),
        progress_timeout: Some(Duration::from_millis(1500)),
        retry_policy: Some(RetryPolicy::fixed(3, Duration::from_secs(1))),
        jitter: None,
        cost: u64::MAX,
        preemptible: false,
        metadata: [("trace".to_owned(), json!(["a", 1]))]
            .into_iter()
            .collect(),
        unique: Some(StoredUnique::new("once")),
    };
    record
}

fn completed(id: &str) -> Settlement {
    let outcome = StoredOutcome::Completed(json!({"done": id}));
    Settlement::new(id, "mail", "skill", outcome)
}

impl<F: AsyncFn(String) -> Arc<dyn Storage>> Suite<F> {
    pub(super) async fn commands_are_kept(&self) {
        let rule = Rule("commands_are_kept");
        let storage = self.open(rule).await;
        rule.is(
            rule.ids(&*storage).await.is_empty(),
            "a new storage should be empty",
        );
        let tried = StoredCommand {
            retry_count: 4,
            last_attempt_at: Some(time(9)),
            payload: Value::Null,
            ..command(1)
        };
        for command in [command(0), tried.clone()] {
            rule.ok("save_command", storage.save_command(command).await);
        }
        let storage = self.reopen(rule, storage).await;
        for expected in [command(0), tried] {
            let found = rule.command(&*storage, &expected.id).await.command;
            rule.same("a saved command", as_json(found), as_json(expected));
        }
        let missing = rule.ok("load_command", storage.load_command("another").await);
        rule.is(
            missing.is_none(),
            "load_command should find nothing for an id that was not saved",
        );
        for (id, expected) in [("command-0", true), ("another", false)] {
            let found = rule.ok("has_command", storage.has_command(id).await);
            rule.is(
                found == expected,
                "has_command should find what was saved, and nothing else",
            );
        }
    }

    pub(super) async fn saving_replaces_and_removing_forgets(&self) {
        let rule = Rule("saving_replaces_and_removing_forgets");
        let storage = self.open(rule).await;
        let records = (0..3).map(|number| CommandRecord::from(command(number)));
        let saved = storage.save_commands(records.collect()).await;
        rule.ok("save_commands", saved);
        let changed = StoredCommand {
            lane_id: "other".into(),
            ..command(1)
        };
        rule.ok("save_command", storage.save_command(changed).await);
        rule.ok("remove_command", storage.remove_command("command-0").await);
        let missing = storage.remove_command("another").await;
        rule.ok("remove_command of an unknown id", missing);
        let storage = self.reopen(rule, storage).await;
        let expected = ["command-1", "command-2"].map(String::from).to_vec();
        rule.same("the ids that are left", rule.ids(&*storage).await, expected);
        let found = rule.command(&*storage, "command-1").await.command;
        rule.same("the lane of the newer save", &*found.lane_id, "other");
    }

    pub(super) async fn concurrent_calls_lose_nothing(&self) {
        let rule = Rule("concurrent_calls_lose_nothing");
        let storage = self.open(rule).await;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..32 {
            let storage = Arc::clone(&storage);
            calls.spawn(async move {
                storage.save_command(command(number)).await?;
                if number % 2 == 0 {
                    storage.remove_command(&command(number).id).await?;
                }
                crate::error::Result::Ok(())
            });
        }
        while let Some(ended) = calls.join_next().await {
            rule.is(ended.is_ok(), "a call has panicked");
            rule.ok("a concurrent call", ended.unwrap_or(Ok(())));
        }
        let mut expected: Vec<_> = (1..32)
            .step_by(2)
            .map(|number| command(number).id)
            .collect();
        expected.sort();
        rule.same("the ids that are left", rule.ids(&*storage).await, expected);
    }

    /// Ids in the order of the pages.
    async fn pages(rule: Rule, storage: &dyn Storage, limit: usize) -> Vec<String> {
        let mut ids = Vec::new();
        let mut from = None;
        loop {
            let page = rule.ok("load_page", storage.load_page(from, limit).await);
            for record in page.records {
                let id = record.command.id.clone();
                let whole = if record.without_payload {
                    rule.command(storage, &id).await
                } else {
                    record
                };
                rule.is(
                    whole.command.payload.is_object(),
                    "a command without its payload should say so",
                );
                ids.push(id);
            }
            rule.is(ids.len() <= 1000, "the pages should end");
            match page.next {
                Some(next) => from = Some(next),
                None => return ids,
            }
        }
    }

    pub(super) async fn pages_hold_every_command_once(&self) {
        let rule = Rule("pages_hold_every_command_once");
        let storage = self.open(rule).await;
        let ids = Self::pages(rule, &*storage, 3).await;
        rule.is(ids.is_empty(), "a new storage should have an empty page");
        for number in 0..8 {
            let saved = storage.save_command(command(number)).await;
            rule.ok("save_command", saved);
        }
        let expected: Vec<_> = (0..8).map(|number| command(number).id).collect();
        let found = Self::pages(rule, &*storage, 3).await;
        rule.same("the order of the pages", found, expected);
    }

    pub(super) async fn pages_are_bounded_and_stable(&self) {
        let rule = Rule("pages_are_bounded_and_stable");
        let storage = self.open(rule).await;
        let records = (0..8).map(record).collect();
        rule.ok("save_commands", storage.save_commands(records).await);
        let first = rule.ok("load_page", storage.load_page(None, 3).await);
        rule.same("the length of a page of 3", first.records.len(), 3);
        rule.is(
            first.next.is_some(),
            "a page of 3 of 8 should have a next one",
        );
        for number in [2, 3] {
            let removed = storage.remove_command(&command(number).id).await;
            rule.ok("remove_command", removed);
        }
        let rest = rule.ok("load_page", storage.load_page(first.next, 100).await);
        let found: Vec<_> = rest
            .records
            .iter()
            .map(|record| record.command.id.clone())
            .collect();
        let expected: Vec<_> = (4..8).map(|number| command(number).id).collect();
        rule.same("the next page after commands were removed", found, expected);
        rule.same("where the last page goes on", rest.next, None);
    }

    pub(super) async fn a_retry_counts(&self) {
        let rule = Rule("a_retry_counts");
        let storage = self.open(rule).await;
        rule.ok("save_command", storage.save_command(command(1)).await);
        let started = storage.start_command("command-1", 1).await;
        rule.ok("start_command", started);
        let note = RetryNote::new("command-1", failure(1));
        rule.ok("retry_command", storage.retry_command(note).await);
        let note = RetryNote::new("another", failure(1));
        let missing = storage.retry_command(note).await;
        rule.ok("retry_command of an unknown id", missing);
        let storage = self.reopen(rule, storage).await;
        let found = rule.command(&*storage, "command-1").await.command;
        rule.same("retry_count after one failure", found.retry_count, 1);
        let expected = Some(failure(1).failed_at);
        rule.same("last_attempt_at", found.last_attempt_at, expected);
        rule.same("the payload", found.payload, command(1).payload);
        rule.same("how many are pending", rule.ids(&*storage).await.len(), 1);
    }

    pub(super) async fn a_settled_command_is_gone(&self) {
        let rule = Rule("a_settled_command_is_gone");
        let storage = self.open(rule).await;
        for number in 0..3 {
            let saved = storage.save_command(command(number)).await;
            rule.ok("save_command", saved);
        }
        let settled = [
            completed("command-0"),
            completed("command-1"),
            completed("another"),
        ];
        let result = storage.settle_commands(settled.to_vec()).await;
        rule.ok("settle_commands", result);
        let storage = self.reopen(rule, storage).await;
        let expected = vec!["command-2".to_owned()];
        rule.same("the ids that are left", rule.ids(&*storage).await, expected);
        for settlement in settled {
            let found = rule.ok("load_result", storage.load_result(&settlement.id).await);
            if let Some(found) = found {
                let expected = StoredResult::from(settlement);
                rule.same("a kept outcome", found.outcome, expected.outcome);
            }
        }
        let pending = rule.ok("load_result", storage.load_result("command-2").await);
        rule.is(pending.is_none(), "a pending command should have no result");
    }

    pub(super) async fn options_and_failures_are_kept(&self) {
        let rule = Rule("options_and_failures_are_kept");
        let storage = self.open(rule).await;
        let mut full = record(1);
        full.crashes = 2;
        full.due_at = Some(time(60));
        full.failures = vec![failure(1), failure(2)];
        let saved = vec![full.clone(), CommandRecord::from(command(2))];
        rule.ok("save_commands", storage.save_commands(saved.clone()).await);
        let storage = self.reopen(rule, storage).await;
        for expected in saved {
            let found = rule.command(&*storage, &expected.command.id).await;
            rule.same("a record", as_json(found), as_json(expected));
        }
        let page = rule.ok("load_page", storage.load_page(None, 1).await);
        for record in page.records.into_iter().take(1) {
            rule.same(
                "the options in a page",
                record.options,
                full.options.clone(),
            );
            rule.same(
                "the failures in a page",
                record.failures,
                full.failures.clone(),
            );
        }
    }

    pub(super) async fn a_retry_keeps_its_failure(&self) {
        let rule = Rule("a_retry_keeps_its_failure");
        let storage = self.open(rule).await;
        rule.ok(
            "save_commands",
            storage.save_commands(vec![record(1)]).await,
        );
        for attempt in 1..=2 {
            let mut note = RetryNote::new("command-1", failure(attempt));
            note.due_at = Some(time(70 + attempt));
            rule.ok("retry_command", storage.retry_command(note).await);
        }
        let storage = self.reopen(rule, storage).await;
        let found = rule.command(&*storage, "command-1").await;
        rule.same("the failures", found.failures, vec![failure(1), failure(2)]);
        rule.same("due_at", found.due_at, Some(time(72)));
        rule.same("the options", found.options, record(1).options);
    }

    pub(super) async fn crashes_are_counted(&self) {
        let rule = Rule("crashes_are_counted");
        let storage = self.open(rule).await;
        let records = vec![record(1), record(2)];
        rule.ok("save_commands", storage.save_commands(records).await);
        let started = storage.start_command("command-1", 1).await;
        rule.ok("start_command", started);
        let mut storage = self.reopen(rule, storage).await;
        for opened in 1..=2 {
            let found = rule.command(&*storage, "command-1").await;
            let counts = (found.crashes, found.command.retry_count);
            let what = format!("crashes and retry_count when opened for the {opened}. time after");
            rule.same(&what, counts, (1, 1));
            rule.same("the options", found.options, record(1).options);
            let waiting = rule.command(&*storage, "command-2").await;
            rule.same("crashes of one that waited", waiting.crashes, 0);
            storage = self.reopen(rule, storage).await;
        }
    }

    pub(super) async fn ended_attempts_are_no_crashes(&self) {
        let rule = Rule("ended_attempts_are_no_crashes");
        let storage = self.open(rule).await;
        let records = (0..4).map(record).collect();
        rule.ok("save_commands", storage.save_commands(records).await);
        for number in 0..4 {
            let started = storage.start_command(&command(number).id, 1).await;
            rule.ok("start_command", started);
        }
        let requeued = storage.requeue_command("command-0").await;
        rule.ok("requeue_command", requeued);
        let note = RetryNote::new("command-1", failure(1));
        rule.ok("retry_command", storage.retry_command(note).await);
        let settled = storage.settle_commands(vec![completed("command-2")]).await;
        rule.ok("settle_commands", settled);
        // Saved again after it has settled: another command.
        rule.ok(
            "save_commands",
            storage.save_commands(vec![record(2)]).await,
        );
        rule.ok("remove_command", storage.remove_command("command-3").await);
        let storage = self.reopen(rule, storage).await;
        for (number, how, retries) in [(0, "requeued", 0), (1, "retried", 1), (2, "settled", 0)] {
            let found = rule.command(&*storage, &command(number).id).await;
            let counts = (found.crashes, found.command.retry_count);
            let what = format!("crashes and retry_count of one that was {how}");
            rule.same(&what, counts, (0, retries));
        }
        rule.same("how many are pending", rule.ids(&*storage).await.len(), 3);
    }

    /// Or its time to live would end it.
    pub(super) async fn a_stopped_command_has_begun(&self) {
        let rule = Rule("a_stopped_command_has_begun");
        let storage = self.open(rule).await;
        let records = vec![record(1), record(2)];
        rule.ok("save_commands", storage.save_commands(records).await);
        let started = storage.start_command("command-1", 1).await;
        rule.ok("start_command", started);
        let requeued = storage.requeue_command("command-1").await;
        rule.ok("requeue_command", requeued);
        let storage = self.reopen(rule, storage).await;
        let begun = rule.command(&*storage, "command-1").await.command;
        rule.is(
            begun.last_attempt_at.is_some(),
            "one that has begun should have a last_attempt_at",
        );
        let waiting = rule.command(&*storage, "command-2").await.command;
        rule.same(
            "last_attempt_at of one that waited",
            waiting.last_attempt_at,
            None,
        );
    }
}

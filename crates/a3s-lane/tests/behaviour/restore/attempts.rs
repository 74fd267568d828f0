//! What is noted of attempts, and what a crash leaves.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::{CommandRecord, FailedAttempt};
use a3s_lane::{
    CommandContext, CommandStatus, LaneConfig, LaneError, LaneOptions, QueueManager, RetryPolicy,
    SubmitOptions,
};
use chrono::Utc;
use serde_json::{Value, json};

use super::{builder_on, counts, drained, fails, hangs, job, result_of, stored, vault_of};
use crate::support::shelf::Shelf;
use crate::support::trace::Trace;
use crate::support::vault::Vault;
use crate::support::{
    builder_with, endless, eventually, field, finish, outcome, reaches, settled, submit,
    submit_with, within, words,
};

async fn with_handler(
    vault: &Arc<Vault>,
    handler: impl a3s_lane::Handler + 'static,
) -> QueueManager {
    let manager = builder_on(vault.clone())
        .with_handler("job", handler)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

#[tokio::test]
async fn an_attempt_is_noted_before_it_begins() {
    let vault = Vault::new();
    let log = vault.log.clone();
    let manager = with_handler(&vault, move |_: Value, _: CommandContext| {
        log.push("body");
        async { Ok(Value::Null) }
    })
    .await;
    let receiver = submit(&manager, "only", job(1)).await;
    outcome(receiver).await.expect("it runs");
    assert_eq!(
        vault.log.entries(),
        ["page", "save 1", "start 1", "body", "settle 1"]
    );
}

#[tokio::test]
async fn an_attempt_that_cannot_be_noted_runs_all_the_same() {
    let vault = Vault::new();
    let manager = with_handler(&vault, counts).await;
    vault.set_fault("start", true);
    let trace = Trace::start();
    let receiver = submit(&manager, "only", job(1)).await;
    assert_eq!(outcome(receiver).await.expect("it runs"), 1);
    assert_eq!(
        trace.said("failed to note the start of an attempt").len(),
        1
    );
}

#[tokio::test]
async fn a_crash_counts_as_an_attempt() {
    let vault = vault_of([stored("a")]);
    let manager = with_handler(&vault, hangs).await;
    eventually("it runs", async || {
        vault.log.entries().contains(&"start 1".to_owned())
    })
    .await;
    let crashed = vault.after_crash();
    drop(manager);
    let manager = with_handler(&crashed, counts).await;
    assert_eq!(result_of(&manager, "a").await.expect("it runs"), 2);
}

/// A command that kills its process must not do so for ever.
#[tokio::test]
async fn a_poison_command_ends_as_a_dead_letter() {
    for (max_crashes, expected) in [(None, 3), (Some(1), 1)] {
        let mut vault = vault_of([stored("poison")]);
        let mut runs = 0;
        loop {
            let mut builder = builder_on(vault.clone()).with_handler("job", hangs);
            if let Some(max_crashes) = max_crashes {
                builder = builder.with_max_crashes(max_crashes);
            }
            let manager = builder.build().await.expect("built");
            let mut stream = manager.subscribe();
            manager.start().await.expect("starts");
            if vault.letters().is_empty() {
                runs += 1;
                assert!(runs < 10, "it runs again and again");
                let started = format!("start {runs}");
                eventually("it runs", async || vault.log.entries().contains(&started)).await;
                vault = vault.after_crash();
                continue;
            }
            let seen = finish(&manager, &mut stream).await;
            assert_eq!(
                words(&seen)[..2],
                ["dead_lettered job", "failed job"],
                "it does not run"
            );
            assert_eq!(field(&seen[1], "command_id"), Some("poison"));
            break;
        }
        assert_eq!(runs, expected);
        let letter = vault.letters().remove(0);
        assert_eq!(
            (letter.code.as_str(), letter.attempts),
            ("CRASHED", expected)
        );
        assert_eq!(letter.payload, Some(json!("poison")));
        assert!(vault.records().is_empty());
    }
}

/// Its burial is told to the storage as any end is that could not be: with the next one, or at the end of the queue.
#[tokio::test]
async fn a_poison_command_is_buried_when_its_storage_can_be_written_again() {
    for another_settles in [true, false] {
        let vault = vault_of([poison("poison"), poison("another")]);
        vault.set_fault("settle", true);
        let manager = with_handler(&vault, counts).await;
        for id in ["poison", "another"] {
            let error = result_of(&manager, id).await.expect_err("it does not run");
            assert_eq!(error.code(), "CRASHED");
        }
        let unclaimed = manager.unclaimed().await.expect("readable");
        assert!(unclaimed.is_empty(), "{unclaimed:?}");
        assert!(vault.letters().is_empty());
        // It is not buried twice.
        manager.register_handler("other", counts);
        vault.set_fault("settle", false);
        if another_settles {
            let receiver = submit(&manager, "only", job(1)).await;
            outcome(receiver).await.expect("it runs");
        } else {
            within(manager.shutdown_within(Duration::ZERO)).await;
        }
        eventually("they are buried", async || vault.records().is_empty()).await;
        let letters = vault.letters();
        let ids: Vec<&str> = letters.iter().map(|it| &*it.command_id).collect();
        assert_eq!(ids, ["poison", "another"]);
        assert_eq!(letters[0].payload, Some(json!("poison")));
    }
}

/// Also by a backend that has to be awaited.
#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_poison_command_is_counted() {
    let remote = Arc::new(crate::metrics::Remote::default());
    let backend: Arc<dyn a3s_lane::MetricsBackend> = Arc::clone(&remote) as _;
    let manager = builder_on(vault_of([poison("poison")]))
        .with_handler("job", counts)
        .with_metrics(a3s_lane::QueueMetrics::new(backend))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    assert_eq!(remote.counter("lane.commands.failed.only"), 1);
    assert_eq!(remote.counter("lane.commands.dead_lettered.only"), 1);
}

/// One that cannot even be read is listed, and read again when there is something new to look for.
#[tokio::test]
async fn a_poison_command_whose_payload_cannot_be_read_is_listed() {
    let vault = Vault::lean(true);
    vault.put(poison("poison"));
    vault.set_fault("load", true);
    let manager = with_handler(&vault, counts).await;
    let unclaimed = manager.unclaimed().await.expect("readable");
    assert_eq!(unclaimed.len(), 1);
    assert_eq!(unclaimed[0].record.command.id, "poison");
    let reason = unclaimed[0].reason.to_string();
    assert!(reason.contains("3 times"), "{reason}");
    vault.set_fault("load", false);
    manager.register_handler("job", counts);
    eventually("it is buried", async || vault.records().is_empty()).await;
    assert_eq!(vault.letters()[0].payload, Some(json!("poison")));
    assert!(manager.unclaimed().await.expect("readable").is_empty());
}

/// Not one that is about to be buried.
#[tokio::test]
async fn only_what_could_not_be_buried_is_listed() {
    let vault = vault_of([poison("poison")]);
    let manager = builder_on(vault.clone()).build().await.expect("built");
    manager.start().await.expect("starts");
    assert_eq!(manager.unclaimed().await.expect("readable").len(), 1);
    manager.register_handler("job", counts);
    let unclaimed = manager.unclaimed().await.expect("readable");
    assert!(unclaimed.is_empty(), "{unclaimed:?}");
    eventually("it is buried", async || vault.records().is_empty()).await;
}

/// A job that has been running three times when its process ended.
fn poison(id: &str) -> CommandRecord {
    let mut poison = stored(id);
    poison.crashes = 3;
    poison.command.retry_count = 3;
    poison
}

#[tokio::test]
async fn no_crash_at_all_is_no_setting() {
    let built = builder_on(Vault::new()).with_max_crashes(0).build().await;
    let error = built.expect_err("0 is an error");
    assert_eq!(
        error.to_string(),
        "Configuration error: max_crashes must be at least 1 (got 0)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_on_where_it_was() {
    let vault = vault_of([stored("a")]);
    let hour = Duration::from_secs(3600);
    let config = LaneConfig::new(0, 1).with_retry_policy(RetryPolicy::fixed(3, hour));
    let builder = |vault: &Arc<Vault>| {
        builder_with(&[("only", config.clone(), 0)]).with_storage(vault.clone())
    };
    let manager = builder(&vault)
        .with_handler("job", fails)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let handle = manager.find("a").await.expect("readable").expect("there");
    reaches(&handle, CommandStatus::Delayed).await;
    drop(manager);
    let record = vault.records().remove(0);
    assert_eq!((record.command.retry_count, record.crashes), (1, 0));
    let due_in = record.due_at.expect("it waits") - Utc::now();
    assert!((3500..=3600).contains(&due_in.num_seconds()), "{due_in}");

    let manager = builder(&vault)
        .with_handler("job", counts)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let handle = manager.find("a").await.expect("readable").expect("there");
    assert_eq!(handle.status(), CommandStatus::Delayed);
    let start = tokio::time::Instant::now();
    assert_eq!(handle.result().await.expect("it runs"), 2);
    assert!(start.elapsed() > hour / 2);
}

#[tokio::test]
async fn attempts_before_the_restart_count_for_the_retry_policy() {
    let mut record = stored("a");
    record.command.retry_count = 2;
    let failure = FailedAttempt::new(1, "COMMAND_ERROR", "earlier", Utc::now());
    record.failures.push(failure.clone());
    let vault = vault_of([record]);
    let policy = RetryPolicy::fixed(3, Duration::ZERO);
    let config = LaneConfig::new(0, 1).with_retry_policy(policy);
    let manager = builder_with(&[("only", config, 0)])
        .with_storage(vault.clone())
        .with_handler("job", fails)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    drained(&manager).await;
    let letter = vault.letters().remove(0);
    assert_eq!(letter.attempts, 4);
    let attempts: Vec<u32> = letter
        .failures
        .iter()
        .map(|failed| failed.attempt)
        .collect();
    assert_eq!(attempts, [1, 3, 4], "the second one crashed");
    assert_eq!(letter.failures[0], failure);
    assert_eq!(letter.failures[1].error, "Command execution error: no");
}

/// A storage of 0.4 learns the number of attempts.
#[tokio::test(start_paused = true)]
async fn a_storage_of_0_4_counts_retries() {
    let shelf = Arc::new(Shelf::default());
    let policy = RetryPolicy::fixed(1, Duration::from_secs(3600));
    let config = LaneConfig::new(0, 1).with_retry_policy(policy);
    let manager = builder_with(&[("only", config, 0)])
        .with_storage(shelf.clone())
        .with_handler("job", fails)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let handle = submit_with(&manager, "only", job(1), SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Delayed).await;
    let last = shelf.commands().pop().expect("it is stored");
    assert_eq!(last.retry_count, 1);
    assert!(last.last_attempt_at.is_some());
}

#[tokio::test]
async fn a_shutdown_burns_no_attempt() {
    let vault = vault_of([stored("runs"), stored("waits")]);
    let manager = with_handler(&vault, hangs).await;
    eventually("it runs", async || {
        vault.log.entries().contains(&"start 1".to_owned())
    })
    .await;
    let report = within(manager.shutdown_within(Duration::ZERO)).await;
    assert_eq!((report.stopped.len(), report.pending.len()), (1, 1));
    unburnt(&vault, &["runs", "waits"]).await;
}

#[tokio::test]
async fn a_dropped_manager_burns_no_attempt() {
    let vault = vault_of([stored("runs")]);
    let manager = with_handler(&vault, hangs).await;
    eventually("it runs", async || {
        vault.log.entries().contains(&"start 1".to_owned())
    })
    .await;
    drop(manager);
    eventually("it is noted", async || {
        vault.log.entries().contains(&"requeue".to_owned())
    })
    .await;
    unburnt(&vault, &["runs"]).await;
}

/// After the process has ended, these run with their first attempt.
async fn unburnt(vault: &Vault, ids: &[&str]) {
    let vault = vault.after_crash();
    let crashes = |record: &CommandRecord| (record.crashes, record.command.retry_count);
    let records = vault.records();
    assert_eq!(
        records.iter().map(crashes).collect::<Vec<_>>(),
        vec![(0, 0); ids.len()]
    );
    let manager = with_handler(&vault, counts).await;
    drained(&manager).await;
    for id in ids {
        assert_eq!(result_of(&manager, id).await.expect("it ran"), 1, "{id}");
    }
}

#[tokio::test]
async fn a_preempted_attempt_is_not_counted() {
    let vault = Vault::new();
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = builder_with(&[lane("urgent", 0), lane("only", 9)])
        .with_lane_options("only", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(1)
        .with_storage(vault.clone())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let batch = submit_with(&manager, "only", endless("batch"), SubmitOptions::new()).await;
    reaches(&batch, CommandStatus::Running).await;
    let urgent = submit_with(&manager, "urgent", endless("urgent"), SubmitOptions::new()).await;
    reaches(&urgent, CommandStatus::Running).await;
    assert!(vault.log.entries().contains(&"requeue".to_owned()));
    assert_eq!(batch.status(), CommandStatus::Pending);
    let records = vault.after_crash().records();
    let crashes = |name: &str| {
        let mut records = records.iter();
        let record = records.find(|record| record.command.command_type == name);
        record.expect("it is stored").crashes
    };
    assert_eq!((crashes("batch"), crashes("urgent")), (0, 1));
}

#[tokio::test]
async fn a_command_that_is_cancelled_between_attempts_leaves_its_storage() {
    let vault = Vault::new();
    let policy = RetryPolicy::fixed(1, Duration::from_secs(3600));
    let config = LaneConfig::new(0, 1).with_retry_policy(policy);
    let manager = builder_with(&[("only", config, 0)])
        .with_storage(vault.clone())
        .with_handler("job", fails)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let handle = submit_with(&manager, "only", job(1), SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Delayed).await;
    assert!(handle.cancel());
    settled(&handle).await.expect_err("it was cancelled");
    assert!(vault.records().is_empty());
    assert!(
        vault.letters().is_empty(),
        "a cancelled command has not failed"
    );
}

/// With a storage, dead letters are kept whether or not a queue of them is.
#[tokio::test]
async fn a_dead_letter_has_what_it_takes_to_run_again() {
    let vault = Vault::new();
    let policy = RetryPolicy::fixed(1, Duration::ZERO);
    let manager = with_handler(&vault, fails).await;
    let options = SubmitOptions::new()
        .with_id("a")
        .with_priority(-3)
        .with_key("tenant")
        .with_retry_policy(policy.clone())
        .with_metadata("user", 7);
    let handle = submit_with(&manager, "only", job(json!({"n": 1})), options).await;
    settled(&handle).await.expect_err("it fails");
    let letter = vault.letters().remove(0);
    assert_eq!((&*letter.command_id, &*letter.command_type), ("a", "job"));
    assert_eq!((&*letter.lane_id, letter.attempts), ("only", 2));
    assert_eq!(
        (&*letter.code, &*letter.error),
        ("COMMAND_ERROR", "Command execution error: no")
    );
    assert_eq!(letter.payload, Some(json!({"n": 1})));
    assert_eq!(
        (letter.options.priority, letter.options.key.as_deref()),
        (-3, Some("tenant"))
    );
    assert_eq!(letter.options.retry_policy, Some(policy));
    assert_eq!(letter.options.metadata["user"], 7);
    assert_eq!(letter.failures.len(), 2);
    let last = &letter.failures[1];
    assert_eq!((last.attempt, last.failed_at), (2, letter.failed_at));
    assert!(last.started_at.expect("it was seen") <= last.failed_at);
}

/// Its payload was left in the storage, which the letter needs all the same.
#[tokio::test]
async fn a_dead_letter_of_a_lean_restart_has_its_payload() {
    let vault = Vault::lean(true);
    vault.put(stored("a"));
    let manager = with_handler(&vault, fails).await;
    drained(&manager).await;
    assert_eq!(vault.letters()[0].payload, Some(json!("a")));
    let mut poison = stored("b");
    poison.crashes = 3;
    drop(manager);
    vault.put(poison);
    let manager = with_handler(&vault, fails).await;
    drained(&manager).await;
    assert_eq!(vault.letters()[1].payload, Some(json!("b")));
}

#[tokio::test]
async fn a_payload_that_cannot_be_loaded_fails_the_attempt() {
    let vault = Vault::lean(true);
    vault.put(stored("a"));
    vault.set_fault("load", true);
    let manager = with_handler(&vault, counts).await;
    let error = result_of(&manager, "a")
        .await
        .expect_err("there is no payload");
    assert!(matches!(error, LaneError::Storage(_)), "{error}");
}

//! What a storage has not been told yet, or could not be told: nothing acknowledged depends on it, and nothing runs again for it.

use std::time::Duration;

use a3s_lane::{LaneError, OnConflict, SubmitOptions, Unique};
use futures::FutureExt;

use super::{builder_on, drained, job, running, submit_jobs, waiting_on, writes};
use crate::support::shelf::Shelf;
use crate::support::vault::Vault;
use crate::support::{Gate, Log, eventually, let_others_run, settled, submit_with, within};

fn joining() -> SubmitOptions {
    SubmitOptions::new().with_unique(Unique::new("k").on_conflict(OnConflict::Join))
}

/// I8: an acknowledged submission is stored, also one that has joined another.
#[tokio::test]
async fn who_joins_a_command_is_acknowledged_when_that_is_stored() {
    let gate = Gate::new();
    let shelf = Shelf::with_saves_behind(&gate);
    let manager = waiting_on(shelf.clone()).await;
    let mut first = Box::pin(manager.submit_with("only", job(1), joining()));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(manager.submit_with("only", job(2), joining()));
    assert!(
        futures::poll!(&mut second).is_pending(),
        "what it has joined is not stored"
    );
    let given_up = manager.submit_with("only", job(3), joining());
    assert!(given_up.now_or_never().is_none());
    gate.open();
    let first = within(first).await.expect("accepted");
    let second = within(second).await.expect("it has joined the first");
    assert_eq!(first.id(), second.id());
    assert_eq!(shelf.stored().len(), 1);
    let third = manager.submit_with("only", job(4), joining());
    let third = third.now_or_never().expect("what it joins is stored");
    assert_eq!(third.expect("joined").id(), first.id());
}

#[tokio::test]
async fn who_joins_a_submission_that_is_given_up_is_told() {
    let gate = Gate::new();
    let shelf = Shelf::with_saves_behind(&gate);
    let manager = waiting_on(shelf.clone()).await;
    let mut first = Box::pin(manager.submit_with("only", job(1), joining()));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(manager.submit_with("only", job(2), joining()));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    let second = within(second).await.expect("it has a handle");
    settled(&second).await.expect_err("there is no command");
}

/// Its caller knows nothing of it, so it must not run: neither now nor after a restart. Whoever submits with its id meanwhile waits, as
/// both would be forgotten together.
#[tokio::test]
async fn a_submission_that_is_given_up_while_it_is_stored_does_not_run_after_a_restart() {
    for starts in [false, true] {
        let vault = Vault::new();
        let log = Log::default();
        let manager = waiting_on(vault.clone()).await;
        manager.register_handler("job", writes(&log));
        if starts {
            manager.start().await.expect("starts");
        }
        let options = || SubmitOptions::new().with_id("a");
        {
            let mut submitting = Box::pin(manager.submit_with("only", job("a"), options()));
            assert!(futures::poll!(&mut submitting).is_pending());
            // The storage goes on with what it was asked, as one with a thread of its own does.
            vault.put(super::stored("a"));
        }
        let mut again = Box::pin(manager.submit_with("only", job("again"), options()));
        assert!(futures::poll!(&mut again).is_pending());
        within(again).await.expect("its id is free in the end");
        let calls = vault.log.entries();
        let calls: Vec<_> = calls.iter().map(String::as_str).collect();
        let saves = calls
            .iter()
            .enumerate()
            .filter(|(_, call)| **call == "save 1");
        let saves: Vec<_> = saves.map(|(place, _)| place).collect();
        let settled = calls.iter().position(|call| *call == "settle 1");
        assert!(
            settled.is_some_and(|place| saves[0] < place && place < saves[1]),
            "{calls:?}"
        );
        if starts {
            drained(&manager).await;
        }
        manager.shutdown_within(Duration::ZERO).await;
        let after = running(builder_on(vault.after_crash()), &log).await;
        drained(&after).await;
        assert_eq!(log.entries(), [r#""again""#], "{starts}");
    }
}

#[tokio::test]
async fn the_id_of_a_submission_that_was_given_up_is_taken_while_the_storage_fails() {
    let vault = Vault::new();
    let manager = waiting_on(vault.clone()).await;
    let options = || SubmitOptions::new().with_id("a");
    vault.set_fault("settle", true);
    {
        let mut submitting = Box::pin(manager.submit_with("only", job("a"), options()));
        assert!(futures::poll!(&mut submitting).is_pending());
        vault.put(super::stored("a"));
    }
    let again = within(manager.submit_with("only", job("a"), options())).await;
    let refused = again.expect_err("it is stored still");
    assert_eq!(LaneError::from(refused).code(), "DUPLICATE");
}

/// A disk is full for a while: what has settled meanwhile does not run again after a restart, because the storage is told when there is
/// space again.
#[tokio::test]
async fn a_storage_that_could_not_be_told_is_told_with_the_next_command() {
    let (vault, log) = (Vault::new(), Log::default());
    let manager = running(builder_on(vault.clone()), &log).await;
    vault.set_fault("settle", true);
    submit_jobs(&manager, &["a", "b"]).await;
    drained(&manager).await;
    assert_eq!(vault.records().len(), 2);
    let taken = SubmitOptions::new().with_id("a");
    let refused = manager.submit_with("only", job("a"), taken).await;
    refused.expect_err("it is stored still");
    vault.set_fault("settle", false);
    submit_jobs(&manager, &["c"]).await;
    eventually("nothing is stored", async || vault.records().is_empty()).await;
    drained(&manager).await;
    submit_jobs(&manager, &["a"]).await;
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#, r#""b""#, r#""c""#, r#""a""#]);
}

#[tokio::test]
async fn a_storage_that_could_not_be_told_is_told_at_the_end() {
    let (vault, log) = (Vault::new(), Log::default());
    let manager = running(builder_on(vault.clone()), &log).await;
    vault.set_fault("settle", true);
    submit_jobs(&manager, &["a", "b"]).await;
    drained(&manager).await;
    vault.set_fault("settle", false);
    manager.shutdown_within(Duration::ZERO).await;
    assert!(vault.records().is_empty());
    let result = vault.after_crash();
    let handle = waiting_on(result).await.find("b").await.expect("readable");
    handle.expect("its result is kept");
}

/// Nobody starts this queue: its storage learns all the same that a command was cancelled.
#[tokio::test]
async fn what_is_cancelled_in_a_queue_that_is_never_started_does_not_run_after_a_restart() {
    let vault = Vault::new();
    let manager = waiting_on(vault.clone()).await;
    submit_jobs(&manager, &["a", "b"]).await;
    assert!(manager.cancel("a"));
    eventually("it is forgotten", async || vault.records().len() == 1).await;
    // Without a runtime.
    let manager = std::thread::spawn(move || {
        assert!(manager.cancel("b"));
        manager
    });
    let manager = manager.join().expect("no panic");
    let_others_run().await;
    manager.close().await.expect("closed");
    assert!(vault.records().is_empty());
}

#[tokio::test]
async fn a_queue_that_is_closed_closes_its_storage_when_nothing_runs_any_more() {
    let (vault, log) = (Vault::new(), Log::default());
    let builder = builder_on(vault.clone()).with_handler("hangs", super::hangs);
    let manager = running(builder, &log).await;
    let stuck = a3s_lane::JsonCommand::new("hangs", 1.into());
    let handle = submit_with(&manager, "only", Box::new(stuck), SubmitOptions::new()).await;
    eventually("it runs", async || {
        vault.log.entries().contains(&"start 1".to_owned())
    })
    .await;
    manager.close().await.expect("closed");
    settled(&handle).await.expect_err("it was stopped");
    let calls = vault.log.entries();
    assert_eq!(calls[calls.len() - 2..], ["requeue", "close"]);
    assert_eq!(vault.records()[0].crashes, 0);
    manager.close().await.expect("it is closed");
    let refused = manager
        .submit_with("only", job(1), SubmitOptions::new())
        .await;
    refused.expect_err("it is shut down");
    vault.set_fault("close", true);
    let error = manager.close().await.expect_err("it fails");
    assert_eq!(error.code(), "STORAGE_ERROR");
    waiting_on(Vault::new())
        .await
        .close()
        .await
        .expect("one that was never started");
}

/// The end of the queue waits for a submission on its way into its storage, and notices when that has entered.
#[tokio::test(start_paused = true)]
async fn the_end_notices_that_a_submission_has_entered() {
    let gate = Gate::new();
    let shelf = Shelf::with_saves_behind(&gate);
    let manager = waiting_on(shelf.clone()).await;
    manager.start().await.expect("starts");
    let mut submission = Box::pin(manager.submit_with("only", job(1), SubmitOptions::new()));
    assert!(futures::poll!(&mut submission).is_pending());
    let begin = tokio::time::Instant::now();
    let mut ending = Box::pin(manager.shutdown_within(Duration::from_secs(3600)));
    assert!(futures::poll!(&mut ending).is_pending());
    gate.open();
    let handle = within(submission).await.expect("it was let in");
    let report = ending.await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(report.pending.len(), 1);
    assert_eq!(report.pending[0].command_id, handle.id());
    assert_eq!(shelf.stored().len(), 1);
}

/// Whoever ends the queue may give that up while a storage is asked: what the storage has not taken down is kept for the next time.
#[tokio::test]
async fn an_end_that_is_given_up_forgets_nothing_that_a_storage_was_not_told() {
    let (vault, log) = (Vault::new(), Log::default());
    let manager = running(builder_on(vault.clone()), &log).await;
    vault.set_fault("settle", true);
    submit_jobs(&manager, &["a"]).await;
    drained(&manager).await;
    vault.set_fault("settle", false);
    // The storage does not answer.
    vault.fail_to_settle("job", false);
    vault.refuse_together(2);
    let asked = vault.log.entries().len();
    {
        let mut ending = Box::pin(manager.shutdown_within(Duration::ZERO));
        eventually("the storage is asked", async || {
            assert!(futures::poll!(&mut ending).is_pending());
            vault.log.entries()[asked..].contains(&"settle 1".to_owned())
        })
        .await;
        vault.fail_to_settle("other", false);
        // Nobody goes on with the first: the second does not wait for that.
        within(manager.shutdown_within(Duration::ZERO)).await;
    }
    within(manager.shutdown_within(Duration::ZERO)).await;
    assert!(vault.records().is_empty());
}

/// As `one_that_makes_the_storage_panic_is_the_only_one_that_fails`, of commands that leave unrun.
#[tokio::test]
async fn one_that_makes_the_storage_panic_is_the_only_one_that_stays() {
    let vault = Vault::new();
    vault.fail_to_settle("bad", true);
    let manager = waiting_on(vault.clone()).await;
    let bad = || Box::new(a3s_lane::JsonCommand::new("bad", serde_json::json!(null)));
    for (id, command) in [("a", job(1)), ("b", bad() as _), ("c", job(2))] {
        let options = SubmitOptions::new().with_id(id);
        submit_with(&manager, "only", command, options).await;
    }
    manager.pause_lane("only").expect("it is there");
    manager.start().await.expect("starts");
    let job = |id: &str| vault.records().iter().any(|it| it.command.id == id);
    assert!(job("a") && job("b") && job("c"));
    assert_eq!(manager.cancel_lane("only").expect("it is there"), 3);
    drained(&manager).await;
    eventually("the others left", async || !job("a") && !job("c")).await;
    assert!(job("b"));
    // It keeps nobody from ending.
    within(manager.shutdown_within(Duration::ZERO)).await;
}

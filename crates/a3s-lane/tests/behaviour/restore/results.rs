//! A command is found by its id, in this process or the next.

use a3s_lane::{CommandContext, CommandStatus, LaneError, SubmitOptions};
use serde_json::{Value, json};

use super::{builder_on, drained, hangs, job, result_of, running, stored, vault_of, waiting_on};
use crate::support::shelf::Shelf;
use crate::support::vault::Vault;
use crate::support::{
    Gate, Log, endless, outcome, reaches, settled, started, submit, submit_with, within,
};
use a3s_lane::LaneConfig;

#[tokio::test]
async fn a_result_is_awaited_after_a_restart() {
    let vault = vault_of([stored("a"), stored("b")]);
    let gate = Gate::new();
    let manager = waiting_on(vault).await;
    manager.register_handler("job", {
        let gate = gate.clone();
        move |payload: Value, _: CommandContext| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(payload)
            }
        }
    });
    manager.start().await.expect("starts");
    let handle = |id| {
        let found = manager.find(id);
        async { found.await.expect("readable").expect("there") }
    };
    let (a, b) = (handle("a").await, handle("b").await);
    reaches(&a, CommandStatus::Running).await;
    assert_eq!(
        (a.id(), a.lane_id(), b.status()),
        ("a", "only", CommandStatus::Pending)
    );
    gate.open();
    assert_eq!(within(a.result()).await.expect("it runs"), "a");
    assert_eq!(within(b.result()).await.expect("it runs"), "b");
}

#[tokio::test]
async fn a_kept_outcome_is_found_after_a_restart() {
    let vault = Vault::new();
    let before = builder_on(vault.clone())
        .with_handler("job", |payload: Value, _: CommandContext| async move {
            match payload.as_str() {
                Some("fails") => Err(LaneError::unrecoverable("no such account")),
                Some("hangs") => std::future::pending().await,
                _ => Ok(json!({"is": payload})),
            }
        })
        .build()
        .await
        .expect("built");
    before.start().await.expect("starts");
    for id in ["good", "fails", "hangs"] {
        let options = SubmitOptions::new().with_id(id);
        let handle = submit_with(&before, "only", job(id), options).await;
        if id == "hangs" {
            reaches(&handle, CommandStatus::Running).await;
            handle.cancel();
        }
        let _ = settled(&handle).await;
    }
    drop(before);
    let manager = running(builder_on(vault), &Log::default()).await;
    let handle = async |id| manager.find(id).await.expect("readable").expect("kept");
    let good = handle("good").await;
    assert_eq!(good.status(), CommandStatus::Completed);
    assert_eq!((good.id(), good.lane_id()), ("good", "only"));
    assert_eq!(settled(&good).await.expect("kept"), json!({"is": "good"}));
    assert!(!good.cancel() && good.explain().is_none());
    let failed = handle("fails").await;
    assert_eq!(failed.status(), CommandStatus::Failed);
    let error = settled(&failed).await.expect_err("it failed");
    assert!(matches!(error, LaneError::UnrecoverableJob(text) if text == "no such account"));
    let cancelled = handle("hangs").await;
    assert_eq!(cancelled.status(), CommandStatus::Cancelled);
    assert_eq!(
        settled(&cancelled).await.expect_err("cancelled").code(),
        "CANCELLED"
    );
    assert!(manager.find("nobody").await.expect("readable").is_none());
}

/// In a lane with a storage a command that was submitted without a handle has one too.
#[tokio::test]
async fn a_command_with_a_receiver_is_found() {
    let vault = Vault::new();
    let gate = Gate::new();
    let manager = waiting_on(vault.clone()).await;
    let receiver = submit(&manager, "only", gate.command("plain")).await;
    manager.start().await.expect("starts");
    let id = vault.records()[0].command.id.clone();
    let found = manager.find(&id).await.expect("readable").expect("there");
    reaches(&found, CommandStatus::Running).await;
    gate.open();
    assert_eq!(outcome(receiver).await.expect("it runs"), Value::Null);
    assert_eq!(settled(&found).await.expect("it ran"), Value::Null);
}

/// Its handle is made when somebody asks, whatever it does then.
#[tokio::test]
async fn a_command_with_a_receiver_is_found_wherever_it_is() {
    let shelf = Shelf::with_removals_behind(&Gate::new());
    let gate = Gate::new();
    let manager = running(builder_on(shelf.clone()), &Log::default()).await;
    let find = async |id: &str| manager.find(id).await.expect("readable").expect("there");
    let _runs = submit(&manager, "only", gate.command("runs")).await;
    let waits = submit(&manager, "only", gate.command("waits")).await;
    let id_of = |command_type: &str| {
        let commands = shelf.commands().into_iter();
        let mut of_type = commands.filter(|command| command.command_type == command_type);
        of_type.next().expect("it is stored").id
    };
    let (runs, waiting) = (id_of("runs"), id_of("waits"));
    let found = find(&runs).await;
    reaches(&found, CommandStatus::Running).await;
    assert_eq!(find(&runs).await.status(), CommandStatus::Running);
    let found = find(&waiting).await;
    assert_eq!(
        (found.id(), found.lane_id(), found.status()),
        (waiting.as_str(), "only", CommandStatus::Pending)
    );
    let other = submit(&manager, "only", gate.command("other")).await;
    let other_id = id_of("other");
    assert!(found.cancel());
    assert!(manager.cancel(&other_id));
    // They have left, and their storage does not say that it knows.
    for id in [&waiting, &other_id] {
        let left = find(id).await;
        assert!(!left.cancel());
        assert!(left.explain().is_none());
    }
    drop((waits, other));
}

#[tokio::test]
async fn without_a_storage_only_handles_are_found() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let options = SubmitOptions::new().with_id("a");
    let handle = submit_with(&manager, "only", endless("t"), options).await;
    let found = manager.find("a").await.expect("readable").expect("there");
    handle.cancel();
    assert!(settled(&found).await.is_err());
    assert!(manager.find("a").await.expect("readable").is_none());
    assert!(manager.unclaimed().await.expect("readable").is_empty());
}

#[tokio::test]
async fn a_storage_that_cannot_be_read_is_an_error() {
    let vault = Vault::new();
    let manager = running(builder_on(vault.clone()), &Log::default()).await;
    vault.set_fault("result", true);
    vault.set_fault("page", true);
    let error = manager.find("a").await.expect_err("it cannot be read");
    assert!(matches!(error, LaneError::Storage(_)));
    let error = manager.unclaimed().await.expect_err("it cannot be read");
    assert!(matches!(error, LaneError::Storage(_)));
}

#[tokio::test]
async fn what_waits_for_a_handler_is_not_found() {
    let vault = vault_of([stored("a")]);
    let manager = waiting_on(vault).await;
    manager.start().await.expect("starts");
    assert!(manager.find("a").await.expect("readable").is_none());
    manager.register_handler("job", hangs);
    drained_or_running(&manager).await;
}

async fn drained_or_running(manager: &a3s_lane::QueueManager) {
    crate::support::eventually("it entered", async || {
        manager.find("a").await.expect("readable").is_some()
    })
    .await;
    manager.cancel("a");
    result_of(manager, "a").await.expect_err("it was cancelled");
    drained(manager).await;
}

//! Commands that complete at about the same time: their storage is told of all of them at once.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    CommandQueue, EventEmitter, Lane, LaneConfig, LaneError, QueueManager, Result, Storage,
};
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::oneshot::Receiver;

use crate::support::shelf::Shelf;
use crate::support::vault::Vault;
use crate::support::{Gate, builder_with, eventually, outcome, submit, within};

async fn stored_in(storage: Arc<dyn Storage>) -> QueueManager {
    let builder = builder_with(&[("only", LaneConfig::new(1, 8), 0)]);
    let manager = builder.with_storage(storage).build().await.expect("built");
    manager.start().await.expect("starts");
    manager
}

/// Submits a command of each type, and lets all of them complete at once.
async fn complete(manager: &QueueManager, types: &[&str]) -> Vec<Receiver<Result<Value>>> {
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for command_type in types {
        receivers.push(submit(manager, "only", gate.command(command_type)).await);
    }
    eventually("all run", async || {
        manager.stats().await.expect("never fails").total_active == types.len()
    })
    .await;
    gate.open();
    receivers
}

fn settle_calls(vault: &Vault) -> Vec<String> {
    let mut calls = vault.log.entries();
    calls.retain(|call| call.starts_with("settle"));
    calls
}

#[tokio::test]
async fn those_that_complete_together_are_told_in_one_call() {
    let vault = Vault::new();
    let manager = stored_in(Arc::clone(&vault) as Arc<dyn Storage>).await;
    for receiver in complete(&manager, &["a", "b", "c", "d"]).await {
        outcome(receiver).await.expect("it ran");
    }
    assert_eq!(settle_calls(&vault), ["settle 4"]);
    assert!(vault.records().is_empty());
}

/// Of a group that is refused each is told alone.
#[tokio::test]
async fn one_that_cannot_be_told_is_the_only_one_that_stays() {
    let vault = Vault::new();
    vault.fail_to_settle("large", false);
    let manager = stored_in(Arc::clone(&vault) as Arc<dyn Storage>).await;
    for receiver in complete(&manager, &["a", "large", "b"]).await {
        outcome(receiver)
            .await
            .expect("the storage changes no result");
    }
    assert_eq!(vault.types(), ["large"]);
    let stats = manager.stats().await.expect("never fails");
    assert_eq!(stats.total_active, 0, "no slot is kept");
}

/// A refusal may take long: those of a group that was refused are told at the same time.
#[tokio::test]
async fn those_of_a_refused_group_do_not_wait_for_each_other() {
    let vault = Vault::new();
    vault.fail_to_settle("large", false);
    vault.refuse_together(3);
    let manager = stored_in(Arc::clone(&vault) as Arc<dyn Storage>).await;
    for receiver in complete(&manager, &["large", "large", "large"]).await {
        within(outcome(receiver))
            .await
            .expect("the storage changes no result");
    }
    assert_eq!(
        settle_calls(&vault)[..4],
        ["settle 3", "settle 1", "settle 1", "settle 1"]
    );
}

#[tokio::test]
async fn one_that_makes_the_storage_panic_is_the_only_one_that_fails() {
    let vault = Vault::new();
    vault.fail_to_settle("bad", true);
    let manager = stored_in(Arc::clone(&vault) as Arc<dyn Storage>).await;
    let mut receivers = complete(&manager, &["a", "bad", "b"]).await;
    let bad = receivers.remove(1);
    for receiver in receivers {
        outcome(receiver).await.expect("it is not the bad one");
    }
    let error = outcome(bad).await.expect_err("nobody knows");
    assert!(matches!(error, LaneError::Panicked(_)), "{error}");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("no slot is kept");
    assert!(!manager.is_shutting_down(), "the queue goes on");
}

/// Two storages: the one that does not answer holds up its own commands only.
#[tokio::test]
async fn one_storage_does_not_wait_for_another() {
    let gate = Gate::new();
    let slow = Shelf::with_removals_behind(&gate);
    let vault = Vault::new();
    let queue = CommandQueue::new(EventEmitter::new(100));
    let (one, other): (Arc<dyn Storage>, Arc<dyn Storage>) = (slow, vault.clone());
    for (id, storage) in [("slow", one), ("only", other)] {
        let lane = Lane::with_storage(id, LaneConfig::new(1, 1), 0, storage);
        queue.register_lane(Arc::new(lane)).await;
    }
    let queue = Arc::new(queue);
    Arc::clone(&queue).start_scheduler().await;
    let both = Gate::new();
    let mut receivers = Vec::new();
    for id in ["slow", "only"] {
        let submitted = queue.submit(id, both.command("t")).await;
        receivers.push(submitted.expect("accepted"));
    }
    eventually("both run", async || {
        let status = queue.status().await;
        status.values().all(|lane| lane.active == 1)
    })
    .await;
    both.open();
    let other = receivers.remove(1);
    outcome(other).await.expect("its storage has answered");
    assert_eq!(settle_calls(&vault), ["settle 1"]);
    gate.open();
    let held = receivers.remove(0);
    outcome(held).await.expect("its storage has answered");
}

#[test]
fn those_that_wait_for_their_storage_settle_when_the_runtime_ends() {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let shelf = Shelf::with_removals_behind(&Gate::new());
    let (manager, receivers) = runtime.block_on(async {
        let manager = stored_in(Arc::clone(&shelf) as Arc<dyn Storage>).await;
        let receivers = complete(&manager, &["a", "b"]).await;
        (manager, receivers)
    });
    drop(runtime);
    let other = Builder::new_current_thread().enable_all().build();
    other.expect("a runtime").block_on(async {
        for receiver in receivers {
            let error = outcome(receiver)
                .await
                .expect_err("nobody told the storage");
            assert_eq!(error.code(), "QUEUE_ERROR");
        }
        let stats = manager.stats().await.expect("never fails");
        assert_eq!(stats.total_active, 0);
    });
    assert_eq!(shelf.stored(), ["a", "b"], "they run again");
}

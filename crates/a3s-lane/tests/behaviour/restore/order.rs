//! In their old order.

use std::sync::Arc;

use a3s_lane::{LaneConfig, LaneOptions, Overflow, SubmitOptions};
use serde_json::json;

use super::{
    builder_on, drained, job, result_of, running, stored, submit_jobs, vault_of, waiting_on, writes,
};
use crate::support::shelf::Shelf;
use crate::support::vault::Vault;
use crate::support::{Log, builder_with, field, finish, submit, submit_with, words};

#[tokio::test]
async fn stored_commands_run_in_their_old_order_before_newer_ones() {
    for lean in [false, true] {
        let vault = Vault::with_pages(2, lean);
        let before = waiting_on(vault.clone()).await;
        submit_jobs(&before, &["a", "b", "c", "d", "e"]).await;
        drop(before);
        let log = Log::default();
        let manager = builder_on(vault.clone())
            .with_handler("job", writes(&log))
            .build()
            .await
            .expect("built");
        submit_jobs(&manager, &["new", "newer"]).await;
        manager.start().await.expect("starts");
        drained(&manager).await;
        let expected = ["a", "b", "c", "d", "e", "new", "newer"];
        let expected: Vec<String> = expected.iter().map(|id| format!("{id:?}")).collect();
        assert_eq!(log.entries(), expected, "lean: {lean}");
        assert!(vault.types().is_empty());
    }
}

/// L32: nothing is ever replayed, and stored payloads are `{}`. A storage that knows only what 0.4 asked of it restores too.
#[tokio::test]
async fn l32_what_a_storage_of_0_4_keeps_runs_again() {
    let shelf = Arc::new(Shelf::default());
    let before = waiting_on(shelf.clone()).await;
    for payload in [json!({"k": [1, null]}), json!("second"), json!(3)] {
        submit(&before, "only", job(payload)).await;
    }
    drop(before);
    assert_eq!(shelf.stored(), ["job", "job", "job"]);
    let log = Log::default();
    let manager = running(builder_on(shelf.clone()), &log).await;
    drained(&manager).await;
    assert_eq!(log.entries(), [r#"{"k":[1,null]}"#, r#""second""#, "3"]);
    assert!(shelf.stored().is_empty());
}

#[tokio::test]
async fn a_restored_command_keeps_its_id() {
    let vault = Vault::new();
    let before = waiting_on(vault.clone()).await;
    let drawn = submit_with(&before, "only", job(1), SubmitOptions::new()).await;
    let id = drawn.id().to_owned();
    drop(before);
    let manager = waiting_on(vault).await;
    manager.register_handler("job", writes(&Log::default()));
    let mut stream = manager.subscribe();
    manager.start().await.expect("starts");
    drained(&manager).await;
    let seen = finish(&manager, &mut stream).await;
    assert_eq!(
        words(&seen)[..3],
        ["submitted only", "started job", "completed job"]
    );
    assert_eq!(field(&seen[1], "command_id"), Some(&*id));
}

#[tokio::test]
async fn restored_commands_are_pending_and_can_be_cancelled_and_explained() {
    let vault = vault_of([stored("a"), stored("b")]);
    let manager = waiting_on(vault.clone()).await;
    manager.register_handler("job", super::hangs);
    manager.pause_lane("only").expect("it is there");
    manager.start().await.expect("starts");
    assert_eq!(manager.stats().await.expect("never fails").total_pending, 2);
    let explained = manager.explain("b").expect("it waits");
    assert_eq!(explained.command_id, "b");
    manager
        .drain(std::time::Duration::from_millis(5))
        .await
        .expect_err("they wait");
    assert!(manager.cancel("a"));
    let error = result_of(&manager, "a")
        .await
        .expect_err("it was cancelled");
    assert_eq!(error.code(), "CANCELLED");
    assert_eq!(vault.records().len(), 1, "it left its storage");
}

#[tokio::test]
async fn what_was_accepted_once_is_not_refused_by_a_full_lane() {
    for overflow in [Overflow::Reject, Overflow::DropOldest] {
        let vault = vault_of(["a", "b", "c"].map(stored));
        let log = Log::default();
        let options = LaneOptions::new()
            .with_max_pending(1)
            .with_overflow(overflow);
        let builder = builder_on(vault).with_lane_options("only", options);
        let manager = running(builder, &log).await;
        drained(&manager).await;
        assert_eq!(log.entries(), [r#""a""#, r#""b""#, r#""c""#]);
    }
}

#[tokio::test]
async fn each_command_returns_to_its_own_lane() {
    let vault = Vault::new();
    let lanes = [
        ("low", LaneConfig::new(0, 1), 5),
        ("high", LaneConfig::new(0, 1), 1),
    ];
    let before = builder_with(&lanes).with_storage(vault.clone());
    let before = before.build().await.expect("built");
    submit(&before, "low", job("low")).await;
    submit(&before, "high", job("high")).await;
    drop(before);
    let log = Log::default();
    let builder = builder_with(&lanes)
        .with_storage(vault)
        .with_max_concurrency(1);
    let manager = running(builder, &log).await;
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""high""#, r#""low""#]);
}

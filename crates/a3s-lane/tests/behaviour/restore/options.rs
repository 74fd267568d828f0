//! Every option of a submission survives; each test fails when its option is lost.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    CommandContext, CommandStatus, Jitter, LaneConfig, LaneError, LaneOptions, OnConflict,
    QueueManager, RetryPolicy, SubmitOptions, Unique,
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    builder_on, counts, drained, fails, hangs, job, result_of, running, stored, vault_of,
    waiting_on, writes,
};
use crate::support::vault::Vault;
use crate::support::{Log, builder_with, endless, reaches, reasons, settled, submit_with, within};

/// A storage with one job, `a`, that an earlier process was given with these options.
async fn left_with(options: SubmitOptions) -> Arc<Vault> {
    let vault = Vault::new();
    let before = waiting_on(vault.clone()).await;
    submit_with(&before, "only", job("a"), options.with_id("a")).await;
    vault
}

async fn started_on(
    vault: &Arc<Vault>,
    config: LaneConfig,
    handler: impl a3s_lane::Handler + 'static,
) -> QueueManager {
    let manager = builder_with(&[("only", config, 0)])
        .with_storage(vault.clone())
        .with_handler("job", handler)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

fn plain() -> LaneConfig {
    LaneConfig::new(0, 1)
}

#[tokio::test]
async fn priority() {
    let vault = left_with(SubmitOptions::new()).await;
    let before = waiting_on(vault.clone()).await;
    let urgent = SubmitOptions::new().with_priority(-1);
    submit_with(&before, "only", job("urgent"), urgent).await;
    drop(before);
    let log = Log::default();
    let manager = running(builder_on(vault), &log).await;
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""urgent""#, r#""a""#]);
}

/// L18: tenant fairness (bullmq#2269, worker#331, river#132). A restart keeps whose command it is.
#[tokio::test]
async fn l18_key() {
    let vault = left_with(SubmitOptions::new().with_key("tenant")).await;
    let manager = waiting_on(vault).await;
    manager.register_handler("job", counts);
    manager.pause_key("tenant");
    manager.start().await.expect("starts");
    let handle = manager.find("a").await.expect("readable").expect("there");
    assert_eq!(reasons(&handle), ["key_paused"]);
    manager.resume_key("tenant");
    settled(&handle).await.expect("it runs");
}

#[tokio::test(start_paused = true)]
async fn delay_and_run_at() {
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    for options in [
        SubmitOptions::new().with_delay(Duration::from_secs(3600)),
        SubmitOptions::new().with_run_at(in_an_hour),
    ] {
        let vault = left_with(options).await;
        let due_at = vault.records()[0].due_at.expect("it is stored");
        assert!((due_at - in_an_hour).num_seconds().abs() < 60, "{due_at}");
        let manager = started_on(&vault, plain(), counts).await;
        let handle = manager.find("a").await.expect("readable").expect("there");
        assert_eq!(handle.status(), CommandStatus::Delayed);
        assert_eq!(reasons(&handle), ["delayed"]);
        handle.result().await.expect("it runs in the end");
    }
}

#[tokio::test]
async fn a_delay_that_has_passed_is_over() {
    let mut record = stored("a");
    record.due_at = Some(Utc::now() - TimeDelta::hours(1));
    let manager = started_on(&vault_of([record]), plain(), counts).await;
    assert_eq!(result_of(&manager, "a").await.expect("it runs"), 1);
}

/// L15: stale jobs run long after they matter (glide-mq#72, bullmq#301). A restart does not make them young.
#[tokio::test]
async fn l15_ttl() {
    let hour = Duration::from_secs(3600);
    let vault = left_with(SubmitOptions::new().with_ttl(hour)).await;
    let expires_at = vault.records()[0].options.expires_at.expect("it is stored");
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    assert!((expires_at - in_an_hour).num_seconds().abs() < 60);

    let mut old = stored("old");
    old.options.expires_at = Some(Utc::now() - TimeDelta::seconds(1));
    // What has started never expires.
    let mut tried = old.clone();
    tried.command.id = "tried".to_owned();
    tried.command.retry_count = 1;
    let vault = vault_of([old, tried]);
    let manager = started_on(&vault, plain(), counts).await;
    drained(&manager).await;
    let error = result_of(&manager, "old")
        .await
        .expect_err("it has expired");
    assert!(matches!(error, LaneError::Expired(_)), "{error}");
    assert_eq!(result_of(&manager, "tried").await.expect("it runs"), 2);
    assert!(vault.records().is_empty());
}

/// L14: no time limit for a job (bullmq#136, bullmq#1289). A restart keeps it.
#[tokio::test(start_paused = true)]
async fn l14_timeout() {
    let vault = left_with(SubmitOptions::new().with_timeout(Duration::from_millis(10))).await;
    let manager = started_on(&vault, plain(), hangs).await;
    let error = result_of(&manager, "a")
        .await
        .expect_err("it takes too long");
    assert!(matches!(error, LaneError::Timeout(limit) if limit == Duration::from_millis(10)));
}

#[tokio::test(start_paused = true)]
async fn no_timeout() {
    let vault = left_with(SubmitOptions::new().with_no_timeout()).await;
    let config = plain().with_timeout(Duration::from_millis(10));
    let manager = started_on(&vault, config, |_: Value, _: CommandContext| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Value::Null)
    })
    .await;
    result_of(&manager, "a").await.expect("it takes its time");
}

/// L1: a hung command blocks its lane for ever. A restart keeps its progress deadline.
#[tokio::test(start_paused = true)]
async fn l01_progress_timeout() {
    let options = SubmitOptions::new().with_progress_timeout(Duration::from_millis(10));
    let manager = started_on(&left_with(options).await, plain(), hangs).await;
    let error = result_of(&manager, "a").await.expect_err("it says nothing");
    assert!(matches!(error, LaneError::Stalled(limit) if limit == Duration::from_millis(10)));
}

#[tokio::test]
async fn retry_policy() {
    let policy = RetryPolicy::fixed(2, Duration::ZERO);
    let vault = left_with(SubmitOptions::new().with_retry_policy(policy)).await;
    let manager = started_on(&vault, plain(), fails).await;
    drained(&manager).await;
    assert_eq!(vault.letters()[0].attempts, 3);
}

/// A delay that is left to chance altogether is shorter than the whole.
#[tokio::test(start_paused = true)]
async fn jitter() {
    let delay = Duration::from_secs(1_000);
    let options = SubmitOptions::new()
        .with_retry_policy(RetryPolicy::fixed(1, delay))
        .with_jitter(Jitter::None);
    let vault = left_with(options).await;
    let manager = builder_on(vault)
        .with_lane_options("only", LaneOptions::new().with_retry_jitter(Jitter::Full))
        .with_handler("job", fails)
        .build()
        .await
        .expect("built");
    let start = tokio::time::Instant::now();
    manager.start().await.expect("starts");
    let handle = manager.find("a").await.expect("readable").expect("there");
    handle.result().await.expect_err("it fails twice");
    assert!(start.elapsed() >= delay);
}

/// L19: no weighted rate limit (bullmq#798, bull#1035). A restart keeps what a command costs.
#[cfg(feature = "distributed")]
#[tokio::test]
async fn l19_cost() {
    use a3s_lane::{LimiterConfig, RateLimitConfig, UnclaimedReason};
    let vault = left_with(SubmitOptions::new().with_cost(1_000)).await;
    let limiter = LimiterConfig::token_bucket(RateLimitConfig::per_second(10)).with_burst(10);
    let manager = builder_on(vault.clone())
        .with_limiter("tokens", limiter)
        .with_lane_options("only", LaneOptions::new().with_limiter("tokens"))
        .with_handler("job", counts)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    // It could never start, and would hold up its lane for ever.
    let unclaimed = manager.unclaimed().await.expect("readable");
    let UnclaimedReason::Unreadable(why) = &unclaimed[0].reason else {
        panic!("{:?}", unclaimed[0].reason);
    };
    assert!(why.contains("cost must be at most 10"), "{why}");
    drained(&manager).await;
}

#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn cost_is_charged() {
    use a3s_lane::{LimiterConfig, RateLimitConfig};
    let mut records = ["a", "b"].map(stored);
    for record in &mut records {
        record.options.cost = 10;
    }
    let limiter = LimiterConfig::token_bucket(RateLimitConfig::per_second(10)).with_burst(10);
    let manager = builder_on(vault_of(records))
        .with_limiter("tokens", limiter)
        .with_lane_options("only", LaneOptions::new().with_limiter("tokens"))
        .with_handler("job", counts)
        .build()
        .await
        .expect("built");
    let start = tokio::time::Instant::now();
    manager.start().await.expect("starts");
    drained(&manager).await;
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn metadata() {
    let vault = left_with(SubmitOptions::new().with_metadata("user", json!({"id": 7}))).await;
    let manager = started_on(
        &vault,
        plain(),
        |_: Value, context: CommandContext| async move { Ok(context.metadata()["user"].clone()) },
    )
    .await;
    assert_eq!(
        result_of(&manager, "a").await.expect("it runs"),
        json!({"id": 7})
    );
}

#[tokio::test]
async fn unique() {
    let unique = || Unique::new("report");
    let vault = left_with(SubmitOptions::new().with_unique(unique())).await;
    let manager = waiting_on(vault.clone()).await;
    manager.register_handler("job", counts);
    manager.pause_lane("only").expect("it is there");
    manager.start().await.expect("starts");
    let again = |on_conflict| SubmitOptions::new().with_unique(unique().on_conflict(on_conflict));
    let refused = manager
        .submit_with("only", job(1), again(OnConflict::Reject))
        .await;
    let error = refused.expect_err("the key is held");
    assert_eq!(
        error.error().to_string(),
        r#"Duplicate command: command a holds the unique key "report""#
    );
    let joined = submit_with(&manager, "only", job(1), again(OnConflict::Join)).await;
    assert_eq!(joined.id(), "a");
    manager.resume_lane("only").expect("it is there");
    settled(&joined).await.expect("it runs");
    submit_with(&manager, "only", job(1), again(OnConflict::Reject)).await;
    drained(&manager).await;
    // A window that is not over.
    let hour = Duration::from_secs(3600);
    let vault = left_with(SubmitOptions::new().with_unique(unique().with_window(hour))).await;
    assert!(
        vault.records()[0]
            .options
            .unique
            .as_ref()
            .expect("stored")
            .until
            .is_some()
    );
    let manager = started_on(&vault, plain(), counts).await;
    drained(&manager).await;
    let refused = manager
        .submit_with("only", job(1), again(OnConflict::Reject))
        .await;
    refused.expect_err("the key is held for an hour");
}

/// The key was taken by a newer command before the restart: the old one runs without it.
#[tokio::test]
async fn a_unique_key_that_was_taken_stays_taken() {
    let unique = || SubmitOptions::new().with_unique(Unique::new("report"));
    let vault = left_with(unique()).await;
    let manager = waiting_on(vault).await;
    let log = Log::default();
    manager.register_handler("job", writes(&log));
    manager.pause_lane("only").expect("it is there");
    submit_with(&manager, "only", job("newer"), unique().with_id("newer")).await;
    manager.start().await.expect("starts");
    let refused = manager.submit_with("only", job(1), unique()).await;
    let error = refused.expect_err("the key is held");
    let error = error.error();
    assert!(error.to_string().contains("newer"), "{error}");
    manager.resume_lane("only").expect("it is there");
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#, r#""newer""#]);
}

#[tokio::test]
async fn preemptible() {
    let vault = left_with(SubmitOptions::new().with_preemptible(false)).await;
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = builder_with(&[lane("urgent", 0), lane("only", 9)])
        .with_lane_options("only", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(1)
        .with_storage(vault)
        .with_handler("job", hangs)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let batch = manager.find("a").await.expect("readable").expect("there");
    reaches(&batch, CommandStatus::Running).await;
    let urgent = submit_with(&manager, "urgent", endless("urgent"), SubmitOptions::new()).await;
    crate::support::let_others_run().await;
    assert_eq!(batch.status(), CommandStatus::Running);
    assert_eq!(reasons(&urgent), ["total_reached"]);
    within(manager.shutdown_within(Duration::ZERO)).await;
}

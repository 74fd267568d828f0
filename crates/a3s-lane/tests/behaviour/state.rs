//! What a queue says about itself: explanations and snapshots.

use std::time::Duration;

use a3s_lane::testing::ManualClock;
use a3s_lane::{
    CommandStatus, Explanation, LaneConfig, LaneOptions, RateLimitConfig, Snapshot, SubmitOptions,
    WaitReason,
};
use serde_json::json;

use crate::support::{
    Gate, builder_with, endless, let_others_run, manager_with, nothing, reaches, reasons, settled,
    started, submit, submit_with,
};

fn named(id: &str) -> SubmitOptions {
    SubmitOptions::new().with_id(id)
}

#[tokio::test(start_paused = true)]
async fn an_explanation_is_one_line() {
    let options = LaneOptions::new().with_max_concurrency_per_key(1);
    let lane = |id, min, max, priority| (id, LaneConfig::new(min, max), priority);
    let manager = builder_with(&[
        lane("a", 0, 1, 5),
        lane("keys", 0, 2, 5),
        lane("kept", 1, 1, 9),
    ])
    .with_lane_options("keys", options)
    .with_max_concurrency(4)
    .build()
    .await
    .expect("built");
    let text = |id: &str| manager.explain(id).expect("it is there").to_string();
    submit_with(&manager, "a", endless("t"), named("a1")).await;
    submit_with(&manager, "a", nothing("t"), named("a2")).await;
    submit_with(&manager, "a", nothing("t"), named("a3")).await;
    assert_eq!(
        text("a1"),
        "a1 in a is pending: the queue starts no commands"
    );
    manager.start().await.expect("starts");
    let_others_run().await;
    assert_eq!(text("a1"), "a1 in a is running");
    assert_eq!(
        text("a2"),
        "a2 in a is pending: the lane's 1 slots are held by a1"
    );
    manager.pause_lane("a").expect("it exists");
    assert_eq!(
        text("a3"),
        "a3 in a is pending: the lane is paused; behind 1 commands; the lane's 1 slots are held by a1"
    );
    let keyed = |id| named(id).with_key("k");
    submit_with(&manager, "keys", endless("t"), keyed("k1")).await;
    submit_with(&manager, "keys", nothing("t"), keyed("k2")).await;
    let_others_run().await;
    assert_eq!(
        text("k2"),
        "k2 in keys is pending: key \"k\" holds 1 slots, its most"
    );
    manager.pause_key("k");
    assert_eq!(text("k2"), "k2 in keys is pending: key \"k\" is paused");
    submit_with(&manager, "keys", endless("t"), named("free")).await;
    let_others_run().await;
    manager.set_max_concurrency(Some(3)).expect("it fits");
    manager
        .set_lane("b", LaneConfig::new(0, 1), LaneOptions::new(), 7)
        .expect("right");
    submit_with(&manager, "b", nothing("t"), named("b1")).await;
    assert_eq!(
        text("b1"),
        "b1 in b is pending: all 3 slots of the manager are taken"
    );
    manager.set_max_concurrency(Some(4)).expect("it fits");
    assert_eq!(
        text("b1"),
        "b1 in b is pending: the free slots are kept for other lanes (1)"
    );
    let delayed = named("later").with_delay(Duration::from_secs(60));
    submit_with(&manager, "b", nothing("t"), delayed).await;
    let explanation = manager.explain("later").expect("it is there");
    assert_eq!(explanation.status, CommandStatus::Delayed);
    assert!(
        explanation
            .to_string()
            .starts_with("later in b is delayed: delayed until ")
    );
    assert!(manager.explain("nobody").is_none());
    assert!(manager.explain("a1x").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_says_until_when() {
    let limit = RateLimitConfig::new(1, Duration::from_secs(3_600));
    let manager = started(LaneConfig::new(0, 1).with_rate_limit(limit)).await;
    let first = submit_with(&manager, "only", nothing("t"), named("a")).await;
    settled(&first).await.expect("it runs");
    let second = submit_with(&manager, "only", nothing("t"), named("b")).await;
    let_others_run().await;
    let explanation = second.explain().expect("it waits");
    let [WaitReason::RateLimited { until: Some(until) }] = explanation.reasons[..] else {
        panic!("{explanation}");
    };
    let wait = (until - chrono::Utc::now()).num_seconds();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
}

/// By the id of the events, also for a command without options.
#[tokio::test(start_paused = true)]
async fn a_plain_command_is_explained_by_its_id() {
    let manager = manager_with(&[("only", LaneConfig::new(0, 1), 0)]).await;
    submit(&manager, "only", nothing("t")).await;
    let id = manager.snapshot().commands[0]
        .explanation
        .command_id
        .clone();
    let explanation = manager.explain(&id).expect("it waits");
    assert_eq!(explanation.reasons, [WaitReason::NotStarted]);
    assert!(manager.cancel(&id));
    assert!(manager.explain(&id).is_none());
}

#[tokio::test(start_paused = true)]
async fn age_and_attempts_are_told() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let retry = a3s_lane::RetryPolicy::fixed(1, Duration::from_secs(10));
    let body = crate::support::command("t", |_| async {
        Err(a3s_lane::LaneError::CommandError("no".to_owned()))
    });
    let handle = submit_with(&manager, "only", body, named("a").with_retry_policy(retry)).await;
    reaches(&handle, CommandStatus::Delayed).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let explanation = handle.explain().expect("it waits");
    assert_eq!(explanation.attempts, 1);
    assert!(
        (4_000.0..4_100.0).contains(&explanation.age_ms),
        "{}",
        explanation.age_ms
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_the_whole_state() {
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = builder_with(&[lane("low", 9), lane("urgent", 1)])
        .with_max_concurrency(5)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let gate = Gate::new();
    submit_with(&manager, "low", gate.command("t"), named("runs")).await;
    let_others_run().await;
    submit_with(&manager, "low", nothing("t"), named("waits").with_key("k")).await;
    manager.pause_lane("urgent").expect("it exists");
    manager.pause_key("b");
    manager.pause_key("a");
    let snapshot = manager.snapshot();
    let mut value = serde_json::to_value(&snapshot).expect("plain data");
    for command in value["commands"].as_array_mut().expect("a list") {
        assert!(command["age_ms"].take().is_number());
    }
    assert!(value["taken_at"].take().is_string());
    assert_eq!(
        value,
        json!({
            "taken_at": null,
            "started": true,
            "shutting_down": false,
            "total_limit": 5,
            "pending": 1,
            "active": 1,
            "paused_keys": ["a", "b"],
            "lanes": [
                {"id": "urgent", "priority": 1, "effective_priority": 1, "pending": 0, "active": 0, "min": 0,
                 "max": 1, "paused": true},
                {"id": "low", "priority": 9, "effective_priority": 9, "pending": 1, "active": 1, "min": 0,
                 "max": 1, "paused": false},
            ],
            "commands": [
                {"key": null, "command_id": "runs", "lane_id": "low", "status": "running", "attempts": 1,
                 "age_ms": null, "reasons": []},
                {"key": "k", "command_id": "waits", "lane_id": "low", "status": "pending", "attempts": 0,
                 "age_ms": null, "reasons": [{"reason": "lane_full", "max": 1, "running": ["runs"]}]},
            ],
        })
    );
    let text = serde_json::to_string(&snapshot).expect("plain data");
    let back: Snapshot = serde_json::from_str(&text).expect("what we wrote");
    assert_eq!(back, snapshot);
    let explanation = manager.explain("waits").expect("it waits");
    let text = serde_json::to_string(&explanation).expect("plain data");
    let back: Explanation = serde_json::from_str(&text).expect("what we wrote");
    assert_eq!(back, explanation);
    manager.shutdown().await;
    assert!(manager.snapshot().shutting_down);
    gate.open();
}

/// A lane that many commands hold names the first sixteen.
#[tokio::test(start_paused = true)]
async fn an_explanation_has_a_bounded_size() {
    let manager = started(LaneConfig::new(0, 40)).await;
    for number in 0..40 {
        submit_with(&manager, "only", endless("t"), named(&format!("c{number}"))).await;
    }
    let waits = submit_with(&manager, "only", nothing("t"), named("waits")).await;
    let_others_run().await;
    let explanation = waits.explain().expect("it waits");
    let [WaitReason::LaneFull { max: 40, running }] = &explanation.reasons[..] else {
        panic!("{explanation}");
    };
    let expected: Vec<String> = (0..16).map(|number| format!("c{number}")).collect();
    assert_eq!(*running, expected);
}

/// Between the end of its time to live and the moment at which it leaves.
#[tokio::test(start_paused = true)]
async fn a_command_that_is_too_old_is_about_to_leave() {
    let clock = ManualClock::new();
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager.pause_lane("only").expect("it exists");
    let old = named("old").with_ttl(Duration::from_secs(5));
    let old = submit_with(&manager, "only", nothing("t"), old).await;
    clock.advance(Duration::from_secs(5) - Duration::from_nanos(1));
    assert_eq!(reasons(&old), ["lane_paused"]);
    // Nobody else has a turn between these two.
    clock.advance(Duration::from_nanos(1));
    let explanation = manager.explain("old").expect("it is still there");
    assert!(
        explanation.reasons.contains(&WaitReason::Expired),
        "{explanation}"
    );
    assert!(
        explanation
            .to_string()
            .contains("its time to live has run out")
    );
    let error = settled(&old).await.expect_err("nothing started it");
    assert_eq!(error.code(), "EXPIRED");
    assert!(manager.explain("old").is_none());
}

/// Where the command is at this moment, also when nobody was told of a change.
#[tokio::test(start_paused = true)]
async fn a_command_whose_delay_is_over_is_pending() {
    let manager = started(LaneConfig::new(0, 1)).await;
    manager.pause_lane("only").expect("it is there");
    let options = SubmitOptions::new().with_delay(Duration::from_millis(1));
    let handle = submit_with(&manager, "only", nothing("t"), options).await;
    assert_eq!(handle.status(), CommandStatus::Delayed);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let explained = handle.explain().expect("it has not settled");
    assert_eq!(explained.status, CommandStatus::Pending);
    assert_eq!(handle.status(), CommandStatus::Pending);
}

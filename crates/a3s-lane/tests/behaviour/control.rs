//! Control of lanes at run time.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::testing::ManualClock;
use a3s_lane::{
    CommandStatus, Lane, LaneConfig, LaneError, LaneOptions, PriorityBoostConfig, QueueManager,
    RateLimitConfig, RetryPolicy, StopReason, SubmitOptions, WaitReason,
};
use serde_json::{Value, json};

use crate::support::{
    Gate, Log, builder_with, endless, failing, finish, let_others_run, manager_with, nothing,
    outcome, reaches, reasons, settled, started, started_with, submit, submit_with, within, words,
};

fn set(manager: &QueueManager, config: LaneConfig, options: LaneOptions) {
    manager
        .set_lane("only", config, options, 0)
        .expect("the settings are right");
}

#[tokio::test(start_paused = true)]
async fn a_live_lane_takes_new_settings() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let first = submit_with(&manager, "only", endless("first"), SubmitOptions::new()).await;
    let second = submit_with(&manager, "only", endless("second"), SubmitOptions::new()).await;
    reaches(&first, CommandStatus::Running).await;
    assert_eq!(reasons(&second), ["lane_full"]);
    // More slots, and a time limit for those who start from now on.
    let limit = Duration::from_secs(5);
    set(
        &manager,
        LaneConfig::new(0, 2).with_timeout(limit),
        LaneOptions::new(),
    );
    let error = settled(&second).await.expect_err("it is cut off");
    assert_eq!(error.code(), "TIMEOUT");
    tokio::time::sleep(limit * 2).await;
    assert_eq!(
        first.status(),
        CommandStatus::Running,
        "it keeps the limits that it started with"
    );
    // Fewer slots: what runs goes on.
    set(
        &manager,
        LaneConfig::new(0, 1),
        LaneOptions::new().with_max_pending(1),
    );
    let third = submit_with(&manager, "only", nothing("third"), SubmitOptions::new()).await;
    assert_eq!(reasons(&third), ["lane_full"]);
    let refused = manager
        .submit_with("only", nothing("fourth"), SubmitOptions::new())
        .await;
    assert_eq!(refused.expect_err("it is full").error().code(), "LANE_FULL");
    assert!(first.cancel());
    settled(&third).await.expect("it runs");
}

/// What is not given is at its default again.
#[tokio::test(start_paused = true)]
async fn set_lane_replaces_all_settings() {
    let retry = RetryPolicy::fixed(5, Duration::ZERO);
    let config = LaneConfig::new(0, 1)
        .with_retry_policy(retry)
        .with_rate_limit(RateLimitConfig::new(1, Duration::from_secs(1_000)));
    let manager = started(config).await;
    set(&manager, LaneConfig::new(0, 1), LaneOptions::new());
    let mut stream = manager.subscribe();
    for _ in 0..2 {
        let failed = submit(&manager, "only", failing("t")).await;
        within(failed)
            .await
            .expect("resolved")
            .expect_err("it fails");
    }
    let words = words(&finish(&manager, &mut stream).await);
    assert!(
        !words.iter().any(|word| word.starts_with("retry")),
        "{words:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_change_nothing() {
    let manager = started(LaneConfig::new(0, 2)).await;
    manager.set_max_concurrency(Some(3)).expect("it fits");
    for (config, options, text) in [
        (LaneConfig::new(0, 0), LaneOptions::new(), "lane \"only\""),
        (LaneConfig::new(3, 2), LaneOptions::new(), "lane \"only\""),
        (
            LaneConfig::new(0, 1),
            LaneOptions::new().with_max_pending(0),
            "max_pending",
        ),
        (
            LaneConfig::new(0, 1),
            LaneOptions::new().with_burst(1),
            "burst",
        ),
        (
            LaneConfig::new(0, 1),
            LaneOptions::new().with_limiter("nobody"),
            "limiter",
        ),
        (
            LaneConfig::new(4, 4),
            LaneOptions::new(),
            "max_concurrency of the manager",
        ),
    ] {
        let error = manager
            .set_lane("only", config, options, 7)
            .expect_err("it is wrong");
        assert_eq!(error.code(), "CONFIG_ERROR");
        assert!(error.to_string().contains(text), "{error}");
    }
    let error = manager
        .set_max_concurrency(Some(0))
        .expect_err("it is wrong");
    assert!(error.to_string().contains("at least 1 (got 0)"), "{error}");
    let snapshot = manager.snapshot();
    let lane = &snapshot.lanes[0];
    assert_eq!(
        (lane.max, lane.priority, snapshot.total_limit),
        (2, 0, Some(3))
    );
}

#[tokio::test(start_paused = true)]
async fn a_total_below_what_runs_stops_nothing() {
    let manager = started(LaneConfig::new(0, 4)).await;
    let gate = Gate::new();
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(submit_with(&manager, "only", gate.command("t"), SubmitOptions::new()).await);
    }
    reaches(&handles[2], CommandStatus::Running).await;
    manager.set_max_concurrency(Some(1)).expect("no minimums");
    let last = submit_with(&manager, "only", gate.command("last"), SubmitOptions::new()).await;
    for running in (1..=4).rev() {
        let_others_run().await;
        assert_eq!(manager.snapshot().active, running);
        let waits = last.explain().expect("it waits").reasons;
        assert!(
            waits.contains(&WaitReason::TotalReached { total: 1 }),
            "{waits:?}"
        );
        gate.let_through(1);
        let_others_run().await;
    }
    assert_eq!(last.status(), CommandStatus::Running);
    gate.open();
    settled(&last).await.expect("it runs");
}

#[tokio::test(start_paused = true)]
async fn pauses_are_told_once_and_by_lane() {
    let lane = |id| (id, LaneConfig::new(0, 1), 0);
    let manager = manager_with(&[lane("x"), lane("y")]).await;
    manager.start().await.expect("starts");
    let mut stream = manager.subscribe();
    for _ in 0..2 {
        manager.pause_lane("x").expect("it exists");
    }
    manager.pause_key("k");
    let held = submit(&manager, "x", nothing("held")).await;
    let free = submit(&manager, "y", nothing("free")).await;
    outcome(free).await.expect("it runs");
    for _ in 0..2 {
        manager.resume_lane("x").expect("it exists");
    }
    outcome(held).await.expect("it runs");
    let error = manager.pause_lane("nope").expect_err("unknown");
    assert_eq!(error.code(), "LANE_NOT_FOUND");
    assert_eq!(
        manager.resume_lane("nope").expect_err("unknown").code(),
        "LANE_NOT_FOUND"
    );
    let events = finish(&manager, &mut stream).await;
    assert_eq!(
        words(&events)[..8],
        [
            "lane.paused x",
            "submitted x",
            "submitted y",
            "started free",
            "completed free",
            "lane.resumed x",
            "started held",
            "completed held"
        ]
    );
    let payload = serde_json::to_value(&events[0].payload).expect("plain data");
    assert_eq!(payload, json!({"lane_id": "x"}));
}

/// Also for commands that come later, in lanes that come later.
#[tokio::test(start_paused = true)]
async fn a_paused_key_stays_paused() {
    let manager = started(LaneConfig::new(0, 1)).await;
    manager.pause_key("k");
    let keyed = || SubmitOptions::new().with_key("k");
    manager
        .set_lane("new", LaneConfig::new(0, 1), LaneOptions::new(), 0)
        .expect("the settings are right");
    let first = submit_with(&manager, "only", nothing("t"), keyed()).await;
    let second = submit_with(&manager, "new", nothing("t"), keyed()).await;
    let_others_run().await;
    assert_eq!(
        (reasons(&first), reasons(&second)),
        (vec!["key_paused".to_owned()], vec!["key_paused".to_owned()])
    );
    assert_eq!(manager.snapshot().paused_keys, ["k"]);
    // Others run, and a key of the same lane too.
    let other = submit_with(
        &manager,
        "only",
        nothing("t"),
        SubmitOptions::new().with_key("l"),
    )
    .await;
    settled(&other).await.expect("it runs");
    manager.resume_key("k");
    settled(&first).await.expect("it runs");
    settled(&second).await.expect("it runs");
    assert!(manager.snapshot().paused_keys.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lane_with_commands_cannot_be_removed() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let gate = Gate::new();
    let running = submit(&manager, "only", gate.command("running")).await;
    let waiting = submit(&manager, "only", nothing("waiting")).await;
    let_others_run().await;
    let error = manager.remove_lane("only").expect_err("it has commands");
    assert_eq!(
        error.to_string(),
        "Queue error: lane \"only\" must be empty to be removed (has 1 pending and 1 active commands)"
    );
    gate.open();
    outcome(running).await.expect("it runs");
    outcome(waiting).await.expect("it runs");
    manager.remove_lane("only").expect("it is empty");
    assert!(manager.snapshot().lanes.is_empty());
    assert!(manager.stats().await.expect("never fails").lanes.is_empty());
}

/// A `Lane` object outlives its place in the queue: it must not reach a lane that is not its own.
#[tokio::test(start_paused = true)]
async fn an_old_lane_handle_finds_only_its_own_lane() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let lane = Arc::new(Lane::new("mine", LaneConfig::new(0, 1), 0));
    manager.queue().register_lane(Arc::clone(&lane)).await;
    outcome(lane.enqueue(nothing("t")).await)
        .await
        .expect("it runs");
    manager.remove_lane("mine").expect("it is empty");
    let error = outcome(lane.enqueue(nothing("t")).await)
        .await
        .expect_err("it is gone");
    assert_eq!(error.code(), "LANE_NOT_FOUND");
    let status = lane.status().await;
    assert_eq!((status.pending, status.active, status.max), (0, 0, 1));
    // Another lane takes its place.
    let options = LaneOptions::new();
    manager
        .set_lane("other", LaneConfig::new(0, 1), options.clone(), 7)
        .expect("right");
    let error = outcome(lane.enqueue(nothing("t")).await)
        .await
        .expect_err("it is gone");
    assert_eq!(error.code(), "LANE_NOT_FOUND");
    manager.pause_lane("other").expect("it exists");
    submit(&manager, "other", nothing("t")).await;
    assert_eq!(lane.status().await.pending, 0);
    assert_eq!(lane.effective_priority().await, 0);
    // Back again, in another place.
    manager
        .set_lane("mine", LaneConfig::new(0, 1), options, 0)
        .expect("right");
    let mut stream = manager.subscribe();
    outcome(lane.enqueue(nothing("again")).await)
        .await
        .expect("it runs");
    manager.resume_lane("other").expect("it exists");
    let words = words(&finish(&manager, &mut stream).await);
    assert_eq!(words[..2], ["submitted mine", "started again"]);
}

/// A lane that somebody holds is as urgent as its boost makes it.
#[tokio::test(start_paused = true)]
async fn a_lane_that_is_held_says_how_urgent_it_is() {
    let clock = ManualClock::new();
    let manager = builder_with(&[("other", LaneConfig::new(0, 1), 0)])
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    let minute = Duration::from_secs(60);
    let boost = PriorityBoostConfig::new(minute).with_boost(minute / 2, 3);
    let config = LaneConfig::new(0, 1).with_priority_boost(boost);
    let lane = Arc::new(Lane::new("mine", config, 7));
    manager.queue().register_lane(Arc::clone(&lane)).await;
    let _receiver = lane.enqueue(nothing("t")).await;
    for effective in [7, 4, 0] {
        assert_eq!(lane.effective_priority().await, effective);
        assert_eq!(lane.priority().await, 7);
        clock.advance(minute / 2);
    }
}

#[tokio::test]
async fn a_lane_that_is_held_takes_nothing_after_the_shutdown() {
    let manager = manager_with(&[]).await;
    let lane = Arc::new(Lane::new("mine", LaneConfig::new(0, 1), 0));
    manager.queue().register_lane(Arc::clone(&lane)).await;
    manager.shutdown().await;
    let refused = outcome(lane.enqueue(nothing("t")).await).await;
    assert!(matches!(refused, Err(LaneError::ShutdownInProgress)));
    assert_eq!(lane.status().await.pending, 0);
}

/// Nothing starts after an orderly end, not even by a late start.
#[tokio::test(start_paused = true)]
async fn a_start_after_the_end_starts_nothing() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let gate = Gate::new();
    let log = Log::default();
    submit(&manager, "only", gate.command("running")).await;
    let_others_run().await;
    let waiting = submit_with(
        &manager,
        "only",
        log.command("waiting"),
        SubmitOptions::new(),
    )
    .await;
    let (report, ()) = tokio::join!(
        within(manager.shutdown_within(Duration::from_secs(30))),
        async {
            let_others_run().await;
            manager.start().await.expect("never fails");
            gate.open();
        }
    );
    assert_eq!(report.pending.len(), 1);
    settled(&waiting).await.expect_err("it was left");
    manager.start().await.expect("never fails");
    assert!(!manager.snapshot().started);
    assert!(log.entries().is_empty());
}

/// Whoever asks twice gets the same end.
#[tokio::test(start_paused = true)]
async fn a_second_orderly_end_has_nothing_left() {
    let manager = started_with(LaneOptions::new()).await;
    let handle = submit_with(&manager, "only", endless("t"), SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    let first = within(manager.shutdown_within(Duration::from_secs(1))).await;
    assert!(!first.is_clean());
    assert!(
        within(manager.shutdown_within(Duration::from_secs(1)))
            .await
            .is_clean()
    );
    let reason: Value = serde_json::to_value(StopReason::Shutdown).expect("plain data");
    assert_eq!(reason, "shutdown");
    let text = settled(&handle)
        .await
        .expect_err("it was stopped")
        .to_string();
    assert_eq!(
        text,
        "Queue error: the queue was shut down before the command ended"
    );
}

//! L28: registering a lane again silently drops its pending commands.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{Lane, LaneConfig, LaneError};

use crate::support::{Gate, Log, endless, eventually, manager_with, outcome, started, submit};

#[tokio::test]
async fn l28_pending_commands_stay_and_the_new_limit_applies() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..5 {
        receivers.push(submit(&manager, "only", gate.command("held")).await);
    }
    let queue = manager.queue();
    queue
        .register_lane(Arc::new(Lane::new("only", LaneConfig::new(2, 3), 0)))
        .await;
    // No submit and no finish makes these start: the change does.
    eventually("three run", async || {
        let status = &queue.status().await["only"];
        (status.active, status.pending, status.min, status.max) == (3, 2, 2, 3)
    })
    .await;
    // A lower limit lets what runs run, and starts nothing until there is room.
    queue
        .register_lane(Arc::new(Lane::new("only", LaneConfig::new(1, 1), 0)))
        .await;
    gate.let_through(1);
    eventually("one has ended", async || {
        queue.status().await["only"].active == 2
    })
    .await;
    assert_eq!(queue.status().await["only"].pending, 2);
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("none was lost");
    }
}

#[tokio::test]
async fn l28_the_new_priority_applies_to_pending_commands() {
    let lane = |id, priority| (id, LaneConfig::new(1, 1), priority);
    let manager = manager_with(&[lane("a", 1), lane("b", 2)]).await;
    let log = Log::default();
    let a = submit(&manager, "a", log.command("a")).await;
    let b = submit(&manager, "b", log.command("b")).await;
    let again = Lane::new("b", LaneConfig::new(1, 1), 0);
    manager.queue().register_lane(Arc::new(again)).await;
    manager.start().await.expect("starts");
    outcome(a).await.expect("it runs");
    outcome(b).await.expect("it runs");
    assert_eq!(log.entries(), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn l28_the_new_timeout_applies_to_the_next_attempt() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let config = LaneConfig::new(1, 1).with_timeout(Duration::from_secs(3));
    manager
        .queue()
        .register_lane(Arc::new(Lane::new("only", config, 0)))
        .await;
    let receiver = submit(&manager, "only", endless("hung")).await;
    let error = outcome(receiver).await.expect_err("it times out");
    assert!(matches!(error, LaneError::Timeout(time) if time == Duration::from_secs(3)));
}

/// Commands that wait in the new lane object come behind those of the old one.
#[tokio::test]
async fn l28_commands_of_both_lane_objects_run() {
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    let log = Log::default();
    let first = submit(&manager, "only", log.command("first")).await;
    let lane = Arc::new(Lane::new("only", LaneConfig::new(1, 1), 0));
    let second = lane.enqueue(log.command("second")).await;
    manager.queue().register_lane(Arc::clone(&lane)).await;
    let third = submit(&manager, "only", log.command("third")).await;
    manager.start().await.expect("starts");
    for receiver in [first, second, third] {
        outcome(receiver).await.expect("none was lost");
    }
    assert_eq!(log.entries(), ["first", "second", "third"]);
}

/// Registering a lane again is no way around its rate limit.
#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn l28_an_unchanged_rate_limit_does_not_refill() {
    use a3s_lane::RateLimitConfig;

    let config = || LaneConfig::new(1, 9).with_rate_limit(RateLimitConfig::per_hour(2));
    let manager = started(config()).await;
    let log = Log::default();
    for name in ["1", "2", "3"] {
        submit(&manager, "only", log.command(name)).await;
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(log.entries(), ["1", "2"]);
        let again = Lane::new("only", config(), 0);
        manager.queue().register_lane(Arc::new(again)).await;
    }
    // Half an hour after the first two, as if nothing had been registered: fractions of tokens are kept, too.
    tokio::time::sleep(Duration::from_secs(1_798)).await;
    assert_eq!(log.entries(), ["1", "2", "3"]);
}

//! L5: drain blocks, or the process exits silently, while a lane is busy.

use std::time::Duration;

use a3s_lane::{LaneConfig, LaneError, RetryPolicy};
use tracing::Level;

use crate::support::trace::Trace;
use crate::support::{Gate, eventually, failing, manager_with, outcome, started, submit, within};

/// openclaw/openclaw#10334: drain says when the queue is empty, and never before.
#[tokio::test(start_paused = true)]
async fn l05_drain_ends_when_the_last_command_does() {
    let retry = RetryPolicy::fixed(2, Duration::from_secs(10));
    let manager = started(LaneConfig::new(1, 1).with_retry_policy(retry)).await;
    let gate = Gate::new();
    let held = submit(&manager, "only", gate.command("held")).await;
    let retried = submit(&manager, "only", failing("retried")).await;
    let limit = Duration::from_secs(5);
    // Something runs.
    let drained = manager.drain(limit).await;
    assert!(matches!(drained, Err(LaneError::Timeout(time)) if time == limit));
    gate.open();
    // Nothing runs, but a retry is due later.
    let drained = manager.drain(limit).await;
    assert!(matches!(drained, Err(LaneError::Timeout(time)) if time == limit));
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_active, stats.total_pending), (0, 1));
    manager
        .drain(Duration::from_secs(60))
        .await
        .expect("two back-offs of 10 s");
    // Both are resolved by then.
    for mut receiver in [held, retried] {
        receiver
            .try_recv()
            .expect("drain waits for the receivers")
            .ok();
    }
}

/// openclaw/openclaw#54622: work that is lost is said to be.
#[tokio::test]
async fn l05_a_manager_dropped_with_work_left_settles_it_and_warns() {
    let trace = Trace::start();
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    manager.start().await.expect("starts");
    let gate = Gate::new();
    let running = submit(&manager, "only", gate.command("running")).await;
    let waiting = submit(&manager, "only", gate.command("waiting")).await;
    eventually("one runs", async || {
        manager.stats().await.expect("never fails").total_active == 1
    })
    .await;
    drop(manager);
    for receiver in [running, waiting] {
        let error = outcome(receiver).await.expect_err("the queue is gone");
        assert!(matches!(error, LaneError::QueueError(_)), "{error:?}");
    }
    let warnings = trace.said("queue ended with work left");
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].level, Level::WARN);
    assert_eq!(
        (warnings[0].field("pending"), warnings[0].field("running")),
        ("1", "1")
    );
}

#[tokio::test]
async fn l05_a_manager_dropped_without_work_says_nothing() {
    let trace = Trace::start();
    let manager = started(LaneConfig::new(1, 1)).await;
    let gate = Gate::new();
    gate.open();
    let receiver = submit(&manager, "only", gate.command("done")).await;
    outcome(receiver).await.expect("it ran");
    manager.shutdown().await;
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it is empty");
    drop(manager);
    assert!(trace.lines().iter().all(|line| line.level > Level::WARN));
}

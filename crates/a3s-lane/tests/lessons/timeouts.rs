//! L1: a hung command blocks its lane for ever.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{LaneConfig, LaneError, LaneOptions, RetryPolicy, SubmitOptions};
use serde_json::{Value, json};

use crate::support::{
    command, contextual, endless, nothing, outcome, started, started_with, submit, submit_with,
    within,
};

/// openclaw/openclaw#48488, #7630, #16331, #81335: a promise that never settles keeps its slot.
#[tokio::test(start_paused = true)]
async fn l01_a_hung_command_gives_its_slot_back_at_its_timeout() {
    let limit = Duration::from_secs(300);
    let manager = started(LaneConfig::new(1, 1).with_timeout(limit)).await;
    let hung = submit(&manager, "only", endless("hung")).await;
    let next = submit(&manager, "only", nothing("next")).await;
    let start = tokio::time::Instant::now();
    let error = outcome_later(hung).await.expect_err("it never ends");
    assert!(matches!(error, LaneError::Timeout(time) if time == limit));
    assert!(start.elapsed() >= limit && start.elapsed() < limit + Duration::from_secs(1));
    outcome(next).await.expect("the slot is free");
}

async fn outcome_later(receiver: crate::support::Receiver) -> a3s_lane::Result<Value> {
    receiver.await.expect("a receiver is always resolved")
}

/// A body that waits on its thread, where no future can be dropped, until the returned sender is dropped.
fn blocking(name: &str) -> (Box<dyn a3s_lane::Command>, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let body = command(name, move |attempt| {
        // Only the first attempt blocks.
        let receiver = receiver.lock().expect("not poisoned").take();
        async move {
            if let Some(receiver) = receiver {
                let _ = receiver.recv();
            }
            Ok(json!(attempt))
        }
    });
    (body, sender)
}

/// openclaw/openclaw#77740: whatever the handler does. A blocking body cannot be stopped, but its slot is taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l01_a_body_that_blocks_its_thread_loses_its_slot_at_its_timeout() {
    let limit = Duration::from_millis(50);
    let manager = started(LaneConfig::new(1, 1).with_timeout(limit)).await;
    let (body, blocked) = blocking("blocked");
    let hung = submit(&manager, "only", body).await;
    let error = outcome(hung).await.expect_err("it is cut off");
    assert!(matches!(error, LaneError::Timeout(time) if time == limit));
    let next = submit(&manager, "only", nothing("next")).await;
    outcome(next)
        .await
        .expect("runs while the first still blocks");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("the blocked body is no work of the queue any more");
    drop(blocked);
}

/// The retry of a blocked attempt does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l01_a_blocked_attempt_does_not_hold_up_its_retry() {
    let config = LaneConfig::new(1, 1)
        .with_timeout(Duration::from_millis(50))
        .with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
    let manager = started(config).await;
    let (body, blocked) = blocking("blocked");
    let receiver = submit(&manager, "only", body).await;
    assert_eq!(outcome(receiver).await.expect("the retry"), 2);
    drop(blocked);
}

/// The result of an attempt that comes too late changes nothing: the command settled once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l01_a_late_result_is_ignored() {
    let config = LaneConfig::new(1, 1).with_timeout(Duration::from_millis(50));
    let manager = started(config).await;
    let mut stream = manager.subscribe();
    let (body, blocked) = blocking("late");
    let receiver = submit(&manager, "only", body).await;
    outcome(receiver).await.expect_err("it is cut off");
    drop(blocked);
    let events = crate::support::finish(&manager, &mut stream).await;
    assert_eq!(
        crate::support::words(&events),
        [
            "submitted only",
            "started late",
            "timeout late",
            "shutdown.started",
            "shutdown.complete"
        ]
    );
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_active, stats.total_pending), (0, 0));
}

/// openclaw/openclaw#77740: a wall-clock limit alone is no cure. A long command that shows signs of life goes on, a hung one
/// does not, and both limits can be set side by side.
#[tokio::test(start_paused = true)]
async fn l01_a_progress_timeout_tells_a_hung_command_from_a_long_one() {
    let quiet = Duration::from_secs(60);
    let manager = started_with(LaneOptions::new().with_progress_timeout(quiet)).await;
    let long = contextual("long", |context| async move {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(59)).await;
            context.heartbeat();
        }
        Ok(json!("ended"))
    });
    let long = submit_with(&manager, "only", long, SubmitOptions::new()).await;
    assert_eq!(
        long.result().await.expect("it gives signs of life"),
        "ended"
    );
    let hung = submit_with(&manager, "only", endless("hung"), SubmitOptions::new()).await;
    let next = submit(&manager, "only", nothing("next")).await;
    let error = hung.result().await.expect_err("it never ends");
    assert!(matches!(error, LaneError::Stalled(limit) if limit == quiet));
    outcome(next).await.expect("the slot is free");
    // The earlier of the two limits counts.
    for (limit, code) in [(59, "TIMEOUT"), (61, "STALLED")] {
        let both = SubmitOptions::new().with_timeout(Duration::from_secs(limit));
        let handle = submit_with(&manager, "only", endless("both"), both).await;
        assert_eq!(handle.result().await.expect_err("cut off").code(), code);
    }
}

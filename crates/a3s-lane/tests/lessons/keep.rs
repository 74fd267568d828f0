//! What the existing package does right, and must stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use a3s_lane::{LaneConfig, LaneError};
use serde_json::Value;

use crate::support::{Gate, command, manager_with, nothing, outcome, started, submit};

#[tokio::test]
async fn keep_an_unknown_lane_is_lane_not_found() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let refused = manager.submit("nope", nothing("t")).await;
    assert!(matches!(refused, Err(LaneError::LaneNotFound(lane)) if lane == "nope"));
}

#[tokio::test]
async fn keep_a_submit_before_the_start_waits_and_then_runs() {
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    let mut receiver = submit(&manager, "only", nothing("t")).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(receiver.try_recv().is_err(), "it waits");
    manager.start().await.expect("starts");
    outcome(receiver).await.expect("it runs");
}

#[tokio::test]
async fn keep_queued_work_completes_after_a_failed_drain() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let gate = Gate::new();
    let running = submit(&manager, "only", gate.command("running")).await;
    let queued = submit(&manager, "only", nothing("queued")).await;
    manager
        .drain(Duration::from_millis(5))
        .await
        .expect_err("it is busy");
    gate.open();
    outcome(running).await.expect("it goes on");
    outcome(queued).await.expect("it runs");
}

/// Tells when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn keep_an_async_body_is_dropped_at_its_timeout() {
    let config = LaneConfig::new(1, 1).with_timeout(Duration::from_secs(1));
    let manager = started(config).await;
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let body = command("t", move |_| {
        let guard = Dropped(Arc::clone(&flag));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(Value::Null)
        }
    });
    let receiver = submit(&manager, "only", body).await;
    outcome(receiver).await.expect_err("it times out");
    assert!(dropped.load(Ordering::SeqCst), "before anybody is told");
}

#[tokio::test]
async fn keep_dropping_a_receiver_does_not_cancel() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let (gate, ran) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let (held, flag) = (gate.clone(), Arc::clone(&ran));
    let body = command("t", move |_| {
        let (gate, flag) = (held.clone(), Arc::clone(&flag));
        async move {
            gate.pass().await;
            flag.store(true, Ordering::SeqCst);
            Ok(Value::Null)
        }
    });
    drop(submit(&manager, "only", body).await);
    gate.open();
    manager
        .drain(Duration::from_secs(60))
        .await
        .expect("it ends");
    assert!(ran.load(Ordering::SeqCst));
}

//! L16: graceful shutdown hangs or loses work.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{CommandStatus, LaneConfig, QueueManager, RetryPolicy, Storage, SubmitOptions};
use tokio::time::Instant;

use crate::support::shelf::Shelf;
use crate::support::{
    Gate, builder_with, endless, failing, let_others_run, nothing, reaches, settled, submit_with,
    within,
};

async fn stored(shelf: &Arc<Shelf>) -> QueueManager {
    let retry = RetryPolicy::fixed(1, Duration::from_secs(1_000));
    let manager = builder_with(&[("only", LaneConfig::new(0, 3).with_retry_policy(retry), 0)])
        .with_storage(Arc::clone(shelf) as Arc<dyn Storage>)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

/// celery/celery#2700, #7339, #8417, geofmureithi/apalis#253. One contract: nothing new is let in, nothing more starts, what
/// runs may end until the deadline, then it is stopped; what has not ended stays stored, without a counted attempt.
#[tokio::test(start_paused = true)]
async fn l16_an_orderly_end_keeps_what_it_cannot_finish() {
    let shelf = Arc::new(Shelf::default());
    let manager = stored(&shelf).await;
    let gate = Gate::new();
    let options = SubmitOptions::new;
    let ends = submit_with(&manager, "only", gate.command("ends"), options()).await;
    let hangs = submit_with(&manager, "only", endless("hangs"), options()).await;
    let retries = submit_with(&manager, "only", failing("retries"), options()).await;
    reaches(&hangs, CommandStatus::Running).await;
    reaches(&retries, CommandStatus::Delayed).await;
    let third = submit_with(&manager, "only", endless("third"), options()).await;
    reaches(&third, CommandStatus::Running).await;
    let waits = submit_with(&manager, "only", nothing("waits"), options()).await;
    let limit = Duration::from_secs(30);
    let start = Instant::now();
    let (report, ()) = tokio::join!(within(manager.shutdown_within(limit)), async {
        let_others_run().await;
        let refused = manager.submit("only", nothing("late")).await;
        assert_eq!(
            refused.expect_err("it is too late").code(),
            "SHUTDOWN_IN_PROGRESS"
        );
        gate.open();
    });
    assert!(start.elapsed() >= limit && start.elapsed() < limit + Duration::from_secs(1));
    settled(&ends).await.expect("it had the time");
    let left = |left: &[a3s_lane::Leftover]| -> Vec<(String, u32)> {
        left.iter()
            .map(|left| (left.command_type.clone(), left.attempts))
            .collect()
    };
    let mut stopped = left(&report.stopped);
    stopped.sort_unstable();
    assert_eq!(stopped, [("hangs".to_owned(), 0), ("third".to_owned(), 0)]);
    assert_eq!(
        left(&report.pending),
        [("retries".to_owned(), 1), ("waits".to_owned(), 0)]
    );
    assert!(
        report
            .stopped
            .iter()
            .any(|left| left.command_id == hangs.id())
    );
    for handle in [&hangs, &third, &retries, &waits] {
        assert_eq!(
            settled(handle).await.expect_err("it was left").code(),
            "QUEUE_ERROR"
        );
    }
    // All that was left, and nothing else, waits for the next start.
    let mut kept = shelf.stored();
    kept.sort_unstable();
    assert_eq!(kept, ["hangs", "retries", "third", "waits"]);
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left in memory");
}

/// With nothing to wait for it does not wait.
#[tokio::test(start_paused = true)]
async fn l16_an_orderly_end_takes_no_longer_than_the_work() {
    let manager = stored(&Arc::new(Shelf::default())).await;
    let body = crate::support::command("t", |_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(serde_json::Value::Null)
    });
    let handle = submit_with(&manager, "only", body, SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    let start = Instant::now();
    let report = within(manager.shutdown_within(Duration::from_secs(3_600))).await;
    assert!(report.is_clean());
    assert!(start.elapsed() <= Duration::from_secs(6));
}

/// A last attempt that fails leaves a retry that will not come: that does not hold up the end.
#[tokio::test(start_paused = true)]
async fn l16_a_failed_last_attempt_does_not_hold_up_the_end() {
    let manager = stored(&Arc::new(Shelf::default())).await;
    let gate = Gate::new();
    let held = gate.clone();
    let body = crate::support::command("t", move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Err(a3s_lane::LaneError::CommandError("no".to_owned()))
        }
    });
    let handle = submit_with(&manager, "only", body, SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    let start = Instant::now();
    let (report, ()) = tokio::join!(
        within(manager.shutdown_within(Duration::from_secs(3_600))),
        async {
            let_others_run().await;
            gate.open();
        }
    );
    assert_eq!(report.pending.len(), 1);
    assert!(start.elapsed() < Duration::from_secs(1));
}

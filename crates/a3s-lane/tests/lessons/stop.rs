//! L4: stop is ignored while something runs.

use std::time::Duration;

use a3s_lane::{CommandStatus, LaneConfig, LaneOptions, SubmitOptions};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{
    builder_with, contextual, endless, let_others_run, manager_with, nothing, outcome, reaches,
    settled, started_with, submit, submit_with,
};

/// openclaw/openclaw#83693, #25723, #20600: a saturated lane of work does not hold up the lane of control.
#[tokio::test(start_paused = true)]
async fn l04_control_runs_while_everything_else_is_busy() {
    let lanes = [
        ("control", LaneConfig::new(1, 1), 1),
        ("prompt", LaneConfig::new(0, 2), 5),
    ];
    let manager = builder_with(&lanes)
        .with_max_concurrency(3)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    for _ in 0..1_000 {
        submit(&manager, "prompt", endless("generate")).await;
    }
    let_others_run().await;
    let start = Instant::now();
    for _ in 0..100 {
        let stop = submit(&manager, "control", nothing("stop")).await;
        outcome(stop).await.expect("it runs");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// openclaw/openclaw#11423, #82293: what runs stops at once, what waits never starts, and the slot is free.
#[tokio::test(start_paused = true)]
async fn l04_a_cancel_reaches_running_and_waiting_work() {
    let manager = manager_with(&[("prompt", LaneConfig::new(0, 1), 5)]).await;
    manager.start().await.expect("starts");
    let running = submit_with(&manager, "prompt", endless("running"), SubmitOptions::new()).await;
    reaches(&running, CommandStatus::Running).await;
    let_others_run().await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting
            .push(submit_with(&manager, "prompt", endless("waiting"), SubmitOptions::new()).await);
    }
    let start = Instant::now();
    assert_eq!(manager.cancel_lane("prompt").expect("it exists"), 101);
    for handle in waiting.iter().chain([&running]) {
        assert_eq!(
            settled(handle).await.expect_err("cancelled").code(),
            "CANCELLED"
        );
    }
    let next = submit(&manager, "prompt", nothing("next")).await;
    outcome(next).await.expect("the slot is free");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// openclaw/openclaw#84564: a command that wants to end well is asked first, and hears it at once.
#[tokio::test(start_paused = true)]
async fn l04_a_running_command_hears_the_cancel_at_once() {
    let grace = Duration::from_secs(10);
    let manager = started_with(LaneOptions::new().with_grace(grace)).await;
    let body = contextual("polite", |context| async move {
        context.cancellation().cancelled().await;
        let heard = Instant::now();
        sleep(Duration::from_secs(1)).await;
        context.emit(heard.elapsed().as_secs());
        Ok(json!("partial answer"))
    });
    let handle = submit_with(&manager, "only", body, SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    assert!(handle.cancel());
    assert_eq!(
        settled(&handle).await.expect("it ends well"),
        "partial answer"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// A more urgent lane that lacks only the shared slots does not wait for what runs.
#[tokio::test(start_paused = true)]
async fn l04_urgent_work_preempts_what_runs() {
    let lanes = [
        ("control", LaneConfig::new(0, 4), 1),
        ("prompt", LaneConfig::new(0, 4), 5),
    ];
    let manager = builder_with(&lanes)
        .with_lane_options("prompt", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(4)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let mut prompts = Vec::new();
    for _ in 0..4 {
        prompts.push(
            submit_with(
                &manager,
                "prompt",
                endless("generate"),
                SubmitOptions::new(),
            )
            .await,
        );
    }
    reaches(&prompts[3], CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    let stop = submit_with(&manager, "control", endless("stop"), SubmitOptions::new()).await;
    reaches(&stop, CommandStatus::Running).await;
    assert!(start.elapsed() <= Duration::from_millis(1));
    let still: Vec<bool> = prompts
        .iter()
        .map(|prompt| prompt.status() == CommandStatus::Running)
        .collect();
    assert_eq!(
        still,
        [true, true, true, false],
        "only the youngest had to go"
    );
}

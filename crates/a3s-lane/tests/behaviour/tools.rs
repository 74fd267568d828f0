//! The tools that `testing` gives to users' own tests.

use std::time::Duration;

use a3s_lane::testing::{ManualClock, SubmissionLog};
use a3s_lane::{CommandStatus, LaneConfig, LaneOptions, SubmitOptions};
use tokio::time::Instant;

use crate::support::{
    builder_with, endless, let_others_run, nothing, outcome, reaches, settled, submit, submit_with,
};

fn only() -> [(&'static str, LaneConfig, u8); 1] {
    [("only", LaneConfig::new(0, 1), 0)]
}

/// Tokio's time does not count, and the clock's does.
#[tokio::test(start_paused = true)]
async fn a_manual_clock_is_the_time_of_the_queue() {
    let clock = ManualClock::new();
    let manager = builder_with(&only())
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let hour = Duration::from_secs(3_600);
    let delayed = SubmitOptions::new().with_delay(hour);
    let delayed = submit_with(&manager, "only", nothing("t"), delayed).await;
    tokio::time::sleep(hour * 2).await;
    assert_eq!(delayed.status(), CommandStatus::Delayed);
    let start = Instant::now();
    clock.advance(hour - Duration::from_nanos(1));
    let_others_run().await;
    assert_eq!(delayed.status(), CommandStatus::Delayed);
    clock.advance(Duration::from_nanos(1));
    settled(&delayed).await.expect("it runs");
    let limited = SubmitOptions::new().with_timeout(hour);
    let limited = submit_with(&manager, "only", endless("t"), limited).await;
    reaches(&limited, CommandStatus::Running).await;
    clock.advance(hour);
    assert_eq!(
        settled(&limited).await.expect_err("cut off").code(),
        "TIMEOUT"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(clock.elapsed(), hour * 2);
}

/// What can run has run when the submission returns.
#[tokio::test(start_paused = true)]
async fn an_inline_queue_has_run_what_was_submitted() {
    for inline in [false, true] {
        let manager = builder_with(&only())
            .with_inline(inline)
            .build()
            .await
            .expect("built");
        manager.start().await.expect("starts");
        let handle = submit_with(&manager, "only", nothing("t"), SubmitOptions::new()).await;
        assert_eq!(handle.status().is_settled(), inline);
        settled(&handle).await.expect("it runs");
        let receiver = submit(&manager, "only", nothing("t")).await;
        outcome(receiver).await.expect("it runs");
    }
}

/// What is accepted, however it is submitted, in its order; not what is refused.
#[tokio::test(start_paused = true)]
async fn a_submission_log_holds_what_was_accepted() {
    let log = SubmissionLog::new();
    let manager = builder_with(&only())
        .with_lane_options("only", LaneOptions::new().with_max_pending(3))
        .with_submission_log(log.clone())
        .build()
        .await
        .expect("built");
    submit(&manager, "only", nothing("plain")).await;
    submit_with(&manager, "only", nothing("options"), SubmitOptions::new()).await;
    let many = ["many", "full"].map(|name| (nothing(name), SubmitOptions::new()));
    let answers = manager.submit_many("only", Vec::from(many)).await;
    assert!(answers[0].is_ok() && answers[1].is_err());
    assert!(manager.submit("nope", nothing("lost")).await.is_err());
    let types: Vec<_> = log
        .submitted()
        .into_iter()
        .map(|submitted| submitted.command_type)
        .collect();
    assert_eq!(types, ["plain", "options", "many"]);
    log.assert_not_submitted("only", "full");
}

//! The tools that `testing` gives to users' own tests.

use std::time::Duration;

use a3s_lane::testing::{ManualClock, SubmissionLog, drain_now};
use a3s_lane::{
    Command, CommandStatus, JsonCommand, LaneConfig, LaneError, LaneOptions, Result, RetryPolicy,
    SubmitOptions,
};
#[cfg(feature = "distributed")]
use a3s_lane::{PriorityBoostConfig, RateLimitConfig};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

#[cfg(feature = "distributed")]
use crate::support::reasons;

use crate::support::trace::Trace;
use crate::support::{
    Log, builder_with, command, endless, let_others_run, nothing, outcome, reaches, settled,
    submit, submit_with, within,
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

/// What a command says of itself is the user's code: that it panics costs what it would have said.
#[tokio::test(start_paused = true)]
async fn a_command_that_panics_when_it_is_asked_what_it_is_runs_all_the_same() {
    struct Shy;

    #[async_trait]
    impl Command for Shy {
        async fn execute(&self) -> Result<Value> {
            Ok(json!("done"))
        }
        fn command_type(&self) -> &str {
            panic!("no type")
        }
        fn payload(&self) -> Option<Value> {
            panic!("no payload")
        }
    }

    // Also by a subscriber of spans.
    let _trace = Trace::start();
    let log = SubmissionLog::new();
    let manager = builder_with(&only())
        .with_submission_log(log.clone())
        .build()
        .await
        .expect("built");
    let mut stream = manager.subscribe();
    let receiver = submit(&manager, "only", Box::new(Shy)).await;
    manager.start().await.expect("starts");
    assert_eq!(outcome(receiver).await.expect("it runs"), json!("done"));
    let noted = &log.submitted()[0];
    assert_eq!((&*noted.command_type, &noted.payload), ("", &None));
    let keys = [
        within(stream.recv()).await.expect("submitted").key,
        within(stream.recv()).await.expect("started").key,
    ];
    assert_eq!(keys, ["queue.command.submitted", "queue.command.started"]);
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it is empty");

    // Also one that is left in the end.
    manager.pause_lane("only").expect("it exists");
    let left = submit(&manager, "only", Box::new(Shy)).await;
    let report = within(manager.shutdown_within(Duration::ZERO)).await;
    assert_eq!(report.pending[0].command_type, "");
    outcome(left).await.expect_err("its queue has ended");
}

/// It runs what is ready, then what waits for a time, and says how many it could not start.
#[tokio::test(start_paused = true)]
async fn drain_now_runs_what_waits_and_counts_what_cannot_run() {
    let clock = ManualClock::new();
    let lanes =
        [("only", 1), ("paused", 2)].map(|(id, priority)| (id, LaneConfig::new(0, 1), priority));
    let manager = builder_with(&lanes)
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    let log = Log::default();
    let hour = Duration::from_secs(3_600);
    let at = |hours: u32| SubmitOptions::new().with_delay(hour * hours);
    submit_with(&manager, "only", log.command("later"), at(2)).await;
    submit_with(&manager, "only", log.command("soon"), at(1)).await;
    submit_with(&manager, "only", log.command("now"), SubmitOptions::new()).await;
    let flaky = log.clone();
    let flaky = command("t", move |attempt| {
        flaky.push(format!("attempt {attempt}"));
        async move {
            match attempt {
                1 => Err(LaneError::CommandError("once".to_owned())),
                _ => Ok(Value::Null),
            }
        }
    });
    let retried = at(3).with_retry_policy(RetryPolicy::fixed(1, hour));
    submit_with(&manager, "only", flaky, retried).await;
    manager.pause_lane("paused").expect("it exists");
    for _ in 0..2 {
        submit_with(
            &manager,
            "paused",
            log.command("never"),
            SubmitOptions::new(),
        )
        .await;
    }
    manager.start().await.expect("starts");
    assert_eq!(within(drain_now(&manager)).await, 2);
    assert_eq!(
        log.entries(),
        ["now", "soon", "later", "attempt 1", "attempt 2"]
    );
    assert_eq!(clock.elapsed(), hour * 4);

    manager.resume_lane("paused").expect("it exists");
    assert_eq!(within(drain_now(&manager)).await, 0);
    assert_eq!(log.entries()[5..], ["never", "never"]);
    assert_eq!(clock.elapsed(), hour * 4, "nothing waited for a time");
}

async fn log_of_one() -> SubmissionLog {
    let log = SubmissionLog::new();
    let manager = builder_with(&only())
        .with_submission_log(log.clone())
        .build()
        .await
        .expect("built");
    let command = JsonCommand::new("mail", json!({"to": "ann"}));
    submit(&manager, "only", Box::new(command)).await;
    log
}

#[tokio::test(start_paused = true)]
async fn assert_submitted_returns_what_it_found() {
    let found = log_of_one().await.assert_submitted("only", "mail");
    assert_eq!((&*found.lane_id, &*found.command_type), ("only", "mail"));
    assert_eq!(found.payload, Some(json!({"to": "ann"})));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = r#"no "letter" was submitted to "only", only [("only", "mail")]"#)]
async fn assert_submitted_fails_for_another_type() {
    log_of_one().await.assert_submitted("only", "letter");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = r#"no "mail" was submitted to "other""#)]
async fn assert_submitted_fails_for_another_lane() {
    log_of_one().await.assert_submitted("other", "mail");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "was submitted")]
async fn assert_not_submitted_fails_for_what_was_submitted() {
    let log = log_of_one().await;
    log.assert_not_submitted("only", "letter");
    log.assert_not_submitted("other", "mail");
    log.assert_not_submitted("only", "mail");
}

#[tokio::test(start_paused = true)]
async fn a_manual_clock_moves_the_time_to_live() {
    let clock = ManualClock::new();
    let manager = builder_with(&only())
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager.pause_lane("only").expect("it exists");
    let hour = Duration::from_secs(3_600);
    let ttl = SubmitOptions::new().with_ttl(hour);
    let handle = submit_with(&manager, "only", nothing("t"), ttl).await;
    tokio::time::sleep(hour * 2).await;
    clock.advance(hour - Duration::from_nanos(1));
    let_others_run().await;
    assert_eq!(handle.status(), CommandStatus::Pending);
    clock.advance(Duration::from_nanos(1));
    let error = settled(&handle).await.expect_err("it is too old");
    assert_eq!(error.code(), "EXPIRED");
}

#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn a_manual_clock_moves_rate_limits() {
    let clock = ManualClock::new();
    let hourly = RateLimitConfig::new(1, Duration::from_secs(3_600));
    let lane = LaneConfig::new(0, 1).with_rate_limit(hourly);
    let manager = builder_with(&[("only", lane, 0)])
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let first = submit_with(&manager, "only", nothing("t"), SubmitOptions::new()).await;
    settled(&first).await.expect("the burst is one");
    let second = submit_with(&manager, "only", nothing("t"), SubmitOptions::new()).await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    clock.advance(Duration::from_secs(3_599));
    let_others_run().await;
    assert_eq!(reasons(&second), ["rate_limited"]);
    clock.advance(Duration::from_secs(1));
    settled(&second).await.expect("an hour has passed");
}

#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn a_manual_clock_moves_a_boost() {
    let clock = ManualClock::new();
    let boost = PriorityBoostConfig::standard(Duration::from_secs(60));
    let lane = LaneConfig::new(0, 1).with_priority_boost(boost);
    let manager = builder_with(&[("only", lane, 9)])
        .with_clock(clock.clone())
        .build()
        .await
        .expect("built");
    submit(&manager, "only", nothing("t")).await;
    let urgency = || manager.snapshot().lanes[0].effective_priority;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(urgency(), 9);
    clock.advance(Duration::from_secs(30));
    assert_eq!(urgency(), 7);
    clock.advance(Duration::from_secs(30));
    assert_eq!(urgency(), 0);
}

//! What the body of a command knows about its attempt.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{
    Command, CommandContext, CommandStatus, LaneConfig, LaneError, LaneOptions, QueueManager,
    Result, RetryPolicy, StopReason, SubmitOptions,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    builder_with, contextual, endless, let_others_run, nothing, reaches, settled, started_with,
    submit, submit_with, within,
};

#[tokio::test(start_paused = true)]
async fn it_names_the_command_the_lane_and_the_attempt() {
    let manager = started_with(LaneOptions::new()).await;
    let body = || {
        contextual("t", |context| async move {
            if context.attempt() == 1 {
                return Err(LaneError::CommandError("once".to_owned()));
            }
            Ok(json!([
                context.id(),
                context.lane_id(),
                context.attempt(),
                context.metadata()
            ]))
        })
    };
    let options = SubmitOptions::new()
        .with_id("order-7")
        .with_metadata("user", 1)
        .with_metadata("user", 2)
        .with_metadata("trace", "x")
        .with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
    let handle = submit_with(&manager, "only", body(), options).await;
    assert_eq!(
        settled(&handle).await.expect("the second attempt"),
        json!(["order-7", "only", 2, {"user": 2, "trace": "x"}])
    );
    let options = SubmitOptions::new().with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
    let handle = submit_with(&manager, "only", body(), options).await;
    assert_eq!(
        settled(&handle).await.expect("the second attempt"),
        json!([handle.id(), "only", 2, {}])
    );
}

/// Also without options: then the id is the one in the events.
#[tokio::test(start_paused = true)]
async fn a_plain_command_has_a_context_too() {
    let manager = started_with(LaneOptions::new()).await;
    let mut stream = manager.subscribe();
    let body = contextual("t", |context| async move {
        context.progress(1);
        context.emit(2);
        context.heartbeat();
        Ok(json!([
            context.id(),
            context.metadata(),
            context.is_cancelled()
        ]))
    });
    let receiver = submit(&manager, "only", body).await;
    let result = within(receiver).await.expect("resolved").expect("it runs");
    let events = crate::support::finish(&manager, &mut stream).await;
    let id = crate::support::field(&events[1], "command_id").expect("started names it");
    assert_eq!(result, json!([id, {}, false]));
    assert_eq!(events[2].key, "queue.command.progress");
    assert_eq!(crate::support::field(&events[2], "command_id"), Some(id));
}

#[tokio::test(start_paused = true)]
async fn it_knows_how_much_time_is_left() {
    let manager = started_with(LaneOptions::new()).await;
    let body = || {
        contextual("t", |context| async move {
            sleep(Duration::from_secs(4)).await;
            let until = context
                .deadline()
                .map(|at| (at - Instant::now()).as_secs_f64());
            Ok(json!([
                context.time_left().map(|left| left.as_secs_f64()),
                until
            ]))
        })
    };
    let limited = SubmitOptions::new().with_timeout(Duration::from_secs(10));
    let handle = submit_with(&manager, "only", body(), limited).await;
    let left = settled(&handle).await.expect("it runs");
    for left in [&left[0], &left[1]] {
        let left = left.as_f64().expect("a number");
        assert!((5.9..=6.0).contains(&left), "{left}");
    }
    let handle = submit_with(&manager, "only", body(), SubmitOptions::new()).await;
    assert_eq!(
        settled(&handle).await.expect("it runs"),
        json!([null, null])
    );
}

/// What a body was told when it was asked to stop: the reason that it saw after its token was cancelled.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Option<StopReason>>>>);

impl Told {
    /// A body that tidies up when it is asked to stop, and then does not end by itself; dropped or not, a task of its own
    /// sees the reason.
    fn body(&self) -> Box<dyn Command> {
        let told = self.clone();
        contextual("told", move |context| {
            let told = told.clone();
            async move {
                assert!(context.stop_reason().is_none());
                tokio::spawn(told.listen(context.clone()));
                std::future::pending::<Result<Value>>().await
            }
        })
    }

    async fn listen(self, context: CommandContext) {
        context.cancellation().cancelled().await;
        assert!(context.is_cancelled());
        self.0
            .lock()
            .expect("not poisoned")
            .push(context.stop_reason());
    }

    async fn reason(&self) -> Option<StopReason> {
        let_others_run().await;
        let told = self.0.lock().expect("not poisoned").clone();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0]
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_that_the_time_limit_passed() {
    let manager = started_with(LaneOptions::new()).await;
    let told = Told::default();
    let options = SubmitOptions::new().with_timeout(Duration::from_secs(1));
    let handle = submit_with(&manager, "only", told.body(), options).await;
    settled(&handle).await.expect_err("it is cut off");
    assert_eq!(told.reason().await, Some(StopReason::Deadline));
}

#[tokio::test(start_paused = true)]
async fn it_says_that_there_was_no_sign_of_life() {
    let manager = started_with(LaneOptions::new()).await;
    let told = Told::default();
    let options = SubmitOptions::new().with_progress_timeout(Duration::from_secs(1));
    let handle = submit_with(&manager, "only", told.body(), options).await;
    let error = settled(&handle).await.expect_err("it is cut off");
    assert!(matches!(error, LaneError::Stalled(limit) if limit == Duration::from_secs(1)));
    assert_eq!(told.reason().await, Some(StopReason::Stall));
}

#[tokio::test(start_paused = true)]
async fn it_says_that_it_was_cancelled() {
    for grace in [Duration::ZERO, Duration::from_secs(1)] {
        let manager = started_with(LaneOptions::new().with_grace(grace)).await;
        let told = Told::default();
        let handle = submit_with(&manager, "only", told.body(), SubmitOptions::new()).await;
        reaches(&handle, CommandStatus::Running).await;
        let_others_run().await;
        assert!(handle.cancel());
        assert_eq!(told.reason().await, Some(StopReason::Cancel));
        settled(&handle).await.expect_err("it is cancelled");
    }
}

/// One slot in total, and a lane that gives way.
async fn preemptible(grace: Duration) -> QueueManager {
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let options = LaneOptions::new().with_preemption(true).with_grace(grace);
    let manager = builder_with(&[lane("urgent", 0), lane("only", 9)])
        .with_lane_options("only", options)
        .with_max_concurrency(1)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

#[tokio::test(start_paused = true)]
async fn it_says_that_it_makes_room() {
    for grace in [Duration::ZERO, Duration::from_secs(1)] {
        let manager = preemptible(grace).await;
        let told = Told::default();
        let handle = submit_with(&manager, "only", told.body(), SubmitOptions::new()).await;
        reaches(&handle, CommandStatus::Running).await;
        let_others_run().await;
        let urgent = submit(&manager, "urgent", endless("urgent")).await;
        assert_eq!(told.reason().await, Some(StopReason::Preempt));
        reaches(&handle, CommandStatus::Pending).await;
        drop(urgent);
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_that_the_queue_ends() {
    for grace in [Duration::ZERO, Duration::from_secs(1)] {
        let manager = started_with(LaneOptions::new().with_grace(grace)).await;
        let told = Told::default();
        let handle = submit_with(&manager, "only", told.body(), SubmitOptions::new()).await;
        reaches(&handle, CommandStatus::Running).await;
        let_others_run().await;
        let report = within(manager.shutdown_within(Duration::from_secs(1))).await;
        assert_eq!(report.stopped.len(), 1);
        assert_eq!(told.reason().await, Some(StopReason::Shutdown));
    }
    // Dropped without an orderly end.
    let manager = started_with(LaneOptions::new()).await;
    let told = Told::default();
    let handle = submit_with(&manager, "only", told.body(), SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    drop(manager);
    assert_eq!(told.reason().await, Some(StopReason::Shutdown));
}

/// Of several reasons the first one counts.
#[tokio::test(start_paused = true)]
async fn the_first_reason_stays() {
    let manager = started_with(LaneOptions::new().with_grace(Duration::from_secs(10))).await;
    let told = Told::default();
    let options = SubmitOptions::new().with_timeout(Duration::from_secs(5));
    let handle = submit_with(&manager, "only", told.body(), options).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    assert!(handle.cancel());
    let_others_run().await;
    within(manager.shutdown_within(Duration::from_secs(1))).await;
    assert_eq!(told.reason().await, Some(StopReason::Cancel));
    assert_eq!(
        settled(&handle).await.expect_err("cancelled").code(),
        "CANCELLED"
    );
}

/// A command that was asked to stop before its body first waits is told as soon as it asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_never_waits_can_look() {
    let manager = started_with(LaneOptions::new().with_grace(Duration::from_secs(60))).await;
    let body = contextual("busy", |context| async move {
        while !context.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(json!(format!("{:?}", context.stop_reason())))
    });
    let handle = submit_with(&manager, "only", body, SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    assert!(handle.cancel());
    assert_eq!(
        settled(&handle).await.expect("it ends by itself"),
        "Some(Cancel)"
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_attempt_a_context_does_nothing() {
    let manager = started_with(LaneOptions::new()).await;
    let kept: Arc<Mutex<Option<CommandContext>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let body = contextual("t", move |context| {
        *keep.lock().expect("not poisoned") = Some(context);
        async { Ok(json!(1)) }
    });
    let handle = submit_with(&manager, "only", body, SubmitOptions::new()).await;
    settled(&handle).await.expect("it runs");
    let context = kept
        .lock()
        .expect("not poisoned")
        .take()
        .expect("it was kept");
    context.heartbeat();
    context.emit("late");
    context.progress("late");
    assert_eq!(
        (context.id(), context.attempt()),
        (handle.id().to_owned(), 1)
    );
    assert!(
        context.is_cancelled(),
        "whoever waits for the token goes on"
    );
    assert!(
        handle.chunks().recv().await.is_none(),
        "no chunk after the end"
    );
    let next = submit_with(&manager, "only", nothing("next"), SubmitOptions::new()).await;
    settled(&next).await.expect("the lane goes on");
}

/// A task that the body has started reports for it.
#[tokio::test(start_paused = true)]
async fn a_clone_reports_from_another_task() {
    let manager = started_with(LaneOptions::new()).await;
    let body = contextual("t", |context| async move {
        let clone = context.clone();
        let beats = tokio::spawn(async move {
            for beat in 0..5 {
                sleep(Duration::from_secs(1)).await;
                clone.progress(beat);
                clone.emit(beat);
            }
            clone.attempt()
        });
        Ok(json!(beats.await.expect("no panic")))
    });
    let options = SubmitOptions::new().with_progress_timeout(Duration::from_millis(1_500));
    let handle = submit_with(&manager, "only", body, options).await;
    assert_eq!(settled(&handle).await.expect("it gives signs of life"), 1);
    let mut chunks = handle.chunks();
    for beat in 0..5 {
        assert_eq!(chunks.recv().await.expect("a chunk").value, beat);
    }
}

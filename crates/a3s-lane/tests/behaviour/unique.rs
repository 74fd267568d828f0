//! Unique keys.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    CommandStatus, LaneConfig, LaneOptions, OnConflict, Overflow, QueueManager, Result,
    SubmitOptions, Unique,
};
use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use crate::support::shelf::Shelf;
use crate::support::{
    Gate, builder_with, command, contextual, let_others_run, nothing, reaches, settled,
    started_with, submit_with,
};

fn unique() -> Unique {
    Unique::new("u")
}

fn with(unique: Unique) -> SubmitOptions {
    SubmitOptions::new().with_unique(unique)
}

/// The code of the error with which a submission of the key is refused, if it is.
async fn refusal(manager: &QueueManager) -> Option<&'static str> {
    let answer = manager
        .submit_with("only", nothing("again"), with(unique()))
        .await;
    answer.err().map(|refused| refused.error().code())
}

fn returns(value: i32) -> Box<dyn a3s_lane::Command> {
    command("returns", move |_| async move { Ok(json!(value)) })
}

#[tokio::test(start_paused = true)]
async fn a_window_counts_from_the_submission() {
    let manager = started_with(LaneOptions::new()).await;
    let window = with(unique().with_window(Duration::from_secs(10)));
    let first = submit_with(&manager, "only", nothing("first"), window).await;
    settled(&first).await.expect("it runs");
    sleep(Duration::from_millis(9_990)).await;
    assert_eq!(refusal(&manager).await, Some("DUPLICATE"));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(refusal(&manager).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_outlives_its_window_holds_the_key_until_it_settles() {
    let manager = started_with(LaneOptions::new()).await;
    let gate = Gate::new();
    let window = with(unique().with_window(Duration::from_secs(10)));
    let first = submit_with(&manager, "only", gate.command("first"), window).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(refusal(&manager).await, Some("DUPLICATE"));
    gate.open();
    settled(&first).await.expect("it runs");
    assert_eq!(refusal(&manager).await, None);
}

/// The window that counts is that of the command that holds the key.
#[tokio::test(start_paused = true)]
async fn the_window_of_a_replaced_command_is_over() {
    let manager = started_with(LaneOptions::new()).await;
    let long = with(unique().with_window(Duration::from_secs(1_000)));
    let first = submit_with(&manager, "only", returns(1), long).await;
    settled(&first).await.expect("it runs");
    let second = with(unique().on_conflict(OnConflict::Replace));
    let second = submit_with(&manager, "only", returns(2), second).await;
    assert_eq!(settled(&second).await.expect("it runs"), 2);
    assert_eq!(first.status(), CommandStatus::Completed);
    // The second one asked for no window.
    assert_eq!(refusal(&manager).await, None);
    sleep(Duration::from_secs(2_000)).await;
    assert_eq!(refusal(&manager).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_settled_command_has_its_result_at_once() {
    let manager = started_with(LaneOptions::new()).await;
    let window = with(unique().with_window(Duration::from_secs(10)));
    let first = submit_with(&manager, "only", returns(1), window).await;
    settled(&first).await.expect("it runs");
    let join = with(unique().on_conflict(OnConflict::Join));
    let second = submit_with(&manager, "only", returns(2), join).await;
    assert_eq!(second.id(), first.id());
    assert_eq!(settled(&second).await.expect("it ran"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_key_stays_held_through_retries() {
    let retry = a3s_lane::RetryPolicy::fixed(1, Duration::from_secs(10));
    let manager = started_with(LaneOptions::new()).await;
    let body = command("t", |attempt| async move {
        match attempt {
            1 => Err(a3s_lane::LaneError::CommandError("once".to_owned())),
            _ => Ok(Value::Null),
        }
    });
    let handle = submit_with(
        &manager,
        "only",
        body,
        with(unique()).with_retry_policy(retry),
    )
    .await;
    reaches(&handle, CommandStatus::Delayed).await;
    assert_eq!(refusal(&manager).await, Some("DUPLICATE"));
    settled(&handle).await.expect("the second attempt");
    assert_eq!(refusal(&manager).await, None);
}

/// A command that was replaced while it ran may go on for its grace, and then frees nothing that is not its own.
#[tokio::test(start_paused = true)]
async fn a_replaced_command_does_not_take_the_key_with_it() {
    let manager = started_with(LaneOptions::new().with_grace(Duration::from_secs(10))).await;
    let polite = contextual("polite", |context| async move {
        context.cancellation().cancelled().await;
        sleep(Duration::from_secs(1)).await;
        Ok(json!("tidied"))
    });
    let first = submit_with(&manager, "only", polite, with(unique())).await;
    reaches(&first, CommandStatus::Running).await;
    let gate = Gate::new();
    let replace = with(unique().on_conflict(OnConflict::Replace));
    let second = submit_with(&manager, "only", gate.command("second"), replace).await;
    assert_eq!(
        settled(&first).await.expect("it completes in its grace"),
        "tidied"
    );
    assert_eq!(refusal(&manager).await, Some("DUPLICATE"));
    gate.open();
    settled(&second).await.expect("it runs");
    assert_eq!(refusal(&manager).await, None);
}

/// The key of a command whose storage takes its time.
#[tokio::test(start_paused = true)]
async fn a_window_that_ends_while_the_command_leaves_its_storage_ends() {
    let gate = Gate::new();
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_storage(Shelf::with_removals_behind(&gate) as Arc<dyn a3s_lane::Storage>)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let window =
        with(unique().with_window(Duration::from_secs(10))).with_delay(Duration::from_secs(1_000));
    let first = submit_with(&manager, "only", nothing("first"), window).await;
    assert!(first.cancel());
    let_others_run().await;
    advance(Duration::from_secs(20)).await;
    // Whether this one comes too early is not what this is about.
    let _ = refusal(&manager).await;
    gate.open();
    let _: Result<Value> = settled(&first).await;
    let_others_run().await;
    assert_eq!(refusal(&manager).await, None, "nobody holds the key");
}

/// A lane that holds more than it may since its bound was lowered, and one command that it could give up: the one to be
/// replaced.
#[tokio::test(start_paused = true)]
async fn a_replacement_that_finds_no_room_leaves_the_other_alone() {
    let manager = started_with(LaneOptions::new()).await;
    let gate = Gate::new();
    let running = submit_with(
        &manager,
        "only",
        gate.command("running"),
        SubmitOptions::new(),
    )
    .await;
    reaches(&running, CommandStatus::Running).await;
    let later = SubmitOptions::new().with_delay(Duration::from_secs(60));
    for _ in 0..2 {
        submit_with(&manager, "only", nothing("later"), later.clone()).await;
    }
    let held = submit_with(&manager, "only", returns(1), with(unique())).await;
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let options = LaneOptions::new()
            .with_max_pending(2)
            .with_overflow(overflow);
        manager
            .set_lane("only", LaneConfig::new(0, 1), options, 0)
            .expect("the settings are right");
        let replace = with(unique().on_conflict(OnConflict::Replace));
        let answer = manager.submit_with("only", returns(2), replace).await;
        let refused = answer.expect_err("there is no room without the other");
        assert_eq!(refused.error().code(), "LANE_FULL");
        assert_eq!(held.status(), CommandStatus::Pending);
    }
    gate.open();
    assert_eq!(settled(&held).await.expect("it runs"), 1);
    manager
        .drain(Duration::from_secs(120))
        .await
        .expect("nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_takes_the_room_of_the_other() {
    let options = LaneOptions::new().with_max_pending(1);
    let manager = started_with(options).await;
    let gate = Gate::new();
    let running = submit_with(
        &manager,
        "only",
        gate.command("running"),
        SubmitOptions::new(),
    )
    .await;
    reaches(&running, CommandStatus::Running).await;
    let held = submit_with(&manager, "only", returns(1), with(unique())).await;
    assert_eq!(refusal(&manager).await, Some("DUPLICATE"));
    let replace = with(unique().on_conflict(OnConflict::Replace));
    let newer = submit_with(&manager, "only", returns(2), replace).await;
    gate.open();
    assert_eq!(
        settled(&held).await.expect_err("replaced").code(),
        "CANCELLED"
    );
    assert_eq!(settled(&newer).await.expect("it runs"), 2);
}

/// Looks at the queue when it is dropped.
struct Looks(Arc<QueueManager>, std::sync::mpsc::Sender<usize>);

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.snapshot().lanes.len());
    }
}

/// It is the user's, so it is not dropped while the queue is locked.
#[tokio::test]
async fn the_command_that_another_one_stands_for_may_use_the_queue_when_it_is_dropped() {
    let manager = Arc::new(started_with(LaneOptions::new()).await);
    let gate = Gate::new();
    let joining = || with(unique().on_conflict(OnConflict::Join));
    let first = submit_with(&manager, "only", gate.command("first"), joining()).await;
    let (sender, looked) = std::sync::mpsc::channel();
    let looks = Looks(Arc::clone(&manager), sender);
    let second = command("second", move |_| {
        let _ = &looks;
        async { Ok(json!(0)) }
    });
    let submitted = Arc::clone(&manager);
    // On a thread of its own: it would stand still.
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let submission = submitted.submit_with("only", second, joining());
        let _ = runtime.block_on(submission);
    });
    let looked = tokio::task::spawn_blocking(move || looked.recv_timeout(Duration::from_secs(20)));
    assert_eq!(looked.await.expect("no panic"), Ok(1));
    gate.open();
    settled(&first).await.expect("it runs");
}

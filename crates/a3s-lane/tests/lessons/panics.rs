//! L25: a panic leaks its slot for ever, and leaves no event, no dead letter and no retry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use a3s_lane::event::events;
use a3s_lane::{Command, LaneConfig, LaneError, QueueManager, Result, RetryPolicy};
use serde_json::{Value, json};

use crate::support::{
    Gate, builder_with, command, events_until, eventually, field, nothing, outcome, started,
    submit, within,
};

/// Whether the lane still has all its slots: as many commands run at once as it allows.
async fn has_all_slots(manager: &QueueManager, slots: usize) {
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..=slots {
        receivers.push(submit(manager, "only", gate.command("held")).await);
    }
    eventually("every slot is used", async || {
        let stats = manager.stats().await.expect("never fails");
        stats.total_active == slots && stats.total_pending == 1
    })
    .await;
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("drain returns");
}

fn panicked(result: Result<Value>) -> String {
    match result {
        Err(LaneError::Panicked(text)) => text,
        other => panic!("not a panic: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_panics_free_their_slots() {
    let manager = started(LaneConfig::new(1, 2)).await;
    for round in 0..4 {
        let body = command("boom", move |_| async move {
            tokio::task::yield_now().await;
            panic!("round {round}")
        });
        let receiver = submit(&manager, "only", body).await;
        assert_eq!(panicked(outcome(receiver).await), format!("round {round}"));
    }
    has_all_slots(&manager, 2).await;
}

#[tokio::test]
async fn l25_a_panic_is_retried_told_and_kept_as_a_dead_letter() {
    let retry = RetryPolicy::fixed(1, Duration::ZERO);
    let config = LaneConfig::new(1, 1).with_retry_policy(retry);
    let manager = builder_with(&[("only", config, 0)])
        .with_dlq(5)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let mut stream = manager.subscribe();
    let body = command("boom", |attempt| async move { panic!("attempt {attempt}") });
    let receiver = submit(&manager, "only", body).await;
    assert_eq!(panicked(outcome(receiver).await), "attempt 2");
    let seen = events_until(&mut stream, events::QUEUE_COMMAND_FAILED).await;
    assert_eq!(
        crate::support::words(&seen),
        [
            "submitted only",
            "started boom",
            "retry boom",
            "started boom",
            "dead_lettered boom",
            "failed boom"
        ]
    );
    let failed = seen.last().expect("one at least");
    assert_eq!(field(failed, "error"), Some("Command panicked: attempt 2"));
    let queue = manager.queue();
    let letters = queue.dlq().expect("it keeps them").list().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].attempts, letters[0].error.as_str()),
        (2, "Command panicked: attempt 2")
    );
}

/// A retry after a panic can end well.
#[tokio::test]
async fn l25_a_retry_after_a_panic_can_succeed() {
    let retry = RetryPolicy::fixed(1, Duration::ZERO);
    let manager = started(LaneConfig::new(1, 1).with_retry_policy(retry)).await;
    let body = command("once", |attempt| async move {
        assert!(attempt > 1, "not yet");
        Ok(json!(attempt))
    });
    let receiver = submit(&manager, "only", body).await;
    assert_eq!(outcome(receiver).await.expect("the second attempt"), 2);
}

#[tokio::test]
async fn l25_a_panic_without_a_text_is_one_all_the_same() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let body = command("any", |_| async { std::panic::panic_any(7_u8) });
    let receiver = submit(&manager, "only", body).await;
    assert_eq!(panicked(outcome(receiver).await), "no message");
    has_all_slots(&manager, 1).await;
}

type Body<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

/// Panics in the call, before there is a future.
struct NoFuture;

impl Command for NoFuture {
    fn execute<'life, 'body>(&'life self) -> Body<'body>
    where
        'life: 'body,
    {
        panic!("no future")
    }

    fn command_type(&self) -> &str {
        "no future"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_a_panic_before_there_is_a_future_settles_too() {
    let manager = started(LaneConfig::new(1, 2)).await;
    for _ in 0..3 {
        let receiver = submit(&manager, "only", Box::new(NoFuture)).await;
        assert_eq!(panicked(outcome(receiver).await), "no future");
    }
    has_all_slots(&manager, 2).await;
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{}", self.0);
        }
    }
}

/// What the body captured is dropped after its last line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_a_panic_in_a_destructor_of_the_body_settles_too() {
    let manager = started(LaneConfig::new(1, 2)).await;
    for _ in 0..3 {
        let body = command("bomb", |_| async {
            let _bomb = Bomb("dropped");
            tokio::task::yield_now().await;
            Ok(Value::Null)
        });
        let receiver = submit(&manager, "only", body).await;
        assert_eq!(panicked(outcome(receiver).await), "dropped");
    }
    has_all_slots(&manager, 2).await;
}

/// A timed-out body is dropped by the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_a_panic_while_a_timed_out_body_is_dropped_frees_the_slot() {
    let config = LaneConfig::new(1, 2).with_timeout(Duration::from_millis(20));
    let manager = started(config).await;
    for _ in 0..3 {
        let body = command("bomb", |_| async {
            let _bomb = Bomb("cut off");
            std::future::pending::<()>().await;
            Ok(Value::Null)
        });
        let receiver = submit(&manager, "only", body).await;
        let error = outcome(receiver).await.expect_err("it times out");
        assert!(
            matches!(error, LaneError::Timeout(_) | LaneError::Panicked(_)),
            "{error:?}"
        );
    }
    manager
        .queue()
        .register_lane(Arc::new(a3s_lane::Lane::new(
            "only",
            LaneConfig::new(1, 2),
            0,
        )))
        .await;
    has_all_slots(&manager, 2).await;
}

/// The command itself, not what it returned, is dropped when it has settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_a_panic_in_a_commands_destructor_harms_nothing() {
    let manager = started(LaneConfig::new(1, 2)).await;
    for _ in 0..3 {
        let bomb = Bomb("the command");
        let body = command("bomb", move |_| {
            let _keep = &bomb;
            async { Ok(json!("done")) }
        });
        let receiver = submit(&manager, "only", body).await;
        assert_eq!(outcome(receiver).await.expect("it ran"), "done");
    }
    has_all_slots(&manager, 2).await;
}

/// Its name is asked for by the queue, too: events, dead letters.
struct Nameless(AtomicU32);

#[async_trait::async_trait]
impl Command for Nameless {
    async fn execute(&self) -> Result<Value> {
        Err(LaneError::CommandError("no".to_owned()))
    }

    fn command_type(&self) -> &str {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) < 1, "no name");
        "nameless"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_a_panic_in_command_type_leaks_no_slot() {
    let manager = builder_with(&[("only", LaneConfig::new(1, 2), 0)])
        .with_dlq(5)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    for listening in [false, true] {
        let stream = listening.then(|| manager.subscribe());
        for _ in 0..3 {
            let command = Box::new(Nameless(AtomicU32::new(0)));
            let receiver = submit(&manager, "only", command).await;
            outcome(receiver).await.expect_err("it fails either way");
        }
        drop(stream);
        has_all_slots(&manager, 2).await;
    }
}

/// One panicking command among many does not take its neighbours with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_neighbours_of_a_panic_run_to_their_end() {
    let manager = started(LaneConfig::new(1, 4)).await;
    let mut receivers = Vec::new();
    for n in 0..400 {
        let body = match n % 4 {
            0 => command("boom", |_| async { panic!("boom") }),
            _ => nothing("fine"),
        };
        receivers.push((n, submit(&manager, "only", body).await));
    }
    for (n, receiver) in receivers {
        assert_eq!(outcome(receiver).await.is_err(), n % 4 == 0);
    }
    has_all_slots(&manager, 4).await;
}

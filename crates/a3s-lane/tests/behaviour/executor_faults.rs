//! Executors that are gone, and tasks whose destructors do harm.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    CommandContext, EventLoop, Executor, ExecutorTask, JsonCommand, LaneConfig, LaneError,
    QueueManager, Result,
};
use futures::StreamExt;
use serde_json::Value;

use crate::support::{Log, command, ends, eventually, nothing, outcome, started, submit, within};

/// An executor that cannot take a task, and says so by a panic.
struct Gone;

impl Executor for Gone {
    fn schedule(&self, _task: ExecutorTask) {
        panic!("its thread is gone");
    }
}

async fn nothing_hosted(_: Value, _: CommandContext) -> Result<Value> {
    Ok(Value::Null)
}

fn hosted() -> Box<JsonCommand> {
    Box::new(JsonCommand::new("hosted", Value::Null))
}

#[test]
fn an_executor_that_panics_ends_its_commands_and_no_others() {
    ends(async || {
        let manager = started(LaneConfig::new(0, 2)).await;
        manager.register_handler_on("hosted", nothing_hosted, Arc::new(Gone));
        manager.pause_lane("only").expect("it is there");
        let mut hosted_ones = Vec::new();
        for _ in 0..3 {
            hosted_ones.push(manager.submit("only", hosted()).await.expect("accepted"));
        }
        let other = submit(&manager, "only", nothing("other")).await;
        manager.resume_lane("only").expect("it is there");
        for receiver in hosted_ones {
            let error = outcome(receiver).await.expect_err("nobody runs it");
            assert!(matches!(error, LaneError::QueueError(_)), "{error:?}");
        }
        outcome(other).await.expect("the queue goes on");
        let drained = manager.drain(Duration::from_secs(30)).await;
        drained.expect("nothing is left");
    });
}

#[tokio::test]
async fn a_destructor_that_panics_in_a_closed_loop_ends_nothing() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a bad destructor");
        }
    }

    let event_loop = EventLoop::new(|| {});
    let (wake, woken) = tokio::sync::oneshot::channel::<()>();
    event_loop.spawn(async move {
        let _panics = Panics;
        let _ended = woken.await;
    });
    event_loop.turn();
    event_loop.close();
    drop(wake);
}

/// What a task calls when it is dropped.
struct Calls<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Calls<F> {
    fn drop(&mut self) {
        self.0.take().expect("it is dropped once")();
    }
}

/// Has a closed loop drop a subscriber of `manager` at the next event.
fn subscribe_and_close(manager: &QueueManager, when_dropped: impl FnOnce() + Send + 'static) {
    let event_loop = EventLoop::new(|| {});
    let (calls, mut events) = (Calls(Some(when_dropped)), manager.subscribe());
    event_loop.spawn(async move {
        let event = events.next().await;
        panic!("it was dropped: {event:?} {}", calls.0.is_some());
    });
    event_loop.turn();
    event_loop.close();
}

/// A queue wakes who follows its events while it holds its lock. What an executor drops then must not go before the lock does.
#[test]
fn a_subscriber_whose_executor_is_closed_may_call_the_queue_when_it_is_dropped() {
    ends(async || {
        let manager = Arc::new(started(LaneConfig::new(0, 1)).await);
        manager.pause_lane("only").expect("it is there");
        let log = Log::default();
        let (asked, told) = (Arc::clone(&manager), log.clone());
        subscribe_and_close(&manager, move || {
            told.push(format!("{} pending", asked.snapshot().pending));
        });
        submit(&manager, "only", nothing("first")).await;
        eventually("it is dropped", async || log.entries() == ["1 pending"]).await;
    });
}

/// It blocks the thread that has just submitted: by then another one runs the command.
#[test]
fn a_subscriber_whose_executor_is_closed_may_wait_for_what_was_submitted() {
    ends(async || {
        let manager = started(LaneConfig::new(0, 1)).await;
        let (runs, ran) = std::sync::mpsc::channel();
        subscribe_and_close(&manager, move || ran.recv().expect("it runs"));
        let body = command("first", move |_| {
            let runs = runs.clone();
            async move {
                runs.send(()).expect("it is waited for");
                Ok(Value::Null)
            }
        });
        let receiver = submit(&manager, "only", body).await;
        within(outcome(receiver)).await.expect("it ran");
    });
}

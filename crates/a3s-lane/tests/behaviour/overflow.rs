//! Lanes whose pending commands are limited, and whose submitters wait.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    EventLoop, LaneConfig, LaneOptions, OnConflict, Overflow, QueueManager, RetryPolicy,
    SubmitOptions, Unique,
};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::{
    Gate, Log, builder_with, command, ends, let_others_run, nothing, settled, started_with, submit,
    submit_with, within,
};

fn waiting_lane(max_pending: usize) -> LaneOptions {
    LaneOptions::new()
        .with_max_pending(max_pending)
        .with_overflow(Overflow::Wait)
}

/// Submits on a task of its own; the error's code, or the result.
fn submit_later(manager: &Arc<QueueManager>, log: &Log, name: &'static str) -> JoinHandle<Value> {
    let (manager, body) = (Arc::clone(manager), log.command(name));
    tokio::spawn(async move {
        match manager
            .submit_with("only", body, SubmitOptions::new())
            .await
        {
            Ok(handle) => settled(&handle)
                .await
                .unwrap_or_else(|error| error.code().into()),
            Err(refused) => refused.error().code().into(),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn submitters_enter_in_the_order_in_which_they_came() {
    let manager = Arc::new(started_with(waiting_lane(1)).await);
    let (gate, log) = (Gate::new(), Log::default());
    submit(&manager, "only", gate.command("runs")).await;
    let_others_run().await;
    submit(&manager, "only", log.command("pending")).await;
    let mut later = Vec::new();
    for name in ["1", "2", "3", "4"] {
        later.push(submit_later(&manager, &log, name));
        let_others_run().await;
    }
    assert_eq!(manager.snapshot().pending, 1);
    gate.open();
    for submitter in later {
        within(submitter).await.expect("no panic");
    }
    assert_eq!(log.entries(), ["pending", "1", "2", "3", "4"]);
}

/// A retry finds room at once: the lane holds more than it admits, and a start does not make room for those who wait.
#[tokio::test(start_paused = true)]
async fn a_start_that_makes_no_room_keeps_the_order() {
    let retry = RetryPolicy::fixed(1, Duration::from_secs(10));
    let manager = builder_with(&[("only", LaneConfig::new(0, 1).with_retry_policy(retry), 0)])
        .with_lane_options("only", waiting_lane(1))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let manager = Arc::new(manager);
    let (gate, log) = (Gate::new(), Log::default());
    let held = gate.clone();
    let fails_once = command("fails once", move |attempt| {
        let gate = held.clone();
        async move {
            if attempt > 1 {
                return Ok(Value::Null);
            }
            gate.pass().await;
            Err(a3s_lane::LaneError::CommandError("once".to_owned()))
        }
    });
    submit(&manager, "only", fails_once).await;
    let_others_run().await;
    submit(&manager, "only", gate.command("next")).await;
    let mut later = Vec::new();
    for name in ["1", "2", "3"] {
        later.push(submit_later(&manager, &log, name));
        let_others_run().await;
    }
    // Its retry and `next` are pending; then `next` runs and its retry is.
    gate.let_through(1);
    let_others_run().await;
    assert_eq!(manager.snapshot().pending, 1);
    gate.open();
    for submitter in later {
        within(submitter).await.expect("no panic");
    }
    assert_eq!(log.entries(), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_passes_its_turn_on() {
    let manager = Arc::new(started_with(waiting_lane(1)).await);
    let (gate, log) = (Gate::new(), Log::default());
    submit(&manager, "only", gate.command("runs")).await;
    let_others_run().await;
    submit(&manager, "only", gate.command("pending")).await;
    let dropped = submit_later(&manager, &log, "dropped");
    let_others_run().await;
    let stays = submit_later(&manager, &log, "stays");
    let_others_run().await;
    // There is room now, and the one that it is for goes without having seen it.
    gate.let_through(1);
    dropped.abort();
    let_others_run().await;
    assert!(dropped.await.expect_err("it was dropped").is_cancelled());
    assert_eq!(manager.snapshot().pending, 1, "the other one has entered");
    gate.open();
    assert_eq!(within(stays).await.expect("no panic"), Value::Null);
    assert_eq!(log.entries(), ["stays"]);
}

/// An executor may drop what it is woken for, as a closed event loop does: also while others wait behind, more than a stack could hold,
/// were one woken within the other.
#[test]
fn submissions_whose_executor_drops_them_leave_the_line() {
    ends(async || {
        for makes_room in [Makes::Cancel, Makes::Start] {
            closes_the_loop_of_those_who_wait(makes_room).await;
        }
    });
}

/// How room is made.
enum Makes {
    Cancel,
    Start,
}

async fn closes_the_loop_of_those_who_wait(makes_room: Makes) {
    let manager = Arc::new(started_with(waiting_lane(1)).await);
    let log = Log::default();
    manager.pause_lane("only").expect("it is there");
    submit(&manager, "only", log.command("pending")).await;
    let event_loop = EventLoop::new(|| {});
    for _ in 0..20_000 {
        let manager = Arc::clone(&manager);
        event_loop.spawn(async move {
            let submitted = manager.submit("only", nothing("waits")).await;
            panic!("it was dropped: {submitted:?}");
        });
    }
    for _ in 0..1_000 {
        event_loop.turn();
    }
    event_loop.close();
    match makes_room {
        Makes::Cancel => assert_eq!(manager.cancel_lane("only").expect("it is there"), 1),
        Makes::Start => manager.resume_lane("only").expect("it is there"),
    }
    let last = submit_later(&manager, &log, "last");
    manager.resume_lane("only").expect("it is there");
    assert_eq!(within(last).await.expect("no panic"), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_those_who_wait() {
    let manager = Arc::new(started_with(waiting_lane(1)).await);
    let (gate, log) = (Gate::new(), Log::default());
    submit(&manager, "only", gate.command("runs")).await;
    let_others_run().await;
    submit(&manager, "only", log.command("pending")).await;
    let first = submit_later(&manager, &log, "first");
    let_others_run().await;
    // Room is made while `first` sleeps; `second` asks before `first` has woken up.
    let key = manager.snapshot().commands[1]
        .explanation
        .command_id
        .clone();
    assert!(manager.cancel(&key));
    let second = manager.submit_with("only", log.command("second"), SubmitOptions::new());
    let second = async { settled(&second.await.expect("accepted")).await };
    let (second, ()) = tokio::join!(second, async {
        let_others_run().await;
        gate.open();
    });
    second.expect("it runs");
    within(first).await.expect("no panic");
    assert_eq!(log.entries(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_answers_everybody_who_waits() {
    for orderly in [false, true] {
        let manager = Arc::new(started_with(waiting_lane(1)).await);
        let (gate, log) = (Gate::new(), Log::default());
        submit(&manager, "only", gate.command("runs")).await;
        let_others_run().await;
        submit(&manager, "only", nothing("pending")).await;
        let waiters: Vec<_> = ["1", "2", "3"]
            .map(|name| submit_later(&manager, &log, name))
            .into();
        let_others_run().await;
        if orderly {
            within(manager.shutdown_within(Duration::from_secs(1))).await;
        } else {
            manager.shutdown().await;
        }
        for waiter in waiters {
            let answer = within(waiter).await.expect("no panic");
            assert_eq!(answer, "SHUTDOWN_IN_PROGRESS");
        }
        gate.open();
        within(manager.drain(Duration::from_secs(60)))
            .await
            .expect("nothing is left");
        assert!(log.entries().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_larger_limit_lets_waiters_in() {
    let manager = Arc::new(started_with(waiting_lane(1)).await);
    let (gate, log) = (Gate::new(), Log::default());
    submit(&manager, "only", gate.command("runs")).await;
    let_others_run().await;
    submit(&manager, "only", nothing("pending")).await;
    let waiters: Vec<_> = ["1", "2", "3"]
        .map(|name| submit_later(&manager, &log, name))
        .into();
    let_others_run().await;
    assert_eq!(manager.snapshot().pending, 1);
    let set = |options| manager.set_lane("only", LaneConfig::new(0, 1), options, 0);
    set(waiting_lane(3)).expect("the settings are right");
    let_others_run().await;
    assert_eq!(manager.snapshot().pending, 3);
    // Without a limit nobody waits.
    set(LaneOptions::new()).expect("the settings are right");
    let_others_run().await;
    assert_eq!(manager.snapshot().pending, 4);
    gate.open();
    for waiter in waiters {
        within(waiter).await.expect("no panic");
    }
}

/// They stand in the line of a lane that is gone. The one in its place has a line of its own.
#[tokio::test(start_paused = true)]
async fn waiters_go_over_to_the_lane_that_takes_the_place_of_theirs() {
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_lane_options("only", waiting_lane(1))
        .build()
        .await
        .expect("built");
    let manager = Arc::new(manager);
    let log = Log::default();
    let options = SubmitOptions::new();
    let first = submit_with(&manager, "only", log.command("first"), options).await;
    let mut later = Vec::new();
    for name in ["1", "2", "3"] {
        later.push(submit_later(&manager, &log, name));
        let_others_run().await;
    }
    for name in ["4", "5"] {
        let (manager, body) = (Arc::clone(&manager), log.command(name));
        later.push(tokio::spawn(async move {
            let receiver = manager.submit("only", body).await.expect("it has its turn");
            receiver.await.expect("an answer").expect("it runs")
        }));
        let_others_run().await;
    }
    // None of them looks in between.
    assert!(first.cancel());
    manager.remove_lane("only").expect("it is empty");
    manager
        .set_lane("only", LaneConfig::new(0, 1), waiting_lane(1), 0)
        .expect("it is new");
    manager.start().await.expect("starts");
    for submitter in later {
        within(submitter).await.expect("no panic");
    }
    assert_eq!(log.entries(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_when_the_lane_refuses() {
    let manager = Arc::new(started_with(waiting_lane(1)).await);
    let (gate, log) = (Gate::new(), Log::default());
    submit(&manager, "only", gate.command("runs")).await;
    let_others_run().await;
    submit(&manager, "only", nothing("pending")).await;
    let waiters: Vec<_> = ["1", "2"]
        .map(|name| submit_later(&manager, &log, name))
        .into();
    let_others_run().await;
    let options = LaneOptions::new().with_max_pending(1);
    manager
        .set_lane("only", LaneConfig::new(0, 1), options, 0)
        .expect("the settings are right");
    for waiter in waiters {
        assert_eq!(within(waiter).await.expect("no panic"), "LANE_FULL");
    }
    gate.open();
}

/// Nothing is ready that could make room: the new command is refused, and so the older one goes on.
#[tokio::test(start_paused = true)]
async fn a_refused_replacement_does_not_stop_what_runs() {
    let options = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(Overflow::DropOldest);
    let manager = started_with(options).await;
    let unique =
        || SubmitOptions::new().with_unique(Unique::new("u").on_conflict(OnConflict::Replace));
    let gate = Gate::new();
    let holder = submit_with(&manager, "only", gate.command("holder"), unique()).await;
    let_others_run().await;
    let delayed = SubmitOptions::new().with_delay(Duration::from_secs(5));
    submit_with(&manager, "only", nothing("delayed"), delayed).await;
    let refused = manager.submit_with("only", nothing("new"), unique()).await;
    assert_eq!(refused.expect_err("it is full").error().code(), "LANE_FULL");
    let_others_run().await;
    gate.open();
    settled(&holder).await.expect("it was left alone");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_refused_replacement_does_not_cancel_what_waits() {
    let full = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(Overflow::DropOldest);
    let lane = |id| (id, LaneConfig::new(0, 1), 0);
    let manager = builder_with(&[lane("full"), lane("other")])
        .with_lane_options("full", full)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager.pause_lane("other").expect("it exists");
    let unique =
        || SubmitOptions::new().with_unique(Unique::new("u").on_conflict(OnConflict::Replace));
    let holder = submit_with(&manager, "other", nothing("holder"), unique()).await;
    let delayed = SubmitOptions::new().with_delay(Duration::from_secs(5));
    submit_with(&manager, "full", nothing("delayed"), delayed).await;
    let refused = manager.submit_with("full", nothing("new"), unique()).await;
    assert_eq!(refused.expect_err("it is full").error().code(), "LANE_FULL");
    let reject = SubmitOptions::new().with_unique(Unique::new("u"));
    let again = manager.submit_with("other", nothing("again"), reject).await;
    assert_eq!(again.expect_err("held").error().code(), "DUPLICATE");
    manager.resume_lane("other").expect("it exists");
    settled(&holder).await.expect("it was left alone");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
}

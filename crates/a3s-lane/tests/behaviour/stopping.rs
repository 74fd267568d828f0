//! Cancel, preemption and their grace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use a3s_lane::{
    Command, CommandStatus, LaneConfig, LaneError, LaneOptions, QueueManager, RetryPolicy, Storage,
    SubmitOptions,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::shelf::Shelf;
use crate::support::{
    Gate, builder_with, command, contextual, endless, failing, finish, let_others_run, nothing,
    outcome, reaches, settled, started, started_with, submit, submit_with, within, words,
};

const GRACE: Duration = Duration::from_secs(10);

fn options() -> SubmitOptions {
    SubmitOptions::new()
}

/// A body that goes on for some time after it was asked to stop.
fn tidies_for(time: Duration) -> Box<dyn Command> {
    contextual("tidies", move |context| async move {
        context.cancellation().cancelled().await;
        sleep(time).await;
        Ok(json!("tidied"))
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_in_its_grace_completes() {
    let manager = started_with(LaneOptions::new().with_grace(GRACE)).await;
    let handle = submit_with(&manager, "only", tidies_for(GRACE / 2), options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    assert!(handle.cancel());
    assert!(handle.cancel(), "it is still being cancelled");
    assert_eq!(settled(&handle).await.expect("it completes"), "tidied");
    assert!(start.elapsed() < GRACE);
    assert_eq!(handle.status(), CommandStatus::Completed);
    assert!(!handle.cancel());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_is_dropped() {
    let manager = started_with(LaneOptions::new().with_grace(GRACE)).await;
    let handle = submit_with(&manager, "only", tidies_for(GRACE * 2), options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    assert!(handle.cancel());
    let error = settled(&handle).await.expect_err("it is dropped");
    assert!(matches!(error, LaneError::Cancelled(_)), "{error}");
    let elapsed = start.elapsed();
    assert!(
        (GRACE..GRACE + Duration::from_secs(1)).contains(&elapsed),
        "{elapsed:?}"
    );
    // A second request does not prolong it.
    let handle = submit_with(&manager, "only", endless("endless"), options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    assert!(handle.cancel());
    sleep(GRACE / 2).await;
    assert!(handle.cancel());
    settled(&handle).await.expect_err("it is dropped");
    assert!(start.elapsed() < GRACE + Duration::from_secs(1));
}

/// By default there is no grace at all.
#[tokio::test(start_paused = true)]
async fn without_a_grace_a_body_is_dropped_at_once() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let dropped = Arc::new(AtomicBool::new(false));
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let flag = Arc::clone(&dropped);
    let body = contextual("t", move |context| {
        let flag = Flag(Arc::clone(&flag));
        async move {
            let _flag = flag;
            context.cancellation().cancelled().await;
            sleep(Duration::from_secs(1)).await;
            Ok(Value::Null)
        }
    });
    let handle = submit_with(&manager, "only", body, options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    assert!(handle.cancel());
    settled(&handle).await.expect_err("it is dropped");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(dropped.load(Ordering::SeqCst), "before anybody is told");
}

/// A body that blocks its thread until the returned sender is dropped.
fn blocking() -> (Box<dyn Command>, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let body = command("blocking", move |_| {
        let receiver = receiver.lock().expect("not poisoned").take();
        async move {
            if let Some(receiver) = receiver {
                let _ = receiver.recv();
            }
            Ok(json!("too late"))
        }
    });
    (body, sender)
}

/// It cannot be stopped, but its slot is taken away. The lane is one whose commands can be stopped: preemptible or timed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_blocks_its_thread_loses_its_slot() {
    let grace = Duration::from_millis(50);
    let manager = started_with(LaneOptions::new().with_grace(grace).with_preemption(true)).await;
    let (body, blocked) = blocking();
    let handle = submit_with(&manager, "only", body, options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let next = submit_with(&manager, "only", nothing("next"), options()).await;
    assert!(handle.cancel());
    assert_eq!(
        settled(&handle).await.expect_err("it is given up").code(),
        "CANCELLED"
    );
    settled(&next)
        .await
        .expect("runs while the first still blocks");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
    drop(blocked);
}

/// The same in a lane without any limit, which shares no command objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_blocks_in_a_plain_lane_loses_its_slot() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let (body, blocked) = blocking();
    let handle = submit_with(&manager, "only", body, options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let next = submit_with(&manager, "only", nothing("next"), options()).await;
    assert!(handle.cancel());
    assert_eq!(
        settled(&handle).await.expect_err("it is given up").code(),
        "CANCELLED"
    );
    settled(&next)
        .await
        .expect("runs while the first still blocks");
    drop(blocked);
}

/// Nobody but the body has the command then: it must not be requeued without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_blocks_since_before_its_lane_was_preemptible_runs_again_when_it_ends() {
    let lane = LaneConfig::new(0, 1);
    let manager = builder_with(&[("urgent", lane.clone(), 0), ("only", lane.clone(), 1)])
        .with_max_concurrency(1)
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let body = contextual("blocking", move |context| {
        let receiver = receiver.lock().expect("not poisoned").take();
        async move {
            let Some(receiver) = receiver else {
                return Ok(json!("again"));
            };
            let _ = receiver.recv();
            assert!(context.is_cancelled());
            Err(LaneError::CommandError("makes room".into()))
        }
    });
    let handle = submit_with(&manager, "only", body, options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let urgent = submit_with(&manager, "urgent", nothing("urgent"), options()).await;
    let preemptible = LaneOptions::new().with_preemption(true);
    manager
        .set_lane("only", lane, preemptible, 1)
        .expect("the settings are right");
    // Longer than a body that does not answer is waited for.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(urgent.status(), CommandStatus::Pending);
    assert_eq!(handle.status(), CommandStatus::Running);
    drop(sender);
    settled(&urgent).await.expect("it has the slot now");
    assert_eq!(settled(&handle).await.expect("it runs again"), "again");
}

/// It was let go on for the sake of its next run; when it is cancelled it has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_blocks_since_before_its_lane_was_preemptible_loses_its_slot_when_it_is_cancelled()
 {
    let lane = LaneConfig::new(0, 1);
    let manager = builder_with(&[("urgent", lane.clone(), 0), ("only", lane.clone(), 1)])
        .with_max_concurrency(1)
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    let (body, blocked) = blocking();
    let handle = submit_with(&manager, "only", body, options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let urgent = submit_with(&manager, "urgent", nothing("urgent"), options()).await;
    let preemptible = LaneOptions::new().with_preemption(true);
    manager
        .set_lane("only", lane, preemptible, 1)
        .expect("the settings are right");
    // Longer than a body that does not answer is waited for.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(urgent.status(), CommandStatus::Pending);
    assert!(handle.cancel());
    assert_eq!(
        settled(&handle).await.expect_err("it is given up").code(),
        "CANCELLED"
    );
    settled(&urgent).await.expect("it has the slot now");
    drop(blocked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_does_not_wait_for_a_body_that_blocks() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let (body, blocked) = blocking();
    let handle = submit_with(&manager, "only", body, options()).await;
    reaches(&handle, CommandStatus::Running).await;
    let report = within(manager.shutdown_within(Duration::from_millis(50))).await;
    assert_eq!(report.stopped.len(), 1);
    assert_eq!(report.stopped[0].command_id, handle.id());
    settled(&handle).await.expect_err("it was stopped");
    drop(blocked);
}

/// Grace is for cancel, preemption and the end; a time limit is a limit.
#[tokio::test(start_paused = true)]
async fn a_time_limit_gives_no_grace() {
    let manager = started_with(LaneOptions::new().with_grace(GRACE)).await;
    let limit = Duration::from_secs(1);
    let handle = submit_with(
        &manager,
        "only",
        tidies_for(GRACE / 2),
        options().with_timeout(limit),
    )
    .await;
    let start = Instant::now();
    let error = settled(&handle).await.expect_err("it is cut off");
    assert!(matches!(error, LaneError::Timeout(_)), "{error}");
    assert!(start.elapsed() < GRACE / 2);
}

/// Within its grace a command can still meet its time limit.
#[tokio::test(start_paused = true)]
async fn a_cancel_that_waits_for_its_grace_stays_a_cancel() {
    let manager = started_with(LaneOptions::new().with_grace(GRACE)).await;
    let limit = Duration::from_secs(2);
    let handle = submit_with(
        &manager,
        "only",
        endless("t"),
        options().with_timeout(limit),
    )
    .await;
    reaches(&handle, CommandStatus::Running).await;
    let_others_run().await;
    assert!(handle.cancel());
    assert_eq!(
        settled(&handle).await.expect_err("it ends").code(),
        "CANCELLED"
    );
}

async fn stored_behind(gate: &Gate, config: LaneConfig) -> (QueueManager, Arc<Shelf>) {
    let shelf = Shelf::with_removals_behind(gate);
    let manager = builder_with(&[("only", config, 0)])
        .with_storage(Arc::clone(&shelf) as Arc<dyn Storage>)
        .with_dlq(5)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    (manager, shelf)
}

/// Its outcome is decided, but its storage has not let it go: too late to cancel.
#[tokio::test(start_paused = true)]
async fn a_cancel_after_the_outcome_changes_nothing() {
    let gate = Gate::new();
    let (manager, shelf) = stored_behind(&gate, LaneConfig::new(0, 1)).await;
    let handle = submit_with(&manager, "only", nothing("t"), options()).await;
    let_others_run().await;
    assert_eq!(
        handle.status(),
        CommandStatus::Running,
        "its storage holds it back"
    );
    assert!(!handle.cancel());
    assert_eq!(manager.cancel_lane("only").expect("it exists"), 0);
    gate.open();
    settled(&handle).await.expect("it completed");
    assert!(shelf.stored().is_empty());
}

/// A waiting command that is cancelled leaves its storage before its submitter is told, and drain waits for it.
#[tokio::test(start_paused = true)]
async fn a_cancelled_command_leaves_its_storage() {
    let gate = Gate::new();
    let (manager, shelf) = stored_behind(&gate, LaneConfig::new(0, 1)).await;
    manager.pause_lane("only").expect("it exists");
    let handle = submit_with(&manager, "only", nothing("t"), options()).await;
    assert_eq!(shelf.stored(), ["t"]);
    assert!(handle.cancel());
    let_others_run().await;
    assert!(!handle.status().is_settled(), "its storage holds it back");
    manager
        .drain(Duration::from_secs(1))
        .await
        .expect_err("it is on its way out");
    gate.open();
    settled(&handle).await.expect_err("it is cancelled");
    assert!(shelf.stored().is_empty());
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
}

/// A cancel between the verdict of a retry and its way back into the lane is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancels_at_any_time_settle_the_command_once() {
    let config =
        LaneConfig::new(0, 2).with_retry_policy(RetryPolicy::fixed(1_000_000, Duration::ZERO));
    let manager = Arc::new(started(config).await);
    let mut stream = manager.subscribe();
    for round in 0..300_u32 {
        let body = match round % 2 {
            0 => failing("t"),
            _ => command("t", |_| async {
                tokio::task::yield_now().await;
                Err(LaneError::CommandError("no".to_owned()))
            }),
        };
        let handle = submit_with(&manager, "only", body, options()).await;
        let canceller = {
            let (manager, id) = (Arc::clone(&manager), handle.id().to_owned());
            tokio::spawn(async move {
                for _ in 0..round % 7 {
                    tokio::task::yield_now().await;
                }
                manager.cancel(&id)
            })
        };
        assert!(
            within(canceller).await.expect("no panic"),
            "it cannot end by itself"
        );
        assert_eq!(
            settled(&handle).await.expect_err("it is cancelled").code(),
            "CANCELLED"
        );
        assert_eq!(handle.status(), CommandStatus::Cancelled);
        while let Some(event) = within(stream.recv()).await {
            if event.key == "queue.command.cancelled" {
                assert_eq!(
                    crate::support::field(&event, "command_id"),
                    Some(handle.id())
                );
                break;
            }
        }
    }
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
}

/// Two lanes that share one slot; `low` gives way.
async fn shared(grace: Duration) -> QueueManager {
    let lane = |id, priority| (id, LaneConfig::new(0, 4), priority);
    let manager = builder_with(&[lane("urgent", 0), lane("low", 9)])
        .with_lane_options(
            "low",
            LaneOptions::new().with_preemption(true).with_grace(grace),
        )
        .with_max_concurrency(1)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_preemption_in_order() {
    let manager = shared(Duration::ZERO).await;
    let mut stream = manager.subscribe();
    let body = command("low", |attempt| async move {
        match attempt {
            1 => std::future::pending().await,
            _ => Ok(Value::Null),
        }
    });
    let low = submit_with(&manager, "low", body, options()).await;
    reaches(&low, CommandStatus::Running).await;
    let_others_run().await;
    let urgent = submit(&manager, "urgent", nothing("urgent")).await;
    outcome(urgent).await.expect("it runs");
    settled(&low).await.expect("it runs again");
    let events = finish(&manager, &mut stream).await;
    assert_eq!(
        words(&events)[..8],
        [
            "submitted low",
            "started low",
            "submitted urgent",
            "preempted low",
            "started urgent",
            "completed urgent",
            "started low",
            "completed low"
        ]
    );
    let payload = serde_json::to_value(&events[3].payload).expect("plain data");
    assert_eq!(payload, json!({"lane_id": "low", "command_id": low.id()}));
}

/// The front of its lane, also before commands that were retried or submitted before it.
#[tokio::test(start_paused = true)]
async fn a_command_that_is_cancelled_while_it_makes_room_is_cancelled() {
    let manager = shared(GRACE).await;
    let low = submit_with(&manager, "low", endless("low"), options()).await;
    reaches(&low, CommandStatus::Running).await;
    let_others_run().await;
    let urgent = submit_with(&manager, "urgent", nothing("urgent"), options()).await;
    let_others_run().await;
    assert_eq!(low.status(), CommandStatus::Running, "it has its grace");
    assert!(low.cancel());
    settled(&urgent).await.expect("it runs");
    assert_eq!(
        settled(&low).await.expect_err("it is not run again").code(),
        "CANCELLED"
    );
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_cancel_and_of_an_expiry_say_why() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let mut stream = manager.subscribe();
    let running = submit_with(&manager, "only", endless("running"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let_others_run().await;
    let waiting = submit_with(&manager, "only", nothing("waiting"), options()).await;
    let expires = options().with_ttl(Duration::from_secs(1));
    let expires = submit_with(&manager, "only", nothing("expires"), expires).await;
    assert!(waiting.cancel());
    assert_eq!(
        settled(&expires).await.expect_err("it expires").code(),
        "EXPIRED"
    );
    assert!(running.cancel());
    settled(&running).await.expect_err("it is cancelled");
    let events = finish(&manager, &mut stream).await;
    let told: Vec<(&str, Value)> = events[4..7]
        .iter()
        .map(|event| {
            (
                &*event.key,
                serde_json::to_value(&event.payload).expect("plain data"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "queue.command.cancelled",
                json!({"lane_id": "only", "command_id": waiting.id(), "reason": "before it started"})
            ),
            (
                "queue.command.expired",
                json!({"lane_id": "only", "command_id": expires.id()})
            ),
            (
                "queue.command.cancelled",
                json!({"lane_id": "only", "command_id": running.id(), "reason": "while it ran"})
            ),
        ]
    );
}

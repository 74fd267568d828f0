//! L35: lag is silent, streams never end, tasks leak.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::event::events;
use a3s_lane::{
    EventEmitter, EventStream, LaneConfig, LaneEvent, QueueManagerBuilder, RetryPolicy,
};
use futures::StreamExt;
use tokio::runtime::Handle;

use crate::support::{
    Gate, endless, events_until, eventually, failing, manager_with, map, nothing, outcome, started,
    submit, within, words,
};

#[tokio::test]
async fn l35_a_subscriber_that_lags_learns_how_many_it_missed() {
    let manager = QueueManagerBuilder::new(EventEmitter::new(8))
        .with_lane("only", LaneConfig::new(1, 1), 0)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let mut stream = manager.subscribe();
    let mut other =
        manager.subscribe_filtered(|event| event.key == events::QUEUE_COMMAND_COMPLETED);
    for _ in 0..10 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        outcome(receiver).await.expect("it runs");
    }
    // Thirty events, a buffer of eight.
    let first = within(stream.recv()).await.expect("an event");
    assert_eq!(first.key, events::QUEUE_EVENTS_LAGGED);
    let missed = &map(&first).expect("a payload")["missed"];
    assert_eq!(missed.as_u64(), Some(22));
    assert_eq!(stream.missed(), 22);
    let mut rest = Vec::new();
    for _ in 0..8 {
        rest.push(within(stream.recv()).await.expect("an event"));
    }
    assert_eq!(
        words(&rest[2..]),
        [
            "submitted only",
            "started t",
            "completed t",
            "submitted only",
            "started t",
            "completed t"
        ]
    );
    assert_eq!(stream.missed(), 22, "nothing else was lost");
    // A filter hides no loss.
    let first = within(other.next()).await.expect("an event");
    assert_eq!(first.key, events::QUEUE_EVENTS_LAGGED);
    let next = within(other.next()).await.expect("an event");
    assert_eq!(next.key, events::QUEUE_COMMAND_COMPLETED);
}

/// One that does not read costs the queue and the others nothing.
#[tokio::test]
async fn l35_a_slow_subscriber_slows_nobody() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let _sleeper = manager.subscribe();
    let mut reader = manager.subscribe();
    for _ in 0..2_000 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        outcome(receiver).await.expect("it runs");
        events_until(&mut reader, events::QUEUE_COMMAND_COMPLETED).await;
    }
    assert_eq!(reader.missed(), 0);
}

async fn to_the_end(stream: EventStream) -> Vec<LaneEvent> {
    within(stream.collect()).await
}

#[tokio::test]
async fn l35_streams_end_after_shutdown() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let (all, none) = (manager.subscribe(), manager.subscribe_filtered(|_| false));
    let gate = Gate::new();
    let receiver = submit(&manager, "only", gate.command("t")).await;
    eventually("it runs", async || {
        manager.stats().await.expect("never fails").total_active == 1
    })
    .await;
    manager.shutdown().await;
    gate.open();
    outcome(receiver).await.expect("it runs");
    let all = to_the_end(all).await;
    assert_eq!(
        words(&all),
        [
            "submitted only",
            "started t",
            "shutdown.started",
            "completed t",
            "shutdown.complete"
        ]
    );
    assert!(to_the_end(none).await.is_empty());
    // A subscription after the end is over at once.
    assert!(to_the_end(manager.subscribe()).await.is_empty());
}

#[tokio::test]
async fn l35_streams_end_when_the_manager_is_dropped() {
    for start in [false, true] {
        let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
        if start {
            manager.start().await.expect("starts");
        }
        let (all, waiting) = (manager.subscribe(), manager.subscribe());
        let waiting = tokio::spawn(to_the_end(waiting));
        let receiver = submit(&manager, "only", endless("t")).await;
        tokio::task::yield_now().await;
        drop(manager);
        outcome(receiver).await.expect_err("the queue is gone");
        let all = to_the_end(all).await;
        assert_eq!(
            all.last().map(|event| &*event.key),
            Some("queue.command.failed")
        );
        assert_eq!(waiting.await.expect("no panic").len(), all.len());
    }
}

/// The emitter outlives its queues: its own streams go on.
#[tokio::test]
async fn l35_streams_of_the_emitter_end_with_the_emitter() {
    let emitter = EventEmitter::new(16);
    let mut stream = emitter.subscribe_stream();
    for _ in 0..2 {
        let manager = QueueManagerBuilder::new(emitter.clone())
            .with_lane("only", LaneConfig::new(1, 1), 0)
            .build()
            .await
            .expect("built");
        manager.shutdown().await;
        events_until(&mut stream, events::QUEUE_SHUTDOWN_COMPLETE).await;
    }
    drop(emitter);
    assert!(within(stream.recv()).await.is_none());
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Whatever a queue has going on, dropping it leaves no task behind.
#[tokio::test]
async fn l35_no_task_outlives_its_manager() {
    let before = tasks();
    let config = LaneConfig::new(1, 3)
        .with_timeout(Duration::from_secs(3_600))
        .with_retry_policy(RetryPolicy::fixed(9, Duration::from_secs(3_600)));
    let manager = manager_with(&[("only", config, 0)]).await;
    manager.start().await.expect("starts");
    let mut receivers = vec![submit(&manager, "only", failing("delayed")).await];
    for _ in 0..5 {
        receivers.push(submit(&manager, "only", endless("hung")).await);
    }
    #[cfg(feature = "monitoring")]
    {
        let config = a3s_lane::MonitorConfig {
            interval: Duration::from_millis(1),
            ..a3s_lane::MonitorConfig::default()
        };
        let monitor = a3s_lane::QueueMonitor::with_config(manager.queue(), config);
        Arc::new(monitor).start().await;
    }
    eventually("everything is under way", async || {
        let stats = manager.stats().await.expect("never fails");
        (stats.total_active, stats.total_pending) == (3, 3)
    })
    .await;
    assert!(tasks() > before);
    drop(manager);
    for receiver in receivers {
        outcome(receiver).await.expect_err("the queue is gone");
    }
    eventually("no task is left", async || tasks() == before).await;
}

/// A queue has no task before its first command and none after its shutdown; in between at most one that rests, and the
/// timer's while something is due.
#[tokio::test]
async fn l35_a_queue_that_is_new_or_over_has_no_task() {
    let before = tasks();
    let config = LaneConfig::new(1, 3).with_timeout(Duration::from_secs(3_600));
    let manager = Arc::new(manager_with(&[("only", config, 0)]).await);
    manager.start().await.expect("starts");
    eventually("no task after the start", async || tasks() == before).await;
    for _ in 0..3 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        outcome(receiver).await.expect("it runs");
    }
    manager
        .drain(Duration::from_secs(60))
        .await
        .expect("it is empty");
    manager.shutdown().await;
    eventually("no task after the shutdown", async || tasks() == before).await;
}

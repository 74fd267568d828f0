//! A backend of somebody else, which has to be awaited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{
    CommandContext, CommandStatus, Executor, ExecutorTask, HistogramStats, JsonCommand, LaneConfig,
    LaneError, LaneOptions, MetricsBackend, MetricsSnapshot, Overflow, QueueManager, QueueMetrics,
    RetryPolicy, SubmitOptions, metric_names,
};
use async_trait::async_trait;
use serde_json::Value;

use crate::support::{
    Gate, builder_with, command, endless, eventually, failing, let_others_run, nothing, outcome,
    reaches, settled, submit, submit_with, within,
};

/// Only what 0.4 required, and every call gives way to others first.
#[derive(Default)]
pub(crate) struct Remote {
    counters: Mutex<HashMap<String, u64>>,
    gauges: Mutex<HashMap<String, f64>>,
    observed: Mutex<HashMap<String, Vec<f64>>>,
}

impl Remote {
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = self.counters.lock().expect("not poisoned");
        counters.get(name).copied().unwrap_or(0)
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.lock().expect("not poisoned").get(name).copied()
    }

    fn observations(&self, name: &str) -> usize {
        let observed = self.observed.lock().expect("not poisoned");
        observed.get(name).map_or(0, Vec::len)
    }
}

#[async_trait]
impl MetricsBackend for Remote {
    async fn increment_counter(&self, name: &str, value: u64) {
        tokio::task::yield_now().await;
        let mut counters = self.counters.lock().expect("not poisoned");
        *counters.entry(name.to_owned()).or_default() += value;
    }
    async fn set_gauge(&self, name: &str, value: f64) {
        tokio::task::yield_now().await;
        let mut gauges = self.gauges.lock().expect("not poisoned");
        gauges.insert(name.to_owned(), value);
    }
    async fn record_histogram(&self, name: &str, value: f64) {
        tokio::task::yield_now().await;
        let mut observed = self.observed.lock().expect("not poisoned");
        observed.entry(name.to_owned()).or_default().push(value);
    }
    async fn get_counter(&self, name: &str) -> Option<u64> {
        Some(self.counter(name))
    }
    async fn get_gauge(&self, name: &str) -> Option<f64> {
        self.gauge(name)
    }
    async fn get_histogram_stats(&self, _name: &str) -> Option<HistogramStats> {
        None
    }
    async fn reset(&self) {}
    async fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot::default()
    }
}

async fn measured(config: LaneConfig) -> (QueueManager, Arc<Remote>) {
    let remote = Arc::new(Remote::default());
    let backend: Arc<dyn MetricsBackend> = Arc::clone(&remote) as _;
    let manager = builder_with(&[("only", config, 0)])
        .with_dlq(5)
        .with_metrics(QueueMetrics::new(backend))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    (manager, remote)
}

/// Whoever has a result finds it counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_and_gauges_are_right_when_the_result_is_there() {
    let (manager, remote) = measured(LaneConfig::new(1, 4)).await;
    for round in 1..=50 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        assert_eq!(remote.counter("lane.commands.submitted"), round);
        outcome(receiver).await.expect("it runs");
        assert_eq!(remote.counter("lane.commands.completed"), round);
        assert_eq!(remote.counter("lane.commands.completed.only"), round);
        assert_eq!(remote.gauge("lane.queue.depth.only"), Some(0.0));
        assert_eq!(remote.gauge("lane.queue.active.only"), Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_is_counted() {
    let config = LaneConfig::new(1, 2)
        .with_timeout(Duration::from_millis(300))
        .with_retry_policy(RetryPolicy::fixed(1, Duration::from_millis(1)));
    let (manager, remote) = measured(config).await;
    for body in [
        nothing("good"),
        failing("bad"),
        command("boom", |_| async { panic!("boom") }),
        endless("slow"),
    ] {
        let receiver = submit(&manager, "only", body).await;
        let _ = outcome(receiver).await;
    }
    for (name, value) in [
        ("submitted", 4),
        ("completed", 1),
        ("failed", 2),
        ("timeout", 1),
        ("retried", 3),
        ("dead_lettered", 3),
    ] {
        for name in [
            format!("lane.commands.{name}"),
            format!("lane.commands.{name}.only"),
        ] {
            assert_eq!(remote.counter(&name), value, "{name}");
        }
    }
    assert_eq!(remote.observations("lane.command.latency_ms.only"), 1);
    assert_eq!(remote.observations("lane.command.wait_time_ms.only"), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_follow_and_end_on_the_truth() {
    let (manager, remote) = measured(LaneConfig::new(1, 2)).await;
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..6 {
        receivers.push(submit(&manager, "only", gate.command("t")).await);
    }
    eventually("the gauges say 2 and 4", async || {
        remote.gauge("lane.queue.active.only") == Some(2.0)
            && remote.gauge("lane.queue.depth.only") == Some(4.0)
    })
    .await;
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(remote.gauge("lane.queue.active.only"), Some(0.0));
    assert_eq!(remote.gauge("lane.queue.depth.only"), Some(0.0));
}

/// What leaves without a result of its own is counted too, and the gauges end at zero.
#[tokio::test(start_paused = true)]
async fn cancels_expiries_and_preemptions_are_counted() {
    let metrics = QueueMetrics::local();
    cancel_expire_and_preempt(metrics.clone()).await;
    let snapshot = metrics.snapshot().await;
    let counter = |name: &str| snapshot.counters.get(name).copied().unwrap_or(0);
    let gauge = |name: &str| snapshot.gauges.get(name).copied();
    check_cancels_expiries_and_preemptions(counter, gauge);
}

#[tokio::test(start_paused = true)]
async fn cancels_expiries_and_preemptions_are_counted_by_a_backend_that_is_awaited() {
    let remote = Arc::new(Remote::default());
    let backend: Arc<dyn MetricsBackend> = Arc::clone(&remote) as _;
    cancel_expire_and_preempt(QueueMetrics::new(backend)).await;
    let counter = |name: &str| remote.counter(name);
    check_cancels_expiries_and_preemptions(counter, |name: &str| remote.gauge(name));
}

async fn cancel_expire_and_preempt(metrics: QueueMetrics) {
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = builder_with(&[lane("urgent", 0), lane("low", 9)])
        .with_lane_options("low", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(1)
        .with_metrics(metrics)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let options = SubmitOptions::new;
    let running = submit_with(&manager, "low", endless("t"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let_others_run().await;
    let waiting = submit_with(&manager, "low", nothing("t"), options()).await;
    let expires = options().with_ttl(Duration::from_secs(1));
    let expires = submit_with(&manager, "low", nothing("t"), expires).await;
    assert!(waiting.cancel());
    settled(&waiting).await.expect_err("it is cancelled");
    settled(&expires).await.expect_err("it expires");
    let urgent = submit(&manager, "urgent", nothing("t")).await;
    urgent.await.expect("resolved").expect("it runs");
    reaches(&running, CommandStatus::Running).await;
    let_others_run().await;
    assert!(running.cancel());
    settled(&running).await.expect_err("it is cancelled");
}

fn check_cancels_expiries_and_preemptions(
    counter: impl Fn(&str) -> u64,
    gauge: impl Fn(&str) -> Option<f64>,
) {
    for (name, expected) in [
        (metric_names::COMMANDS_CANCELLED, 2),
        (metric_names::COMMANDS_EXPIRED, 1),
        (metric_names::COMMANDS_PREEMPTED, 1),
        (metric_names::COMMANDS_SUBMITTED, 3),
        (metric_names::COMMANDS_FAILED, 0),
    ] {
        assert_eq!(counter(&format!("{name}.low")), expected, "{name}");
    }
    for name in [metric_names::QUEUE_DEPTH, metric_names::QUEUE_ACTIVE] {
        assert_eq!(gauge(&format!("{name}.low")), Some(0.0), "{name}");
    }
}

/// The gauges are right when the answer is there, although something else still runs.
#[tokio::test]
async fn whoever_has_the_answer_of_a_cancelled_or_dropped_command_finds_it_counted() {
    let remote = Arc::new(Remote::default());
    let backend: Arc<dyn MetricsBackend> = Arc::clone(&remote) as _;
    let full = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(Overflow::DropOldest);
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_lane_options("only", full)
        .with_metrics(QueueMetrics::new(backend))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let options = SubmitOptions::new;
    let running = submit_with(&manager, "only", endless("t"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let oldest = submit_with(&manager, "only", nothing("t"), options()).await;
    let newer = submit_with(&manager, "only", nothing("t"), options()).await;
    settled(&oldest).await.expect_err("it was dropped");
    assert_eq!(remote.counter("lane.commands.cancelled.only"), 1);
    assert!(newer.cancel());
    settled(&newer).await.expect_err("it is cancelled");
    assert_eq!(remote.counter("lane.commands.cancelled"), 2);
    assert_eq!(remote.gauge("lane.queue.depth.only"), Some(0.0));
    assert_eq!(remote.gauge("lane.queue.active.only"), Some(1.0));
}

/// A drain waits for that too, and an end.
#[tokio::test]
async fn what_ends_with_its_queue_is_counted() {
    let (manager, remote) = measured(LaneConfig::new(0, 1)).await;
    let options = SubmitOptions::new;
    let running = submit_with(&manager, "only", endless("t"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let waiting = submit(&manager, "only", nothing("t")).await;
    let report = within(manager.shutdown_within(Duration::ZERO)).await;
    assert_eq!((report.stopped.len(), report.pending.len()), (1, 1));
    assert_eq!(remote.counter("lane.commands.failed.only"), 2);
    outcome(waiting).await.expect_err("its queue has ended");

    let (manager, remote) = measured(LaneConfig::new(0, 1)).await;
    let running = submit_with(&manager, "only", endless("t"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let waiting = submit(&manager, "only", nothing("t")).await;
    drop(manager);
    outcome(waiting).await.expect_err("its queue is gone");
    settled(&running).await.expect_err("its queue is gone");
    assert_eq!(remote.counter("lane.commands.failed.only"), 2);
    assert_eq!(remote.gauge("lane.queue.depth.only"), Some(0.0));
    assert_eq!(remote.gauge("lane.queue.active.only"), Some(0.0));
}

#[tokio::test]
async fn a_drain_waits_until_a_cancel_is_counted() {
    let (manager, remote) = measured(LaneConfig::new(0, 1)).await;
    manager.pause_lane("only").expect("it is there");
    let options = SubmitOptions::new();
    let waiting = submit_with(&manager, "only", nothing("t"), options).await;
    assert!(waiting.cancel());
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it is empty");
    assert_eq!(remote.counter("lane.commands.cancelled"), 1);
    assert!(waiting.status().is_settled());
}

/// What an executor drops has failed.
#[tokio::test]
async fn what_its_executor_drops_is_counted() {
    struct Nowhere;

    impl Executor for Nowhere {
        fn schedule(&self, task: ExecutorTask) {
            drop(task);
        }
    }

    let (manager, remote) = measured(LaneConfig::new(0, 1)).await;
    let handler = |_: Value, _: CommandContext| async { Ok(Value::Null) };
    manager.register_handler_on("lost", handler, Arc::new(Nowhere));
    let lost = Box::new(JsonCommand::new("lost", Value::Null));
    let lost = submit(&manager, "only", lost).await;
    outcome(lost).await.expect_err("its executor dropped it");
    assert_eq!(remote.counter("lane.commands.failed.only"), 1);
    assert_eq!(remote.gauge("lane.queue.active.only"), Some(0.0));
}

/// A backend that panics costs its figures, not the answers.
#[tokio::test]
async fn a_backend_that_panics_keeps_no_answer() {
    struct Panics;

    #[async_trait]
    impl MetricsBackend for Panics {
        async fn increment_counter(&self, _: &str, _: u64) {
            panic!("no counters");
        }
        async fn set_gauge(&self, _: &str, _: f64) {
            panic!("no gauges");
        }
        async fn record_histogram(&self, _: &str, _: f64) {
            panic!("no histograms");
        }
        async fn get_counter(&self, _: &str) -> Option<u64> {
            None
        }
        async fn get_gauge(&self, _: &str) -> Option<f64> {
            None
        }
        async fn get_histogram_stats(&self, _: &str) -> Option<HistogramStats> {
            None
        }
        async fn reset(&self) {}
        async fn snapshot(&self) -> MetricsSnapshot {
            MetricsSnapshot::default()
        }
    }

    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_metrics(QueueMetrics::new(Arc::new(Panics)))
        .build()
        .await
        .expect("built");
    let cancelled = submit_with(&manager, "only", nothing("t"), SubmitOptions::new()).await;
    let closed = submit(&manager, "only", nothing("t")).await;
    assert!(cancelled.cancel());
    let error = settled(&cancelled).await.expect_err("it is cancelled");
    assert!(matches!(error, LaneError::Cancelled(_)), "{error}");
    drop(manager);
    let error = outcome(closed).await.expect_err("its queue is gone");
    assert!(matches!(error, LaneError::QueueError(_)), "{error}");
}

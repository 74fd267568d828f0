//! A backend of somebody else, which has to be awaited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{
    CommandStatus, HistogramStats, LaneConfig, LaneOptions, MetricsBackend, MetricsSnapshot,
    QueueManager, QueueMetrics, RetryPolicy, SubmitOptions, metric_names,
};
use async_trait::async_trait;

use crate::support::{
    Gate, builder_with, command, endless, eventually, failing, let_others_run, nothing, outcome,
    reaches, settled, submit, submit_with,
};

/// Only what 0.4 required, and every call gives way to others first.
#[derive(Default)]
struct Remote {
    counters: Mutex<HashMap<String, u64>>,
    gauges: Mutex<HashMap<String, f64>>,
    observed: Mutex<HashMap<String, Vec<f64>>>,
}

impl Remote {
    fn counter(&self, name: &str) -> u64 {
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
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = builder_with(&[lane("urgent", 0), lane("low", 9)])
        .with_lane_options("low", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(1)
        .with_metrics(metrics.clone())
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
    settled(&expires).await.expect_err("it expires");
    let urgent = submit(&manager, "urgent", nothing("t")).await;
    urgent.await.expect("resolved").expect("it runs");
    reaches(&running, CommandStatus::Running).await;
    let_others_run().await;
    assert!(running.cancel());
    settled(&running).await.expect_err("it is cancelled");
    let snapshot = metrics.snapshot().await;
    let counter = |name: &str| snapshot.counters.get(&format!("{name}.low")).copied();
    assert_eq!(counter(metric_names::COMMANDS_CANCELLED), Some(2));
    assert_eq!(counter(metric_names::COMMANDS_EXPIRED), Some(1));
    assert_eq!(counter(metric_names::COMMANDS_PREEMPTED), Some(1));
    assert_eq!(counter(metric_names::COMMANDS_SUBMITTED), Some(3));
    assert_eq!(counter(metric_names::COMMANDS_FAILED).unwrap_or(0), 0);
    for gauge in [metric_names::QUEUE_DEPTH, metric_names::QUEUE_ACTIVE] {
        assert_eq!(
            snapshot.gauges.get(&format!("{gauge}.low")),
            Some(&0.0),
            "{gauge}"
        );
    }
}

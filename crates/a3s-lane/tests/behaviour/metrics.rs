//! A backend of somebody else, which has to be awaited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{
    HistogramStats, LaneConfig, MetricsBackend, MetricsSnapshot, QueueManager, QueueMetrics,
    RetryPolicy,
};
use async_trait::async_trait;

use crate::support::{Gate, builder_with, command, eventually, failing, nothing, outcome, submit};

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
        crate::support::endless("slow"),
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

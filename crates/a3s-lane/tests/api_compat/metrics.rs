use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use a3s_lane::{
    HistogramPercentiles, HistogramStats, LocalMetrics, MetricsBackend, MetricsSnapshot,
    QueueMetrics, metric_names,
};
use async_trait::async_trait;

/// As a user of 0.4 wrote one: the eight methods, no more.
#[derive(Default)]
struct Calls(Mutex<Vec<String>>);

impl Calls {
    fn push(&self, call: String) {
        self.0.lock().expect("not poisoned").push(call);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

#[async_trait]
impl MetricsBackend for Calls {
    async fn increment_counter(&self, name: &str, value: u64) {
        self.push(format!("{name} += {value}"));
    }
    async fn set_gauge(&self, name: &str, value: f64) {
        self.push(format!("{name} = {value}"));
    }
    async fn record_histogram(&self, name: &str, value: f64) {
        self.push(format!("{name} << {value}"));
    }
    async fn get_counter(&self, _name: &str) -> Option<u64> {
        None
    }
    async fn get_gauge(&self, _name: &str) -> Option<f64> {
        None
    }
    async fn get_histogram_stats(&self, _name: &str) -> Option<HistogramStats> {
        None
    }
    async fn reset(&self) {
        self.push("reset".to_owned());
    }
    async fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot::default()
    }
}

#[test]
fn names() {
    for (name, text) in [
        (metric_names::COMMANDS_SUBMITTED, "lane.commands.submitted"),
        (metric_names::COMMANDS_COMPLETED, "lane.commands.completed"),
        (metric_names::COMMANDS_FAILED, "lane.commands.failed"),
        (metric_names::COMMANDS_TIMEOUT, "lane.commands.timeout"),
        (metric_names::COMMANDS_RETRIED, "lane.commands.retried"),
        (
            metric_names::COMMANDS_DEAD_LETTERED,
            "lane.commands.dead_lettered",
        ),
        (metric_names::QUEUE_DEPTH, "lane.queue.depth"),
        (metric_names::QUEUE_ACTIVE, "lane.queue.active"),
        (metric_names::COMMAND_LATENCY, "lane.command.latency_ms"),
        (metric_names::COMMAND_WAIT_TIME, "lane.command.wait_time_ms"),
    ] {
        assert_eq!(name, text);
    }
}

#[test]
fn traits_and_defaults() {
    fn is_backend<B: MetricsBackend + Default + 'static>() {}
    fn is_clone<T: Clone>() {}
    is_backend::<LocalMetrics>();
    is_clone::<QueueMetrics>();
    crate::is_shared::<QueueMetrics>();
    crate::is_value::<MetricsSnapshot>();
    crate::is_value::<HistogramStats>();
    let percentiles = HistogramPercentiles {
        p50: 0.0,
        p90: 0.0,
        p95: 0.0,
        p99: 0.0,
    };
    assert_eq!(percentiles, HistogramPercentiles::default());
    let stats = HistogramStats {
        count: 0,
        sum: 0.0,
        min: f64::MAX,
        max: f64::MIN,
        mean: 0.0,
        percentiles,
    };
    assert_eq!(stats, HistogramStats::new());
    assert_eq!(stats, HistogramStats::default());
    let MetricsSnapshot {
        counters,
        gauges,
        histograms,
    } = MetricsSnapshot::default();
    let empty: (HashMap<String, u64>, HashMap<String, f64>) = (counters, gauges);
    let none: HashMap<String, HistogramStats> = histograms;
    assert!(empty.0.is_empty() && empty.1.is_empty() && none.is_empty());
}

#[tokio::test]
async fn what_each_record_touches() {
    let calls = Arc::new(Calls::default());
    let backend: Arc<dyn MetricsBackend> = Arc::clone(&calls) as _;
    let metrics = QueueMetrics::new(backend);
    crate::send(metrics.record_submit("q")).await;
    assert_eq!(
        calls.take(),
        [
            "lane.commands.submitted += 1",
            "lane.commands.submitted.q += 1"
        ]
    );
    crate::send(metrics.record_complete("q", 1.5)).await;
    assert_eq!(
        calls.take(),
        [
            "lane.commands.completed += 1",
            "lane.commands.completed.q += 1",
            "lane.command.latency_ms << 1.5",
            "lane.command.latency_ms.q << 1.5"
        ]
    );
    crate::send(metrics.record_failure("q")).await;
    crate::send(metrics.record_timeout("q")).await;
    crate::send(metrics.record_retry("q")).await;
    crate::send(metrics.record_dead_letter("q")).await;
    assert_eq!(
        calls.take(),
        [
            "lane.commands.failed += 1",
            "lane.commands.failed.q += 1",
            "lane.commands.timeout += 1",
            "lane.commands.timeout.q += 1",
            "lane.commands.retried += 1",
            "lane.commands.retried.q += 1",
            "lane.commands.dead_lettered += 1",
            "lane.commands.dead_lettered.q += 1"
        ]
    );
    crate::send(metrics.set_queue_depth("q", 3)).await;
    crate::send(metrics.set_active_commands("q", 2)).await;
    crate::send(metrics.record_wait_time("q", 0.25)).await;
    crate::send(metrics.reset()).await;
    assert_eq!(
        calls.take(),
        [
            "lane.queue.depth.q = 3",
            "lane.queue.active.q = 2",
            "lane.command.wait_time_ms << 0.25",
            "lane.command.wait_time_ms.q << 0.25",
            "reset"
        ]
    );
}

#[tokio::test]
async fn local_metrics() {
    let metrics = QueueMetrics::local();
    let copy = metrics.clone();
    assert!(Arc::ptr_eq(metrics.backend(), copy.backend()));
    metrics.record_submit("q").await;
    copy.record_submit("q").await;
    for latency in 1..=100 {
        metrics.record_complete("q", f64::from(latency)).await;
    }
    metrics.set_queue_depth("q", 7).await;
    let backend = metrics.backend();
    assert_eq!(
        backend.get_counter("lane.commands.submitted").await,
        Some(2)
    );
    assert_eq!(backend.get_gauge("lane.queue.depth.q").await, Some(7.0));
    assert_eq!(backend.get_counter("unknown").await, None);
    let latency = backend.get_histogram_stats("lane.command.latency_ms").await;
    let latency = latency.expect("recorded");
    assert_eq!(
        (
            latency.count,
            latency.sum,
            latency.min,
            latency.max,
            latency.mean
        ),
        (100, 5050.0, 1.0, 100.0, 50.5)
    );
    // The index of a percentile in the sorted values is floor(len * p), so p50 of 1..=100 is 51.
    for (got, exact) in [
        (latency.percentiles.p50, 51.0),
        (latency.percentiles.p90, 91.0),
        (latency.percentiles.p95, 96.0),
        (latency.percentiles.p99, 100.0),
    ] {
        assert!((got - exact).abs() <= exact * 0.01, "{got} is not {exact}");
    }
    let snapshot: MetricsSnapshot = crate::send(metrics.snapshot()).await;
    assert_eq!(snapshot.counters["lane.commands.completed.q"], 100);
    assert_eq!(snapshot.histograms["lane.command.latency_ms.q"].count, 100);
    backend.increment_counter("own", 5).await;
    backend.set_gauge("own", 0.5).await;
    backend.record_histogram("own", 2.0).await;
    assert_eq!(backend.get_counter("own").await, Some(5));
    metrics.reset().await;
    assert!(metrics.snapshot().await.counters.is_empty());
    assert!(LocalMetrics::new().get_counter("own").await.is_none());
}

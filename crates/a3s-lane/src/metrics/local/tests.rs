use super::super::metric_names::{
    COMMAND_LATENCY, COMMAND_WAIT_TIME, COMMANDS_COMPLETED, COMMANDS_FAILED, COMMANDS_SUBMITTED,
    QUEUE_ACTIVE, QUEUE_DEPTH,
};
use super::super::{LaneSample, QueueMetrics};
use super::*;

const SAMPLES: [LaneSample; 10] = [
    LaneSample::Submitted,
    LaneSample::Started { wait_ms: 2.0 },
    LaneSample::Completed { latency_ms: 8.0 },
    LaneSample::Failed { latency_ms: 99.0 },
    LaneSample::TimedOut { latency_ms: 99.0 },
    LaneSample::Retried,
    LaneSample::DeadLettered,
    LaneSample::Cancelled,
    LaneSample::Expired,
    LaneSample::Preempted,
];

/// A backend without synchronous recorders, as third parties write them.
struct AwaitOnly(LocalMetrics);

#[async_trait]
impl MetricsBackend for AwaitOnly {
    async fn increment_counter(&self, name: &str, value: u64) {
        self.0.increment_counter(name, value).await;
    }
    async fn set_gauge(&self, name: &str, value: f64) {
        self.0.set_gauge(name, value).await;
    }
    async fn record_histogram(&self, name: &str, value: f64) {
        self.0.record_histogram(name, value).await;
    }
    async fn get_counter(&self, name: &str) -> Option<u64> {
        self.0.get_counter(name).await
    }
    async fn get_gauge(&self, name: &str) -> Option<f64> {
        self.0.get_gauge(name).await
    }
    async fn get_histogram_stats(&self, name: &str) -> Option<HistogramStats> {
        self.0.get_histogram_stats(name).await
    }
    async fn reset(&self) {
        self.0.reset().await;
    }
    async fn snapshot(&self) -> MetricsSnapshot {
        self.0.snapshot().await
    }
}

#[tokio::test]
async fn values_written_by_name_are_read_by_name() {
    let metrics = LocalMetrics::new();
    assert_eq!(metrics.get_counter("a").await, None);
    assert_eq!(metrics.get_gauge("a").await, None);
    assert_eq!(metrics.get_histogram_stats("a").await, None);

    metrics.increment_counter("a", 2).await;
    metrics.increment_counter("a", 3).await;
    metrics.set_gauge("a", 1.5).await;
    metrics.set_gauge("a", -4.0).await;
    metrics.record_histogram("a", 10.0).await;
    metrics.record_histogram("a", 30.0).await;
    assert_eq!(metrics.get_counter("a").await, Some(5));
    assert_eq!(metrics.get_gauge("a").await, Some(-4.0));
    let stats = metrics
        .get_histogram_stats("a")
        .await
        .expect("it was written");
    assert_eq!(
        (stats.count, stats.sum, stats.min, stats.max, stats.mean),
        (2, 40.0, 10.0, 30.0, 20.0)
    );

    metrics.increment_counter("a", u64::MAX).await;
    assert_eq!(
        metrics.get_counter("a").await,
        Some(u64::MAX),
        "a counter stops at its limit"
    );
}

#[tokio::test]
async fn every_record_method_writes_its_names() {
    let metrics = QueueMetrics::local();
    metrics.record_submit("a.b").await;
    metrics.record_complete("a.b", 5.0).await;
    metrics.record_failure("a.b").await;
    metrics.record_timeout("a.b").await;
    metrics.record_retry("a.b").await;
    metrics.record_dead_letter("a.b").await;
    metrics.record_cancel("a.b").await;
    metrics.record_expiry("a.b").await;
    metrics.record_preemption("a.b").await;
    metrics.set_queue_depth("a.b", 7).await;
    metrics.set_active_commands("a.b", 3).await;
    metrics.record_wait_time("a.b", 4.0).await;

    let snapshot = metrics.snapshot().await;
    assert_eq!(snapshot.counters.len(), 18);
    for name in COUNTERS {
        assert_eq!(snapshot.counters[name], 1, "{name}");
        assert_eq!(snapshot.counters[&format!("{name}.a.b")], 1, "{name}");
    }
    assert_eq!(
        snapshot.gauges,
        HashMap::from([
            ("lane.queue.depth.a.b".to_owned(), 7.0),
            ("lane.queue.active.a.b".to_owned(), 3.0),
        ])
    );
    assert_eq!(snapshot.histograms.len(), 4);
    assert_eq!(snapshot.histograms[COMMAND_LATENCY].max, 5.0);
    assert_eq!(snapshot.histograms["lane.command.latency_ms.a.b"].max, 5.0);
    assert_eq!(snapshot.histograms[COMMAND_WAIT_TIME].max, 4.0);
    assert_eq!(
        snapshot.histograms["lane.command.wait_time_ms.a.b"].max,
        4.0
    );
}

#[tokio::test]
async fn a_recorder_and_the_awaited_path_give_the_same_figures() {
    let recorded = QueueMetrics::local();
    let recorder = recorded
        .lane_recorder("query")
        .expect("LocalMetrics has recorders");
    let awaited = QueueMetrics::new(Arc::new(AwaitOnly(LocalMetrics::new())));
    assert!(awaited.lane_recorder("query").is_none());
    for (index, sample) in SAMPLES.into_iter().enumerate() {
        recorder.record(sample, index, index + 1);
        awaited
            .record_sample("query", sample, index, index + 1)
            .await;
    }
    let (recorded, awaited) = (recorded.snapshot().await, awaited.snapshot().await);
    assert_eq!(recorded.counters, awaited.counters);
    assert_eq!(recorded.gauges, awaited.gauges);
    assert_eq!(recorded.histograms, awaited.histograms);
    assert_eq!(recorded.counters.len(), 18);
    assert_eq!(recorded.gauges["lane.queue.depth.query"], 9.0);
    assert_eq!(recorded.gauges["lane.queue.active.query"], 10.0);
    assert_eq!(
        recorded.histograms[COMMAND_LATENCY].max, 8.0,
        "only completed commands are timed"
    );
}

#[tokio::test]
async fn reads_see_recorders_and_direct_writes_together() {
    let metrics = LocalMetrics::new();
    let direct = QueueMetrics::new(Arc::new(AwaitOnly(LocalMetrics::new())));
    assert!(direct.snapshot().await.counters.is_empty());

    metrics.increment_counter(COMMANDS_SUBMITTED, 10).await;
    metrics
        .increment_counter("lane.commands.submitted.a", 10)
        .await;
    metrics.record_histogram(COMMAND_LATENCY, 1.0).await;
    for lane in ["a", "b"] {
        let recorder = metrics
            .lane_recorder(lane)
            .expect("LocalMetrics has recorders");
        recorder.record(LaneSample::Submitted, 1, 0);
        recorder.record(LaneSample::Completed { latency_ms: 3.0 }, 0, 0);
    }
    assert_eq!(metrics.get_counter(COMMANDS_SUBMITTED).await, Some(12));
    assert_eq!(
        metrics.get_counter("lane.commands.submitted.a").await,
        Some(11)
    );
    assert_eq!(
        metrics.get_counter("lane.commands.submitted.b").await,
        Some(1)
    );
    assert_eq!(metrics.get_counter("lane.commands.submitted.c").await, None);
    assert_eq!(
        metrics.get_counter(COMMANDS_FAILED).await,
        None,
        "never written"
    );
    let all = metrics
        .get_histogram_stats(COMMAND_LATENCY)
        .await
        .expect("it was written");
    assert_eq!((all.count, all.sum, all.min, all.max), (3, 7.0, 1.0, 3.0));
    let one = metrics
        .get_histogram_stats("lane.command.latency_ms.b")
        .await
        .expect("it was written");
    assert_eq!((one.count, one.max), (1, 3.0));
    assert_eq!(
        metrics.get_histogram_stats(COMMAND_WAIT_TIME).await,
        None,
        "never written"
    );

    let snapshot = metrics.snapshot().await;
    assert_eq!(snapshot.counters[COMMANDS_SUBMITTED], 12);
    assert_eq!(snapshot.counters["lane.commands.submitted.a"], 11);
    assert_eq!(snapshot.counters[COMMANDS_COMPLETED], 2);
    assert_eq!(snapshot.histograms[COMMAND_LATENCY], all);
}

#[tokio::test]
async fn a_gauge_has_one_value_however_it_is_set() {
    let metrics = LocalMetrics::new();
    let name = format!("{QUEUE_DEPTH}.a");
    metrics.set_gauge(&name, 4.0).await;
    let recorder = metrics
        .lane_recorder("a")
        .expect("LocalMetrics has recorders");
    assert_eq!(
        metrics.get_gauge(&name).await,
        Some(4.0),
        "a recorder alone changes nothing"
    );
    assert_eq!(metrics.get_gauge(&format!("{QUEUE_ACTIVE}.a")).await, None);
    recorder.record(LaneSample::Submitted, 5, 1);
    assert_eq!(metrics.get_gauge(&name).await, Some(5.0));
    metrics.set_gauge(&name, 6.0).await;
    assert_eq!(metrics.get_gauge(&name).await, Some(6.0));
    assert_eq!(metrics.snapshot().await.gauges[&name], 6.0);
}

#[tokio::test]
async fn reset_forgets_both_kinds_of_writes() {
    let metrics = LocalMetrics::new();
    let recorder = metrics
        .lane_recorder("a")
        .expect("LocalMetrics has recorders");
    for sample in SAMPLES {
        recorder.record(sample, 1, 1);
    }
    metrics.increment_counter("x", 1).await;
    metrics.set_gauge("x", 1.0).await;
    metrics.record_histogram("x", 1.0).await;
    metrics.reset().await;
    let snapshot = metrics.snapshot().await;
    assert!(
        snapshot.counters.is_empty()
            && snapshot.gauges.is_empty()
            && snapshot.histograms.is_empty()
    );

    recorder.record(LaneSample::Submitted, 0, 0);
    assert_eq!(
        metrics.get_counter(COMMANDS_SUBMITTED).await,
        Some(1),
        "the recorder still works"
    );
}

#[tokio::test]
async fn i10_bounded_memory_names() {
    let metrics = LocalMetrics::new();
    for index in 0..LocalMetrics::MAX_NAMES + 10 {
        metrics.increment_counter(&index.to_string(), 1).await;
        metrics.set_gauge(&index.to_string(), 1.0).await;
    }
    let snapshot = metrics.snapshot().await;
    assert_eq!(snapshot.counters.len(), LocalMetrics::MAX_NAMES);
    assert_eq!(snapshot.gauges.len(), LocalMetrics::MAX_NAMES);
    metrics.increment_counter("0", 1).await;
    assert_eq!(
        metrics.get_counter("0").await,
        Some(2),
        "known names still count"
    );
    assert_eq!(
        metrics
            .get_counter(&LocalMetrics::MAX_NAMES.to_string())
            .await,
        None
    );
}

#[tokio::test]
async fn i10_bounded_memory_lanes() {
    let metrics = LocalMetrics::new();
    let lanes = LocalMetrics::MAX_LANES + 3;
    for index in 0..lanes {
        let recorder = metrics
            .lane_recorder(&index.to_string())
            .expect("LocalMetrics has recorders");
        recorder.record(LaneSample::Submitted, 0, 0);
    }
    assert_eq!(
        metrics.get_counter(COMMANDS_SUBMITTED).await,
        Some(lanes as u64),
        "totals stay right"
    );
    assert_eq!(
        metrics.get_counter("lane.commands.submitted._other").await,
        Some(3)
    );
    assert_eq!(
        metrics.get_counter("lane.commands.submitted.0").await,
        Some(1)
    );
}

/// The old way kept every value and sorted all of them at each record: 8,000 values cost 100 us each.
#[tokio::test]
async fn l34_many_values_stay_small_and_exact() {
    let metrics = LocalMetrics::new();
    let recorder = metrics
        .lane_recorder("a")
        .expect("LocalMetrics has recorders");
    for index in 0..1_000_000u32 {
        recorder.record(
            LaneSample::Completed {
                latency_ms: f64::from(index % 1000),
            },
            0,
            0,
        );
    }
    let stats = metrics
        .get_histogram_stats(COMMAND_LATENCY)
        .await
        .expect("it was written");
    assert_eq!((stats.count, stats.min, stats.max), (1_000_000, 0.0, 999.0));
    assert_eq!(stats.mean, 499.5);
    assert!(
        (stats.percentiles.p50 - 500.0).abs() <= 5.0,
        "{}",
        stats.percentiles.p50
    );
    assert!(
        (stats.percentiles.p99 - 990.0).abs() <= 9.9,
        "{}",
        stats.percentiles.p99
    );
}

#[test]
fn threads_lose_no_sample() {
    let metrics = LocalMetrics::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let recorder = metrics
                    .lane_recorder("a")
                    .expect("LocalMetrics has recorders");
                for _ in 0..10_000 {
                    recorder.record(LaneSample::Submitted, 1, 2);
                    recorder.record(LaneSample::Started { wait_ms: 1.0 }, 1, 2);
                }
            });
        }
    });
    let cell = metrics.cell("a");
    assert_eq!(cell.counter(0), 40_000);
    assert_eq!(cell.histogram(1).stats().count, 40_000);
}

use std::collections::BTreeSet;

use opentelemetry::Value;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

use super::*;
use crate::metrics::QueueMetrics;

/// A real provider that exports to memory.
pub(in crate::telemetry) struct Exported {
    pub(in crate::telemetry) provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

fn is_of_lane<'a>(attributes: impl Iterator<Item = &'a KeyValue>, lane: Option<&str>) -> bool {
    let attributes: Vec<_> = attributes.collect();
    match (lane, attributes.as_slice()) {
        (None, []) => true,
        (Some(lane), [attribute]) => {
            attribute.key.as_str() == "lane" && attribute.value == Value::from(lane.to_owned())
        }
        _ => false,
    }
}

impl Exported {
    pub(in crate::telemetry) fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .build();
        Self { provider, exporter }
    }

    fn backend(&self) -> OtelMetricsBackend {
        OtelMetricsBackend::on(self.provider.meter(METER_NAME))
    }

    /// Exports now and returns the newest state.
    fn collect(&self) -> ResourceMetrics {
        self.exporter.reset();
        self.provider.force_flush().expect("memory does not fail");
        let mut exports = self
            .exporter
            .get_finished_metrics()
            .expect("memory does not fail");
        exports.pop().expect("something was written")
    }

    /// Looks at the data of one instrument.
    fn find<T>(&self, name: &str, look: impl Fn(&AggregatedMetrics) -> Option<T>) -> Option<T> {
        let collected = self.collect();
        let mut metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
        metrics
            .find(|metric| metric.name() == name)
            .and_then(|metric| look(metric.data()))
    }

    pub(in crate::telemetry) fn counter(&self, name: &str, lane: Option<&str>) -> Option<u64> {
        self.find(name, |data| {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = data else {
                panic!("{name} is not a u64 counter");
            };
            assert!(sum.is_monotonic(), "{name} can go down");
            sum.data_points()
                .find(|point| is_of_lane(point.attributes(), lane))
                .map(|point| point.value())
        })
    }

    fn gauge(&self, name: &str, lane: Option<&str>) -> Option<f64> {
        self.find(name, |data| {
            let AggregatedMetrics::F64(MetricData::Gauge(gauge)) = data else {
                panic!("{name} is not a gauge");
            };
            gauge
                .data_points()
                .find(|point| is_of_lane(point.attributes(), lane))
                .map(|point| point.value())
        })
    }

    /// Count and sum.
    pub(in crate::telemetry) fn histogram(
        &self,
        name: &str,
        lane: Option<&str>,
    ) -> Option<(u64, f64)> {
        self.find(name, |data| {
            let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = data else {
                panic!("{name} is not a histogram");
            };
            histogram
                .data_points()
                .find(|point| is_of_lane(point.attributes(), lane))
                .map(|point| (point.count(), point.sum()))
        })
    }

    pub(in crate::telemetry) fn meters(&self) -> Vec<String> {
        let collected = self.collect();
        collected
            .scope_metrics()
            .map(|scope| scope.scope().name().to_owned())
            .collect()
    }

    fn instruments(&self) -> BTreeSet<String> {
        let collected = self.collect();
        let metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
        metrics.map(|metric| metric.name().to_owned()).collect()
    }
}

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

/// What every way of writing the samples must lead to.
fn assert_has_samples(exported: &Exported, lane: &str) {
    for name in COUNTERS {
        assert_eq!(exported.counter(name, Some(lane)), Some(1), "{name}");
        assert_eq!(
            exported.counter(name, None),
            None,
            "{name} counts everything twice"
        );
    }
    for (name, milliseconds) in HISTOGRAMS.into_iter().zip([8.0, 2.0]) {
        assert_eq!(
            exported.histogram(name, Some(lane)),
            Some((1, milliseconds))
        );
        assert_eq!(
            exported.histogram(name, None),
            None,
            "{name} counts everything twice"
        );
    }
    assert_eq!(exported.gauge("lane.queue.depth", Some(lane)), Some(9.0));
    assert_eq!(exported.gauge("lane.queue.active", Some(lane)), Some(10.0));
}

#[tokio::test]
async fn a_recorder_and_the_awaited_path_give_the_same_points() {
    let exported = Exported::new();
    let metrics = QueueMetrics::new(Arc::new(exported.backend()));
    let recorder = metrics.lane_recorder("recorded").expect("it has recorders");
    for (index, sample) in SAMPLES.into_iter().enumerate() {
        recorder.record(sample, index, index + 1);
        metrics
            .record_sample("awaited", sample, index, index + 1)
            .await;
    }
    assert_has_samples(&exported, "recorded");
    assert_has_samples(&exported, "awaited");
    metrics.set_oldest_wait("awaited", 1_500.0).await;
    assert_eq!(
        exported.gauge("lane.queue.oldest_wait_ms", Some("awaited")),
        Some(1_500.0)
    );
    let expected = [&COUNTERS[..], &GAUGES, &HISTOGRAMS].concat();
    let expected: BTreeSet<_> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(
        exported.instruments(),
        expected,
        "one instrument per name, not per lane"
    );
    assert_eq!(exported.meters(), ["a3s-lane"]);
}

/// A gauge that is added to shows 12 here.
#[tokio::test]
async fn l34_a_gauge_is_set_not_added_to() {
    let exported = Exported::new();
    let backend = exported.backend();
    for name in ["lane.queue.depth.a", "lane.queue.depth", "temperature"] {
        backend.set_gauge(name, 7.0).await;
        backend.set_gauge(name, 5.0).await;
    }
    assert_eq!(exported.gauge("lane.queue.depth", Some("a")), Some(5.0));
    assert_eq!(exported.gauge("lane.queue.depth", None), Some(5.0));
    assert_eq!(exported.gauge("temperature", None), Some(5.0));
}

#[tokio::test]
async fn other_names_get_instruments_of_their_own() {
    let exported = Exported::new();
    let backend = exported.backend();
    backend.increment_counter("cache.hits", 2).await;
    backend.increment_counter("cache.hits", 3).await;
    backend.record_histogram("cache.bytes", 10.0).await;
    backend.record_histogram("cache.bytes", 20.0).await;
    backend
        .increment_counter("lane.commands.submitted", 4)
        .await;
    assert_eq!(exported.counter("cache.hits", None), Some(5));
    assert_eq!(exported.histogram("cache.bytes", None), Some((2, 30.0)));
    assert_eq!(
        exported.counter("lane.commands.submitted", None),
        Some(4),
        "written by hand"
    );
}

#[tokio::test]
async fn nothing_can_be_read_back() {
    let exported = Exported::new();
    let backend = exported.backend();
    backend.increment_counter("a", 1).await;
    backend.set_gauge("a", 1.0).await;
    backend.record_histogram("a", 1.0).await;
    backend.reset().await;
    assert_eq!(backend.get_counter("a").await, None);
    assert_eq!(backend.get_gauge("a").await, None);
    assert_eq!(backend.get_histogram_stats("a").await, None);
    let snapshot = backend.snapshot().await;
    assert!(snapshot.counters.is_empty() && snapshot.gauges.is_empty());
    assert!(snapshot.histograms.is_empty());
    assert_eq!(
        exported.counter("a", None),
        Some(1),
        "reset keeps what was handed over"
    );
}

#[tokio::test]
async fn i10_bounded_memory_instruments() {
    let exported = Exported::new();
    let backend = exported.backend();
    for index in 0..OtelMetricsBackend::MAX_NAMES + 5 {
        backend.increment_counter(&format!("c{index}"), 1).await;
        backend
            .set_gauge(&format!("lane.queue.depth.l{index}"), 1.0)
            .await;
    }
    let counters = exported
        .instruments()
        .into_iter()
        .filter(|name| name.starts_with('c'))
        .count();
    assert_eq!(counters, OtelMetricsBackend::MAX_NAMES);
    backend.increment_counter("c0", 1).await;
    assert_eq!(
        exported.counter("c0", None),
        Some(2),
        "known names still count"
    );
    assert_eq!(backend.named().gauges.len(), 0, "lanes need no instruments");
}

//! OpenTelemetry's instruments, fed by a real queue.
//!
//! The provider is of the process, and so are four of the instruments: this is a process of its own with one test.
#![cfg(feature = "telemetry")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::telemetry::init_lane_metrics;
use a3s_lane::{LaneConfig, LaneError, OtelMetricsBackend, QueueMetrics, RetryPolicy};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use support::{Gate, builder_with, failing, nothing, outcome, submit, within};

#[tokio::test]
async fn l34_instruments_are_fed_by_the_queue() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    init_lane_metrics();
    let export = || {
        provider.force_flush().expect("exports");
        exporter.get_finished_metrics().expect("exported")
    };
    gauges_are_set_and_refusals_are_not_counted(&export).await;
}

/// The points of an instrument: the lane, and the value (of a histogram its count and sum).
fn points(exported: &[ResourceMetrics], name: &str) -> Vec<(String, f64, f64)> {
    let lane = |mut attributes: Box<dyn Iterator<Item = &opentelemetry::KeyValue> + '_>| {
        let lane = attributes.find(|attribute| attribute.key.as_str() == "lane");
        lane.map_or(String::new(), |lane| lane.value.as_str().into_owned())
    };
    let last = exported.last().expect("something was exported");
    let metrics = last
        .scope_metrics()
        .filter(|scope| scope.scope().name() == "a3s-lane")
        .flat_map(|scope| scope.metrics())
        .filter(|metric| metric.name() == name);
    let mut points = Vec::new();
    for metric in metrics {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                points.extend(sum.data_points().map(|point| {
                    let lane = lane(Box::new(point.attributes()));
                    (lane, point.value() as f64, 0.0)
                }));
            }
            AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                points.extend(gauge.data_points().map(|point| {
                    let lane = lane(Box::new(point.attributes()));
                    (lane, point.value(), 0.0)
                }));
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                points.extend(histogram.data_points().map(|point| {
                    let lane = lane(Box::new(point.attributes()));
                    (lane, point.count() as f64, point.sum())
                }));
            }
            other => panic!("{name} has an unexpected kind: {other:?}"),
        }
    }
    points.sort_by(|a, b| a.0.cmp(&b.0));
    points
}

/// L34: the gauge is set, not added to; refused submits are not counted.
async fn gauges_are_set_and_refusals_are_not_counted(export: &impl Fn() -> Vec<ResourceMetrics>) {
    let lane = |id| {
        let retry = RetryPolicy::fixed(1, Duration::ZERO);
        (id, LaneConfig::new(1, 1).with_retry_policy(retry), 0)
    };
    let manager = builder_with(&[lane("a"), lane("b")])
        .with_dlq(5)
        .with_metrics(QueueMetrics::new(Arc::new(OtelMetricsBackend::new())))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    for body in [nothing("good"), nothing("good"), failing("bad")] {
        let receiver = submit(&manager, "a", body).await;
        let _ = outcome(receiver).await;
    }
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..4 {
        receivers.push(submit(&manager, "b", gate.command("held")).await);
    }
    let refused = manager.submit("nope", nothing("t")).await;
    assert!(matches!(refused, Err(LaneError::LaneNotFound(_))));
    support::eventually("one of b runs", async || {
        manager.stats().await.expect("never fails").total_active == 1
    })
    .await;
    let point = |lane: &str, value: f64| (lane.to_owned(), value, 0.0);
    let now = export();
    for (name, expected) in [
        (
            "a3s_lane_commands_submitted_total",
            [("a", 3.0), ("b", 4.0)].as_slice(),
        ),
        ("a3s_lane_commands_completed_total", &[("a", 2.0)]),
        ("a3s_lane_commands_failed_total", &[("a", 1.0)]),
        ("lane.commands.submitted", &[("a", 3.0), ("b", 4.0)]),
        ("lane.commands.completed", &[("a", 2.0)]),
        ("lane.commands.failed", &[("a", 1.0)]),
        ("lane.commands.retried", &[("a", 1.0)]),
        ("lane.commands.dead_lettered", &[("a", 1.0)]),
        ("lane.queue.depth", &[("a", 0.0), ("b", 3.0)]),
        ("lane.queue.active", &[("a", 0.0), ("b", 1.0)]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|(lane, value)| point(lane, *value))
            .collect();
        assert_eq!(points(&now, name), expected, "{name}");
    }
    let durations = points(&now, "a3s_lane_command_duration_seconds");
    assert_eq!((durations.len(), durations[0].1), (1, 2.0));
    assert_eq!(points(&now, "lane.command.latency_ms")[0].1, 2.0);
    assert_eq!(points(&now, "lane.command.wait_time_ms")[0].1, 4.0);

    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it is empty");
    let now = export();
    let zero = [point("a", 0.0), point("b", 0.0)];
    assert_eq!(points(&now, "lane.queue.depth"), zero);
    assert_eq!(points(&now, "lane.queue.active"), zero);
}

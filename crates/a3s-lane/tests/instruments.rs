//! OpenTelemetry's instruments, fed by a real queue.
//!
//! The provider is of the process, and so are four of the instruments: this is a process of its own with one test.
#![cfg(feature = "telemetry")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::telemetry::init_lane_metrics;
use a3s_lane::{
    CommandContext, CommandStatus, Executor, ExecutorTask, JsonCommand, LaneConfig, LaneError,
    OtelMetricsBackend, QueueMetrics, RetryPolicy, SubmitOptions,
};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use serde_json::Value;

use support::{
    Gate, builder_with, endless, failing, nothing, outcome, reaches, settled, submit, submit_with,
    within,
};

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
    both_ways_count_the_same_endings(&export).await;
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

/// Runs nothing.
struct Nowhere;

impl Executor for Nowhere {
    fn schedule(&self, task: ExecutorTask) {
        drop(task);
    }
}

/// What was cancelled or has expired has not failed; what ends with its queue or its executor has.
async fn both_ways_count_the_same_endings(export: &impl Fn() -> Vec<ResourceMetrics>) {
    let handler = |_: Value, _: CommandContext| async { Ok(Value::Null) };
    let one = LaneConfig::new(0, 1);
    let manager = builder_with(&[("ends", one.clone(), 0), ("nowhere", one, 0)])
        .with_handler_on("lost", handler, Arc::new(Nowhere))
        .with_metrics(QueueMetrics::new(Arc::new(OtelMetricsBackend::new())))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");

    let lost = Box::new(JsonCommand::new("lost", Value::Null));
    let lost = submit(&manager, "nowhere", lost).await;
    outcome(lost).await.expect_err("its executor dropped it");

    let options = SubmitOptions::new;
    let running = submit_with(&manager, "ends", endless("t"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let waiting = submit_with(&manager, "ends", nothing("t"), options()).await;
    let expiring = options().with_ttl(Duration::from_millis(1));
    let expiring = submit_with(&manager, "ends", nothing("t"), expiring).await;
    settled(&expiring).await.expect_err("it expires");
    for cancelled in [waiting, running] {
        assert!(cancelled.cancel());
        settled(&cancelled).await.expect_err("it is cancelled");
    }

    let running = submit_with(&manager, "ends", endless("t"), options()).await;
    reaches(&running, CommandStatus::Running).await;
    let waiting = submit(&manager, "ends", nothing("t")).await;
    drop(manager);
    settled(&running).await.expect_err("its queue is gone");
    outcome(waiting).await.expect_err("its queue is gone");

    let now = export();
    let count = |name: &str, lane: &str| {
        let points = points(&now, name);
        let point = points.into_iter().find(|point| point.0 == lane);
        point.map_or(0.0, |point| point.1)
    };
    for (lane, submitted, failed) in [("ends", 5.0, 2.0), ("nowhere", 1.0, 1.0)] {
        for (name, expected) in [
            ("a3s_lane_commands_submitted_total", submitted),
            ("lane.commands.submitted", submitted),
            ("a3s_lane_commands_failed_total", failed),
            ("lane.commands.failed", failed),
            ("a3s_lane_commands_completed_total", 0.0),
            ("lane.commands.completed", 0.0),
        ] {
            assert_eq!(count(name, lane), expected, "{name} of {lane}");
        }
    }
    assert_eq!(count("lane.commands.cancelled", "ends"), 2.0);
    assert_eq!(count("lane.commands.expired", "ends"), 1.0);
}

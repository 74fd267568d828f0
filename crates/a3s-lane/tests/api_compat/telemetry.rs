use a3s_lane::telemetry::{self, LaneMetricsRecorder};
use a3s_lane::{MetricsBackend, OtelMetricsBackend};
use opentelemetry::metrics::{Counter, Histogram};

#[test]
fn names() {
    assert_eq!(telemetry::SPAN_LANE_SUBMIT, "a3s.lane.submit");
    assert_eq!(telemetry::SPAN_LANE_EXECUTE, "a3s.lane.execute");
    assert_eq!(telemetry::SPAN_LANE_RETRY, "a3s.lane.retry");
    assert_eq!(telemetry::SPAN_LANE_HEALTH_CHECK, "a3s.lane.health_check");
    assert_eq!(telemetry::ATTR_COMMAND_ID, "a3s.lane.command_id");
    assert_eq!(telemetry::ATTR_LANE_NAME, "a3s.lane.lane_name");
    assert_eq!(telemetry::ATTR_COMMAND_TYPE, "a3s.lane.command_type");
    assert_eq!(telemetry::ATTR_RETRY_ATTEMPT, "a3s.lane.retry_attempt");
    assert_eq!(telemetry::ATTR_SUCCESS, "a3s.lane.success");
}

/// The recorder is of the process: this is the one test of this binary that touches it.
#[test]
fn the_recorder_of_the_process() {
    if telemetry::metrics().is_none() {
        telemetry::record_submit("a");
        telemetry::record_complete("a", 0.5);
        telemetry::record_failure("a");
    }
    telemetry::init_lane_metrics();
    let first: &'static LaneMetricsRecorder = telemetry::metrics().expect("it is there now");
    telemetry::init_lane_metrics();
    assert!(std::ptr::eq(first, telemetry::metrics().expect("it stays")));
    let LaneMetricsRecorder {
        commands_submitted_total,
        commands_completed_total,
        commands_failed_total,
        command_duration_seconds,
    } = first;
    let counters: [&Counter<u64>; 3] = [
        commands_submitted_total,
        commands_completed_total,
        commands_failed_total,
    ];
    for counter in counters {
        counter.add(1, &[]);
    }
    let duration: &Histogram<f64> = command_duration_seconds;
    duration.record(0.5, &[]);
    telemetry::record_submit("a");
    telemetry::record_complete("a", 0.5);
    telemetry::record_failure("a");
}

#[tokio::test]
async fn the_backend_only_writes() {
    fn is_default<T: Default>() {}
    is_default::<OtelMetricsBackend>();
    let backend = OtelMetricsBackend::new();
    backend
        .increment_counter("lane.commands.submitted", 1)
        .await;
    backend.set_gauge("lane.queue.depth.a", 1.0).await;
    backend
        .record_histogram("lane.command.latency_ms", 1.0)
        .await;
    assert_eq!(backend.get_counter("lane.commands.submitted").await, None);
    assert_eq!(backend.get_gauge("lane.queue.depth.a").await, None);
    let histogram = backend.get_histogram_stats("lane.command.latency_ms").await;
    assert!(histogram.is_none());
    backend.reset().await;
    assert!(backend.snapshot().await.counters.is_empty());
}

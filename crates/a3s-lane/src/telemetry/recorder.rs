//! Four process-wide instruments.

use std::sync::OnceLock;

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, global};

use super::{LANE_ATTRIBUTE, METER_NAME};

/// Bounds of the duration's buckets in seconds: from a cache hit to a long model call.
const DURATION_BOUNDS_SECONDS: [f64; 16] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

static RECORDER: OnceLock<LaneMetricsRecorder> = OnceLock::new();

/// The instruments that [`init_lane_metrics`] turns on. Each point has the attribute `lane`.
pub struct LaneMetricsRecorder {
    /// `a3s_lane_commands_submitted_total`: commands that a lane accepted.
    pub commands_submitted_total: Counter<u64>,
    /// `a3s_lane_commands_completed_total`: commands that ended well.
    pub commands_completed_total: Counter<u64>,
    /// `a3s_lane_commands_failed_total`: commands that failed for good, timeouts included; none that was cancelled or expired.
    pub commands_failed_total: Counter<u64>,
    /// `a3s_lane_command_duration_seconds`: how long the last attempt of a completed command ran.
    pub command_duration_seconds: Histogram<f64>,
}

impl LaneMetricsRecorder {
    fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, description: &'static str| {
            meter
                .u64_counter(name)
                .with_description(description)
                .build()
        };
        Self {
            commands_submitted_total: counter(
                "a3s_lane_commands_submitted_total",
                "Commands that a lane accepted",
            ),
            commands_completed_total: counter(
                "a3s_lane_commands_completed_total",
                "Commands that ended well",
            ),
            commands_failed_total: counter(
                "a3s_lane_commands_failed_total",
                "Commands that failed for good",
            ),
            command_duration_seconds: meter
                .f64_histogram("a3s_lane_command_duration_seconds")
                .with_description("Run time of completed commands")
                .with_unit("s")
                .with_boundaries(DURATION_BOUNDS_SECONDS.to_vec())
                .build(),
        }
    }
}

/// The process-wide instruments, or `None` before [`init_lane_metrics`].
#[inline]
pub fn metrics() -> Option<&'static LaneMetricsRecorder> {
    RECORDER.get()
}

/// Makes the process-wide instruments on the meter `a3s-lane` of the global meter provider.
///
/// The first call wins; later ones do nothing, even if the provider was changed. Until it is called the `record_*`
/// functions cost about a nanosecond and do nothing.
pub fn init_lane_metrics() {
    RECORDER.get_or_init(|| LaneMetricsRecorder::new(&global::meter(METER_NAME)));
}

/// Counts a command that a lane accepted.
#[inline]
pub fn record_submit(lane_name: &str) {
    if let Some(recorder) = metrics() {
        recorder.commands_submitted_total.add(1, &lane(lane_name));
    }
}

/// Counts a command that ended well and records its run time in **seconds**.
pub fn record_complete(lane_name: &str, duration_secs: f64) {
    if let Some(recorder) = metrics() {
        let attributes = lane(lane_name);
        recorder.commands_completed_total.add(1, &attributes);
        recorder
            .command_duration_seconds
            .record(duration_secs, &attributes);
    }
}

/// Counts a command that failed for good.
pub fn record_failure(lane_name: &str) {
    if let Some(recorder) = metrics() {
        recorder.commands_failed_total.add(1, &lane(lane_name));
    }
}

fn lane(name: &str) -> [KeyValue; 1] {
    [KeyValue::new(LANE_ATTRIBUTE, name.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::super::otel_backend::tests::Exported;
    use super::*;

    // One test, because the instruments and the provider are process-wide.
    #[test]
    fn process_wide_instruments_work_from_init_on() {
        let lane = "process-wide";
        record_submit(lane);

        let exported = Exported::new();
        global::set_meter_provider(exported.provider.clone());
        init_lane_metrics();
        init_lane_metrics();
        assert!(metrics().is_some());
        record_submit(lane);
        record_submit(lane);
        record_complete(lane, 0.25);
        record_failure(lane);

        let attribute = Some(lane);
        assert_eq!(
            exported.counter("a3s_lane_commands_submitted_total", attribute),
            Some(2)
        );
        assert_eq!(
            exported.counter("a3s_lane_commands_completed_total", attribute),
            Some(1)
        );
        assert_eq!(
            exported.counter("a3s_lane_commands_failed_total", attribute),
            Some(1)
        );
        assert_eq!(
            exported.histogram("a3s_lane_command_duration_seconds", attribute),
            Some((1, 0.25))
        );
        assert_eq!(exported.meters(), ["a3s-lane"]);

        // The backend writes to the global provider, too.
        let backend = crate::telemetry::OtelMetricsBackend::new();
        let recorder = crate::metrics::MetricsBackend::lane_recorder(&backend, lane);
        recorder
            .expect("it has recorders")
            .record(crate::metrics::LaneSample::Submitted, 0, 0);
        assert_eq!(
            exported.counter("lane.commands.submitted", attribute),
            Some(1)
        );
        assert_eq!(exported.meters(), ["a3s-lane"]);
    }
}

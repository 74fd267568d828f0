//! Counters, gauges and histograms of what the lanes do.
//!
//! A [`QueueMetrics`] is given to the queue and writes to one [`MetricsBackend`]: [`LocalMetrics`] keeps the figures in
//! memory, [`OtelMetricsBackend`](crate::telemetry::OtelMetricsBackend) hands them to OpenTelemetry, and an own
//! implementation can send them anywhere. The names are in [`metric_names`].
//!
//! # Which names are written
//!
//! Every counter and histogram is kept twice: under its plain name (all lanes together) and under `"{name}.{lane_id}"`.
//! The two gauges exist only per lane. OpenTelemetry has the attribute `lane` instead. Times are in **milliseconds**.
//!
//! The latency histogram holds completed attempts only: a command that fails or times out is counted, but its duration
//! would hide how long useful work takes.

mod distribution;
mod lane_cell;
mod local;
pub(crate) mod names;
mod queue_metrics;
mod sample;
mod snapshot;

use std::sync::Arc;

use async_trait::async_trait;

pub use local::LocalMetrics;
pub(crate) use queue_metrics::LaneWaits;
pub use queue_metrics::QueueMetrics;
pub use sample::{LaneRecorder, LaneSample};
pub use snapshot::{HistogramPercentiles, HistogramStats, MetricsSnapshot};

/// The plain names of the metrics that a queue writes.
pub mod metric_names {
    /// Counter: commands that a lane accepted. Refused submits do not count.
    pub const COMMANDS_SUBMITTED: &str = "lane.commands.submitted";
    /// Counter: commands that ended well.
    pub const COMMANDS_COMPLETED: &str = "lane.commands.completed";
    /// Counter: commands that failed for good, timeouts apart.
    pub const COMMANDS_FAILED: &str = "lane.commands.failed";
    /// Counter: commands whose last attempt timed out.
    pub const COMMANDS_TIMEOUT: &str = "lane.commands.timeout";
    /// Counter: attempts that failed and will be repeated.
    pub const COMMANDS_RETRIED: &str = "lane.commands.retried";
    /// Counter: commands that went to the dead letters.
    pub const COMMANDS_DEAD_LETTERED: &str = "lane.commands.dead_lettered";
    /// Counter: commands that were cancelled, or dropped for newer ones.
    pub const COMMANDS_CANCELLED: &str = "lane.commands.cancelled";
    /// Counter: commands whose time to live ran out before they started.
    pub const COMMANDS_EXPIRED: &str = "lane.commands.expired";
    /// Counter: attempts that made room for a more urgent lane.
    pub const COMMANDS_PREEMPTED: &str = "lane.commands.preempted";
    /// Gauge, per lane: commands that wait.
    pub const QUEUE_DEPTH: &str = "lane.queue.depth";
    /// Gauge, per lane: commands that run.
    pub const QUEUE_ACTIVE: &str = "lane.queue.active";
    /// Gauge, per lane, milliseconds: how long the command has waited that became ready first; 0 when none is ready.
    /// Written when a snapshot is taken and when a monitor looks.
    pub const QUEUE_OLDEST_WAIT: &str = "lane.queue.oldest_wait_ms";
    /// Histogram, milliseconds: how long the attempt of a completed command ran.
    pub const COMMAND_LATENCY: &str = "lane.command.latency_ms";
    /// Histogram, milliseconds: how long a command waited before it started.
    pub const COMMAND_WAIT_TIME: &str = "lane.command.wait_time_ms";
}

/// Where metrics go.
///
/// The asynchronous methods take any name. A queue calls them once or more per command, so an implementation should
/// return quickly; one that has something to wait for should buffer.
///
/// # Cancel safety
///
/// Callers may drop any of the futures; a dropped call may or may not have been recorded.
#[async_trait]
pub trait MetricsBackend: Send + Sync {
    /// Adds `value` to a counter, which starts at 0.
    async fn increment_counter(&self, name: &str, value: u64);

    /// Sets a gauge, replacing its former value.
    async fn set_gauge(&self, name: &str, value: f64);

    /// Adds one value to a histogram.
    async fn record_histogram(&self, name: &str, value: f64);

    /// The counter's value, or `None` if it was never written or the backend cannot read.
    async fn get_counter(&self, name: &str) -> Option<u64>;

    /// The gauge's value, or `None` if it was never written or the backend cannot read.
    async fn get_gauge(&self, name: &str) -> Option<f64>;

    /// The histogram's figures, or `None` if it was never written or the backend cannot read.
    async fn get_histogram_stats(&self, name: &str) -> Option<HistogramStats>;

    /// Forgets everything recorded so far, where the backend can.
    async fn reset(&self);

    /// Everything recorded so far; empty if the backend cannot read.
    async fn snapshot(&self) -> MetricsSnapshot;

    /// A recorder for one lane that needs no await, for the queue's hot path.
    ///
    /// Default: `None`; the queue then calls the asynchronous methods for every sample. Two recorders of the same lane
    /// write to the same figures.
    fn lane_recorder(&self, lane_id: &str) -> Option<Arc<dyn LaneRecorder>> {
        let _ = lane_id;
        None
    }

    /// Whether this backend keeps lanes apart by itself and can add them up, as one with labels does.
    ///
    /// Default: `false`. Where it is `true`, [`QueueMetrics`] writes the per-lane names only, because a total written
    /// beside the lanes would count everything twice.
    fn splits_by_lane(&self) -> bool {
        false
    }
}

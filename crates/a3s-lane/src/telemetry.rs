//! OpenTelemetry metrics and tracing spans.
//!
//! # Metrics
//!
//! There are two ways to get figures into OpenTelemetry, which can be used together:
//!
//! * [`OtelMetricsBackend`] is a [`MetricsBackend`](crate::metrics::MetricsBackend) with everything a queue measures.
//!   Give it to the manager with [`QueueManagerBuilder::with_metrics`](crate::QueueManagerBuilder::with_metrics).
//! * [`init_lane_metrics`] turns on four instruments for all queues of the process, see [`LaneMetricsRecorder`].
//!
//! Both write to the meter `a3s-lane` of the global meter provider, so set that provider first: instruments made before
//! it stay without effect for ever.
//!
//! # Spans
//!
//! | span | level | fields besides [`ATTR_LANE_NAME`] | covers |
//! |---|---|---|---|
//! | [`SPAN_LANE_SUBMIT`] | info | [`ATTR_COMMAND_TYPE`] | the wait in the queue, from the submit to the first start |
//! | [`SPAN_LANE_EXECUTE`] | info | [`ATTR_COMMAND_ID`], [`ATTR_COMMAND_TYPE`], [`ATTR_RETRY_ATTEMPT`], [`ATTR_SUCCESS`] | one attempt |
//! | [`SPAN_LANE_RETRY`] | info | [`ATTR_COMMAND_ID`], [`ATTR_RETRY_ATTEMPT`] | the decision to try again |
//! | [`SPAN_LANE_HEALTH_CHECK`] | debug | none, and no lane | one look of a monitor at the queue |
//!
//! The submit span is a child of the span that submits. The execute span starts a trace of its own, because a command
//! often outlives its submitter, and *follows from* the submit span, which `tracing-opentelemetry` turns into a link.
//! What a command logs appears inside its execute span.
//!
//! All spans have the target [`SPAN_TARGET`]: the filter directive `a3s_lane::telemetry=off` removes them. A span that
//! no subscriber wants costs about a nanosecond, and nothing is formatted for it.

mod otel_backend;
mod recorder;
mod spans;

pub use otel_backend::OtelMetricsBackend;
pub use recorder::{
    LaneMetricsRecorder, init_lane_metrics, metrics, record_complete, record_failure, record_submit,
};
#[cfg(feature = "monitoring")]
pub(crate) use spans::health_check_span;
pub(crate) use spans::{execute_span, record_success, retry_span, submit_span, wants_spans};

/// Name of the span from a command's submit to its first start.
pub const SPAN_LANE_SUBMIT: &str = "a3s.lane.submit";
/// Name of the span around one attempt.
pub const SPAN_LANE_EXECUTE: &str = "a3s.lane.execute";
/// Name of the span of a decision to try again.
pub const SPAN_LANE_RETRY: &str = "a3s.lane.retry";
/// Name of the span around one health check.
pub const SPAN_LANE_HEALTH_CHECK: &str = "a3s.lane.health_check";
/// Target of all spans, for filters.
pub const SPAN_TARGET: &str = "a3s_lane::telemetry";

/// Span field: the command's id.
pub const ATTR_COMMAND_ID: &str = "a3s.lane.command_id";
/// Span field: the lane's id.
pub const ATTR_LANE_NAME: &str = "a3s.lane.lane_name";
/// Span field: the command's type.
pub const ATTR_COMMAND_TYPE: &str = "a3s.lane.command_type";
/// Span field: how often the command was tried before; 0 at the first attempt.
pub const ATTR_RETRY_ATTEMPT: &str = "a3s.lane.retry_attempt";
/// Span field: whether the attempt ended well; absent until it ends.
pub const ATTR_SUCCESS: &str = "a3s.lane.success";

/// The meter that all instruments belong to.
const METER_NAME: &str = "a3s-lane";
/// The attribute that tells lanes apart.
const LANE_ATTRIBUTE: &str = "lane";

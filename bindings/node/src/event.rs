//! Events and statistics as JavaScript sees them.

use std::collections::BTreeMap;

use a3s_lane::event::EventPayload;
use a3s_lane::{LaneEvent, LaneStatus};
use napi_derive::napi;

/// Something that happened in a lane.
#[napi(object, object_from_js = false)]
pub struct NativeEvent {
    /// Which kind of event.
    pub key: String,
    /// JSON text; `null` when the event says nothing more.
    pub payload: String,
    /// When it happened, RFC 3339.
    pub timestamp: String,
}

impl From<LaneEvent> for NativeEvent {
    fn from(event: LaneEvent) -> Self {
        let payload = match event.payload {
            EventPayload::Empty => serde_json::Value::Null.to_string(),
            EventPayload::String(text) => serde_json::Value::String(text).to_string(),
            // Sorted, so that equal events have equal texts.
            EventPayload::Map(map) => {
                let sorted: BTreeMap<_, _> = map.into_iter().collect();
                serde_json::json!(sorted).to_string()
            }
        };
        Self {
            key: event.key,
            payload,
            timestamp: event.timestamp.to_rfc3339(),
        }
    }
}

/// Some of a subscription's events, and whether more may follow.
#[napi(object, object_from_js = false)]
pub struct NativeBatch {
    /// In order.
    pub events: Vec<NativeEvent>,
    /// No further event will come.
    pub ended: bool,
}

/// The state of one lane.
#[napi(object, object_from_js = false)]
pub struct NativeLaneStatus {
    /// The lane's name.
    pub lane_id: String,
    /// Commands that wait, delayed retries included.
    pub pending: f64,
    /// Commands that run.
    pub active: f64,
    /// As configured.
    pub min_concurrency: f64,
    /// As configured.
    pub max_concurrency: f64,
}

impl NativeLaneStatus {
    pub(crate) fn new(lane_id: String, status: &LaneStatus) -> Self {
        Self {
            lane_id,
            pending: number(status.pending),
            active: number(status.active),
            min_concurrency: number(status.min),
            max_concurrency: number(status.max),
        }
    }
}

/// The state of all lanes.
#[napi(object, object_from_js = false)]
pub struct NativeStats {
    /// Commands that wait, in all lanes.
    pub total_pending: f64,
    /// Commands that run, in all lanes.
    pub total_active: f64,
    /// Dead letters kept.
    pub dead_letter_count: f64,
    /// Most urgent lane first.
    pub lanes: Vec<NativeLaneStatus>,
}

/// Counts stay far below 2^53, where a JavaScript number stops being exact.
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

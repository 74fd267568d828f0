//! A metrics backend that hands everything to OpenTelemetry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::{KeyValue, global};

use super::{LANE_ATTRIBUTE, METER_NAME};
use crate::metrics::names::{ACTIVE, COUNTERS, DEPTH, GAUGES, HISTOGRAMS, base_index, split_lane};
use crate::metrics::{HistogramStats, LaneRecorder, LaneSample, MetricsBackend, MetricsSnapshot};

/// Bounds of the buckets of the queue's own histograms, in milliseconds.
const TIME_BOUNDS_MS: [f64; 19] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4,
    3e4, 6e4, 3e5,
];

/// Hands metrics to OpenTelemetry: counters as `u64` counters, gauges as gauges (set, never added), histograms as `f64`
/// histograms, all on the meter `a3s-lane` of the global meter provider.
///
/// The instruments are named like the plain names in [`metric_names`](crate::metrics::metric_names). What a queue
/// writes for one lane becomes a point with the attribute `lane` on that instrument, rather than an instrument per lane;
/// the total over all lanes is the sum over the attribute. The SDK bounds how many attribute values an instrument keeps
/// (2,000 by default).
///
/// OpenTelemetry cannot be read back: the getters return `None`, [`snapshot`](MetricsBackend::snapshot) is empty and
/// [`reset`](MetricsBackend::reset) does nothing.
///
/// # Bounds
///
/// At most [`MAX_NAMES`](Self::MAX_NAMES) instruments of each kind are made for other names: a write to a further name
/// is ignored, and the first one is logged at `warn`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use a3s_lane::{OtelMetricsBackend, metrics::QueueMetrics};
///
/// // First: opentelemetry::global::set_meter_provider(...), else nothing is exported.
/// let metrics = QueueMetrics::new(Arc::new(OtelMetricsBackend::new()));
/// # let _ = metrics;
/// ```
pub struct OtelMetricsBackend {
    lanes: Arc<LaneInstruments>,
    meter: Meter,
    named: Mutex<Named>,
}

/// The instruments that a queue writes, by the indexes of the name tables.
struct LaneInstruments {
    counters: [Counter<u64>; COUNTERS.len()],
    gauges: [Gauge<f64>; GAUGES.len()],
    histograms: [Histogram<f64>; HISTOGRAMS.len()],
}

/// Instruments of other names.
#[derive(Default)]
struct Named {
    counters: HashMap<String, Counter<u64>>,
    gauges: HashMap<String, Gauge<f64>>,
    histograms: HashMap<String, Histogram<f64>>,
    warned: bool,
}

impl LaneInstruments {
    fn new(meter: &Meter) -> Self {
        Self {
            counters: COUNTERS.map(|name| meter.u64_counter(name).build()),
            gauges: GAUGES.map(|name| meter.f64_gauge(name).build()),
            histograms: HISTOGRAMS.map(|name| {
                let histogram = meter.f64_histogram(name).with_unit("ms");
                histogram.with_boundaries(TIME_BOUNDS_MS.to_vec()).build()
            }),
        }
    }
}

/// Writes the points of one lane.
struct OtelLaneRecorder {
    instruments: Arc<LaneInstruments>,
    attributes: [KeyValue; 1],
}

impl LaneRecorder for OtelLaneRecorder {
    fn record(&self, sample: LaneSample, depth: usize, active: usize) {
        if let Some(index) = sample.counter() {
            self.instruments.counters[index].add(1, &self.attributes);
        }
        if let Some((index, value)) = sample.observation() {
            self.instruments.histograms[index].record(value, &self.attributes);
        }
        self.instruments.gauges[DEPTH].record(depth as f64, &self.attributes);
        self.instruments.gauges[ACTIVE].record(active as f64, &self.attributes);
    }
}

impl OtelMetricsBackend {
    /// How many instruments of each kind are made for names that no queue writes.
    pub const MAX_NAMES: usize = 1_000;

    /// A backend on the global meter provider of this moment.
    ///
    /// Set the provider first. A provider that is set later is not noticed.
    pub fn new() -> Self {
        Self::on(global::meter(METER_NAME))
    }

    fn on(meter: Meter) -> Self {
        Self {
            lanes: Arc::new(LaneInstruments::new(&meter)),
            meter,
            named: Mutex::default(),
        }
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        // Nothing that runs under the lock can leave it half-written.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for OtelMetricsBackend {
    fn default() -> Self {
        Self::new()
    }
}

/// The instrument and the attributes of a name that a queue writes.
fn of_lane<'a, T>(
    bases: &[&str],
    instruments: &'a [T],
    name: &str,
) -> Option<(&'a T, Vec<KeyValue>)> {
    if let Some((index, lane)) = split_lane(bases, name) {
        Some((&instruments[index], vec![lane_attribute(lane)]))
    } else {
        let index = base_index(bases, name)?;
        Some((&instruments[index], Vec::new()))
    }
}

fn lane_attribute(lane: &str) -> KeyValue {
    KeyValue::new(LANE_ATTRIBUTE, lane.to_owned())
}

/// The instrument of any other name, made when there is room. The name is copied only then.
fn of_name<'a, T>(
    instruments: &'a mut HashMap<String, T>,
    warned: &mut bool,
    name: &str,
    new: impl FnOnce(String) -> T,
) -> Option<&'a T> {
    if !instruments.contains_key(name) {
        if instruments.len() >= OtelMetricsBackend::MAX_NAMES {
            if !std::mem::replace(warned, true) {
                let limit = OtelMetricsBackend::MAX_NAMES;
                tracing::warn!(name, limit, "too many metric names, ignoring new ones");
            }
            return None;
        }
        instruments.insert(name.to_owned(), new(name.to_owned()));
    }
    instruments.get(name)
}

// No lock is held across an await: none of the methods awaits.
#[async_trait]
impl MetricsBackend for OtelMetricsBackend {
    async fn increment_counter(&self, name: &str, value: u64) {
        if let Some((counter, attributes)) = of_lane(&COUNTERS, &self.lanes.counters, name) {
            counter.add(value, &attributes);
            return;
        }
        let Named {
            counters, warned, ..
        } = &mut *self.named();
        let new = |name| self.meter.u64_counter(name).build();
        if let Some(counter) = of_name(counters, warned, name, new) {
            counter.add(value, &[]);
        }
    }

    async fn set_gauge(&self, name: &str, value: f64) {
        if let Some((gauge, attributes)) = of_lane(&GAUGES, &self.lanes.gauges, name) {
            gauge.record(value, &attributes);
            return;
        }
        let Named { gauges, warned, .. } = &mut *self.named();
        let new = |name| self.meter.f64_gauge(name).build();
        if let Some(gauge) = of_name(gauges, warned, name, new) {
            gauge.record(value, &[]);
        }
    }

    async fn record_histogram(&self, name: &str, value: f64) {
        if let Some((histogram, attributes)) = of_lane(&HISTOGRAMS, &self.lanes.histograms, name) {
            histogram.record(value, &attributes);
            return;
        }
        let Named {
            histograms, warned, ..
        } = &mut *self.named();
        let new = |name| self.meter.f64_histogram(name).build();
        if let Some(histogram) = of_name(histograms, warned, name, new) {
            histogram.record(value, &[]);
        }
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

    async fn reset(&self) {}

    async fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot::default()
    }

    fn lane_recorder(&self, lane_id: &str) -> Option<Arc<dyn LaneRecorder>> {
        Some(Arc::new(OtelLaneRecorder {
            instruments: Arc::clone(&self.lanes),
            attributes: [lane_attribute(lane_id)],
        }))
    }

    fn splits_by_lane(&self) -> bool {
        true
    }
}

#[cfg(test)]
pub(super) mod tests;

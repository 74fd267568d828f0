//! The figures of one lane in [`LocalMetrics`](super::LocalMetrics): cheap to write, merged when read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::distribution::Distribution;
use super::names::{ACTIVE, COUNTERS, DEPTH, GAUGES, HISTOGRAMS};
use super::{LaneRecorder, LaneSample};

/// The bits of a gauge that was never set: a NaN that no arithmetic produces.
const UNSET: u64 = u64::MAX;

/// Counters and gauges are atomics, so that many submitting threads never wait for each other; the histograms have a
/// lock each. Figures read together may be some samples apart.
pub(super) struct LaneCell {
    counters: [AtomicU64; COUNTERS.len()],
    gauges: [AtomicU64; GAUGES.len()],
    histograms: [Mutex<Distribution>; HISTOGRAMS.len()],
}

impl LaneCell {
    pub(super) fn new() -> Self {
        Self {
            counters: Default::default(),
            gauges: std::array::from_fn(|_| AtomicU64::new(UNSET)),
            histograms: [
                Mutex::new(Distribution::new()),
                Mutex::new(Distribution::new()),
            ],
        }
    }

    /// The counter at an index of [`COUNTERS`].
    pub(super) fn counter(&self, index: usize) -> u64 {
        self.counters[index].load(Relaxed)
    }

    /// The gauge at an index of [`GAUGES`].
    pub(super) fn gauge(&self, index: usize) -> Option<f64> {
        let bits = self.gauges[index].load(Relaxed);
        (bits != UNSET).then(|| f64::from_bits(bits))
    }

    pub(super) fn set_gauge(&self, index: usize, value: f64) {
        self.gauges[index].store(value.to_bits(), Relaxed);
    }

    /// The histogram at an index of [`HISTOGRAMS`].
    pub(super) fn histogram(&self, index: usize) -> MutexGuard<'_, Distribution> {
        // A poisoned histogram is at worst one value short.
        self.histograms[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reset(&self) {
        for counter in &self.counters {
            counter.store(0, Relaxed);
        }
        for gauge in &self.gauges {
            gauge.store(UNSET, Relaxed);
        }
        for index in 0..HISTOGRAMS.len() {
            *self.histogram(index) = Distribution::new();
        }
    }
}

impl LaneRecorder for LaneCell {
    fn record(&self, sample: LaneSample, depth: usize, active: usize) {
        if let Some(index) = sample.counter() {
            self.counters[index].fetch_add(1, Relaxed);
        }
        if let Some((index, value)) = sample.observation() {
            self.histogram(index).record(value);
        }
        self.set_gauge(DEPTH, depth as f64);
        self.set_gauge(ACTIVE, active as f64);
    }
}

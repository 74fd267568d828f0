//! The figures of one lane in [`LocalMetrics`](super::LocalMetrics): cheap to write, merged when read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::distribution::Distribution;
use super::metric_names::{
    COMMAND_LATENCY, COMMAND_WAIT_TIME, COMMANDS_COMPLETED, COMMANDS_DEAD_LETTERED,
    COMMANDS_FAILED, COMMANDS_RETRIED, COMMANDS_SUBMITTED, COMMANDS_TIMEOUT, QUEUE_ACTIVE,
    QUEUE_DEPTH,
};
use super::{LaneRecorder, LaneSample};

/// The counters of a lane, in the order of [`LaneCell::counters`].
pub(super) const COUNTERS: [&str; 6] = [
    COMMANDS_SUBMITTED,
    COMMANDS_COMPLETED,
    COMMANDS_FAILED,
    COMMANDS_TIMEOUT,
    COMMANDS_RETRIED,
    COMMANDS_DEAD_LETTERED,
];
/// The gauges of a lane, in the order of [`LaneCell::gauges`].
pub(super) const GAUGES: [&str; 2] = [QUEUE_DEPTH, QUEUE_ACTIVE];
/// The histograms of a lane, in the order of [`LaneCell::histograms`].
pub(super) const HISTOGRAMS: [&str; 2] = [COMMAND_LATENCY, COMMAND_WAIT_TIME];

const SUBMITTED: usize = 0;
const COMPLETED: usize = 1;
const FAILED: usize = 2;
const TIMED_OUT: usize = 3;
const RETRIED: usize = 4;
const DEAD_LETTERED: usize = 5;
const DEPTH: usize = 0;
const ACTIVE: usize = 1;
const LATENCY: usize = 0;
const WAIT: usize = 1;

/// The bits of a gauge that was never set: a NaN that no arithmetic produces.
const UNSET: u64 = u64::MAX;

/// Counters and gauges are atomics, so that many submitting threads never wait for each other; the histograms have a
/// lock each. Figures read together may be some samples apart.
pub(super) struct LaneCell {
    counters: [AtomicU64; 6],
    gauges: [AtomicU64; 2],
    histograms: [Mutex<Distribution>; 2],
}

impl LaneCell {
    pub(super) fn new() -> Self {
        Self {
            counters: Default::default(),
            gauges: [AtomicU64::new(UNSET), AtomicU64::new(UNSET)],
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

    fn count(&self, index: usize) {
        self.counters[index].fetch_add(1, Relaxed);
    }
}

impl LaneRecorder for LaneCell {
    fn record(&self, sample: LaneSample, depth: usize, active: usize) {
        match sample {
            LaneSample::Submitted => self.count(SUBMITTED),
            LaneSample::Started { wait_ms } => self.histogram(WAIT).record(wait_ms),
            LaneSample::Completed { latency_ms } => {
                self.count(COMPLETED);
                self.histogram(LATENCY).record(latency_ms);
            }
            LaneSample::Failed { .. } => self.count(FAILED),
            LaneSample::TimedOut { .. } => self.count(TIMED_OUT),
            LaneSample::Retried => self.count(RETRIED),
            LaneSample::DeadLettered => self.count(DEAD_LETTERED),
        }
        self.set_gauge(DEPTH, depth as f64);
        self.set_gauge(ACTIVE, active as f64);
    }
}

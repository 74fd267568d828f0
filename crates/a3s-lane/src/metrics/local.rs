//! Metrics kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::distribution::Distribution;
use super::lane_cell::LaneCell;
use super::names::{COUNTERS, GAUGES, HISTOGRAMS, base_index, split_lane};
use super::{HistogramStats, LaneRecorder, MetricsBackend, MetricsSnapshot};

/// Keeps metrics in memory, for reading them in the same process.
///
/// # Bounds
///
/// At most [`MAX_NAMES`](Self::MAX_NAMES) counters, as many gauges and as many histograms are written by name: a write
/// to a further name is ignored, and the first one is logged at `warn`. At most [`MAX_LANES`](Self::MAX_LANES) lanes
/// have figures of their own through [`lane_recorder`](MetricsBackend::lane_recorder): the rest share those of the
/// lane [`OTHER_LANES`](Self::OTHER_LANES), so that totals stay right. A histogram takes 2 to 60 KB however many values
/// it holds.
///
/// # Histograms
///
/// Count, sum, minimum, maximum and mean are exact. Percentiles are within 1 % of the true value, or within 0.000001
/// where that is more. For percentiles, negative values count as 0 and values above 9.2e12 as 9.2e12. A value that is
/// not finite is ignored. Counters stop at `u64::MAX`.
///
/// # Examples
///
/// ```
/// use a3s_lane::metrics::{LocalMetrics, MetricsBackend};
///
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// let metrics = LocalMetrics::new();
/// metrics.increment_counter("requests", 2).await;
/// for value in 1..=100 {
///     metrics.record_histogram("size", f64::from(value)).await;
/// }
/// assert_eq!(metrics.get_counter("requests").await, Some(2));
/// let size = metrics.get_histogram_stats("size").await.expect("it was written");
/// assert_eq!((size.count, size.mean), (100, 50.5));
/// assert!((size.percentiles.p99 - 100.0).abs() <= 1.0);
/// # });
/// ```
#[derive(Default)]
pub struct LocalMetrics {
    named: Mutex<Named>,
    lanes: Mutex<HashMap<String, Arc<LaneCell>>>,
}

/// What was written by name.
#[derive(Default)]
struct Named {
    counters: HashMap<String, u64>,
    gauges: HashMap<String, f64>,
    histograms: HashMap<String, Distribution>,
    warned: bool,
}

impl Named {
    /// The entry of a name, made when there is room. The name is copied only then.
    fn entry<'a, T>(
        map: &'a mut HashMap<String, T>,
        warned: &mut bool,
        name: &str,
        new: impl FnOnce() -> T,
    ) -> Option<&'a mut T> {
        if !map.contains_key(name) {
            if map.len() >= LocalMetrics::MAX_NAMES {
                if !std::mem::replace(warned, true) {
                    tracing::warn!(
                        name,
                        limit = LocalMetrics::MAX_NAMES,
                        "too many metric names, ignoring new ones"
                    );
                }
                return None;
            }
            map.insert(name.to_owned(), new());
        }
        map.get_mut(name)
    }
}

impl LocalMetrics {
    /// How many different names of each kind can be written by name.
    pub const MAX_NAMES: usize = 10_000;
    /// How many lanes have figures of their own through recorders.
    pub const MAX_LANES: usize = 10_000;
    /// The lane whose figures stand for all lanes past [`MAX_LANES`](Self::MAX_LANES).
    pub const OTHER_LANES: &str = "_other";

    /// Empty metrics.
    pub fn new() -> Self {
        Self::default()
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        // Nothing that runs under the lock can leave it half-written.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Arc<LaneCell>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gauge of a lane that has a recorder.
    fn lane_gauge(&self, name: &str) -> Option<(usize, Arc<LaneCell>)> {
        let (index, lane) = split_lane(&GAUGES, name)?;
        Some((index, self.lanes().get(lane).cloned()?))
    }

    fn cell(&self, lane_id: &str) -> Arc<LaneCell> {
        let mut lanes = self.lanes();
        if let Some(cell) = lanes.get(lane_id) {
            return Arc::clone(cell);
        }
        let lane_id = if lanes.len() < Self::MAX_LANES {
            lane_id
        } else {
            Self::OTHER_LANES
        };
        let cell = Arc::clone(
            lanes
                .entry(lane_id.to_owned())
                .or_insert_with(|| Arc::new(LaneCell::new())),
        );
        // From now on the cell holds the lane's gauges, so one that was set by name moves there.
        let mut named = self.named();
        for (index, gauge) in GAUGES.iter().enumerate() {
            if let Some(value) = named.gauges.remove(&format!("{gauge}.{lane_id}")) {
                cell.set_gauge(index, value);
            }
        }
        cell
    }
}

// No lock is held across an await: none of the methods awaits. Where both locks are needed, `lanes` comes first.
#[async_trait]
impl MetricsBackend for LocalMetrics {
    async fn increment_counter(&self, name: &str, value: u64) {
        let Named {
            counters, warned, ..
        } = &mut *self.named();
        if let Some(counter) = Named::entry(counters, warned, name, || 0) {
            *counter = counter.saturating_add(value);
        }
    }

    async fn set_gauge(&self, name: &str, value: f64) {
        let lanes = self.lanes();
        if let Some((index, lane)) = split_lane(&GAUGES, name)
            && let Some(cell) = lanes.get(lane)
        {
            cell.set_gauge(index, value);
            return;
        }
        // `lanes` is still locked, so that the lane's first recorder cannot appear in between and miss the value.
        let Named { gauges, warned, .. } = &mut *self.named();
        if let Some(gauge) = Named::entry(gauges, warned, name, || 0.0) {
            *gauge = value;
        }
    }

    async fn record_histogram(&self, name: &str, value: f64) {
        let Named {
            histograms, warned, ..
        } = &mut *self.named();
        if let Some(histogram) = Named::entry(histograms, warned, name, Distribution::new) {
            histogram.record(value);
        }
    }

    async fn get_counter(&self, name: &str) -> Option<u64> {
        let from_lanes = {
            let lanes = self.lanes();
            if let Some(index) = base_index(&COUNTERS, name) {
                lanes
                    .values()
                    .fold(0u64, |sum, cell| sum.saturating_add(cell.counter(index)))
            } else if let Some((index, lane)) = split_lane(&COUNTERS, name) {
                lanes.get(lane).map_or(0, |cell| cell.counter(index))
            } else {
                0
            }
        };
        let by_name = self.named().counters.get(name).copied();
        match by_name {
            Some(value) => Some(value.saturating_add(from_lanes)),
            None => (from_lanes > 0).then_some(from_lanes),
        }
    }

    async fn get_gauge(&self, name: &str) -> Option<f64> {
        if let Some((index, cell)) = self.lane_gauge(name) {
            return cell.gauge(index);
        }
        self.named().gauges.get(name).copied()
    }

    async fn get_histogram_stats(&self, name: &str) -> Option<HistogramStats> {
        let mut merged = self.named().histograms.get(name).cloned();
        let mut add = |cell: &LaneCell, index: usize| {
            let histogram = cell.histogram(index);
            if !histogram.is_empty() {
                merged
                    .get_or_insert_with(Distribution::new)
                    .merge(&histogram);
            }
        };
        if let Some(index) = base_index(&HISTOGRAMS, name) {
            for cell in self.lanes().values() {
                add(cell, index);
            }
        } else if let Some((index, lane)) = split_lane(&HISTOGRAMS, name)
            && let Some(cell) = self.lanes().get(lane)
        {
            add(cell, index);
        }
        merged.map(|histogram| histogram.stats())
    }

    async fn reset(&self) {
        let lanes = self.lanes();
        for cell in lanes.values() {
            cell.reset();
        }
        *self.named() = Named::default();
    }

    async fn snapshot(&self) -> MetricsSnapshot {
        let (mut counters, mut gauges, mut histograms) = {
            let named = self.named();
            (
                named.counters.clone(),
                named.gauges.clone(),
                named.histograms.clone(),
            )
        };
        for (lane, cell) in &*self.lanes() {
            for (index, name) in COUNTERS.iter().enumerate() {
                let value = cell.counter(index);
                if value > 0 {
                    for name in [(*name).to_owned(), format!("{name}.{lane}")] {
                        let counter = counters.entry(name).or_default();
                        *counter = counter.saturating_add(value);
                    }
                }
            }
            for (index, name) in GAUGES.iter().enumerate() {
                if let Some(value) = cell.gauge(index) {
                    gauges.insert(format!("{name}.{lane}"), value);
                }
            }
            for (index, name) in HISTOGRAMS.iter().enumerate() {
                let histogram = cell.histogram(index).clone();
                if !histogram.is_empty() {
                    for name in [(*name).to_owned(), format!("{name}.{lane}")] {
                        histograms
                            .entry(name)
                            .or_insert_with(Distribution::new)
                            .merge(&histogram);
                    }
                }
            }
        }
        MetricsSnapshot {
            counters,
            gauges,
            histograms: histograms
                .into_iter()
                .map(|(name, histogram)| (name, histogram.stats()))
                .collect(),
        }
    }

    fn lane_recorder(&self, lane_id: &str) -> Option<Arc<dyn LaneRecorder>> {
        Some(self.cell(lane_id))
    }
}

#[cfg(test)]
mod tests;

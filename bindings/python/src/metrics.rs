//! What a lane has counted and timed.

use std::collections::HashMap;

use a3s_lane::LaneError;
use a3s_lane::metrics::HistogramStats;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::error::raise;
use crate::guarded;
use crate::interned::interned;
use crate::queue::Queue;
use crate::wait::wait;

type Figures = (u64, f64, f64, f64, f64, (f64, f64, f64, f64));

/// All figures of `queue`, as a `MetricsSnapshot` of Python.
pub(crate) fn snapshot<'py>(py: Python<'py>, queue: &Queue) -> PyResult<Bound<'py, PyAny>> {
    let Some(metrics) = queue.manager.metrics() else {
        let text = "metrics are off: make it with Lane(metrics=True)";
        return Err(raise(py, &LaneError::ConfigError(text.into())));
    };
    // Kept in memory: this never waits for long.
    let snapshot = wait(py, metrics.snapshot())?;
    let histograms: HashMap<String, Figures> = snapshot
        .histograms
        .iter()
        .map(|(name, stats)| (name.clone(), figures(stats)))
        .collect();
    let module = py.import(interned!(py, "a3s_lane._metrics"))?;
    guarded::call_method(
        module.as_any(),
        interned!(py, "snapshot"),
        (snapshot.counters, snapshot.gauges, histograms),
    )
}

fn figures(stats: &HistogramStats) -> Figures {
    // The core's smallest and largest of nothing are the ends of `f64`.
    let (min, max) = match stats.count {
        0 => (0.0, 0.0),
        _ => (stats.min, stats.max),
    };
    let percentiles = &stats.percentiles;
    let percentiles = (
        percentiles.p50,
        percentiles.p90,
        percentiles.p95,
        percentiles.p99,
    );
    (stats.count, stats.sum, min, max, stats.mean, percentiles)
}

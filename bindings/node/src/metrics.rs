//! Metrics as JavaScript sees them.

use std::collections::BTreeMap;

use a3s_lane::metrics::{HistogramStats, MetricsSnapshot};
use napi::Result;
use napi_derive::napi;
use serde_json::{Value, json};

use crate::fault::{Code, guard};
use crate::lane::NativeLane;
use crate::runtime::runtime;

#[napi]
impl NativeLane {
    /// Everything recorded so far as JSON text; left out when the lane was not asked to record.
    #[napi]
    pub fn metrics(&self) -> Result<Option<String>, Code> {
        guard(|| {
            let Some(metrics) = self.queue.manager()?.metrics() else {
                return Ok(None);
            };
            // They are kept in memory: nothing is waited for.
            let snapshot = runtime()?.block_on(metrics.snapshot());
            Ok(Some(text(&snapshot)))
        })
    }
}

/// Sorted by name.
fn text(snapshot: &MetricsSnapshot) -> String {
    let histograms: BTreeMap<_, _> = snapshot
        .histograms
        .iter()
        .map(|(name, stats)| (name, shown(stats)))
        .collect();
    let counters: BTreeMap<_, _> = snapshot.counters.iter().collect();
    let gauges: BTreeMap<_, _> = snapshot.gauges.iter().collect();
    json!({"counters": counters, "gauges": gauges, "histograms": histograms}).to_string()
}

fn shown(stats: &HistogramStats) -> Value {
    let HistogramStats {
        count,
        sum,
        min,
        max,
        mean,
        percentiles,
    } = stats;
    json!({
        "count": count,
        "sum": sum,
        "min": min,
        "max": max,
        "mean": mean,
        "percentiles": {
            "p50": percentiles.p50,
            "p90": percentiles.p90,
            "p95": percentiles.p95,
            "p99": percentiles.p99,
        },
    })
}

//! Figures as they were at one moment.

use std::collections::HashMap;

/// The figures of one histogram.
///
/// All but the percentiles are exact (within `f64`).
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramStats {
    /// How many values were recorded.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest value; `f64::MAX` when there is none.
    pub min: f64,
    /// The largest value; `f64::MIN` when there is none.
    pub max: f64,
    /// The mean; 0 when there is none.
    pub mean: f64,
    /// The percentiles; all 0 when there is no value.
    pub percentiles: HistogramPercentiles,
}

impl HistogramStats {
    /// The figures of a histogram without values.
    pub fn new() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            min: f64::MAX,
            max: f64::MIN,
            mean: 0.0,
            percentiles: HistogramPercentiles::default(),
        }
    }
}

impl Default for HistogramStats {
    fn default() -> Self {
        Self::new()
    }
}

/// Four percentiles of a histogram.
///
/// Percentile `p` of `n` sorted values is the one at index `floor(n * p)`, at most `n - 1`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistogramPercentiles {
    /// The median.
    pub p50: f64,
    /// 90 % of the values are not larger.
    pub p90: f64,
    /// 95 % of the values are not larger.
    pub p95: f64,
    /// 99 % of the values are not larger.
    pub p99: f64,
}

/// All figures of a backend at one moment.
///
/// Names that were never written are absent.
#[derive(Debug, Clone, Default)]
pub struct MetricsSnapshot {
    /// Counters by name.
    pub counters: HashMap<String, u64>,
    /// Gauges by name.
    pub gauges: HashMap<String, f64>,
    /// Histograms by name.
    pub histograms: HashMap<String, HistogramStats>,
}

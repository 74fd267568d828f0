//! Settings of all lanes together as JavaScript passes them.

use std::sync::Arc;

use a3s_lane::metrics::QueueMetrics;
use a3s_lane::{LaneError, QueueManagerBuilder};
use napi_derive::napi;

use crate::alerts::NativeThresholds;
use crate::fault::Fault;
use crate::limit::NativeLimiter;
use crate::range::{MAX, whole};
use crate::storage::NativeStorage;

/// What is not about one lane: types are checked, ranges are not.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct NativeTotals {
    /// How many dead letters are kept; none when it is left out.
    pub dlq_size: Option<f64>,
    /// The most commands that run at once.
    pub max_concurrency: Option<f64>,
    /// Limiters that lanes share.
    pub limiters: Option<Vec<NativeLimiter>>,
    /// What happens is counted and measured.
    pub metrics: Option<bool>,
    /// What raises alerts.
    pub alerts: Option<NativeThresholds>,
    /// Where commands are kept; in memory only when it is left out.
    pub storage: Option<NativeStorage>,
}

impl NativeTotals {
    /// Hands the settings to the builder; an error names the setting and its range.
    pub(crate) fn apply(
        &self,
        mut builder: QueueManagerBuilder,
    ) -> Result<QueueManagerBuilder, Fault> {
        let count = |field, value: Option<f64>| {
            let count = value.map(|value| whole(field, value, 1, MAX)).transpose();
            count.map_err(LaneError::ConfigError)
        };
        if let Some(size) = count("dlqSize", self.dlq_size)? {
            builder = builder.with_dlq(size as usize);
        }
        if let Some(total) = count("maxConcurrency", self.max_concurrency)? {
            builder = builder.with_max_concurrency(total as usize);
        }
        for limiter in self.limiters.iter().flatten() {
            builder = builder.with_limiter(limiter.name.as_str(), limiter.resolve()?);
        }
        if self.metrics == Some(true) {
            builder = builder.with_metrics(QueueMetrics::local());
        }
        if let Some(thresholds) = &self.alerts {
            builder = builder.with_alerts(Arc::new(thresholds.resolve()?));
        }
        Ok(builder)
    }
}

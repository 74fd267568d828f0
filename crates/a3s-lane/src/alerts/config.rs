//! The thresholds that alerts compare with.

use super::AlertLevel;

/// When the number of waiting commands of a lane raises an alert.
///
/// A threshold is reached when the depth is equal to it or larger. The critical threshold is looked at first: with a
/// warning threshold above it, no warning is ever raised.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueDepthAlertConfig {
    /// Waiting commands from which on there is a warning.
    pub warning_threshold: usize,
    /// Waiting commands from which on the alert is critical.
    pub critical_threshold: usize,
    /// Whether alerts are raised at all.
    pub enabled: bool,
}

impl QueueDepthAlertConfig {
    /// Alerts at these depths, enabled.
    pub fn new(warning_threshold: usize, critical_threshold: usize) -> Self {
        Self {
            warning_threshold,
            critical_threshold,
            enabled: true,
        }
    }

    /// No alerts.
    pub fn disabled() -> Self {
        Self {
            warning_threshold: usize::MAX,
            critical_threshold: usize::MAX,
            enabled: false,
        }
    }

    pub(super) fn reached(&self, depth: usize) -> Option<(AlertLevel, usize)> {
        if !self.enabled {
            None
        } else if depth >= self.critical_threshold {
            Some((AlertLevel::Critical, self.critical_threshold))
        } else if depth >= self.warning_threshold {
            Some((AlertLevel::Warning, self.warning_threshold))
        } else {
            None
        }
    }
}

impl Default for QueueDepthAlertConfig {
    /// The same as [`disabled`](Self::disabled).
    fn default() -> Self {
        Self::disabled()
    }
}

/// When the latency of a command raises an alert.
///
/// A threshold is reached when the latency is equal to it or larger; one that is NaN is never reached. The critical
/// threshold is looked at first: with a warning threshold above it, no warning is ever raised.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyAlertConfig {
    /// Milliseconds from which on there is a warning.
    pub warning_threshold_ms: f64,
    /// Milliseconds from which on the alert is critical.
    pub critical_threshold_ms: f64,
    /// Whether alerts are raised at all.
    pub enabled: bool,
}

impl LatencyAlertConfig {
    /// Alerts at these latencies in milliseconds, enabled.
    pub fn new(warning_threshold_ms: f64, critical_threshold_ms: f64) -> Self {
        Self {
            warning_threshold_ms,
            critical_threshold_ms,
            enabled: true,
        }
    }

    /// No alerts.
    pub fn disabled() -> Self {
        Self {
            warning_threshold_ms: f64::MAX,
            critical_threshold_ms: f64::MAX,
            enabled: false,
        }
    }

    pub(super) fn reached(&self, latency_ms: f64) -> Option<(AlertLevel, f64)> {
        if !self.enabled {
            None
        } else if latency_ms >= self.critical_threshold_ms {
            Some((AlertLevel::Critical, self.critical_threshold_ms))
        } else if latency_ms >= self.warning_threshold_ms {
            Some((AlertLevel::Warning, self.warning_threshold_ms))
        } else {
            None
        }
    }
}

impl Default for LatencyAlertConfig {
    /// The same as [`disabled`](Self::disabled).
    fn default() -> Self {
        Self::disabled()
    }
}

//! Alerts when a lane's queue grows too long or its commands too slow.

mod config;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

pub use config::{LatencyAlertConfig, QueueDepthAlertConfig};

/// How serious an alert is, least serious first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertLevel {
    /// Worth knowing. [`AlertManager`] itself raises none of this level.
    Info,
    /// The warning threshold is reached.
    Warning,
    /// The critical threshold is reached.
    Critical,
}

/// One alert about one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// How serious it is.
    pub level: AlertLevel,
    /// The lane it is about.
    pub lane_id: String,
    /// A sentence for people.
    pub message: String,
    /// The depth in commands, or the latency in milliseconds.
    pub current_value: f64,
    /// The threshold that was reached, in the same unit.
    pub threshold: f64,
}

/// What is called with each alert.
pub type AlertCallback = Arc<dyn Fn(Alert) + Send + Sync>;

/// Compares figures with thresholds and calls back when one is reached.
///
/// # When callbacks run
///
/// [`check_queue_depth`](Self::check_queue_depth) and [`check_latency`](Self::check_latency) raise an alert on every
/// call that finds a threshold reached. A queue that was given the manager checks by itself: the latency of every
/// completed command, and the depth of a lane at the moment its level *rises* (to warning, to critical, or again after
/// it fell), so that a long queue does not call back for every command in it.
///
/// Callbacks run one after the other in the order they were added, on the thread that checks, with no lock held: one
/// may add further callbacks, which see the next alert. Keep them short, because a queue waits for them. A callback
/// that panics is logged at `error`; the others still run.
///
/// # Clones
///
/// A clone is a **blank** manager without thresholds and callbacks. Share one with `Arc` instead.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use a3s_lane::alerts::{AlertLevel, AlertManager};
///
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// let alerts = AlertManager::with_queue_depth_alerts(10, 100);
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let sink = Arc::clone(&seen);
/// alerts.add_callback(move |alert| sink.lock().expect("not poisoned").push(alert)).await;
///
/// alerts.check_queue_depth("query", 9).await;
/// alerts.check_queue_depth("query", 10).await;
/// let seen = seen.lock().expect("not poisoned");
/// assert_eq!(seen.len(), 1);
/// assert_eq!(seen[0].level, AlertLevel::Warning);
/// assert_eq!(seen[0].message, "Queue depth warning: 10 (threshold: 10)");
/// # });
/// ```
#[derive(Default)]
pub struct AlertManager {
    /// Whether any of the two configurations is enabled; written under the lock of `config`.
    enabled: AtomicBool,
    config: RwLock<Config>,
    /// Shared, so that callbacks run without the lock.
    callbacks: RwLock<Arc<Vec<AlertCallback>>>,
}

#[derive(Default)]
struct Config {
    queue_depth: QueueDepthAlertConfig,
    latency: LatencyAlertConfig,
}

impl AlertManager {
    /// A manager without thresholds: it raises nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A manager that watches queue depths only.
    pub fn with_queue_depth_alerts(warning_threshold: usize, critical_threshold: usize) -> Self {
        let manager = Self::new();
        manager.configure(|config| {
            config.queue_depth = QueueDepthAlertConfig::new(warning_threshold, critical_threshold);
        });
        manager
    }

    /// A manager that watches latencies only, in milliseconds.
    pub fn with_latency_alerts(warning_threshold_ms: f64, critical_threshold_ms: f64) -> Self {
        let manager = Self::new();
        manager.configure(|config| {
            config.latency = LatencyAlertConfig::new(warning_threshold_ms, critical_threshold_ms);
        });
        manager
    }

    /// Replaces the thresholds for queue depths.
    ///
    /// # Cancel safety
    ///
    /// The change is made when the future is first polled; it never waits. This is so for every method here.
    pub async fn set_queue_depth_config(&self, config: QueueDepthAlertConfig) {
        self.configure(|current| current.queue_depth = config);
    }

    /// Replaces the thresholds for latencies.
    pub async fn set_latency_config(&self, config: LatencyAlertConfig) {
        self.configure(|current| current.latency = config);
    }

    /// Adds a callback for all later alerts. There is no way to remove one.
    pub async fn add_callback<F>(&self, callback: F)
    where
        F: Fn(Alert) + Send + Sync + 'static,
    {
        let mut callbacks = self
            .callbacks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut callbacks).push(Arc::new(callback));
    }

    /// Raises an alert if `depth` waiting commands reach a threshold.
    pub async fn check_queue_depth(&self, lane_id: &str, depth: usize) {
        self.raise_queue_depth(lane_id, depth);
    }

    /// Raises an alert if a latency in milliseconds reaches a threshold. NaN reaches none.
    pub async fn check_latency(&self, lane_id: &str, latency_ms: f64) {
        self.raise_latency(lane_id, latency_ms);
    }

    /// The thresholds for queue depths.
    pub async fn queue_depth_config(&self) -> QueueDepthAlertConfig {
        self.config().queue_depth.clone()
    }

    /// The thresholds for latencies.
    pub async fn latency_config(&self) -> LatencyAlertConfig {
        self.config().latency.clone()
    }

    /// Whether any check could raise an alert, without taking a lock.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// The level that a depth reaches.
    pub(crate) fn depth_level(&self, depth: usize) -> Option<AlertLevel> {
        if !self.is_enabled() {
            return None;
        }
        Some(self.config().queue_depth.reached(depth)?.0)
    }

    /// [`check_queue_depth`](Self::check_queue_depth) for code that cannot await.
    pub(crate) fn raise_queue_depth(&self, lane_id: &str, depth: usize) {
        if !self.is_enabled() {
            return;
        }
        let reached = self.config().queue_depth.reached(depth);
        if let Some((level, threshold)) = reached {
            self.raise(Alert {
                level,
                lane_id: lane_id.to_owned(),
                message: format!(
                    "Queue depth {}: {depth} (threshold: {threshold})",
                    word(level)
                ),
                current_value: depth as f64,
                threshold: threshold as f64,
            });
        }
    }

    /// [`check_latency`](Self::check_latency) for code that cannot await.
    pub(crate) fn raise_latency(&self, lane_id: &str, latency_ms: f64) {
        if !self.is_enabled() {
            return;
        }
        let reached = self.config().latency.reached(latency_ms);
        if let Some((level, threshold)) = reached {
            self.raise(Alert {
                level,
                lane_id: lane_id.to_owned(),
                message: format!(
                    "Latency {}: {latency_ms:.2}ms (threshold: {threshold:.2}ms)",
                    word(level)
                ),
                current_value: latency_ms,
                threshold,
            });
        }
    }

    fn config(&self) -> RwLockReadGuard<'_, Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn configure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut config);
        self.enabled.store(
            config.queue_depth.enabled || config.latency.enabled,
            Ordering::Relaxed,
        );
    }

    fn raise(&self, alert: Alert) {
        let callbacks = Arc::clone(
            &self
                .callbacks
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for callback in callbacks.iter() {
            let called = catch_unwind(AssertUnwindSafe(|| callback(alert.clone())));
            if called.is_err() {
                // The panic hook has already shown the panic's own text.
                tracing::error!(
                    lane = alert.lane_id,
                    alert = alert.message,
                    "alert callback panicked"
                );
            }
        }
    }
}

impl Clone for AlertManager {
    /// A blank manager: neither thresholds nor callbacks are copied. Share one with `Arc` instead.
    fn clone(&self) -> Self {
        Self::new()
    }
}

fn word(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Info => "info",
        AlertLevel::Warning => "warning",
        AlertLevel::Critical => "critical",
    }
}

#[cfg(test)]
mod tests;

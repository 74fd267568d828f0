//! A regular look at a queue's depth.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::QueueStats;
use crate::queue::CommandQueue;

/// How often a [`QueueMonitor`] looks, and what it warns of.
#[derive(Debug, Clone)]
pub struct MonitorConfig {
    /// The time between two looks; default 10 s. Less than 1 ms counts as 1 ms.
    pub interval: Duration,
    /// Warn when a queue has at least this many pending commands; default 100.
    pub pending_warning_threshold: usize,
    /// Warn when a queue has at least this many running commands; default 50.
    pub active_warning_threshold: usize,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            pending_warning_threshold: 100,
            active_warning_threshold: 50,
        }
    }
}

/// Writes a queue's depth to the log at a regular interval.
///
/// Each look writes one `tracing` line at debug level, and a warning for each threshold that is reached: over the whole
/// queue, with the deepest lane named.
pub struct QueueMonitor {
    queue: Arc<CommandQueue>,
    config: MonitorConfig,
}

impl QueueMonitor {
    /// A monitor with the default configuration.
    pub fn new(queue: Arc<CommandQueue>) -> Self {
        Self::with_config(queue, MonitorConfig::default())
    }

    /// A monitor with the given configuration.
    pub fn with_config(queue: Arc<CommandQueue>, config: MonitorConfig) -> Self {
        Self { queue, config }
    }

    /// Starts to look, on the current tokio runtime, until the queue is dropped. The monitor's task does not keep the
    /// queue alive.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn start(self: Arc<Self>) {
        let queue = Arc::downgrade(&self.queue);
        let config = self.config.clone();
        drop(self);
        tokio::spawn(watch(queue, config));
    }

    /// How full the queue is now. Dead letters are counted in memory; [`QueueManager::stats`](crate::QueueManager::stats) asks
    /// the storage.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn stats(&self) -> QueueStats {
        QueueStats::of(&self.queue).await
    }
}

async fn watch(queue: Weak<CommandQueue>, config: MonitorConfig) {
    let period = config.interval.max(Duration::from_millis(1));
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Some(queue) = queue.upgrade() else { return };
        queue.engine().record_waits().await;
        let stats = QueueStats::of(&queue).await;
        drop(queue);
        #[cfg(feature = "telemetry")]
        let span = crate::telemetry::health_check_span();
        #[cfg(feature = "telemetry")]
        let _entered = span.enter();
        report(&stats, &config);
    }
}

fn report(stats: &QueueStats, config: &MonitorConfig) {
    let (pending, active) = (stats.total_pending, stats.total_active);
    tracing::debug!(
        pending,
        active,
        dead_letters = stats.dead_letter_count,
        "queue depth"
    );
    let most = |count: fn(&crate::LaneStatus) -> usize| {
        let lane = stats.lanes.iter().max_by_key(|(_, status)| count(status));
        lane.map_or("", |(id, _)| id)
    };
    if pending >= config.pending_warning_threshold {
        let threshold = config.pending_warning_threshold;
        let lane = most(|status| status.pending);
        tracing::warn!(pending, threshold, lane, "many pending commands");
    }
    if active >= config.active_warning_threshold {
        let threshold = config.active_warning_threshold;
        let lane = most(|status| status.active);
        tracing::warn!(active, threshold, lane, "many running commands");
    }
}

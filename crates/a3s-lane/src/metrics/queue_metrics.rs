//! The metrics of a queue: which names a lane writes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::metric_names::{
    COMMAND_LATENCY, COMMAND_WAIT_TIME, COMMANDS_CANCELLED, COMMANDS_COMPLETED,
    COMMANDS_DEAD_LETTERED, COMMANDS_EXPIRED, COMMANDS_FAILED, COMMANDS_PREEMPTED,
    COMMANDS_RETRIED, COMMANDS_SUBMITTED, COMMANDS_TIMEOUT, QUEUE_ACTIVE, QUEUE_DEPTH,
    QUEUE_OLDEST_WAIT,
};
use super::{LaneRecorder, LaneSample, LocalMetrics, MetricsBackend, MetricsSnapshot};

/// Writes the metrics of a queue to a [`MetricsBackend`].
///
/// Clones share the backend. Give one to
/// [`QueueManagerBuilder::with_metrics`](crate::QueueManagerBuilder::with_metrics) and the queue feeds it; the
/// `record_*` methods are public for code that runs its own lanes.
///
/// # Examples
///
/// ```
/// use a3s_lane::metrics::{QueueMetrics, metric_names};
///
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// let metrics = QueueMetrics::local();
/// metrics.record_submit("query").await;
/// metrics.record_complete("query", 12.5).await;
///
/// let snapshot = metrics.snapshot().await;
/// assert_eq!(snapshot.counters[metric_names::COMMANDS_COMPLETED], 1);
/// assert_eq!(snapshot.histograms["lane.command.latency_ms.query"].max, 12.5);
/// # });
/// ```
#[derive(Clone)]
pub struct QueueMetrics {
    backend: Arc<dyn MetricsBackend>,
    watched: Arc<Mutex<Watched>>,
}

/// The queues that can say how long their commands wait, and the lanes of which that was written.
#[derive(Default)]
struct Watched {
    queues: Vec<Weak<dyn LaneWaits>>,
    lanes: HashSet<Arc<str>>,
}

/// A queue whose commands wait.
pub(crate) trait LaneWaits: Send + Sync {
    /// Each lane, and how long its command has waited that became ready first, in milliseconds.
    fn longest_waits(&self) -> Vec<(Arc<str>, f64)>;
}

impl QueueMetrics {
    /// Metrics that go to `backend`.
    pub fn new(backend: Arc<dyn MetricsBackend>) -> Self {
        Self {
            backend,
            watched: Arc::default(),
        }
    }

    /// Metrics kept in memory by a new [`LocalMetrics`].
    pub fn local() -> Self {
        Self::new(Arc::new(LocalMetrics::new()))
    }

    /// Where the metrics go.
    pub fn backend(&self) -> &Arc<dyn MetricsBackend> {
        &self.backend
    }

    /// Counts an accepted command.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have counted in the plain name only; so may those of the other `record_*` methods.
    pub async fn record_submit(&self, lane_id: &str) {
        self.count(COMMANDS_SUBMITTED, lane_id).await;
    }

    /// Counts a command that ended well and records how many milliseconds it ran.
    pub async fn record_complete(&self, lane_id: &str, latency_ms: f64) {
        self.count(COMMANDS_COMPLETED, lane_id).await;
        self.observe(COMMAND_LATENCY, lane_id, latency_ms).await;
    }

    /// Counts a command that failed for good.
    pub async fn record_failure(&self, lane_id: &str) {
        self.count(COMMANDS_FAILED, lane_id).await;
    }

    /// Counts a command whose last attempt timed out.
    pub async fn record_timeout(&self, lane_id: &str) {
        self.count(COMMANDS_TIMEOUT, lane_id).await;
    }

    /// Counts an attempt that will be repeated.
    pub async fn record_retry(&self, lane_id: &str) {
        self.count(COMMANDS_RETRIED, lane_id).await;
    }

    /// Counts a command that was cancelled, or dropped for a newer one.
    pub async fn record_cancel(&self, lane_id: &str) {
        self.count(COMMANDS_CANCELLED, lane_id).await;
    }

    /// Counts a command whose time to live ran out before it started.
    pub async fn record_expiry(&self, lane_id: &str) {
        self.count(COMMANDS_EXPIRED, lane_id).await;
    }

    /// Counts an attempt that made room for a more urgent lane.
    pub async fn record_preemption(&self, lane_id: &str) {
        self.count(COMMANDS_PREEMPTED, lane_id).await;
    }

    /// Counts a command that went to the dead letters.
    pub async fn record_dead_letter(&self, lane_id: &str) {
        self.count(COMMANDS_DEAD_LETTERED, lane_id).await;
    }

    /// Sets how many commands wait in the lane.
    pub async fn set_queue_depth(&self, lane_id: &str, depth: usize) {
        self.backend
            .set_gauge(&per_lane(QUEUE_DEPTH, lane_id), depth as f64)
            .await;
    }

    /// Sets how many commands run in the lane.
    pub async fn set_active_commands(&self, lane_id: &str, active: usize) {
        self.backend
            .set_gauge(&per_lane(QUEUE_ACTIVE, lane_id), active as f64)
            .await;
    }

    /// How long the command of a lane has waited that became ready first.
    pub async fn set_oldest_wait(&self, lane_id: &str, wait_ms: f64) {
        self.backend
            .set_gauge(&per_lane(QUEUE_OLDEST_WAIT, lane_id), wait_ms)
            .await;
    }

    /// Records how many milliseconds a command waited before it started.
    pub async fn record_wait_time(&self, lane_id: &str, wait_time_ms: f64) {
        self.observe(COMMAND_WAIT_TIME, lane_id, wait_time_ms).await;
    }

    /// Everything recorded so far; empty if the backend cannot read.
    pub async fn snapshot(&self) -> MetricsSnapshot {
        self.record_waits().await;
        self.backend.snapshot().await
    }

    /// Forgets everything recorded so far, where the backend can.
    pub async fn reset(&self) {
        self.backend.reset().await;
    }

    /// Reports the waits of this queue from now on.
    pub(crate) fn watch(&self, queue: Weak<dyn LaneWaits>) {
        let mut watched = self.watched();
        watched.queues.retain(|queue| queue.strong_count() > 0);
        watched.queues.push(queue);
    }

    /// Writes how long commands have waited. A gauge of time goes on when nothing happens: so it is written when somebody
    /// looks, not when something changes.
    pub(crate) async fn record_waits(&self) {
        for (lane, wait_ms) in self.longest_waits() {
            self.set_oldest_wait(&lane, wait_ms).await;
        }
    }

    fn longest_waits(&self) -> HashMap<Arc<str>, f64> {
        let queues: Vec<_> = {
            let queues = &self.watched().queues;
            queues.iter().filter_map(Weak::upgrade).collect()
        };
        let mut waits: HashMap<Arc<str>, f64> = HashMap::new();
        for (lane, wait_ms) in queues.iter().flat_map(|queue| queue.longest_waits()) {
            let longest = waits.entry(lane).or_default();
            *longest = longest.max(wait_ms);
        }
        let lanes = waits.keys().cloned().collect();
        // In a lane that is gone nothing waits.
        for gone in std::mem::replace(&mut self.watched().lanes, lanes) {
            waits.entry(gone).or_default();
        }
        waits
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        // Nothing that runs under the lock can leave it half-written.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backend's synchronous recorder for a lane, if it has one.
    pub(crate) fn lane_recorder(&self, lane_id: &str) -> Option<Arc<dyn LaneRecorder>> {
        self.backend.lane_recorder(lane_id)
    }

    /// Feeds one sample to a backend that has no synchronous recorder.
    pub(crate) async fn record_sample(
        &self,
        lane_id: &str,
        sample: LaneSample,
        depth: usize,
        active: usize,
    ) {
        match sample {
            LaneSample::Submitted => self.record_submit(lane_id).await,
            LaneSample::Started { wait_ms } => self.record_wait_time(lane_id, wait_ms).await,
            LaneSample::Completed { latency_ms } => self.record_complete(lane_id, latency_ms).await,
            LaneSample::Failed { .. } => self.record_failure(lane_id).await,
            LaneSample::TimedOut { .. } => self.record_timeout(lane_id).await,
            LaneSample::Retried => self.record_retry(lane_id).await,
            LaneSample::DeadLettered => self.record_dead_letter(lane_id).await,
            LaneSample::Cancelled => self.record_cancel(lane_id).await,
            LaneSample::Expired => self.record_expiry(lane_id).await,
            LaneSample::Preempted => self.record_preemption(lane_id).await,
        }
        self.set_queue_depth(lane_id, depth).await;
        self.set_active_commands(lane_id, active).await;
    }

    async fn count(&self, name: &str, lane_id: &str) {
        if !self.backend.splits_by_lane() {
            self.backend.increment_counter(name, 1).await;
        }
        self.backend
            .increment_counter(&per_lane(name, lane_id), 1)
            .await;
    }

    async fn observe(&self, name: &str, lane_id: &str, value: f64) {
        if !self.backend.splits_by_lane() {
            self.backend.record_histogram(name, value).await;
        }
        self.backend
            .record_histogram(&per_lane(name, lane_id), value)
            .await;
    }
}

fn per_lane(name: &str, lane_id: &str) -> String {
    format!("{name}.{lane_id}")
}

//! Who is told what happens in one lane: metrics and alerts.

use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::sync::Weak;

use super::Engine;
use super::inbox::Posting;
use crate::hint::unlikely;
use crate::scheduler::LaneCounts;

#[cfg(feature = "monitoring")]
use crate::alerts::{AlertLevel, AlertManager};
#[cfg(feature = "metrics")]
use crate::metrics::{LaneRecorder, LaneSample, LaneWaits, QueueMetrics};

/// One thing that happened in a lane. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    Submitted,
    Started { wait_ns: u64 },
    Completed { run_ns: u64 },
    Failed { run_ns: u64 },
    TimedOut { run_ns: u64 },
    Retried,
    Cancelled,
    Expired,
    Preempted,
    DeadLettered,
}

/// What a queue's observers are, before they are bound to a lane.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Option<QueueMetrics>,
    #[cfg(feature = "monitoring")]
    pub(crate) alerts: Option<Arc<AlertManager>>,
}

impl Observers {
    /// Whether somebody asks how long commands wait.
    pub(super) fn want_waits(&self) -> bool {
        #[cfg(feature = "metrics")]
        return self.metrics.is_some();
        #[cfg(not(feature = "metrics"))]
        return false;
    }

    /// Lets the metrics ask the queue how long its commands wait.
    pub(super) fn watch(&self, engine: &Arc<Engine>) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            let queue: Weak<Engine> = Arc::downgrade(engine);
            metrics.watch(queue);
        }
        let _ = engine;
    }

    /// Brings the gauges up to date that go on when nothing happens.
    #[cfg(feature = "monitoring")]
    pub(super) async fn record_waits(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.record_waits().await;
        }
    }

    pub(super) fn for_lane(&self, id: &Arc<str>) -> LaneObserver {
        #[cfg(not(feature = "metrics"))]
        let _ = id;
        #[cfg(feature = "metrics")]
        let recorder = self
            .metrics
            .as_ref()
            .and_then(|metrics| metrics.lane_recorder(id));
        LaneObserver {
            #[cfg(feature = "metrics")]
            awaited: self.metrics.clone().filter(|_| recorder.is_none()),
            #[cfg(feature = "metrics")]
            recorder,
            #[cfg(feature = "metrics")]
            turn: tokio::sync::Mutex::new(()),
            #[cfg(feature = "monitoring")]
            alerts: self.alerts.clone(),
            #[cfg(feature = "monitoring")]
            depth_level: super::sync::Mutex::new(None),
        }
    }
}

/// The observers of one lane.
#[derive(Default)]
pub(super) struct LaneObserver {
    /// Records without waiting; told under the engine's lock, so that gauges end on the true value.
    #[cfg(feature = "metrics")]
    recorder: Option<Arc<dyn LaneRecorder>>,
    /// A backend that has to be awaited.
    #[cfg(feature = "metrics")]
    awaited: Option<QueueMetrics>,
    #[cfg(feature = "metrics")]
    turn: tokio::sync::Mutex<()>,
    #[cfg(feature = "monitoring")]
    alerts: Option<Arc<AlertManager>>,
    #[cfg(feature = "monitoring")]
    depth_level: super::sync::Mutex<Option<AlertLevel>>,
}

impl LaneObserver {
    /// Whether [`record_awaited`](Self::record_awaited) has somebody to tell.
    pub(super) fn must_await(&self) -> bool {
        #[cfg(feature = "metrics")]
        return self.awaited.is_some();
        #[cfg(not(feature = "metrics"))]
        false
    }

    /// How soon a submission must be told, if at all.
    pub(super) fn posting(&self) -> Posting {
        #[cfg(feature = "monitoring")]
        if self.alerts.is_some() {
            return Posting::Never;
        }
        #[cfg(feature = "metrics")]
        match (&self.recorder, &self.awaited) {
            (None, None) => {}
            (Some(_), None) => return Posting::Soon,
            (_, Some(_)) => return Posting::Never,
        }
        Posting::Ever
    }

    /// Tells the observer that records at once, if there is one. Called under the engine's lock.
    #[inline]
    pub(super) fn record(&self, sample: Sample, counts: impl FnOnce() -> LaneCounts) {
        #[cfg(feature = "metrics")]
        if unlikely(self.recorder.is_some())
            && let Some(recorder) = &self.recorder
        {
            tell(&**recorder, sample, counts());
        }
        #[cfg(not(feature = "metrics"))]
        let _ = (sample, counts);
    }

    /// Tells the observer that has to be awaited, one sample of this lane at a time.
    pub(super) async fn record_awaited(
        &self,
        lane: &str,
        sample: Sample,
        counts: impl Fn() -> LaneCounts,
    ) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.awaited {
            let _turn = self.turn.lock().await;
            let counts = counts();
            let told = metrics.record_sample(lane, sample.into(), counts.pending, counts.active);
            if let Err(panic) = super::attempt::guarded_future(told).await {
                tracing::error!(%panic, "a metrics backend panicked");
            }
        }
        let _ = (lane, sample, counts);
    }

    /// Whether [`watch_depth`](Self::watch_depth) has anything to watch for.
    #[inline]
    pub(super) fn watches_depth(&self) -> bool {
        #[cfg(feature = "monitoring")]
        return self
            .alerts
            .as_ref()
            .is_some_and(|alerts| alerts.is_enabled());
        #[cfg(not(feature = "monitoring"))]
        false
    }

    /// Raises a depth alert when the lane reaches a higher level than before. Called without the lock.
    pub(super) fn watch_depth(&self, lane: &str, depth: usize) {
        #[cfg(feature = "monitoring")]
        if let Some(alerts) = self.alerts.as_ref().filter(|alerts| alerts.is_enabled()) {
            let level = alerts.depth_level(depth);
            let before = std::mem::replace(&mut *super::sync::lock(&self.depth_level), level);
            if level > before {
                alerts.raise_queue_depth(lane, depth);
            }
        }
        let _ = (lane, depth);
    }

    /// As [`watch_depth`](Self::watch_depth), asking for the depth only when somebody watches.
    #[inline]
    pub(super) fn watch_depth_of(&self, depth: impl FnOnce() -> usize, lane: &str) {
        if unlikely(self.watches_depth()) {
            self.watch_depth(lane, depth());
        }
    }

    /// Raises a latency alert when a command took too long. Called without the lock.
    #[inline]
    pub(super) fn watch_latency(&self, lane: &str, run_ns: u64) {
        #[cfg(feature = "monitoring")]
        if unlikely(self.watches_depth())
            && let Some(alerts) = &self.alerts
        {
            alerts.raise_latency(lane, millis(run_ns));
        }
        let _ = (lane, run_ns);
    }
}

#[cfg(feature = "monitoring")]
impl Engine {
    pub(crate) async fn record_waits(&self) {
        self.observers.record_waits().await;
    }
}

#[cfg(feature = "metrics")]
impl LaneWaits for Engine {
    fn longest_waits(&self) -> Vec<(Arc<str>, f64)> {
        let now = self.now();
        let state = self.lock();
        let lanes = state.names.iter();
        let wait = |lane| millis(state.scheduler.lane(lane).longest_wait(now));
        lanes
            .map(|(id, &lane)| (Arc::clone(id), wait(lane)))
            .collect()
    }
}

#[cfg(feature = "metrics")]
fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(feature = "metrics")]
impl From<Sample> for LaneSample {
    fn from(sample: Sample) -> Self {
        match sample {
            Sample::Submitted => Self::Submitted,
            Sample::Started { wait_ns } => Self::Started {
                wait_ms: millis(wait_ns),
            },
            Sample::Completed { run_ns } => Self::Completed {
                latency_ms: millis(run_ns),
            },
            Sample::Failed { run_ns } => Self::Failed {
                latency_ms: millis(run_ns),
            },
            Sample::TimedOut { run_ns } => Self::TimedOut {
                latency_ms: millis(run_ns),
            },
            Sample::Retried => Self::Retried,
            Sample::Cancelled => Self::Cancelled,
            Sample::Expired => Self::Expired,
            Sample::Preempted => Self::Preempted,
            Sample::DeadLettered => Self::DeadLettered,
        }
    }
}

#[cfg(feature = "metrics")]
#[inline(never)]
fn tell(recorder: &dyn LaneRecorder, sample: Sample, counts: LaneCounts) {
    let told = super::attempt::guarded(|| {
        recorder.record(sample.into(), counts.pending, counts.active);
    });
    if let Err(panic) = told {
        tracing::error!(%panic, "a metrics recorder panicked");
    }
}

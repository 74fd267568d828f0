//! What a lane reports about itself, without awaiting.

/// One thing that happened in a lane.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LaneSample {
    /// The lane accepted a command.
    Submitted,
    /// An attempt started.
    Started {
        /// Milliseconds between the moment the attempt became ready and its start.
        wait_ms: f64,
    },
    /// A command ended well.
    Completed {
        /// Milliseconds its last attempt ran.
        latency_ms: f64,
    },
    /// A command failed for good, not by a timeout.
    Failed {
        /// Milliseconds its last attempt ran. [`LocalMetrics`](super::LocalMetrics) keeps latencies of completed
        /// commands only.
        latency_ms: f64,
    },
    /// A command's last attempt timed out.
    TimedOut {
        /// Milliseconds its last attempt ran. [`LocalMetrics`](super::LocalMetrics) keeps latencies of completed
        /// commands only.
        latency_ms: f64,
    },
    /// An attempt failed and will be repeated.
    Retried,
    /// A command was cancelled, or dropped for a newer one.
    Cancelled,
    /// A command's time to live ran out before it started.
    Expired,
    /// An attempt made room for a more urgent lane; its command runs again.
    Preempted,
    /// A command went to the dead letters.
    DeadLettered,
}

/// Records the samples of one lane without awaiting.
///
/// A queue calls it several times per command, from many threads but one call at a time, while it holds its lock: an
/// implementation must be quick and must not call the queue. A panic is caught and logged.
pub trait LaneRecorder: Send + Sync {
    /// Records `sample`; `depth` commands wait and `active` run in the lane after it.
    ///
    /// Calls come in the order of the lane's changes, so gauges that take the last figures end on the true ones.
    fn record(&self, sample: LaneSample, depth: usize, active: usize);
}

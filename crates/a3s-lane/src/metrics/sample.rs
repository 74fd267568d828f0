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
    /// A command went to the dead letters.
    DeadLettered,
}

/// Records the samples of one lane without awaiting.
///
/// A queue calls it several times per command from many threads. An implementation must be quick and must not panic.
pub trait LaneRecorder: Send + Sync {
    /// Records `sample`; `depth` commands wait and `active` run in the lane after it.
    ///
    /// The gauges show the figures of the latest call: when calls race, the one that ends last wins.
    fn record(&self, sample: LaneSample, depth: usize, active: usize);
}

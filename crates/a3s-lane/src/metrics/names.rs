//! Which metrics a sample writes, as tables that backends index.

use super::LaneSample;
use super::metric_names::{
    COMMAND_LATENCY, COMMAND_WAIT_TIME, COMMANDS_CANCELLED, COMMANDS_COMPLETED,
    COMMANDS_DEAD_LETTERED, COMMANDS_EXPIRED, COMMANDS_FAILED, COMMANDS_PREEMPTED,
    COMMANDS_RETRIED, COMMANDS_SUBMITTED, COMMANDS_TIMEOUT, QUEUE_ACTIVE, QUEUE_DEPTH,
    QUEUE_OLDEST_WAIT,
};

/// The counters of a lane.
pub(crate) const COUNTERS: [&str; 9] = [
    COMMANDS_SUBMITTED,
    COMMANDS_COMPLETED,
    COMMANDS_FAILED,
    COMMANDS_TIMEOUT,
    COMMANDS_RETRIED,
    COMMANDS_DEAD_LETTERED,
    COMMANDS_CANCELLED,
    COMMANDS_EXPIRED,
    COMMANDS_PREEMPTED,
];
/// The gauges of a lane.
pub(crate) const GAUGES: [&str; 3] = [QUEUE_DEPTH, QUEUE_ACTIVE, QUEUE_OLDEST_WAIT];
/// The histograms of a lane.
pub(crate) const HISTOGRAMS: [&str; 2] = [COMMAND_LATENCY, COMMAND_WAIT_TIME];

/// Index of the depth in [`GAUGES`].
pub(crate) const DEPTH: usize = 0;
/// Index of the active commands in [`GAUGES`].
pub(crate) const ACTIVE: usize = 1;
const LATENCY: usize = 0;
const WAIT_TIME: usize = 1;

impl LaneSample {
    /// The index in [`COUNTERS`] of what this sample counts.
    pub(crate) fn counter(self) -> Option<usize> {
        match self {
            Self::Submitted => Some(0),
            Self::Completed { .. } => Some(1),
            Self::Failed { .. } => Some(2),
            Self::TimedOut { .. } => Some(3),
            Self::Retried => Some(4),
            Self::DeadLettered => Some(5),
            Self::Cancelled => Some(6),
            Self::Expired => Some(7),
            Self::Preempted => Some(8),
            Self::Started { .. } => None,
        }
    }

    /// The index in [`HISTOGRAMS`] of what this sample measures, and the milliseconds.
    pub(crate) fn observation(self) -> Option<(usize, f64)> {
        match self {
            Self::Completed { latency_ms } => Some((LATENCY, latency_ms)),
            Self::Started { wait_ms } => Some((WAIT_TIME, wait_ms)),
            _ => None,
        }
    }
}

/// Splits `"{base}.{lane}"` into the base's index and the lane.
pub(crate) fn split_lane<'a>(bases: &[&str], name: &'a str) -> Option<(usize, &'a str)> {
    bases.iter().enumerate().find_map(|(index, base)| {
        let lane = name.strip_prefix(base)?.strip_prefix('.')?;
        Some((index, lane))
    })
}

/// The index of a plain name.
pub(crate) fn base_index(bases: &[&str], name: &str) -> Option<usize> {
    bases.iter().position(|base| *base == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_point_at_their_names() {
        let samples = [
            (LaneSample::Submitted, Some(COMMANDS_SUBMITTED), None),
            (
                LaneSample::Started { wait_ms: 1.0 },
                None,
                Some((COMMAND_WAIT_TIME, 1.0)),
            ),
            (
                LaneSample::Completed { latency_ms: 2.0 },
                Some(COMMANDS_COMPLETED),
                Some((COMMAND_LATENCY, 2.0)),
            ),
            (
                LaneSample::Failed { latency_ms: 3.0 },
                Some(COMMANDS_FAILED),
                None,
            ),
            (
                LaneSample::TimedOut { latency_ms: 4.0 },
                Some(COMMANDS_TIMEOUT),
                None,
            ),
            (LaneSample::Retried, Some(COMMANDS_RETRIED), None),
            (LaneSample::DeadLettered, Some(COMMANDS_DEAD_LETTERED), None),
            (LaneSample::Cancelled, Some(COMMANDS_CANCELLED), None),
            (LaneSample::Expired, Some(COMMANDS_EXPIRED), None),
            (LaneSample::Preempted, Some(COMMANDS_PREEMPTED), None),
        ];
        for (sample, counter, observation) in samples {
            assert_eq!(sample.counter().map(|index| COUNTERS[index]), counter);
            let observed = sample.observation();
            assert_eq!(
                observed.map(|(index, value)| (HISTOGRAMS[index], value)),
                observation
            );
        }
        assert_eq!((GAUGES[DEPTH], GAUGES[ACTIVE]), (QUEUE_DEPTH, QUEUE_ACTIVE));
    }

    #[test]
    fn lanes_are_split_off_whatever_they_contain() {
        assert_eq!(
            split_lane(&GAUGES, "lane.queue.active.a.b"),
            Some((ACTIVE, "a.b"))
        );
        assert_eq!(split_lane(&GAUGES, "lane.queue.depth."), Some((DEPTH, "")));
        assert_eq!(split_lane(&GAUGES, "lane.queue.depth"), None);
        assert_eq!(split_lane(&GAUGES, "lane.queue.depths"), None);
        assert_eq!(base_index(&GAUGES, "lane.queue.active"), Some(ACTIVE));
        assert_eq!(base_index(&GAUGES, "lane.queue.active.a"), None);
    }
}

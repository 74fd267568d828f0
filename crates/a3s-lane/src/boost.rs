//! Raises the priority of commands that have waited for long.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::retry::duration_from_nanos;

/// By how much a waiting command becomes more urgent as its deadline approaches.
///
/// The deadline counts from the moment the command was ready for the first time: when it was submitted, or when its own
/// delay was over. Once it has passed the command has priority 0. Before
/// that, each interval `(remaining, boost)` says: when at most `remaining` time is left, subtract `boost` from the priority
/// number (never below 0). Where several intervals match, the shortest wins; where two are equally short, the larger boost.
/// The default is [`disabled`](Self::disabled).
///
/// # Examples
///
/// ```
/// use a3s_lane::PriorityBoostConfig;
/// use std::time::Duration;
///
/// // One step up when 30 s are left, three when 5 s are left, priority 0 after a minute.
/// let boost = PriorityBoostConfig::new(Duration::from_secs(60))
///     .with_boost(Duration::from_secs(30), 1)
///     .with_boost(Duration::from_secs(5), 3);
/// assert!(boost.enabled);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorityBoostConfig {
    /// Whether any boost is given.
    pub enabled: bool,
    /// Waiting time after which a command has priority 0.
    pub deadline: Duration,
    /// Time left before the deadline, and the boost from then on. Any order is accepted.
    pub boost_intervals: Vec<(Duration, u8)>,
}

impl Default for PriorityBoostConfig {
    fn default() -> Self {
        Self::disabled()
    }
}

impl PriorityBoostConfig {
    /// Priority 0 once the deadline has passed, no boost before.
    pub fn new(deadline: Duration) -> Self {
        Self {
            enabled: true,
            deadline,
            boost_intervals: Vec::new(),
        }
    }

    /// No boost at all.
    pub fn disabled() -> Self {
        Self {
            enabled: false,
            deadline: Duration::ZERO,
            boost_intervals: Vec::new(),
        }
    }

    /// Adds a boost that starts when `time_before_deadline` is left; keeps the intervals sorted, longest first.
    pub fn with_boost(mut self, time_before_deadline: Duration, boost: u8) -> Self {
        self.boost_intervals.push((time_before_deadline, boost));
        self.boost_intervals
            .sort_by_key(|interval| std::cmp::Reverse(interval.0));
        self
    }

    /// Gentle steps: 1, 2, 3 and 4 when 75 %, 50 %, 25 % and 10 % of the deadline are left.
    pub fn standard(deadline: Duration) -> Self {
        Self::with_fractions(deadline, [(75, 1), (50, 2), (25, 3), (10, 4)])
    }

    /// Large early steps: 2, 4, 6 and 8 when 80 %, 60 %, 40 % and 20 % of the deadline are left.
    pub fn aggressive(deadline: Duration) -> Self {
        Self::with_fractions(deadline, [(80, 2), (60, 4), (40, 6), (20, 8)])
    }

    fn with_fractions(deadline: Duration, steps: [(u128, u8); 4]) -> Self {
        steps
            .iter()
            .fold(Self::new(deadline), |config, &(percent, boost)| {
                config.with_boost(
                    duration_from_nanos(deadline.as_nanos() * percent / 100),
                    boost,
                )
            })
    }

    /// The priority of a command of priority `base` that has waited `waited_ns` nanoseconds.
    pub(crate) fn effective(&self, base: u8, waited_ns: u64) -> u8 {
        match self.step(waited_ns) {
            Step::Boost(boost) => base.saturating_sub(boost),
            Step::MostUrgent => 0,
        }
    }

    /// The least [`effective`](Self::effective) priority number of any waiting time up to `waited_ns`.
    pub(crate) fn most_urgent(&self, base: u8, waited_ns: u64) -> u8 {
        let deadline_ns = clamp_ns(self.deadline);
        let steps = self.boost_intervals.iter();
        steps
            .map(|interval| deadline_ns.saturating_sub(clamp_ns(interval.0)))
            .filter(|&at_ns| at_ns < waited_ns)
            .map(|at_ns| self.effective(base, at_ns))
            .fold(self.effective(base, waited_ns), u8::min)
    }

    /// The waiting time in nanoseconds, later than `waited_ns`, at which [`effective`](Self::effective) next changes for
    /// some base priority; `None` when it never changes again.
    pub(crate) fn next_change(&self, waited_ns: u64) -> Option<u64> {
        if !self.enabled {
            return None;
        }
        let deadline_ns = clamp_ns(self.deadline);
        let current = self.step(waited_ns);
        self.boost_intervals
            .iter()
            .map(|interval| deadline_ns.saturating_sub(clamp_ns(interval.0)))
            .chain([deadline_ns])
            .filter(|&at_ns| at_ns > waited_ns && self.step(at_ns) != current)
            .min()
    }

    /// Checks the boost; the error names the field and what would be right.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !self.enabled {
            return Ok(());
        }
        if self.deadline.is_zero() {
            return Err("priority_boost.deadline must be longer than zero (got 0ns)".into());
        }
        match self
            .boost_intervals
            .iter()
            .find(|interval| interval.0 > self.deadline)
        {
            Some((interval, _)) => Err(format!(
                "priority_boost.boost_intervals must not be longer than priority_boost.deadline (got {interval:?} and {:?})",
                self.deadline
            )),
            None => Ok(()),
        }
    }

    fn step(&self, waited_ns: u64) -> Step {
        if !self.enabled {
            return Step::Boost(0);
        }
        let deadline_ns = clamp_ns(self.deadline);
        if waited_ns >= deadline_ns {
            return Step::MostUrgent;
        }
        let remaining_ns = deadline_ns - waited_ns;
        let boost = self
            .boost_intervals
            .iter()
            .map(|&(interval, boost)| (clamp_ns(interval), boost))
            .filter(|&(interval_ns, _)| remaining_ns <= interval_ns)
            .min_by_key(|&(interval_ns, boost)| (interval_ns, std::cmp::Reverse(boost)))
            .map_or(0, |(_, boost)| boost);
        Step::Boost(boost)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Boost(u8),
    MostUrgent,
}

/// Nanoseconds of a duration; longer than 584 years counts as 584 years.
pub(crate) fn clamp_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Computes boosted priorities from the wall-clock time at which a command was created.
///
/// A creation time in the future counts as "has not waited yet".
///
/// # Examples
///
/// ```
/// use a3s_lane::{PriorityBoostConfig, PriorityBooster};
/// use chrono::{TimeDelta, Utc};
/// use std::time::Duration;
///
/// let booster = PriorityBooster::new(PriorityBoostConfig::standard(Duration::from_secs(3600)));
/// let created = Utc::now() - TimeDelta::minutes(40);
/// assert_eq!(booster.calculate_priority(5, created), 3);
/// ```
#[derive(Debug, Clone, Default)]
pub struct PriorityBooster {
    config: PriorityBoostConfig,
}

impl PriorityBooster {
    /// A booster with the given rules.
    pub fn new(config: PriorityBoostConfig) -> Self {
        Self { config }
    }

    /// The priority that a command of `base_priority` has now.
    ///
    /// Equal to `base_priority` when boosting is disabled, 0 once the deadline has passed.
    pub fn calculate_priority(&self, base_priority: u8, created_at: DateTime<Utc>) -> u8 {
        self.config.effective(base_priority, waited_ns(created_at))
    }

    /// Whether the command has waited for its whole deadline; `false` when boosting is disabled.
    pub fn is_past_deadline(&self, created_at: DateTime<Utc>) -> bool {
        self.config.enabled && waited_ns(created_at) >= clamp_ns(self.config.deadline)
    }

    /// Time left until the deadline, zero once it has passed; `None` when boosting is disabled.
    pub fn time_remaining(&self, created_at: DateTime<Utc>) -> Option<Duration> {
        let waited = Duration::from_nanos(waited_ns(created_at));
        self.config
            .enabled
            .then(|| self.config.deadline.saturating_sub(waited))
    }

    /// The rules of this booster.
    pub fn config(&self) -> &PriorityBoostConfig {
        &self.config
    }
}

fn waited_ns(created_at: DateTime<Utc>) -> u64 {
    let waited = Utc::now().signed_duration_since(created_at);
    waited.to_std().map_or(0, clamp_ns)
}

#[cfg(test)]
mod tests;

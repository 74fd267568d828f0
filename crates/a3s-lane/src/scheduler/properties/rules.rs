//! Random lane policies, in a form that the model reads and the scheduler's configuration is made from.

use std::time::Duration;

use proptest::prelude::*;

use crate::config::{LaneConfig, LaneOptions};
use crate::retry::RetryPolicy;
use crate::scheduler::LanePolicy;

/// What a lane allows. Times are in nanoseconds.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct LaneRules {
    pub(in crate::scheduler) priority: u8,
    pub(in crate::scheduler) min: usize,
    /// As configured; see [`max`](Self::max).
    pub(in crate::scheduler) configured_max: usize,
    pub(in crate::scheduler) timeout_ns: Option<u64>,
    pub(in crate::scheduler) retries: u32,
    pub(in crate::scheduler) first_delay_ns: u64,
    pub(in crate::scheduler) max_delay_ns: u64,
    /// Each delay is twice the one before.
    pub(in crate::scheduler) doubling: bool,
    pub(in crate::scheduler) pressure: Option<usize>,
    pub(in crate::scheduler) rate: Option<Rate>,
    pub(in crate::scheduler) boost: Option<Boost>,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::scheduler) struct Rate {
    pub(in crate::scheduler) max_commands: u64,
    pub(in crate::scheduler) window_ns: u64,
    pub(in crate::scheduler) burst: u64,
}

#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Boost {
    pub(in crate::scheduler) deadline_ns: u64,
    /// Time left before the deadline, and the boost from then on.
    pub(in crate::scheduler) steps: Vec<(u64, u8)>,
}

impl LaneRules {
    /// A maximum of 0 acts as 1.
    pub(in crate::scheduler) fn max(&self) -> usize {
        self.configured_max.max(1)
    }

    /// How long the retry after the given attempt waits.
    pub(in crate::scheduler) fn delay_ns(&self, attempt: u32) -> u64 {
        if self.retries == 0 {
            return 0;
        }
        let factor = if self.doubling { 1 << (attempt - 1) } else { 1 };
        (self.first_delay_ns * factor).min(self.max_delay_ns)
    }

    /// The priority when the command at the front was submitted `waited` ago.
    pub(in crate::scheduler) fn boosted(&self, waited: u64) -> u8 {
        let Some(boost) = &self.boost else {
            return self.priority;
        };
        if waited >= boost.deadline_ns {
            return 0;
        }
        let left = boost.deadline_ns - waited;
        let mut reached: Vec<(u64, u8)> = boost
            .steps
            .iter()
            .copied()
            .filter(|(from, _)| left <= *from)
            .collect();
        // The shortest step counts; of two equally short ones the larger boost.
        reached.sort_by_key(|&(from, by)| (from, u8::MAX - by));
        self.priority
            .saturating_sub(reached.first().map_or(0, |step| step.1))
    }

    pub(in crate::scheduler) fn policy(&self, now: u64) -> LanePolicy {
        let mut config =
            LaneConfig::new(self.min, self.configured_max).with_retry_policy(RetryPolicy {
                max_retries: self.retries,
                initial_delay: Duration::from_nanos(self.first_delay_ns),
                max_delay: Duration::from_nanos(self.max_delay_ns),
                multiplier: if self.doubling { 2.0 } else { 1.0 },
            });
        config.default_timeout = self.timeout_ns.map(Duration::from_nanos);
        config.pressure_threshold = self.pressure;
        let options = self.limit_and_boost(&mut config);
        LanePolicy::new(&config, &options, self.priority, now)
    }

    #[cfg(feature = "distributed")]
    fn limit_and_boost(&self, config: &mut LaneConfig) -> LaneOptions {
        use crate::boost::PriorityBoostConfig;
        use crate::ratelimit::RateLimitConfig;

        if let Some(boost) = &self.boost {
            let fresh = PriorityBoostConfig::new(Duration::from_nanos(boost.deadline_ns));
            let boost = boost.steps.iter().fold(fresh, |config, &(left, by)| {
                config.with_boost(Duration::from_nanos(left), by)
            });
            config.priority_boost = Some(boost);
        }
        let Some(rate) = self.rate else {
            return LaneOptions::new();
        };
        let window = Duration::from_nanos(rate.window_ns);
        config.rate_limit = Some(RateLimitConfig::new(rate.max_commands, window));
        LaneOptions::new().with_burst(rate.burst)
    }

    #[cfg(not(feature = "distributed"))]
    fn limit_and_boost(&self, _config: &mut LaneConfig) -> LaneOptions {
        LaneOptions::new()
    }
}

/// Any lane.
pub(super) fn lane_rules() -> impl Strategy<Value = LaneRules> {
    let limits = (0u8..4, 0usize..4, maximum());
    let timeout = prop_oneof![3 => Just(None), 2 => (0u64..60).prop_map(Some)];
    let retry = prop_oneof![
        2 => Just((0, 0, 0, false)),
        2 => (1u32..4, Just(0), Just(0), any::<bool>()),
        3 => (1u32..5, 1u64..40, 1u64..80, any::<bool>()),
        1 => (1u32..5, Just(2_000_000), Just(5_000_000), any::<bool>()),
    ];
    let pressure = prop_oneof![2 => Just(None), 1 => (1usize..5).prop_map(Some)];
    (limits, timeout, retry, pressure, rate(), boost()).prop_map(
        |((priority, min, configured_max), timeout_ns, retry, pressure, rate, boost)| {
            let (retries, first_delay_ns, max_delay_ns, doubling) = retry;
            LaneRules {
                priority,
                min,
                configured_max,
                timeout_ns,
                retries,
                first_delay_ns,
                max_delay_ns,
                doubling,
                pressure,
                rate,
                boost,
            }
        },
    )
}

/// One to six lanes.
pub(super) fn lanes() -> impl Strategy<Value = Vec<LaneRules>> {
    prop::collection::vec(lane_rules(), 1..=6)
}

fn maximum() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 3 => Just(1), 3 => 2usize..5, 1 => Just(usize::MAX)]
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    let limited = (1u64..6, 1u64..100, 1u64..5).prop_map(|(max_commands, window_ns, burst)| Rate {
        max_commands,
        window_ns,
        burst,
    });
    with_feature(prop_oneof![2 => Just(None), 1 => limited.prop_map(Some)])
}

fn boost() -> impl Strategy<Value = Option<Boost>> {
    let steps = prop::collection::vec((0u64..120, 0u8..4), 0..4);
    let boosted = (1u64..100, steps).prop_map(|(deadline_ns, steps)| Boost { deadline_ns, steps });
    with_feature(prop_oneof![2 => Just(None), 1 => boosted.prop_map(Some)])
}

/// Rate limits and boosts exist with the `distributed` feature only.
fn with_feature<T: std::fmt::Debug + Clone>(
    strategy: impl Strategy<Value = Option<T>>,
) -> impl Strategy<Value = Option<T>> {
    strategy.prop_map(|value| value.filter(|_| cfg!(feature = "distributed")))
}

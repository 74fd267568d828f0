//! Random lanes, and the limiters that they share.

use a3s_lane::{Jitter, LaneConfig, LaneOptions, Overflow, RetryPolicy};
use proptest::prelude::*;

use super::plan::{key_name, ms};

#[cfg(feature = "distributed")]
pub(crate) const LIMITERS: u8 = 2;

/// The window of every limit of a rate.
#[cfg(feature = "distributed")]
pub(crate) const WINDOW_MS: u64 = 10;

#[derive(Debug, Clone)]
pub(crate) struct LanePlan {
    pub(crate) priority: u8,
    min: usize,
    pub(crate) max: usize,
    pub(crate) key_max: Option<usize>,
    pub(crate) preemptible: bool,
    pub(crate) grace_ms: u64,
    pub(crate) pending: Option<(usize, Overflow)>,
    pub(crate) retries: u32,
    pub(crate) delay_ms: u64,
    pub(crate) jitter: Jitter,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) progress_ms: Option<u64>,
    pub(crate) pressure: Option<usize>,
    weight: u32,
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no boosts"))]
    pub(crate) boost: Option<BoostPlan>,
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no rates"))]
    pub(crate) rate: Option<RatePlan>,
    #[cfg_attr(
        not(feature = "distributed"),
        expect(dead_code, reason = "no limiters")
    )]
    limiters: u8,
}

#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no boosts"))]
pub(crate) struct BoostPlan {
    pub(crate) deadline_ms: u64,
    /// The time left in ms, and the boost from then on; otherwise the standard ones.
    steps: Option<Vec<(u64, u8)>>,
}

/// Starts in a window.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no rates"))]
pub(crate) struct RatePlan {
    pub(crate) max: u64,
    burst: Option<u64>,
}

#[cfg(feature = "distributed")]
impl RatePlan {
    /// The most starts at once.
    pub(crate) fn burst(&self) -> u64 {
        self.burst.unwrap_or(self.max)
    }
}

#[cfg(feature = "distributed")]
impl BoostPlan {
    /// In microseconds.
    pub(crate) fn steps(&self) -> Vec<(u64, u8)> {
        let deadline = self.deadline_ms * 1_000;
        match &self.steps {
            Some(steps) => steps.iter().map(|(left, by)| (left * 1_000, *by)).collect(),
            None => [(75, 1), (50, 2), (25, 3), (10, 4)]
                .map(|(percent, by)| (deadline * percent / 100, by))
                .to_vec(),
        }
    }

    fn config(&self) -> a3s_lane::PriorityBoostConfig {
        use a3s_lane::PriorityBoostConfig;

        let deadline = ms(self.deadline_ms);
        let Some(steps) = &self.steps else {
            return PriorityBoostConfig::standard(deadline);
        };
        let none = PriorityBoostConfig::new(deadline);
        let steps = steps.iter();
        steps.fold(none, |config, (left, by)| config.with_boost(ms(*left), *by))
    }
}

impl LanePlan {
    pub(crate) fn config(&self) -> LaneConfig {
        let retry = RetryPolicy::fixed(self.retries, ms(self.delay_ms));
        let mut config = LaneConfig::new(self.min, self.max).with_retry_policy(retry);
        config.default_timeout = self.timeout_ms.map(ms);
        if let Some(threshold) = self.pressure {
            config = config.with_pressure_threshold(threshold);
        }
        #[cfg(feature = "distributed")]
        {
            use a3s_lane::RateLimitConfig;

            config.priority_boost = self.boost.as_ref().map(BoostPlan::config);
            let rate = self.rate.as_ref();
            config.rate_limit = rate.map(|rate| RateLimitConfig::new(rate.max, ms(WINDOW_MS)));
        }
        config
    }

    pub(crate) fn options(&self) -> LaneOptions {
        let mut options = LaneOptions::new()
            .with_preemption(self.preemptible)
            .with_grace(ms(self.grace_ms))
            .with_retry_jitter(self.jitter)
            .with_key_weight(key_name(0), self.weight);
        if let Some(max) = self.key_max {
            options = options.with_max_concurrency_per_key(max);
        }
        if let Some((max, overflow)) = self.pending {
            options = options.with_max_pending(max).with_overflow(overflow);
        }
        if let Some(progress) = self.progress_ms {
            options = options.with_progress_timeout(ms(progress));
        }
        #[cfg(feature = "distributed")]
        {
            if let Some(burst) = self.rate.as_ref().and_then(|rate| rate.burst) {
                options = options.with_burst(burst);
            }
            for limiter in (0..LIMITERS).filter(|limiter| self.uses(*limiter)) {
                options = options.with_limiter(limiter_name(limiter));
            }
        }
        options
    }

    #[cfg(feature = "distributed")]
    pub(crate) fn uses(&self, limiter: u8) -> bool {
        self.limiters & (1 << limiter) != 0
    }
}

#[cfg(feature = "distributed")]
#[derive(Debug, Clone)]
pub(crate) struct LimiterPlan {
    pub(crate) is_window: bool,
    pub(crate) counts_commands: bool,
    pub(crate) max: u64,
    burst: Option<u64>,
    reserve: Option<u8>,
}

#[cfg(feature = "distributed")]
impl LimiterPlan {
    /// The most that it grants at once.
    pub(crate) fn burst(&self) -> u64 {
        self.own_burst().unwrap_or(self.max)
    }

    fn own_burst(&self) -> Option<u64> {
        // More than any command costs: what can never start keeps a queue from becoming empty.
        let least = if self.counts_commands { 2 } else { 4 };
        let burst = self.burst.filter(|_| !self.is_window);
        burst.map(|burst| burst.max(least))
    }

    pub(crate) fn config(&self) -> a3s_lane::LimiterConfig {
        use a3s_lane::{LimiterConfig, RateLimitConfig};

        let limit = RateLimitConfig::new(self.max, ms(WINDOW_MS));
        let mut config = if self.is_window {
            LimiterConfig::sliding_window(limit)
        } else {
            LimiterConfig::token_bucket(limit)
        };
        if let Some(burst) = self.own_burst() {
            config = config.with_burst(burst);
        }
        if self.counts_commands {
            config = config.counting_commands();
        }
        match self.reserve {
            // A command that costs more than what the reserve leaves never starts in a lane that is not urgent.
            Some(urgent_up_to) if self.counts_commands => config.with_reserve(1, urgent_up_to),
            _ => config,
        }
    }
}

#[cfg(feature = "distributed")]
pub(crate) fn limiter_name(limiter: u8) -> String {
    format!("limiter-{limiter}")
}

pub(crate) fn lane() -> impl Strategy<Value = LanePlan> {
    let overflow = prop_oneof![
        Just(Overflow::Reject),
        Just(Overflow::Wait),
        Just(Overflow::DropOldest)
    ];
    let own = (
        0u8..4,
        0usize..2,
        1usize..4,
        prop::option::weighted(0.3, 1usize..3),
        any::<bool>(),
        prop_oneof![Just(0u64), 1u64..8],
        prop::option::weighted(0.5, (1usize..5, overflow)),
        prop::option::weighted(0.4, 1usize..5),
    );
    let others = (
        0u32..3,
        prop_oneof![Just(0u64), 1u64..6],
        jitter(),
        prop::option::weighted(0.2, 20u64..40),
        prop::option::weighted(0.15, 3u64..10),
        1u32..4,
        prop::option::weighted(0.3, boost()),
        prop::option::weighted(0.2, rate()),
        prop_oneof![2 => Just(0u8), 1 => 1u8..4],
    );
    (own, others).prop_map(|(own, others)| {
        let (priority, min, max, key_max, preemptible, grace_ms, pending, pressure) = own;
        let (retries, delay_ms, jitter, timeout_ms, progress_ms, weight, boost, rate, limiters) =
            others;
        LanePlan {
            priority,
            min,
            max,
            key_max,
            preemptible,
            grace_ms,
            pending,
            retries,
            delay_ms,
            jitter,
            timeout_ms,
            progress_ms,
            pressure,
            weight,
            boost,
            rate,
            limiters,
        }
    })
}

pub(crate) fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![Just(Jitter::None), Just(Jitter::Equal), Just(Jitter::Full)]
}

fn boost() -> impl Strategy<Value = BoostPlan> {
    (5u64..30).prop_flat_map(|deadline_ms| {
        let step = (0..=deadline_ms, 0u8..4);
        let steps = prop::option::of(prop::collection::vec(step, 0..4));
        steps.prop_map(move |steps| BoostPlan { deadline_ms, steps })
    })
}

fn rate() -> impl Strategy<Value = RatePlan> {
    let burst = prop::option::of(1u64..6);
    (1u64..4, burst).prop_map(|(max, burst)| RatePlan { max, burst })
}

#[cfg(feature = "distributed")]
pub(crate) fn limiter() -> impl Strategy<Value = LimiterPlan> {
    (
        any::<bool>(),
        any::<bool>(),
        // More than any command costs, as above.
        4u64..9,
        prop::option::of(2u64..9),
        prop::option::weighted(0.4, 0u8..3),
    )
        .prop_map(
            |(is_window, counts_commands, max, burst, reserve)| LimiterPlan {
                is_window,
                counts_commands,
                max,
                burst,
                reserve,
            },
        )
}

//! What random lanes, commands and limiters ask for, in a form that the model reads and the scheduler's own is made from.
//!
//! Times are in nanoseconds.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{LaneConfig, LaneOptions, Overflow};
use crate::retry::{Jitter, RetryPolicy};
use crate::scheduler::{LanePolicy, Terms};

/// How many absent keys a lane remembers: few, so that random operations come that far.
pub(in crate::scheduler) const MOST_ABSENT: usize = 2;

/// The lanes, limiters and total that a run begins with.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Setup {
    pub(in crate::scheduler) lanes: Vec<LaneRules>,
    pub(in crate::scheduler) limiters: Vec<LimiterRules>,
    pub(in crate::scheduler) total: Option<usize>,
}

/// What a lane allows.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct LaneRules {
    pub(in crate::scheduler) priority: u8,
    pub(in crate::scheduler) configured_min: usize,
    /// As configured; see [`max`](Self::max).
    pub(in crate::scheduler) configured_max: usize,
    pub(in crate::scheduler) timeout_ns: Option<u64>,
    pub(in crate::scheduler) progress_ns: Option<u64>,
    pub(in crate::scheduler) grace_ns: u64,
    pub(in crate::scheduler) retry: RetryRules,
    pub(in crate::scheduler) jitter: Jitter,
    pub(in crate::scheduler) pressure: Option<usize>,
    pub(in crate::scheduler) max_pending: Option<usize>,
    pub(in crate::scheduler) overflow: Overflow,
    pub(in crate::scheduler) preemptible: bool,
    pub(in crate::scheduler) key_max: Option<usize>,
    pub(in crate::scheduler) key_weights: Vec<(u8, u32)>,
    pub(in crate::scheduler) rate: Option<Rate>,
    pub(in crate::scheduler) boost: Option<Boost>,
    /// Numbers of limiters, each once.
    pub(in crate::scheduler) limiters: Vec<usize>,
}

/// What one command asks for. Times count from its submission.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::scheduler) struct CommandRules {
    pub(in crate::scheduler) priority: i32,
    pub(in crate::scheduler) key: Option<u8>,
    pub(in crate::scheduler) delay_ns: Option<u64>,
    pub(in crate::scheduler) ttl_ns: Option<u64>,
    pub(in crate::scheduler) timeout_ns: Option<Option<u64>>,
    pub(in crate::scheduler) progress_ns: Option<u64>,
    pub(in crate::scheduler) retry: Option<RetryRules>,
    pub(in crate::scheduler) jitter: Option<Jitter>,
    pub(in crate::scheduler) cost: u64,
    pub(in crate::scheduler) preemptible: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::scheduler) struct RetryRules {
    pub(in crate::scheduler) retries: u32,
    pub(in crate::scheduler) first_delay_ns: u64,
    pub(in crate::scheduler) max_delay_ns: u64,
    /// Each delay is twice the one before.
    pub(in crate::scheduler) doubling: bool,
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

/// What a meter counts with.
#[derive(Debug, Clone, Copy)]
pub(in crate::scheduler) enum MeterRules {
    Bucket(Rate),
    Window { max: u64, window_ns: u64 },
}

/// A limiter that lanes share.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct LimiterRules {
    pub(in crate::scheduler) meter: MeterRules,
    /// Charges each start the command's cost, not one.
    pub(in crate::scheduler) counts_cost: bool,
    pub(in crate::scheduler) urgent: u8,
    pub(in crate::scheduler) kept: u64,
}

pub(in crate::scheduler) fn key_name(key: u8) -> Arc<str> {
    format!("key {key}").into()
}

impl LaneRules {
    /// A maximum of 0 acts as 1.
    pub(in crate::scheduler) fn max(&self) -> usize {
        self.configured_max.max(1)
    }

    pub(in crate::scheduler) fn min(&self) -> usize {
        self.configured_min.min(self.max())
    }

    pub(in crate::scheduler) fn weight(&self, key: Option<u8>) -> u64 {
        let of_key = |key| self.key_weights.iter().rfind(|(known, _)| *known == key);
        key.and_then(of_key)
            .map_or(1, |(_, weight)| u64::from(*weight))
    }

    /// The priority when the oldest command was submitted `waited` ago.
    pub(in crate::scheduler) fn boosted(&self, waited: u64) -> u8 {
        let Some(boost) = &self.boost else {
            return self.priority;
        };
        boost
            .step(waited)
            .map_or(0, |by| self.priority.saturating_sub(by))
    }

    /// The most urgent that a wait of up to `waited` makes the lane: at its end, or at one of the steps before.
    pub(in crate::scheduler) fn most_urgent(&self, waited: u64) -> u8 {
        let Some(boost) = &self.boost else {
            return self.priority;
        };
        let steps = boost.steps.iter();
        let times = steps.map(|(left, _)| boost.deadline_ns.saturating_sub(*left));
        let times = times.filter(|at| *at <= waited).chain([waited]);
        let priorities = times.map(|at| self.boosted(at));
        priorities.min().unwrap_or(self.priority)
    }

    /// After how long a wait, longer than `waited`, the boost changes next: the steps and the deadline are all the times
    /// at which it may.
    pub(in crate::scheduler) fn next_boost(&self, waited: u64) -> Option<u64> {
        let boost = self.boost.as_ref()?;
        let steps = boost.steps.iter();
        let times = steps.map(|(left, _)| boost.deadline_ns.saturating_sub(*left));
        times
            .chain([boost.deadline_ns])
            .filter(|&at| at > waited && boost.step(at) != boost.step(waited))
            .min()
    }

    /// The age at which a command goes first in its lane.
    pub(in crate::scheduler) fn deadline_ns(&self) -> Option<u64> {
        self.boost.as_ref().map(|boost| boost.deadline_ns)
    }

    pub(in crate::scheduler) fn is_rated(&self) -> bool {
        self.rate.is_some() || !self.limiters.is_empty()
    }

    /// The scheduler's policy, but for the limiters.
    pub(in crate::scheduler) fn policy(&self, now: u64) -> LanePolicy {
        let mut config = LaneConfig::new(self.configured_min, self.configured_max)
            .with_retry_policy(self.retry.policy());
        config.default_timeout = self.timeout_ns.map(Duration::from_nanos);
        config.pressure_threshold = self.pressure;
        let options = self.limit_and_boost(&mut config);
        let mut policy = LanePolicy::new(&config, &options, self.priority, now);
        policy.progress_ns = self.progress_ns;
        policy.grace_ns = self.grace_ns;
        policy.jitter = self.jitter;
        policy.max_pending = self.max_pending;
        policy.overflow = self.overflow;
        policy.preemptible = self.preemptible;
        policy.key_max = self.key_max;
        policy.most_absent_keys = MOST_ABSENT;
        let weights = self.key_weights.iter();
        policy.key_weights = weights
            .map(|(key, weight)| (key_name(*key), *weight))
            .collect();
        policy
    }

    #[cfg(feature = "distributed")]
    fn limit_and_boost(&self, config: &mut LaneConfig) -> LaneOptions {
        use crate::boost::PriorityBoostConfig;

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
        config.rate_limit = Some(rate.config());
        LaneOptions::new().with_burst(rate.burst)
    }

    #[cfg(not(feature = "distributed"))]
    fn limit_and_boost(&self, _config: &mut LaneConfig) -> LaneOptions {
        LaneOptions::new()
    }
}

impl Boost {
    /// By how much a wait raises the priority; `None` is by everything.
    fn step(&self, waited: u64) -> Option<u8> {
        if waited >= self.deadline_ns {
            return None;
        }
        let left = self.deadline_ns - waited;
        let reached = self.steps.iter().filter(|(from, _)| left <= *from);
        // The shortest step counts; of two equally short ones the larger boost.
        let step = reached.min_by_key(|&&(from, by)| (from, u8::MAX - by));
        Some(step.map_or(0, |step| step.1))
    }
}

impl Default for LaneRules {
    /// One slot and no policy.
    fn default() -> Self {
        Self {
            priority: 0,
            configured_min: 0,
            configured_max: 1,
            timeout_ns: None,
            progress_ns: None,
            grace_ns: 0,
            retry: RetryRules::NONE,
            jitter: Jitter::None,
            pressure: None,
            max_pending: None,
            overflow: Overflow::Reject,
            preemptible: false,
            key_max: None,
            key_weights: Vec::new(),
            rate: None,
            boost: None,
            limiters: Vec::new(),
        }
    }
}

impl CommandRules {
    /// The scheduler's terms; a command that asks for nothing has none.
    pub(in crate::scheduler) fn terms(&self, now: u64) -> Option<Box<Terms>> {
        (*self != Self::default()).then(|| {
            Box::new(Terms {
                priority: self.priority,
                key: self.key.map(key_name),
                delay_until: self.delay_ns.map_or(0, |delay| now + delay),
                expires_at: self.ttl_ns.map(|ttl| now + ttl),
                timeout_ns: self.timeout_ns,
                progress_ns: self.progress_ns,
                retry: self.retry.map(|retry| retry.policy()),
                jitter: self.jitter,
                cost: self.cost,
                preemptible: self.preemptible,
                ..Terms::default()
            })
        })
    }
}

impl Default for CommandRules {
    fn default() -> Self {
        Self {
            priority: 0,
            key: None,
            delay_ns: None,
            ttl_ns: None,
            timeout_ns: None,
            progress_ns: None,
            retry: None,
            jitter: None,
            cost: 1,
            preemptible: true,
        }
    }
}

impl RetryRules {
    pub(in crate::scheduler) const NONE: Self = Self {
        retries: 0,
        first_delay_ns: 0,
        max_delay_ns: 0,
        doubling: false,
    };

    /// How long the retry after the given attempt waits, before jitter.
    pub(in crate::scheduler) fn delay_ns(&self, attempt: u32) -> u64 {
        if self.retries == 0 {
            return 0;
        }
        let factor = if self.doubling { 1 << (attempt - 1) } else { 1 };
        (self.first_delay_ns * factor).min(self.max_delay_ns)
    }

    fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_retries: self.retries,
            initial_delay: Duration::from_nanos(self.first_delay_ns),
            max_delay: Duration::from_nanos(self.max_delay_ns),
            multiplier: if self.doubling { 2.0 } else { 1.0 },
        }
    }
}

#[cfg(feature = "distributed")]
impl Rate {
    pub(super) fn config(&self) -> crate::ratelimit::RateLimitConfig {
        let window = Duration::from_nanos(self.window_ns);
        crate::ratelimit::RateLimitConfig::new(self.max_commands, window)
    }
}

#[cfg(feature = "distributed")]
impl LimiterRules {
    pub(super) fn limiter(&self, now: u64) -> crate::scheduler::Limiter {
        use crate::ratelimit::{Meter, RateLimitConfig, SlidingWindow, TokenBucket};
        use crate::scheduler::{Counts, Limiter};

        let meter = match self.meter {
            MeterRules::Bucket(rate) => {
                Meter::Bucket(TokenBucket::new(&rate.config(), rate.burst, now))
            }
            MeterRules::Window { max, window_ns } => {
                let config = RateLimitConfig::new(max, Duration::from_nanos(window_ns));
                Meter::Window(SlidingWindow::new(&config))
            }
        };
        Limiter {
            meter,
            counts: if self.counts_cost {
                Counts::Cost
            } else {
                Counts::Commands
            },
            urgent: self.urgent,
            reserve: self.kept,
        }
    }
}

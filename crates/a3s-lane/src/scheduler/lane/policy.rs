//! What a lane allows.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::keys::KeyLimits;
use crate::config::{LaneConfig, LaneOptions, Overflow};
use crate::retry::{Jitter, RetryPolicy};
#[cfg(feature = "distributed")]
use crate::scheduler::LimiterKey;

#[cfg(feature = "distributed")]
use crate::{boost::PriorityBoostConfig, ratelimit::TokenBucket};

/// A duration in the scheduler's unit; 584 years at the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a lane allows, in the scheduler's own units (nanoseconds, lower priority number = more urgent).
#[derive(Debug)]
pub(crate) struct LanePolicy {
    pub(crate) priority: u8,
    /// Of a total limit, so many shares are kept for this lane.
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) timeout_ns: Option<u64>,
    /// The longest time without a sign of life.
    pub(crate) progress_ns: Option<u64>,
    /// How long a cancelled or preempted body may go on after it was asked to stop.
    pub(crate) grace_ns: u64,
    pub(crate) retry: RetryPolicy,
    pub(crate) jitter: Jitter,
    pub(crate) pressure_threshold: Option<usize>,
    pub(crate) max_pending: Option<usize>,
    pub(crate) overflow: Overflow,
    /// More urgent lanes may take shares from running commands.
    pub(crate) preemptible: bool,
    pub(crate) key_max: Option<usize>,
    pub(crate) key_weights: HashMap<Arc<str>, u32>,
    /// How many keys without a command it remembers.
    pub(in crate::scheduler) most_absent_keys: usize,
    #[cfg(feature = "distributed")]
    pub(crate) bucket: Option<TokenBucket>,
    #[cfg(feature = "distributed")]
    pub(crate) boost: Option<PriorityBoostConfig>,
    #[cfg(feature = "distributed")]
    pub(crate) limiters: Vec<LimiterKey>,
}

impl LanePolicy {
    /// The policy that a configuration asks for. Impossible limits are lifted to the nearest possible ones, since
    /// `register_lane` has no way to refuse; the builder refuses them before they come here.
    pub(crate) fn new(config: &LaneConfig, options: &LaneOptions, priority: u8, now: u64) -> Self {
        #[cfg(not(feature = "distributed"))]
        let _ = now;
        let max = config.max_concurrency.max(1);
        let finite = |limit: Duration| Some(nanos(limit)).filter(|limit| *limit != u64::MAX);
        let weights = options.key_weights().iter();
        Self {
            priority,
            min: config.min_concurrency.min(max),
            max,
            timeout_ns: config.default_timeout.and_then(finite),
            progress_ns: options.progress_timeout().and_then(finite),
            grace_ns: nanos(options.grace()),
            retry: config.retry_policy.clone(),
            jitter: options.retry_jitter(),
            pressure_threshold: config.pressure_threshold,
            max_pending: options.max_pending(),
            overflow: options.overflow(),
            preemptible: options.preemptible(),
            key_max: options.max_concurrency_per_key(),
            key_weights: weights
                .map(|(key, weight)| (key.as_str().into(), *weight))
                .collect(),
            most_absent_keys: 1_024,
            #[cfg(feature = "distributed")]
            bucket: config.rate_limit.as_ref().map(|limit| {
                TokenBucket::new(limit, options.burst().unwrap_or(limit.max_commands), now)
            }),
            #[cfg(feature = "distributed")]
            boost: config.priority_boost.clone().filter(|boost| boost.enabled),
            #[cfg(feature = "distributed")]
            limiters: Vec::new(),
        }
    }

    /// A new rate limit does not grant at once what the limit before it has used up.
    pub(in crate::scheduler) fn inherit_tokens(&mut self, before: &Self, now: u64) {
        #[cfg(feature = "distributed")]
        if let (Some(bucket), Some(before)) = (&mut self.bucket, &before.bucket) {
            bucket.inherit(before, now);
        }
        let _ = (before, now);
    }

    pub(super) fn keys(&self) -> KeyLimits<'_> {
        KeyLimits {
            max: self.key_max.unwrap_or(usize::MAX),
            most_absent: self.most_absent_keys,
            weights: &self.key_weights,
        }
    }

    /// Whether the age of commands matters, beside their order.
    pub(in crate::scheduler) fn is_aged(&self) -> bool {
        self.overdue_ns().is_some() || self.overflow == Overflow::DropOldest
    }

    /// Whether a submission is never refused and tells nobody, and its age is of no interest.
    pub(crate) fn takes_any(&self) -> bool {
        self.max_pending.is_none() && self.pressure_threshold.is_none() && !self.is_aged()
    }

    /// Whether starts per time are limited.
    pub(in crate::scheduler) fn is_rated(&self) -> bool {
        #[cfg(feature = "distributed")]
        return self.bucket.is_some() || !self.limiters.is_empty();
        #[cfg(not(feature = "distributed"))]
        return false;
    }

    /// The age at which a command goes first whatever its priority and key.
    pub(super) fn overdue_ns(&self) -> Option<u64> {
        #[cfg(feature = "distributed")]
        return self.boost.as_ref().map(|boost| nanos(boost.deadline));
        #[cfg(not(feature = "distributed"))]
        return None;
    }

    /// The priority of the lane when its oldest command has waited for `waited` ns.
    pub(super) fn effective_priority(&self, waited: u64) -> u8 {
        #[cfg(feature = "distributed")]
        if let Some(boost) = &self.boost {
            return boost.effective(self.priority, waited);
        }
        let _ = waited;
        self.priority
    }

    /// The most urgent that the lane becomes while its oldest command waits for `waited` ns: a later boost may be smaller.
    pub(super) fn most_urgent(&self, waited: u64) -> u8 {
        #[cfg(feature = "distributed")]
        if let Some(boost) = &self.boost {
            return boost.most_urgent(self.priority, waited);
        }
        let _ = waited;
        self.priority
    }

    /// How long the oldest command must have waited for the effective priority to change again.
    pub(super) fn next_boost(&self, waited: u64) -> Option<u64> {
        #[cfg(feature = "distributed")]
        if let Some(boost) = &self.boost {
            return boost.next_change(waited);
        }
        let _ = waited;
        None
    }
}

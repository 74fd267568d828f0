//! One lane inside the scheduler: its policy, its queue and its counts.

use crate::config::{LaneConfig, LaneOptions};
use crate::retry::RetryPolicy;

#[cfg(feature = "distributed")]
use crate::{boost::PriorityBoostConfig, ratelimit::TokenBucket};

/// No entry: the end of a queue.
pub(super) const NONE: u32 = u32::MAX;

/// What a lane allows, in the scheduler's own units (nanoseconds, lower priority number = more urgent).
#[derive(Debug)]
pub(crate) struct LanePolicy {
    pub(crate) priority: u8,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) timeout_ns: Option<u64>,
    pub(crate) retry: RetryPolicy,
    pub(crate) pressure_threshold: Option<usize>,
    #[cfg(feature = "distributed")]
    pub(crate) bucket: Option<TokenBucket>,
    #[cfg(feature = "distributed")]
    pub(crate) boost: Option<PriorityBoostConfig>,
}

impl LanePolicy {
    /// The policy that a configuration asks for. Impossible limits are lifted to the nearest possible ones, since
    /// `register_lane` has no way to refuse; the builder refuses them before they come here.
    pub(crate) fn new(config: &LaneConfig, options: &LaneOptions, priority: u8, now: u64) -> Self {
        #[cfg(not(feature = "distributed"))]
        let _ = (options, now);
        let max = config.max_concurrency.max(1);
        Self {
            priority,
            min: config.min_concurrency.min(max),
            max,
            timeout_ns: config
                .default_timeout
                .map(super::nanos)
                .filter(|timeout| *timeout != u64::MAX),
            retry: config.retry_policy.clone(),
            pressure_threshold: config.pressure_threshold,
            #[cfg(feature = "distributed")]
            bucket: config.rate_limit.as_ref().map(|limit| {
                TokenBucket::new(limit, options.burst().unwrap_or(limit.max_commands), now)
            }),
            #[cfg(feature = "distributed")]
            boost: config.priority_boost.clone().filter(|boost| boost.enabled),
        }
    }

    /// A new rate limit does not grant at once what the limit before it has used up.
    pub(super) fn inherit_tokens(&mut self, before: &Self, now: u64) {
        #[cfg(feature = "distributed")]
        if let (Some(bucket), Some(before)) = (&mut self.bucket, &before.bucket) {
            bucket.inherit(before, now);
        }
        let _ = (before, now);
    }

    /// The priority of the lane when its oldest command has waited for `waited` ns.
    fn effective_priority(&self, waited: u64) -> u8 {
        #[cfg(feature = "distributed")]
        if let Some(boost) = &self.boost {
            return boost.effective(self.priority, waited);
        }
        let _ = waited;
        self.priority
    }

    /// How long the oldest command must have waited for the effective priority to change again.
    fn next_boost(&self, waited: u64) -> Option<u64> {
        #[cfg(feature = "distributed")]
        if let Some(boost) = &self.boost {
            return boost.next_change(waited);
        }
        let _ = waited;
        None
    }

    /// Takes the right to start one command, or says when to ask again (`u64::MAX`: never).
    pub(super) fn take_token(&mut self, now: u64) -> Result<(), u64> {
        #[cfg(feature = "distributed")]
        if let Some(bucket) = &mut self.bucket {
            return bucket.try_take(1, now);
        }
        let _ = now;
        Ok(())
    }
}

/// A lane: a first-in first-out list of ready entries and the counts that decide whether one may start.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) policy: LanePolicy,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// When the command at the head was submitted.
    pub(super) head_submitted_at: u64,
    pub(super) ready: usize,
    pub(super) delayed: usize,
    pub(super) active: usize,
    /// The number of the start that this lane made last; 0 before the first.
    pub(super) last_served: u64,
    /// The rate limiter said no: nothing starts before this time.
    pub(super) blocked_until: Option<u64>,
    /// Pressure was reported and not yet relieved.
    pub(super) pressed: bool,
    /// This lane's share in the scheduler's count of commands that could start now.
    pub(super) startable: usize,
}

impl LaneState {
    pub(super) fn new(policy: LanePolicy) -> Self {
        Self {
            policy,
            head: NONE,
            tail: NONE,
            head_submitted_at: 0,
            ready: 0,
            delayed: 0,
            active: 0,
            last_served: 0,
            blocked_until: None,
            pressed: false,
            startable: 0,
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.ready + self.delayed
    }

    /// How many commands of this lane could start now.
    pub(super) fn could_start(&self) -> usize {
        if self.blocked_until.is_some() {
            return 0;
        }
        self.ready.min(self.policy.max.saturating_sub(self.active))
    }

    fn waited(&self, now: u64) -> u64 {
        now.saturating_sub(self.head_submitted_at)
    }

    pub(super) fn effective_priority(&self, now: u64) -> u8 {
        if self.ready == 0 {
            return self.policy.priority;
        }
        self.policy.effective_priority(self.waited(now))
    }

    /// When the effective priority changes next if nothing else happens.
    pub(super) fn next_boost_at(&self, now: u64) -> Option<u64> {
        let waited = self.policy.next_boost(self.waited(now))?;
        Some(self.head_submitted_at.saturating_add(waited))
    }
}

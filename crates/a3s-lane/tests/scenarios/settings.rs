//! Builds what a scenario describes.

use std::time::Duration;

use a3s_lane::testing::{ManualClock, SubmissionLog};
use a3s_lane::{
    EventEmitter, LaneConfig, LaneOptions, LimiterConfig, PriorityBoostConfig, QueueManager,
    QueueManagerBuilder, RateLimitConfig, RetryPolicy, SubmitOptions,
};

use crate::table::{Algorithm, Clock, Lane, Limiter, Options, Retry, Scenario, Unique};

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The queue, and what a test can do to it or ask of it.
pub(crate) struct Built {
    pub(crate) manager: QueueManager,
    pub(crate) clock: Option<ManualClock>,
    pub(crate) log: SubmissionLog,
}

pub(crate) async fn build(scenario: &Scenario) -> a3s_lane::Result<Built> {
    let log = SubmissionLog::new();
    let clock = (scenario.clock == Clock::Manual).then(ManualClock::new);
    let mut builder = QueueManagerBuilder::new(EventEmitter::new(100))
        .with_inline(scenario.inline)
        .with_submission_log(log.clone());
    if let Some(clock) = &clock {
        builder = builder.with_clock(clock.clone());
    }
    builder = match &scenario.lanes {
        None => builder.with_default_lanes(),
        Some(lanes) => lanes.iter().fold(builder, |builder, lane| {
            builder
                .with_lane(&lane.id, config(lane), lane.priority)
                .with_lane_options(&lane.id, lane_options(lane))
        }),
    };
    if let Some(size) = scenario.dlq_size {
        builder = builder.with_dlq(size);
    }
    if let Some(total) = scenario.max_concurrency {
        builder = builder.with_max_concurrency(total);
    }
    for (name, settings) in &scenario.limiters {
        builder = builder.with_limiter(name, limiter(settings));
    }
    Ok(Built {
        manager: builder.build().await?,
        clock,
        log,
    })
}

pub(crate) fn config(lane: &Lane) -> LaneConfig {
    let mut config = LaneConfig::new(lane.min, lane.max);
    config.default_timeout = lane.timeout_ms.map(millis);
    config.pressure_threshold = lane.pressure_threshold;
    if let Some(retry) = &lane.retry {
        config.retry_policy = retry_policy(retry);
    }
    config.rate_limit = lane
        .rate_limit
        .as_ref()
        .map(|limit| RateLimitConfig::new(limit.max_commands, millis(limit.window_ms)));
    config.priority_boost = lane.boost.as_ref().map(|boost| {
        let start = PriorityBoostConfig::new(millis(boost.deadline_ms));
        let steps = boost.steps.iter();
        steps.fold(start, |config, &(left_ms, step)| {
            config.with_boost(millis(left_ms), step)
        })
    });
    config
}

pub(crate) fn lane_options(lane: &Lane) -> LaneOptions {
    let mut options = LaneOptions::new();
    if let Some(max_pending) = lane.max_pending {
        options = options.with_max_pending(max_pending);
    }
    if let Some(overflow) = lane.overflow {
        options = options.with_overflow(overflow);
    }
    if let Some(preemptible) = lane.preemptible {
        options = options.with_preemption(preemptible);
    }
    if let Some(grace) = lane.grace_ms {
        options = options.with_grace(millis(grace));
    }
    if let Some(limit) = lane.progress_timeout_ms {
        options = options.with_progress_timeout(millis(limit));
    }
    if let Some(limit) = lane.max_concurrency_per_key {
        options = options.with_max_concurrency_per_key(limit);
    }
    for (key, weight) in &lane.key_weights {
        options = options.with_key_weight(key, *weight);
    }
    if let Some(jitter) = lane.retry_jitter {
        options = options.with_retry_jitter(jitter);
    }
    if let Some(burst) = lane.burst {
        options = options.with_burst(burst);
    }
    for name in &lane.limiters {
        options = options.with_limiter(name);
    }
    options
}

pub(crate) fn limiter(limiter: &Limiter) -> LimiterConfig {
    let limit = RateLimitConfig::new(limiter.max_commands, millis(limiter.window_ms));
    let mut config = match limiter.algorithm {
        Algorithm::TokenBucket => LimiterConfig::token_bucket(limit),
        Algorithm::SlidingWindow => LimiterConfig::sliding_window(limit),
    };
    if let Some(burst) = limiter.burst {
        config = config.with_burst(burst);
    }
    if limiter.counting_commands {
        config = config.counting_commands();
    }
    if let Some(reserve) = &limiter.reserve {
        config = config.with_reserve(reserve.amount, reserve.urgent_up_to);
    }
    config
}

fn retry_policy(retry: &Retry) -> RetryPolicy {
    RetryPolicy {
        max_retries: retry.max_retries,
        initial_delay: millis(retry.initial_delay_ms),
        max_delay: millis(retry.max_delay_ms),
        multiplier: retry.multiplier,
    }
}

pub(crate) fn submit_options(given: &Options) -> SubmitOptions {
    let mut options = SubmitOptions::new();
    if let Some(id) = &given.id {
        options = options.with_id(id);
    }
    if let Some(priority) = given.priority {
        options = options.with_priority(priority);
    }
    if let Some(delay) = given.delay_ms {
        options = options.with_delay(millis(delay));
    }
    if let Some(time) = given.run_at {
        options = options.with_run_at(time);
    }
    if let Some(ttl) = given.ttl_ms {
        options = options.with_ttl(millis(ttl));
    }
    if let Some(timeout) = given.timeout_ms {
        options = options.with_timeout(millis(timeout));
    }
    if given.no_timeout {
        options = options.with_no_timeout();
    }
    if let Some(limit) = given.progress_timeout_ms {
        options = options.with_progress_timeout(millis(limit));
    }
    if let Some(retry) = &given.retry {
        options = options.with_retry_policy(retry_policy(retry));
    }
    if let Some(jitter) = given.jitter {
        options = options.with_jitter(jitter);
    }
    if let Some(key) = &given.key {
        options = options.with_key(key);
    }
    if let Some(given) = &given.unique {
        options = options.with_unique(unique(given));
    }
    if let Some(cost) = given.cost {
        options = options.with_cost(cost);
    }
    for (name, value) in &given.metadata {
        options = options.with_metadata(name, value.clone());
    }
    if let Some(preemptible) = given.preemptible {
        options = options.with_preemptible(preemptible);
    }
    options
}

fn unique(given: &Unique) -> a3s_lane::Unique {
    let mut unique = a3s_lane::Unique::new(&given.key);
    if let Some(window) = given.window_ms {
        unique = unique.with_window(millis(window));
    }
    if let Some(on_conflict) = given.on_conflict {
        unique = unique.on_conflict(on_conflict);
    }
    unique
}

//! L29: nothing is checked, and extreme values panic.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::config::LaneOptions;
use a3s_lane::{
    CommandQueue, EventEmitter, Lane, LaneConfig, LaneError, LaneEvent, QueueManagerBuilder,
    RetryPolicy,
};

use crate::support::{
    Gate, builder_with, eventually, manager_with, nothing, outcome, submit, within,
};

async fn refusal(builder: QueueManagerBuilder) -> String {
    match builder.build().await {
        Err(LaneError::ConfigError(text)) => text,
        Err(other) => panic!("not a configuration error: {other:?}"),
        Ok(_) => panic!("it was built"),
    }
}

#[tokio::test]
async fn l29_every_bad_setting_is_refused_with_its_lane_and_field() {
    let retry = |multiplier| RetryPolicy {
        multiplier,
        ..RetryPolicy::exponential(1)
    };
    let base = || LaneConfig::new(1, 4);
    for (config, text) in [
        (
            LaneConfig::new(0, 0),
            "max_concurrency must be at least 1 (got 0)",
        ),
        (
            LaneConfig::new(5, 2),
            "min_concurrency must not be above max_concurrency (got 5 and 2)",
        ),
        (
            base().with_timeout(Duration::ZERO),
            "default_timeout must be longer than zero (got 0ns)",
        ),
        (
            base().with_pressure_threshold(0),
            "pressure_threshold must be at least 1 (got 0)",
        ),
        (
            base().with_retry_policy(retry(f64::NAN)),
            "retry_policy.multiplier must be a finite number of at least 0 (got NaN)",
        ),
        (
            base().with_retry_policy(retry(-1.0)),
            "retry_policy.multiplier must be a finite number of at least 0 (got -1)",
        ),
    ] {
        let good = ("good", base(), 1);
        let builder = builder_with(&[good, ("the \"bad\" one", config, 0)]);
        assert_eq!(
            refusal(builder).await,
            format!(r#"lane "the \"bad\" one": {text}"#)
        );
    }
}

#[cfg(feature = "distributed")]
#[tokio::test]
async fn l29_bad_limits_and_boosts_are_refused() {
    use a3s_lane::{PriorityBoostConfig, RateLimitConfig};

    let second = Duration::from_secs(1);
    let base = || LaneConfig::new(1, 4);
    for (config, text) in [
        (
            base().with_rate_limit(RateLimitConfig::per_second(0)),
            "rate_limit.max_commands must be at least 1 (got 0)",
        ),
        (
            base().with_rate_limit(RateLimitConfig::new(1, Duration::ZERO)),
            "rate_limit.window must be longer than zero (got 0ns)",
        ),
        (
            base().with_priority_boost(PriorityBoostConfig::new(Duration::ZERO)),
            "priority_boost.deadline must be longer than zero (got 0ns)",
        ),
        (
            base().with_priority_boost(PriorityBoostConfig::new(second).with_boost(second * 2, 1)),
            "priority_boost.boost_intervals must not be longer than priority_boost.deadline (got 2s and 1s)",
        ),
    ] {
        let builder = builder_with(&[("bad", config, 0)]);
        assert_eq!(refusal(builder).await, format!(r#"lane "bad": {text}"#));
    }
    let limited = base().with_rate_limit(RateLimitConfig::per_second(1));
    let builder = builder_with(&[("bad", limited, 0)])
        .with_lane_options("bad", LaneOptions::new().with_burst(0));
    assert_eq!(
        refusal(builder).await,
        r#"lane "bad": burst must be at least 1 (got 0)"#
    );
}

#[tokio::test]
async fn l29_what_belongs_to_no_lane_is_refused_too() {
    let base = || LaneConfig::new(1, 4);
    let builder = builder_with(&[("", base(), 0)]);
    assert_eq!(refusal(builder).await, "lane id must not be empty");
    let builder = builder_with(&[("a", base(), 0)]).with_dlq(0);
    assert_eq!(
        refusal(builder).await,
        "dlq: size must be at least 1 (got 0)"
    );
    let builder = builder_with(&[("a", base(), 0)]).with_lane_options("b", LaneOptions::new());
    assert_eq!(
        refusal(builder).await,
        r#"lane "b": options are set for a lane that was not added"#
    );
    let builder =
        builder_with(&[("a", base(), 0)]).with_lane_options("a", LaneOptions::new().with_burst(3));
    assert_eq!(
        refusal(builder).await,
        r#"lane "a": burst needs a rate_limit on the same lane (got burst 3 and no rate_limit)"#
    );
}

/// `with_lane` replaces: the settings that count are the last ones.
#[tokio::test]
async fn l29_a_bad_lane_that_was_replaced_does_no_harm() {
    let lanes = [
        ("a", LaneConfig::new(9, 0), 0),
        ("a", LaneConfig::new(1, 1), 0),
    ];
    assert!(builder_with(&lanes).build().await.is_ok());
}

/// A lane that is built by hand is not checked: a limit of 0 acts as 1, a minimum above the limit as the limit.
#[tokio::test]
async fn l29_a_lane_built_by_hand_runs_whatever_its_limits_are() {
    let queue = Arc::new(CommandQueue::new(EventEmitter::new(16)));
    let lane = Arc::new(Lane::new("only", LaneConfig::new(5, 0), 0));
    queue.register_lane(Arc::clone(&lane)).await;
    Arc::clone(&queue).start_scheduler().await;
    let receiver = lane.enqueue(nothing("t")).await;
    outcome(receiver).await.expect("it runs");
    let status = lane.status().await;
    assert_eq!((status.min, status.max), (1, 1));
}

#[tokio::test]
async fn l29_the_largest_values_are_accepted_and_work() {
    let forever = Duration::MAX;
    let config = LaneConfig::new(0, usize::MAX)
        .with_timeout(forever)
        .with_pressure_threshold(usize::MAX)
        .with_retry_policy(RetryPolicy {
            max_retries: u32::MAX,
            initial_delay: forever,
            max_delay: forever,
            multiplier: f64::MAX,
        });
    let manager = manager_with(&[("only", config, u8::MAX)]).await;
    manager.start().await.expect("starts");
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..500 {
        receivers.push(submit(&manager, "only", gate.command("t")).await);
    }
    eventually("all run at once", async || {
        manager.stats().await.expect("never fails").total_active == 500
    })
    .await;
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    within(manager.drain(forever)).await.expect("it is empty");
    manager.drain(Duration::ZERO).await.expect("it is empty");
}

#[tokio::test]
async fn l29_an_emitter_of_capacity_zero_or_without_end_does_not_panic() {
    for capacity in [0, usize::MAX] {
        let emitter = EventEmitter::new(capacity);
        let mut stream = emitter.subscribe_stream();
        emitter.emit(LaneEvent::empty("k"));
        assert_eq!(within(stream.recv()).await.expect("sent").key, "k");
    }
}

#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn l29_an_unlimited_rate_limits_nothing() {
    use a3s_lane::{RateLimitConfig, TokenBucketLimiter};

    use crate::support::started;

    let config = LaneConfig::new(1, 2).with_rate_limit(RateLimitConfig::unlimited());
    let manager = started(config).await;
    for _ in 0..2_000 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        outcome(receiver).await.expect("it runs");
    }
    let limiter = TokenBucketLimiter::new(&RateLimitConfig::unlimited());
    for _ in 0..1_000 {
        assert!(limiter.try_acquire().await);
    }
    assert_eq!(limiter.acquire().await, Duration::ZERO);
}

/// A limiter of zero grants nothing, for ever, and says so without a panic.
#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn l29_a_limiter_of_zero_waits_and_does_not_panic() {
    use a3s_lane::{RateLimitConfig, RateLimiter};

    let config = RateLimitConfig::per_second(0);
    for limiter in [
        RateLimiter::token_bucket(&config),
        RateLimiter::sliding_window(&config),
    ] {
        assert!(!limiter.try_acquire().await);
        let waited = tokio::time::timeout(Duration::from_secs(3_600), limiter.acquire()).await;
        assert!(waited.is_err(), "it waits for ever");
    }
}

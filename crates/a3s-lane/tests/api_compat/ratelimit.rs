use std::time::Duration;

use a3s_lane::{RateLimitConfig, RateLimiter, SlidingWindowLimiter, TokenBucketLimiter};

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn configs() {
    crate::is_value::<RateLimitConfig>();
    let own = RateLimitConfig {
        max_commands: 5,
        window: SECS(1),
    };
    assert_eq!(own, RateLimitConfig::per_second(5));
    assert_eq!(own, RateLimitConfig::new(5, SECS(1)));
    assert_eq!(RateLimitConfig::per_minute(5).window, SECS(60));
    assert_eq!(RateLimitConfig::per_hour(5).window, SECS(3600));
    let unlimited = RateLimitConfig::unlimited();
    assert_eq!(
        (unlimited.max_commands, unlimited.window),
        (u64::MAX, SECS(1))
    );
    assert_eq!(RateLimitConfig::default(), unlimited);
}

#[tokio::test(start_paused = true)]
async fn the_token_bucket() {
    crate::is_shared::<TokenBucketLimiter>();
    let limiter = TokenBucketLimiter::new(&RateLimitConfig::per_second(2));
    assert_eq!((limiter.capacity(), limiter.available_tokens()), (2, 2));
    assert!((limiter.refill_rate() - 2.0).abs() < 1e-9);
    assert!(crate::send(limiter.try_acquire()).await && limiter.try_acquire().await);
    assert!(!limiter.try_acquire().await);
    let waited: Duration = crate::send(limiter.acquire()).await;
    assert!(waited >= Duration::from_millis(499) && waited <= Duration::from_millis(502));
}

#[tokio::test(start_paused = true)]
async fn the_sliding_window() {
    crate::is_shared::<SlidingWindowLimiter>();
    let limiter = SlidingWindowLimiter::new(&RateLimitConfig::per_second(2));
    assert_eq!(crate::send(limiter.current_count()).await, 0);
    assert!(crate::send(limiter.try_acquire()).await && limiter.try_acquire().await);
    assert!(!limiter.try_acquire().await);
    assert_eq!(
        (
            limiter.current_count().await,
            crate::send(limiter.remaining()).await
        ),
        (2, 0)
    );
    let waited: Duration = crate::send(limiter.acquire()).await;
    assert!(waited >= Duration::from_millis(999) && waited <= Duration::from_millis(1002));
}

#[tokio::test]
async fn the_choice_of_limiters() {
    fn is_clone_default<T: Clone + Default>() {}
    is_clone_default::<RateLimiter>();
    let config = RateLimitConfig::per_hour(1);
    for limiter in [
        RateLimiter::token_bucket(&config),
        RateLimiter::sliding_window(&config),
    ] {
        let copy = limiter.clone();
        assert!(crate::send(limiter.try_acquire()).await);
        assert!(!copy.try_acquire().await, "clones share their tokens");
    }
    assert!(matches!(RateLimiter::default(), RateLimiter::Unlimited));
    let unlimited = RateLimiter::unlimited();
    for _ in 0..1000 {
        assert!(unlimited.try_acquire().await);
    }
    assert_eq!(crate::send(unlimited.acquire()).await, Duration::ZERO);
    match RateLimiter::token_bucket(&config) {
        RateLimiter::TokenBucket(bucket) => assert_eq!(bucket.capacity(), 1),
        RateLimiter::SlidingWindow(_) | RateLimiter::Unlimited => panic!("not a token bucket"),
    }
}

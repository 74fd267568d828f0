use std::time::Duration;

use a3s_lane::{LaneConfig, RetryPolicy};
use serde_json::json;

#[test]
fn every_field_is_public_and_compared() {
    crate::is_value::<LaneConfig>();
    crate::is_serde::<LaneConfig>();
    let own = LaneConfig {
        min_concurrency: 1,
        max_concurrency: 4,
        default_timeout: None,
        retry_policy: RetryPolicy::none(),
        #[cfg(feature = "distributed")]
        rate_limit: None,
        #[cfg(feature = "distributed")]
        priority_boost: None,
        pressure_threshold: None,
    };
    assert_eq!(own, LaneConfig::default());
    assert_eq!(own, LaneConfig::new(1, 4));
    assert_ne!(own, LaneConfig::new(1, 5));
}

#[test]
fn making_one_checks_nothing() {
    let config = LaneConfig::new(9, 0);
    assert_eq!((config.min_concurrency, config.max_concurrency), (9, 0));
}

#[test]
fn each_setter_sets_its_field() {
    let config = LaneConfig::new(2, 3)
        .with_timeout(Duration::from_secs(1))
        .with_retry_policy(RetryPolicy::exponential(2))
        .with_pressure_threshold(7);
    assert_eq!(config.default_timeout, Some(Duration::from_secs(1)));
    assert_eq!(config.retry_policy, RetryPolicy::exponential(2));
    assert_eq!(config.pressure_threshold, Some(7));
    assert_eq!((config.min_concurrency, config.max_concurrency), (2, 3));
}

#[cfg(feature = "distributed")]
#[test]
fn each_setter_of_distributed_sets_its_field() {
    use a3s_lane::{PriorityBoostConfig, RateLimitConfig};
    let boost = PriorityBoostConfig::standard(Duration::from_secs(9));
    let config = LaneConfig::new(1, 1)
        .with_rate_limit(RateLimitConfig::per_second(5))
        .with_priority_boost(boost.clone());
    assert_eq!(config.rate_limit, Some(RateLimitConfig::per_second(5)));
    assert_eq!(config.priority_boost, Some(boost));
}

#[test]
fn json_form() {
    let plain = serde_json::to_value(LaneConfig::new(1, 4)).expect("written");
    assert_eq!(
        plain,
        json!({"min_concurrency": 1, "max_concurrency": 4, "retry_policy":
            {"max_retries": 0, "initial_delay": {"secs": 0, "nanos": 0},
             "max_delay": {"secs": 0, "nanos": 0}, "multiplier": 1.0}})
    );
    let full = LaneConfig::new(1, 4)
        .with_timeout(Duration::from_millis(1500))
        .with_pressure_threshold(9);
    let json = serde_json::to_value(&full).expect("written");
    assert_eq!(json["default_timeout"], json!(1500));
    assert_eq!(json["pressure_threshold"], json!(9));
    assert_eq!(crate::through_json(&full), full);
    let least: LaneConfig =
        serde_json::from_value(json!({"min_concurrency": 2, "max_concurrency": 3}))
            .expect("the rest is optional");
    assert_eq!(least, LaneConfig::new(2, 3));
    for field in ["min_concurrency", "max_concurrency"] {
        let mut part = plain.clone();
        part.as_object_mut().expect("an object").remove(field);
        assert!(
            serde_json::from_value::<LaneConfig>(part).is_err(),
            "{field} is required"
        );
    }
}

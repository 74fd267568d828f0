//! L33: a lane's settings lose their limits when they are stored, and their times are rounded.

use std::time::Duration;

use a3s_lane::{LaneConfig, PriorityBoostConfig, RateLimitConfig, RetryPolicy};

fn through_json(config: &LaneConfig) -> LaneConfig {
    let text = serde_json::to_string(config).expect("it can be written");
    serde_json::from_str(&text).expect("it can be read")
}

#[test]
fn l33_no_setting_is_lost() {
    let config = LaneConfig::new(2, 7)
        .with_timeout(Duration::from_micros(1_500))
        .with_retry_policy(RetryPolicy::exponential(3))
        .with_rate_limit(RateLimitConfig::new(
            190,
            Duration::from_nanos(1_000_000_001),
        ))
        .with_priority_boost(PriorityBoostConfig::standard(Duration::from_secs(9)))
        .with_pressure_threshold(11);
    assert_eq!(through_json(&config), config);
}

#[test]
fn l33_times_are_exact() {
    for nanos in [1, 999_999, 1_500_000, 1_000_000_001, 3_600_000_000_001] {
        let timeout = Duration::from_nanos(nanos);
        let config = LaneConfig::new(1, 1).with_timeout(timeout);
        assert_eq!(through_json(&config).default_timeout, Some(timeout));
    }
    let day = Duration::from_secs(86_400);
    let config = LaneConfig::new(1, 1).with_timeout(day);
    assert_eq!(
        serde_json::to_value(&config).expect("written")["default_timeout"],
        86_400_000,
        "whole milliseconds are an integer, as in 0.4"
    );
}

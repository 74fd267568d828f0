use proptest::prelude::*;
use serde::de::value::{Error as ValueError, F64Deserializer};
use serde_json::json;

use super::*;

fn refused(result: Result<()>) -> String {
    match result.expect_err("the settings are wrong") {
        LaneError::ConfigError(text) => text,
        other => panic!("not a configuration error: {other}"),
    }
}

fn with_timeout_of(timeout: serde_json::Value) -> serde_json::Result<LaneConfig> {
    serde_json::from_value(json!({
        "min_concurrency": 1,
        "max_concurrency": 2,
        "default_timeout": timeout,
    }))
}

#[test]
fn defaults_are_the_compatible_ones() {
    let config = LaneConfig::default();
    assert_eq!((config.min_concurrency, config.max_concurrency), (1, 4));
    assert_eq!(config.default_timeout, None);
    assert_eq!(config.retry_policy, RetryPolicy::none());
    assert_eq!(config.pressure_threshold, None);
}

#[test]
fn builders_set_their_field() {
    let config = LaneConfig::new(2, 3)
        .with_timeout(Duration::from_secs(5))
        .with_retry_policy(RetryPolicy::exponential(1))
        .with_pressure_threshold(9);
    assert_eq!((config.min_concurrency, config.max_concurrency), (2, 3));
    assert_eq!(config.default_timeout, Some(Duration::from_secs(5)));
    assert_eq!(config.retry_policy, RetryPolicy::exponential(1));
    assert_eq!(config.pressure_threshold, Some(9));
}

#[test]
fn unset_options_are_left_out() {
    let json = serde_json::to_value(LaneConfig::new(1, 2)).expect("a config is plain data");
    assert_eq!(
        json,
        json!({
            "min_concurrency": 1,
            "max_concurrency": 2,
            "retry_policy": serde_json::to_value(RetryPolicy::none()).expect("plain data"),
        })
    );
}

#[test]
fn options_may_be_absent_or_null() {
    let absent: LaneConfig =
        serde_json::from_value(json!({"min_concurrency": 1, "max_concurrency": 2}))
            .expect("the rest is optional");
    assert_eq!(absent, LaneConfig::new(1, 2));
    let null: LaneConfig = serde_json::from_value(json!({
        "min_concurrency": 1, "max_concurrency": 2, "default_timeout": null, "pressure_threshold": null,
    }))
    .expect("null means not set");
    assert_eq!(null, LaneConfig::new(1, 2));
    assert!(serde_json::from_value::<LaneConfig>(json!({"min_concurrency": 1})).is_err());
}

#[cfg(feature = "distributed")]
#[test]
fn rate_limit_and_boost_survive_serialisation() {
    let config = LaneConfig::new(1, 2)
        .with_rate_limit(RateLimitConfig::new(
            u64::MAX - 1,
            Duration::from_micros(1_500),
        ))
        .with_priority_boost(PriorityBoostConfig::aggressive(Duration::from_secs(7)));
    let json = serde_json::to_string(&config).expect("a config is plain data");
    let back: LaneConfig = serde_json::from_str(&json).expect("what we wrote");
    assert_eq!(back, config);
    assert!(back.rate_limit.is_some() && back.priority_boost.is_some());
}

#[test]
fn timeout_is_a_number_of_milliseconds() {
    let written = |timeout| {
        let config = LaneConfig::new(1, 2).with_timeout(timeout);
        serde_json::to_value(config).expect("a config is plain data")["default_timeout"].to_string()
    };
    assert_eq!(written(Duration::from_secs(2)), "2000");
    assert_eq!(written(Duration::ZERO), "0");
    assert_eq!(written(Duration::from_micros(1_500)), "1.5");
    assert_eq!(written(Duration::from_nanos(1)), "1e-6");
    assert_eq!(
        written(Duration::from_millis(u64::MAX)),
        u64::MAX.to_string()
    );
}

#[test]
fn timeout_accepts_integers_and_fractions() {
    let read = |value| {
        with_timeout_of(value)
            .expect("a legal timeout")
            .default_timeout
    };
    assert_eq!(read(json!(1500)), Some(Duration::from_millis(1500)));
    assert_eq!(read(json!(1500.0)), Some(Duration::from_millis(1500)));
    assert_eq!(read(json!(1.5)), Some(Duration::from_micros(1_500)));
    assert_eq!(read(json!(0)), Some(Duration::ZERO));
    // The last nanosecond of a millisecond must not be lost to a carry.
    assert_eq!(read(json!(0.999_999_9)), Some(Duration::from_millis(1)));
}

#[test]
fn timeout_refuses_what_is_no_duration() {
    let text = |value| {
        with_timeout_of(value)
            .expect_err("not a duration")
            .to_string()
    };
    let rule = "default_timeout must be a finite number of milliseconds of at least 0";
    assert_eq!(text(json!(-1)), format!("{rule} (got -1)"));
    assert_eq!(text(json!(-0.5)), format!("{rule} (got -0.5)"));
    assert!(
        text(json!("1s")).contains("expected default_timeout as a number of milliseconds"),
        "{}",
        text(json!("1s"))
    );
    // JSON has no such numbers, other formats do.
    for got in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let deserializer: F64Deserializer<ValueError> =
            serde::de::IntoDeserializer::into_deserializer(got);
        let error = Deserializer::deserialize_any(
            deserializer,
            milliseconds::Milliseconds("default_timeout"),
        )
        .expect_err("not a duration");
        assert_eq!(error.to_string(), format!("{rule} (got {got})"));
    }
}

#[test]
fn longest_timeout_survives_serialisation() {
    let config = LaneConfig::new(1, 2).with_timeout(Duration::MAX);
    let json = serde_json::to_string(&config).expect("a config is plain data");
    let back: LaneConfig = serde_json::from_str(&json).expect("what we wrote");
    assert_eq!(back.default_timeout, Some(Duration::MAX));
}

proptest! {
    #![proptest_config(crate::seeds::cases(256))]

    #[test]
    fn timeouts_survive_serialisation_to_the_nanosecond(nanos in 0u64..98 * 86_400 * 1_000_000_000) {
        let config = LaneConfig::new(1, 2).with_timeout(Duration::from_nanos(nanos));
        let json = serde_json::to_string(&config).expect("a config is plain data");
        let back: LaneConfig = serde_json::from_str(&json).expect("what we wrote");
        prop_assert_eq!(back, config);
    }
}

#[test]
fn legal_settings_pass() {
    let check = |config: LaneConfig| config.validate("api").expect("legal settings");
    check(LaneConfig::default());
    check(LaneConfig::new(0, 1));
    check(LaneConfig::new(usize::MAX, usize::MAX));
    check(LaneConfig::new(1, usize::MAX).with_pressure_threshold(usize::MAX));
    #[cfg(feature = "distributed")]
    check(
        LaneConfig::new(1, 1)
            .with_rate_limit(RateLimitConfig::unlimited())
            .with_priority_boost(PriorityBoostConfig::disabled()),
    );
}

#[test]
fn wrong_settings_name_the_lane_and_the_field() {
    let text = |config: LaneConfig| refused(config.validate("api"));
    assert_eq!(
        refused(LaneConfig::default().validate("")),
        "lane id must not be empty"
    );
    assert_eq!(
        text(LaneConfig::new(0, 0)),
        r#"lane "api": max_concurrency must be at least 1 (got 0)"#
    );
    assert_eq!(
        text(LaneConfig::new(3, 2)),
        r#"lane "api": min_concurrency must not be above max_concurrency (got 3 and 2)"#
    );
    assert_eq!(
        text(LaneConfig::default().with_timeout(Duration::ZERO)),
        r#"lane "api": default_timeout must be longer than zero (got 0ns)"#
    );
    assert_eq!(
        text(LaneConfig::default().with_pressure_threshold(0)),
        r#"lane "api": pressure_threshold must be at least 1 (got 0)"#
    );
    let retry_policy = RetryPolicy {
        multiplier: f64::NAN,
        ..RetryPolicy::exponential(1)
    };
    assert_eq!(
        text(LaneConfig::default().with_retry_policy(retry_policy)),
        r#"lane "api": retry_policy.multiplier must be a finite number of at least 0 (got NaN)"#
    );
}

#[cfg(feature = "distributed")]
#[test]
fn wrong_rate_limits_and_boosts_name_the_lane_and_the_field() {
    let text = |config: LaneConfig| refused(config.validate("api"));
    assert_eq!(
        text(LaneConfig::default().with_rate_limit(RateLimitConfig::per_second(0))),
        r#"lane "api": rate_limit.max_commands must be at least 1 (got 0)"#
    );
    assert_eq!(
        text(LaneConfig::default().with_rate_limit(RateLimitConfig::new(1, Duration::ZERO))),
        r#"lane "api": rate_limit.window must be longer than zero (got 0ns)"#
    );
    assert_eq!(
        text(LaneConfig::default().with_priority_boost(PriorityBoostConfig::new(Duration::ZERO))),
        r#"lane "api": priority_boost.deadline must be longer than zero (got 0ns)"#
    );
}

use serde_json::{Value, json};

use super::*;
use crate::error::LaneError;
#[cfg(feature = "distributed")]
use crate::ratelimit::RateLimitConfig;

fn refused(options: LaneOptions) -> String {
    refused_beside(&LaneConfig::default(), options)
}

fn refused_beside(config: &LaneConfig, options: LaneOptions) -> String {
    match options.validate("api", config) {
        Err(LaneError::ConfigError(text)) => text,
        other => panic!("not a configuration error: {other:?}"),
    }
}

fn accepted(options: LaneOptions) {
    let checked = options.validate("api", &LaneConfig::default());
    assert!(checked.is_ok(), "{options:?}: {checked:?}");
}

fn written(options: &LaneOptions) -> Value {
    serde_json::to_value(options).expect("options are plain data")
}

fn read(json: Value) -> LaneOptions {
    serde_json::from_value(json).expect("legal options")
}

#[test]
fn defaults_ask_for_nothing() {
    let options = LaneOptions::new();
    assert_eq!(options, LaneOptions::default());
    assert_eq!(options.burst(), None);
    assert_eq!(options.max_pending(), None);
    assert_eq!(options.overflow(), Overflow::Reject);
    assert!(!options.preemptible());
    assert_eq!(options.grace(), Duration::ZERO);
    assert_eq!(options.progress_timeout(), None);
    assert_eq!(options.max_concurrency_per_key(), None);
    assert!(options.key_weights().is_empty());
    assert_eq!(options.retry_jitter(), Jitter::None);
    #[cfg(feature = "distributed")]
    assert!(options.limiters().is_empty());
    accepted(options);
}

#[cfg(feature = "distributed")]
#[test]
fn burst_needs_a_rate_limit() {
    let limited = LaneConfig::default().with_rate_limit(RateLimitConfig::per_second(3));
    let burst = |burst| LaneOptions::new().with_burst(burst);
    assert!(burst(1).validate("api", &limited).is_ok());
    assert_eq!(
        refused_beside(&limited, burst(0)),
        r#"lane "api": burst must be at least 1 (got 0)"#
    );
    assert_eq!(
        refused(burst(7)),
        r#"lane "api": burst needs a rate_limit on the same lane (got burst 7 and no rate_limit)"#
    );
}

#[test]
fn max_pending_is_at_least_one() {
    accepted(LaneOptions::new().with_max_pending(1));
    assert_eq!(
        refused(LaneOptions::new().with_max_pending(0)),
        r#"lane "api": max_pending must be at least 1 (got 0)"#
    );
}

#[test]
fn overflow_needs_max_pending() {
    for overflow in [Overflow::Reject, Overflow::Wait, Overflow::DropOldest] {
        accepted(
            LaneOptions::new()
                .with_max_pending(1)
                .with_overflow(overflow),
        );
    }
    accepted(LaneOptions::new().with_overflow(Overflow::Reject));
    assert_eq!(
        refused(LaneOptions::new().with_overflow(Overflow::Wait)),
        r#"lane "api": overflow needs a max_pending on the same lane (got overflow wait and no max_pending)"#
    );
    assert_eq!(
        refused(LaneOptions::new().with_overflow(Overflow::DropOldest)),
        r#"lane "api": overflow needs a max_pending on the same lane (got overflow drop_oldest and no max_pending)"#
    );
}

#[test]
fn every_grace_is_legal() {
    for grace in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let options = LaneOptions::new().with_grace(grace);
        assert_eq!(options.grace(), grace);
        accepted(options);
    }
    let taken_back = LaneOptions::new()
        .with_grace(Duration::from_secs(1))
        .with_grace(Duration::ZERO);
    assert_eq!(taken_back, LaneOptions::new());
}

#[test]
fn preemption_can_be_turned_off_again() {
    let options = LaneOptions::new().with_preemption(true);
    assert!(options.preemptible());
    assert!(!options.with_preemption(false).preemptible());
}

#[test]
fn progress_timeout_is_longer_than_zero() {
    accepted(LaneOptions::new().with_progress_timeout(Duration::from_nanos(1)));
    assert_eq!(
        refused(LaneOptions::new().with_progress_timeout(Duration::ZERO)),
        r#"lane "api": progress_timeout must be longer than zero (got 0ns)"#
    );
}

#[test]
fn max_concurrency_per_key_is_at_least_one() {
    accepted(LaneOptions::new().with_max_concurrency_per_key(1));
    assert_eq!(
        refused(LaneOptions::new().with_max_concurrency_per_key(0)),
        r#"lane "api": max_concurrency_per_key must be at least 1 (got 0)"#
    );
}

#[test]
fn key_weights_name_the_key() {
    let options = LaneOptions::new()
        .with_key_weight("a", 1)
        .with_key_weight("b", 9)
        .with_key_weight("a", u32::MAX);
    assert_eq!(
        options.key_weights(),
        &BTreeMap::from([("a".to_owned(), u32::MAX), ("b".to_owned(), 9)])
    );
    accepted(options.clone());
    assert_eq!(
        refused(options.with_key_weight("b", 0)),
        r#"lane "api": key_weights["b"] must be at least 1 (got 0)"#
    );
    assert_eq!(
        refused(LaneOptions::new().with_key_weight("", 1)),
        r#"lane "api": key_weights must not have an empty key (got "")"#
    );
}

#[cfg(feature = "distributed")]
#[test]
fn limiters_are_few_and_have_names() {
    let four = ["a", "b", "c", "d"]
        .into_iter()
        .fold(LaneOptions::new(), LaneOptions::with_limiter);
    assert_eq!(four.limiters(), ["a", "b", "c", "d"]);
    accepted(four.clone());
    assert_eq!(
        refused(four.with_limiter("e")),
        r#"lane "api": limiters must not be more than 4 (got 5)"#
    );
    assert_eq!(
        refused(LaneOptions::new().with_limiter("a").with_limiter("")),
        r#"lane "api": limiters must have names that are not empty (got "")"#
    );
    assert_eq!(
        refused(LaneOptions::new().with_limiter("a").with_limiter("a")),
        r#"lane "api": limiters must not name one twice (got "a")"#
    );
}

#[test]
fn what_is_at_its_default_is_left_out() {
    assert_eq!(written(&LaneOptions::new()), json!({}));
    assert_eq!(read(json!({})), LaneOptions::new());
    let set_to_default = LaneOptions::new()
        .with_overflow(Overflow::Reject)
        .with_preemption(false)
        .with_grace(Duration::ZERO)
        .with_retry_jitter(Jitter::None);
    assert_eq!(written(&set_to_default), json!({}));
    assert_eq!(
        read(json!({"grace": 0, "overflow": "reject", "progress_timeout": null})),
        LaneOptions::new()
    );
}

#[test]
fn options_survive_serialisation() {
    let options = LaneOptions::new()
        .with_burst(5)
        .with_max_pending(7)
        .with_overflow(Overflow::DropOldest)
        .with_preemption(true)
        .with_grace(Duration::from_millis(250))
        .with_progress_timeout(Duration::from_micros(1_500))
        .with_max_concurrency_per_key(2)
        .with_key_weight("b", 3)
        .with_key_weight("a", 2)
        .with_retry_jitter(Jitter::Equal);
    let json = json!({
        "burst": 5,
        "max_pending": 7,
        "overflow": "drop_oldest",
        "preemptible": true,
        "grace": 250,
        "progress_timeout": 1.5,
        "max_concurrency_per_key": 2,
        "key_weights": {"a": 2, "b": 3},
        "retry_jitter": "equal",
    });
    assert_eq!(written(&options), json);
    assert_eq!(read(json), options);
}

#[cfg(feature = "distributed")]
#[test]
fn limiters_survive_serialisation() {
    let options = LaneOptions::new().with_limiter("b").with_limiter("a");
    assert_eq!(written(&options), json!({"limiters": ["b", "a"]}));
    assert_eq!(read(json!({"limiters": ["b", "a"]})), options);
}

#[test]
fn durations_that_are_none_name_their_field() {
    for field in ["grace", "progress_timeout"] {
        let text = serde_json::from_value::<LaneOptions>(json!({field: -1}))
            .expect_err("not a duration")
            .to_string();
        assert_eq!(
            text,
            format!("{field} must be a finite number of milliseconds of at least 0 (got -1)")
        );
    }
}

#[test]
fn overflow_is_shown_as_it_is_written() {
    for overflow in [Overflow::Reject, Overflow::Wait, Overflow::DropOldest] {
        assert_eq!(
            serde_json::to_value(overflow).expect("plain data"),
            json!(overflow.to_string())
        );
    }
}

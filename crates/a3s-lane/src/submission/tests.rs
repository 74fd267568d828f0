use serde_json::json;

use super::*;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn time() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn refused(options: SubmitOptions) -> String {
    match options.validate() {
        Err(LaneError::ConfigError(text)) => text,
        other => panic!("not a configuration error: {other:?}"),
    }
}

fn accepted(options: SubmitOptions) {
    let checked = options.validate();
    assert!(checked.is_ok(), "{options:?}: {checked:?}");
}

#[test]
fn defaults_follow_the_lane() {
    let options = SubmitOptions::new();
    assert_eq!(options.id, None);
    assert_eq!(options.priority, 0);
    assert_eq!((options.delay, options.run_at), (None, None));
    assert_eq!(options.ttl, None);
    assert_eq!(options.timeout, None);
    assert_eq!(options.progress_timeout, None);
    assert_eq!(options.retry_policy, None);
    assert_eq!(options.jitter, None);
    assert_eq!(options.key, None);
    assert_eq!(options.unique, None);
    assert_eq!(options.cost, 1);
    assert!(options.metadata.is_empty());
    assert!(options.preemptible);
    accepted(options);
}

#[test]
fn builders_set_their_field() {
    let options = SubmitOptions::new()
        .with_id("order")
        .with_priority(-3)
        .with_delay(ms(1))
        .with_run_at(time())
        .with_ttl(ms(2))
        .with_timeout(ms(3))
        .with_progress_timeout(ms(4))
        .with_retry_policy(RetryPolicy::exponential(5))
        .with_jitter(Jitter::Equal)
        .with_key("tenant")
        .with_unique(Unique::new("once"))
        .with_cost(6)
        .with_metadata("a", 1)
        .with_metadata("b", "x")
        .with_metadata("a", json!([2]))
        .with_preemptible(false);
    assert_eq!(options.id.as_deref(), Some("order"));
    assert_eq!(options.priority, -3);
    assert_eq!(options.delay, Some(ms(1)));
    assert_eq!(options.run_at, Some(time()));
    assert_eq!(options.ttl, Some(ms(2)));
    assert_eq!(options.timeout, Some(Some(ms(3))));
    assert_eq!(options.progress_timeout, Some(ms(4)));
    assert_eq!(options.retry_policy, Some(RetryPolicy::exponential(5)));
    assert_eq!(options.jitter, Some(Jitter::Equal));
    assert_eq!(options.key.as_deref(), Some("tenant"));
    assert_eq!(options.unique, Some(Unique::new("once")));
    assert_eq!(options.cost, 6);
    assert_eq!(
        Value::Object(options.metadata.clone()),
        json!({"a": [2], "b": "x"})
    );
    assert!(!options.preemptible);
}

#[test]
fn the_last_word_on_the_time_limit_wins() {
    let limit = SubmitOptions::new().with_no_timeout().with_timeout(ms(3));
    assert_eq!(limit.timeout, Some(Some(ms(3))));
    let none = SubmitOptions::new().with_timeout(ms(3)).with_no_timeout();
    assert_eq!(none.timeout, Some(None));
    accepted(none);
}

#[test]
fn names_are_not_empty() {
    assert_eq!(
        refused(SubmitOptions::new().with_id("")),
        r#"submit options: id must not be empty (got "")"#
    );
    assert_eq!(
        refused(SubmitOptions::new().with_key("")),
        r#"submit options: key must not be empty (got "")"#
    );
    assert_eq!(
        refused(SubmitOptions::new().with_unique(Unique::new(""))),
        r#"submit options: unique.key must not be empty (got "")"#
    );
    accepted(
        SubmitOptions::new()
            .with_id("a")
            .with_key("b")
            .with_unique(Unique::new("c")),
    );
}

#[test]
fn a_start_is_set_once() {
    accepted(SubmitOptions::new().with_delay(ms(1)));
    accepted(SubmitOptions::new().with_run_at(time()));
    assert_eq!(
        refused(SubmitOptions::new().with_delay(ms(1)).with_run_at(time())),
        "submit options: delay and run_at must not both be set (got 1ms and 1970-01-01T00:00:00+00:00)"
    );
}

#[test]
fn ttl_is_longer_than_the_delay() {
    let options = |ttl| SubmitOptions::new().with_delay(ms(5)).with_ttl(ttl);
    accepted(options(ms(6)));
    assert_eq!(
        refused(options(ms(5))),
        "submit options: ttl must be longer than delay (got 5ms and 5ms)"
    );
    assert_eq!(
        refused(options(ms(4))),
        "submit options: ttl must be longer than delay (got 4ms and 5ms)"
    );
    assert_eq!(
        refused(SubmitOptions::new().with_ttl(Duration::ZERO)),
        "submit options: ttl must be longer than zero (got 0ns)"
    );
    accepted(SubmitOptions::new().with_ttl(Duration::from_nanos(1)));
}

#[test]
fn limits_are_longer_than_zero() {
    let shortest = Duration::from_nanos(1);
    accepted(
        SubmitOptions::new()
            .with_delay(Duration::ZERO)
            .with_timeout(shortest)
            .with_progress_timeout(shortest)
            .with_unique(Unique::new("a").with_window(shortest)),
    );
    assert_eq!(
        refused(SubmitOptions::new().with_timeout(Duration::ZERO)),
        "submit options: timeout must be longer than zero (got 0ns)"
    );
    assert_eq!(
        refused(SubmitOptions::new().with_progress_timeout(Duration::ZERO)),
        "submit options: progress_timeout must be longer than zero (got 0ns)"
    );
    assert_eq!(
        refused(SubmitOptions::new().with_unique(Unique::new("a").with_window(Duration::ZERO))),
        "submit options: unique.window must be longer than zero (got 0ns)"
    );
}

#[test]
fn retry_policies_are_those_of_lanes() {
    let retry_policy = RetryPolicy {
        multiplier: -1.0,
        ..RetryPolicy::exponential(1)
    };
    assert_eq!(
        refused(SubmitOptions::new().with_retry_policy(retry_policy)),
        "submit options: retry_policy.multiplier must be a finite number of at least 0 (got -1)"
    );
}

#[test]
fn unique_keeps_what_it_is_given() {
    let plain = Unique::new("a");
    assert_eq!(plain.window, None);
    assert_eq!(plain.on_conflict, OnConflict::Reject);
    let set = plain.with_window(ms(9)).on_conflict(OnConflict::Replace);
    assert_eq!(set.key, "a");
    assert_eq!(set.window, Some(ms(9)));
    assert_eq!(set.on_conflict, OnConflict::Replace);
}

#[test]
fn conflict_rules_are_shown_as_they_are_written() {
    for (rule, text) in [
        (OnConflict::Reject, "reject"),
        (OnConflict::Join, "join"),
        (OnConflict::Replace, "replace"),
    ] {
        assert_eq!(rule.to_string(), text);
        assert_eq!(serde_json::to_value(rule).expect("plain data"), json!(text));
        let read: OnConflict = serde_json::from_value(json!(text)).expect("what we wrote");
        assert_eq!(read, rule);
    }
}

use std::time::Duration;

use a3s_lane::RetryPolicy;
use serde_json::json;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn every_field_is_public_and_compared() {
    crate::is_value::<RetryPolicy>();
    crate::is_serde::<RetryPolicy>();
    let RetryPolicy {
        max_retries,
        initial_delay,
        max_delay,
        multiplier,
    } = RetryPolicy::exponential(3);
    assert_eq!(
        (max_retries, initial_delay, max_delay, multiplier),
        (3, MS(100), MS(30_000), 2.0)
    );
    let own = RetryPolicy {
        max_retries: 3,
        initial_delay: MS(100),
        max_delay: MS(30_000),
        multiplier: 2.0,
    };
    assert_eq!(own, RetryPolicy::exponential(3));
    assert_ne!(own, RetryPolicy::exponential(4));
}

#[test]
fn the_three_makers() {
    let fixed = RetryPolicy::fixed(5, MS(70));
    assert_eq!(
        (fixed.initial_delay, fixed.max_delay, fixed.multiplier),
        (MS(70), MS(70), 1.0)
    );
    let none = RetryPolicy::none();
    assert_eq!(
        (
            none.max_retries,
            none.initial_delay,
            none.max_delay,
            none.multiplier
        ),
        (0, Duration::ZERO, Duration::ZERO, 1.0)
    );
    assert_eq!(RetryPolicy::default(), none);
}

#[test]
fn delays_grow_to_the_cap_in_whole_milliseconds() {
    let policy = RetryPolicy::exponential(20);
    assert_eq!(policy.delay_for_attempt(0), Duration::ZERO);
    let delays: Vec<u128> = (1..=10)
        .map(|attempt| policy.delay_for_attempt(attempt).as_millis())
        .collect();
    assert_eq!(
        delays,
        [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000]
    );
    assert_eq!(policy.delay_for_attempt(u32::MAX), MS(30_000));
    assert_eq!(RetryPolicy::none().delay_for_attempt(1), Duration::ZERO);
    let odd = RetryPolicy {
        max_retries: 3,
        initial_delay: MS(5),
        max_delay: MS(100),
        multiplier: 1.5,
    };
    assert_eq!(odd.delay_for_attempt(2), MS(7), "7.5 ms is 7 whole ms");
    assert_eq!(RetryPolicy::fixed(9, MS(70)).delay_for_attempt(7), MS(70));
}

#[test]
fn retries_are_counted_from_zero() {
    let policy = RetryPolicy::fixed(2, MS(1));
    assert!(policy.should_retry(0) && policy.should_retry(1));
    assert!(!policy.should_retry(2) && !policy.should_retry(u32::MAX));
    assert!(!RetryPolicy::none().should_retry(0));
}

#[test]
fn json_form() {
    let policy = RetryPolicy::exponential(3);
    let json = json!({"max_retries": 3, "initial_delay": {"secs": 0, "nanos": 100_000_000},
        "max_delay": {"secs": 30, "nanos": 0}, "multiplier": 2.0});
    assert_eq!(serde_json::to_value(&policy).expect("written"), json);
    assert_eq!(crate::through_json(&policy), policy);
    for field in ["max_retries", "initial_delay", "max_delay", "multiplier"] {
        let mut part = json.clone();
        part.as_object_mut().expect("an object").remove(field);
        assert!(
            serde_json::from_value::<RetryPolicy>(part).is_err(),
            "{field} is required"
        );
    }
}

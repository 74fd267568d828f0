use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn secs(value: u64) -> Duration {
    Duration::from_secs(value)
}

#[test]
fn fractions_are_of_the_time_remaining() {
    let standard = PriorityBoostConfig::standard(secs(100));
    assert_eq!(
        standard.boost_intervals,
        [(secs(75), 1), (secs(50), 2), (secs(25), 3), (secs(10), 4)]
    );
    let aggressive = PriorityBoostConfig::aggressive(secs(100));
    assert_eq!(
        aggressive.boost_intervals,
        [(secs(80), 2), (secs(60), 4), (secs(40), 6), (secs(20), 8)]
    );
    // 24 s waited leaves 76 s: nothing yet. 25 s leaves 75 s: the first step.
    assert_eq!(standard.effective(9, 24 * SECOND), 9);
    assert_eq!(standard.effective(9, 25 * SECOND), 8);
    assert_eq!(standard.effective(9, 90 * SECOND), 5);
    assert_eq!(aggressive.effective(9, 20 * SECOND), 7);
    assert_eq!(aggressive.effective(9, 80 * SECOND), 1);
}

#[test]
fn the_deadline_itself_counts_as_passed() {
    let config = PriorityBoostConfig::new(secs(10));
    assert_eq!(config.effective(200, 10 * SECOND - 1), 200);
    assert_eq!(config.effective(200, 10 * SECOND), 0);
    assert_eq!(config.effective(200, u64::MAX), 0);
}

#[test]
fn boost_never_goes_below_zero() {
    let config = PriorityBoostConfig::new(secs(10)).with_boost(secs(5), 200);
    assert_eq!(config.effective(3, 6 * SECOND), 0);
}

#[test]
fn disabled_changes_nothing() {
    let config = PriorityBoostConfig {
        enabled: false,
        ..PriorityBoostConfig::standard(secs(1))
    };
    assert_eq!(config.effective(7, u64::MAX), 7);
    assert_eq!(config.next_change(0), None);
    assert_eq!(
        PriorityBoostConfig::default(),
        PriorityBoostConfig::disabled()
    );
    let booster = PriorityBooster::default();
    let long_ago = Utc::now() - TimeDelta::days(9);
    assert_eq!(booster.calculate_priority(7, long_ago), 7);
    assert!(!booster.is_past_deadline(long_ago));
    assert_eq!(booster.time_remaining(long_ago), None);
}

#[test]
fn hand_filled_intervals_may_be_unsorted() {
    let unsorted = PriorityBoostConfig {
        boost_intervals: vec![(secs(10), 4), (secs(75), 1), (secs(25), 3), (secs(50), 2)],
        ..PriorityBoostConfig::new(secs(100))
    };
    let standard = PriorityBoostConfig::standard(secs(100));
    for waited in 0..=101 {
        let waited_ns = waited * SECOND;
        assert_eq!(
            unsorted.effective(9, waited_ns),
            standard.effective(9, waited_ns)
        );
        assert_eq!(
            unsorted.next_change(waited_ns),
            standard.next_change(waited_ns)
        );
    }
    let sorted = unsorted.with_boost(secs(60), 1);
    assert!(sorted.boost_intervals.is_sorted_by(|a, b| a.0 >= b.0));
}

#[test]
fn equally_long_intervals_use_the_larger_boost() {
    let config = PriorityBoostConfig::new(secs(10))
        .with_boost(secs(5), 1)
        .with_boost(secs(5), 3)
        .with_boost(secs(5), 2);
    assert_eq!(config.effective(9, 5 * SECOND), 6);
}

#[test]
fn next_change_walks_through_every_step() {
    let config = PriorityBoostConfig::standard(secs(100));
    let mut changes = Vec::new();
    let mut waited_ns = 0;
    while let Some(at_ns) = config.next_change(waited_ns) {
        changes.push(at_ns / SECOND);
        waited_ns = at_ns;
    }
    assert_eq!(changes, [25, 50, 75, 90, 100]);
}

#[test]
fn booster_uses_the_age_of_the_command() {
    let booster = PriorityBooster::new(PriorityBoostConfig::standard(secs(3600)));
    let now = Utc::now();
    assert_eq!(booster.calculate_priority(5, now + TimeDelta::hours(1)), 5);
    assert_eq!(
        booster.calculate_priority(5, now - TimeDelta::minutes(40)),
        3
    );
    assert_eq!(booster.calculate_priority(5, now - TimeDelta::hours(2)), 0);
    assert!(!booster.is_past_deadline(now));
    assert!(booster.is_past_deadline(now - TimeDelta::hours(1)));
    assert_eq!(
        booster.time_remaining(now - TimeDelta::hours(2)),
        Some(Duration::ZERO)
    );
    let left = booster
        .time_remaining(now - TimeDelta::minutes(30))
        .expect("boosting is enabled");
    assert!(left > Duration::ZERO && left <= secs(1800), "{left:?}");
    assert_eq!(booster.config().deadline, secs(3600));
}

#[test]
fn extreme_times_do_not_overflow() {
    let config = PriorityBoostConfig::aggressive(Duration::MAX).with_boost(Duration::MAX, 1);
    assert_eq!(config.effective(9, 0), 1);
    let booster = PriorityBooster::new(config);
    assert_eq!(booster.calculate_priority(9, DateTime::<Utc>::MIN_UTC), 0);
    assert_eq!(booster.calculate_priority(9, DateTime::<Utc>::MAX_UTC), 1);
}

#[test]
fn validate_names_the_field() {
    assert_eq!(PriorityBoostConfig::disabled().validate(), Ok(()));
    assert_eq!(PriorityBoostConfig::standard(secs(1)).validate(), Ok(()));
    assert_eq!(
        PriorityBoostConfig::new(Duration::ZERO).validate(),
        Err("priority_boost.deadline must be longer than zero (got 0ns)".into())
    );
    assert_eq!(
        PriorityBoostConfig::new(secs(1)).with_boost(secs(2), 1).validate(),
        Err("priority_boost.boost_intervals must not be longer than priority_boost.deadline (got 2s and 1s)".into())
    );
}

#[test]
fn serde_keeps_everything() {
    let config = PriorityBoostConfig::standard(Duration::from_micros(1_500));
    let json = serde_json::to_string(&config).expect("a boost is plain data");
    let back: PriorityBoostConfig = serde_json::from_str(&json).expect("what we wrote");
    assert_eq!(back, config);
}

proptest! {
    #![proptest_config(crate::seeds::cases(256))]

    /// Between two changes the priority is constant, and at a change it differs for some base.
    #[test]
    fn next_change_is_exact(
        deadline in 1u64..50,
        intervals in prop::collection::vec((0u64..60, 0u8..5), 0..5),
        waited in 0u64..60,
    ) {
        let config = PriorityBoostConfig {
            boost_intervals: intervals.iter().map(|&(ns, b)| (Duration::from_nanos(ns), b)).collect(),
            ..PriorityBoostConfig::new(Duration::from_nanos(deadline))
        };
        let expected = (waited + 1..=deadline)
            .find(|&at| config.effective(255, at) != config.effective(255, waited));
        prop_assert_eq!(config.next_change(waited), expected);
    }
}

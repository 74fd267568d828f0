use std::time::Duration;

use a3s_lane::{PriorityBoostConfig, PriorityBooster};
use chrono::{TimeDelta, Utc};

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn configs() {
    crate::is_value::<PriorityBoostConfig>();
    let own = PriorityBoostConfig {
        enabled: true,
        deadline: SECS(100),
        boost_intervals: vec![],
    };
    assert_eq!(own, PriorityBoostConfig::new(SECS(100)));
    let off = PriorityBoostConfig::disabled();
    assert!(!off.enabled && off.deadline.is_zero() && off.boost_intervals.is_empty());
    assert_eq!(off, PriorityBoostConfig::default());
    let sorted = own.with_boost(SECS(10), 3).with_boost(SECS(50), 1);
    assert_eq!(sorted.boost_intervals, [(SECS(50), 1), (SECS(10), 3)]);
    assert_eq!(
        PriorityBoostConfig::standard(SECS(100)).boost_intervals,
        [(SECS(75), 1), (SECS(50), 2), (SECS(25), 3), (SECS(10), 4)]
    );
    assert_eq!(
        PriorityBoostConfig::aggressive(SECS(100)).boost_intervals,
        [(SECS(80), 2), (SECS(60), 4), (SECS(40), 6), (SECS(20), 8)]
    );
}

#[test]
fn the_booster() {
    crate::is_shared::<PriorityBooster>();
    let booster = PriorityBooster::new(PriorityBoostConfig::standard(SECS(1000)));
    assert_eq!(booster.config().deadline, SECS(1000));
    let ago = |secs: i64| Utc::now() - TimeDelta::seconds(secs);
    // Half a minute from each border, so that the time this takes does not count.
    for (age, priority) in [
        (0, 9),
        (220, 9),
        (280, 8),
        (530, 7),
        (780, 6),
        (930, 5),
        (1030, 0),
    ] {
        assert_eq!(
            booster.calculate_priority(9, ago(age)),
            priority,
            "after {age} s"
        );
    }
    assert_eq!(booster.calculate_priority(2, ago(930)), 0, "never below 0");
    assert!(!booster.is_past_deadline(ago(970)) && booster.is_past_deadline(ago(1030)));
    let left: Option<Duration> = booster.time_remaining(ago(400));
    assert!(left.is_some_and(|left| left > SECS(570) && left <= SECS(600)));
    assert_eq!(booster.time_remaining(ago(1030)), Some(Duration::ZERO));
    let off = PriorityBooster::default();
    assert_eq!(off.calculate_priority(9, ago(9999)), 9);
    assert_eq!(off.time_remaining(ago(1)), None);
}

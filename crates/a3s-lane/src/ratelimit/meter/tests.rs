use std::time::Duration;

use super::super::marks::Marks;
use super::super::{RateLimitConfig, SlidingWindow, TokenBucket};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn bucket(max_commands: u64, window_ns: u64, burst: u64) -> Meter {
    let config = RateLimitConfig::new(max_commands, Duration::from_nanos(window_ns));
    Meter::Bucket(TokenBucket::new(&config, burst, 0))
}

fn window(max_commands: u64, window_ns: u64) -> Meter {
    let config = RateLimitConfig::new(max_commands, Duration::from_nanos(window_ns));
    Meter::Window(SlidingWindow::new(&config))
}

fn both(max_commands: u64) -> [Meter; 2] {
    [
        bucket(max_commands, SECOND, max_commands),
        window(max_commands, SECOND),
    ]
}

fn entries(meter: &Meter) -> usize {
    match meter {
        Meter::Bucket(bucket) => bucket.marks.len(),
        Meter::Window(window) => window.entries(),
    }
}

/// Settles, and keeps the charge as it was for another meter.
fn settle_copy(meter: &mut Meter, mut charge: Charge, actual: u64, now_ns: u64) {
    meter.settle(&mut charge, actual, now_ns);
}

#[test]
fn a_check_takes_nothing_and_leaves_what_is_kept() {
    for mut meter in both(10) {
        assert_eq!(meter.capacity(), 10);
        for _ in 0..3 {
            assert_eq!(meter.check(7, 3, 0), Ok(()));
            assert_eq!(meter.check(7, 4, 0), Err(u64::MAX));
            assert_eq!(meter.check(11, 0, 0), Err(u64::MAX));
            assert_eq!(meter.check(u64::MAX, u64::MAX, 0), Err(u64::MAX));
            assert_eq!(meter.available(0), 10);
        }
        meter.take(5, 0);
        assert_eq!(meter.available(0), 5);
        assert_eq!(meter.check(3, 2, 0), Ok(()));
        assert!(meter.check(3, 3, 0).is_err_and(|due| due <= SECOND));
    }
    let mut meter = bucket(10, SECOND, 10);
    meter.take(5, 0);
    assert_eq!(meter.check(3, 3, 0), Err(SECOND / 10));
    let mut meter = window(10, SECOND);
    meter.take(4, 0);
    meter.take(1, 7);
    assert_eq!(meter.check(3, 3, 7), Err(SECOND));
    assert_eq!(meter.check(6, 4, 7), Err(SECOND + 7));
}

#[test]
fn what_costs_nothing_always_passes() {
    let nothing = [bucket(0, SECOND, 0), window(0, SECOND), window(5, 0)];
    for mut meter in both(3).into_iter().chain(nothing) {
        meter.take(100, 0);
        assert_eq!(meter.check(0, 0, 0), Ok(()));
        assert_eq!(meter.check(0, u64::MAX, 0), Ok(()));
        assert_eq!(meter.available(0), 0);
    }
}

#[test]
fn a_debt_is_carried_forward() {
    let mut meter = bucket(10, SECOND, 10);
    let mut charge = meter.take(10, 0);
    meter.settle(&mut charge, 25, SECOND / 2);
    // 5 had come back, so 10 are owed.
    assert_eq!(meter.available(SECOND / 2), 0);
    assert_eq!(meter.check(1, 0, SECOND / 2), Err(SECOND * 8 / 5));
    assert_eq!(meter.check(0, 0, SECOND / 2), Ok(()));
    assert_eq!(meter.available(2 * SECOND), 5);

    let mut meter = window(10, SECOND);
    let mut charge = meter.take(10, 0);
    meter.settle(&mut charge, 25, SECOND / 2);
    assert_eq!(meter.available(SECOND), 0);
    assert_eq!(meter.check(1, 0, SECOND), Err(SECOND * 3 / 2));
    assert_eq!(meter.available(SECOND * 3 / 2), 10);
}

#[test]
fn a_refill_that_was_lost_does_not_come_back() {
    let mut meter = bucket(10, SECOND, 10);
    let mut charge = meter.take(10, 0);
    assert_eq!(meter.available(SECOND), 10);
    meter.take(10, SECOND);
    // Had nothing been taken at 0, the bucket would have been as full at 1 s.
    meter.settle(&mut charge, 0, SECOND);
    assert_eq!(meter.available(SECOND), 0);

    let mut meter = bucket(10, SECOND, 10);
    let mut charge = meter.take(10, 0);
    meter.take(4, SECOND * 7 / 10);
    meter.settle(&mut charge, 0, SECOND * 7 / 10);
    assert_eq!(meter.available(SECOND * 7 / 10), 6);

    let mut meter = window(10, SECOND);
    let mut charge = meter.take(10, 0);
    meter.take(10, SECOND);
    meter.settle(&mut charge, 0, SECOND);
    assert_eq!(meter.available(SECOND), 0);
}

#[test]
fn a_later_settlement_corrects_the_one_before() {
    for mut meter in both(100) {
        let mut charge = meter.take(10, 0);
        for (actual, left) in [(4, 96), (30, 70), (50, 50), (20, 80), (20, 80), (0, 100)] {
            meter.settle(&mut charge, actual, 0);
            assert_eq!(meter.available(0), left);
        }
        meter.forget(charge);
        assert_eq!(entries(&meter), 0);
    }
}

#[test]
fn what_is_given_back_comes_out_of_the_latest_debt_first() {
    let mut meter = window(100, SECOND);
    let mut charge = meter.take(10, 0);
    meter.settle(&mut charge, 30, 100);
    meter.settle(&mut charge, 60, 200);
    meter.settle(&mut charge, 25, 300);
    assert_eq!(meter.available(300), 75);
    assert_eq!(meter.available(SECOND), 85);
    assert_eq!(meter.available(SECOND + 100), 100);
}

#[test]
fn only_so_many_debts_of_one_charge_can_be_given_back() {
    for mut meter in both(10_000) {
        let mut charge = meter.take(10, 0);
        let kept = Ledger::MAX_DEBTS as u64;
        for actual in 11..=10 + kept + 5 {
            meter.settle(&mut charge, actual, 0);
        }
        assert_eq!(meter.available(0), 10_000 - 10 - kept - 5);
        meter.settle(&mut charge, 0, 0);
        assert_eq!(meter.available(0), 10_000 - 5);
    }
}

#[test]
fn a_forgotten_charge_stays_as_it_was_settled() {
    for mut meter in both(100) {
        let mut settled = meter.take(10, 0);
        let open = meter.take(10, 0);
        meter.settle(&mut settled, 40, 0);
        meter.settle(&mut settled, 30, 0);
        meter.forget(settled);
        assert_eq!(meter.available(0), 60);
        meter.forget(open);
        assert_eq!(meter.available(0), 60);
    }
}

#[test]
fn nothing_is_kept_in_a_bucket_without_open_charges() {
    let mut meter = bucket(10, SECOND, 1_000);
    let first = meter.take(1, 0);
    let second = meter.take(1, 0);
    meter.take(1, 0);
    assert_eq!(entries(&meter), 2);
    meter.forget(first);
    meter.forget(second);
    assert_eq!(entries(&meter), 2);
    let mut meter = bucket(10, SECOND, 1_000);
    for _ in 0..10 {
        let charge = meter.take(1, 0);
        assert_eq!(entries(&meter), 0);
        meter.forget(charge);
    }
}

#[test]
fn a_bucket_remembers_so_many_takings() {
    let takings = Marks::LIMIT as u64 + 100;
    let mut meter = bucket(1, SECOND, takings);
    let mut charges: Vec<_> = (0..takings).map(|_| meter.take(1, 0)).collect();
    assert_eq!(entries(&meter), Marks::LIMIT);
    // The last ones are exact; of the first ones some refunds are smaller, and none is larger.
    for (settled, charge) in charges.iter_mut().rev().enumerate() {
        let left = meter.available(0);
        assert!(left <= settled as u64);
        assert!(settled >= Marks::LIMIT || left == settled as u64);
        meter.settle(charge, 0, 0);
    }
    let left = meter.available(0);
    assert!((takings - 100..=takings).contains(&left), "{left}");
}

#[test]
fn a_window_in_debt_holds_so_many_entries() {
    let mut meter = window(1, SECOND);
    let mut charge = meter.take(1, 0);
    let debts = 20_000;
    for actual in 1..=debts {
        meter.settle(&mut charge, actual, actual * SECOND / debts);
    }
    assert!(entries(&meter) <= 2 + 4_096 + 4_096, "{}", entries(&meter));
    let left = |meter: &Meter, now_ns| match meter {
        Meter::Window(window) => window.left(now_ns),
        Meter::Bucket(_) => None,
    };
    // Entries of a crowded window leave late, by less than a slice, and never early.
    let slice_ns = SECOND / 4_096;
    for actual in (2..=debts).step_by(99) {
        let leaves_ns = SECOND + actual * SECOND / debts;
        let owed = |past: u64| Some(1 - i128::from(debts - past));
        assert!(left(&meter, leaves_ns - 1) <= owed(actual - 1));
        assert!(left(&meter, leaves_ns + slice_ns) >= owed(actual));
    }
    // What shares an entry is still found.
    meter.settle(&mut charge, debts - 10, SECOND);
    assert_eq!(
        left(&meter, SECOND - 1),
        Some(1 - i128::from(debts - 10) + 1)
    );
}

#[test]
fn refunded_entries_do_not_fill_a_window() {
    let mut meter = window(1, SECOND);
    for now_ns in 0..10_000 {
        assert_eq!(meter.check(1, 0, now_ns), Ok(()));
        let mut charge = meter.take(1, now_ns);
        meter.settle(&mut charge, 0, now_ns);
        meter.forget(charge);
        assert!(entries(&meter) <= 2);
    }
}

#[test]
fn time_that_runs_backwards_stands_still() {
    for mut meter in both(10) {
        let mut first = meter.take(10, 5 * SECOND);
        let mut second = meter.take(1, SECOND);
        meter.settle(&mut first, 6, 0);
        assert_eq!(meter.available(2 * SECOND), 3);
        meter.settle(&mut second, 3, 3 * SECOND);
        assert_eq!(meter.available(0), 1);
        assert!(meter.check(2, 0, 0).is_err_and(|due| due > 5 * SECOND));
        assert_eq!(meter.available(6 * SECOND), 10);
    }
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let unlimited = [bucket(u64::MAX, SECOND, u64::MAX), window(u64::MAX, SECOND)];
    for mut meter in unlimited {
        let mut charge = meter.take(u64::MAX, 0);
        meter.take(u64::MAX, 0);
        for actual in [0, u64::MAX, 5] {
            meter.settle(&mut charge, actual, 1);
            assert_eq!(meter.check(u64::MAX, u64::MAX, 1), Ok(()));
            assert_eq!(meter.available(1), u64::MAX);
            assert_eq!(entries(&meter), 0);
        }
    }
}

#[test]
fn extreme_settings_do_not_overflow() {
    let extremes = [0, 1, u64::MAX - 1, u64::MAX];
    let mut meters = Vec::new();
    for max_commands in extremes {
        for window_ns in extremes {
            meters.push(window(max_commands, window_ns));
            meters.extend(extremes.map(|burst| bucket(max_commands, window_ns, burst)));
        }
    }
    for mut meter in meters.clone() {
        let mut charges = Vec::new();
        for now_ns in [0, 1, u64::MAX, 0, u64::MAX] {
            for cost in extremes {
                let _ = meter.check(cost, u64::MAX, now_ns);
                charges.push(meter.take(cost, now_ns));
                for actual in extremes {
                    for charge in &mut charges {
                        meter.settle(charge, actual, now_ns);
                    }
                }
                let _ = meter.available(now_ns);
            }
        }
        for mut next in meters.clone() {
            next.inherit(&meter, u64::MAX);
            for charge in &mut charges.clone() {
                next.settle(charge, 7, u64::MAX);
                next.settle(charge, 3, 0);
                next.forget(*charge);
            }
            assert!(next.available(u64::MAX) <= next.capacity() || next.capacity() == 0);
        }
    }
}

#[test]
fn a_changed_limit_keeps_what_is_left_and_settles_earlier_charges() {
    // Twice the rate per window of twice the length: other units, the same tokens.
    let mut before = bucket(10, SECOND, 10);
    let mut charge = before.take(8, 0);
    let mut after = bucket(20, 2 * SECOND, 20);
    after.inherit(&before, SECOND / 10);
    assert_eq!(after.available(SECOND / 10), 3);
    after.settle(&mut charge, 2, SECOND / 10);
    assert_eq!(after.available(SECOND / 10), 9);
    after.settle(&mut charge, 0, SECOND / 10);
    // The bucket before could not have held more than 10.
    assert_eq!(after.available(SECOND / 10), 10);
    after.settle(&mut charge, 15, SECOND / 10);
    assert_eq!(after.available(SECOND * 6 / 10), 0);
    assert_eq!(after.check(1, 0, SECOND / 10), Err(SECOND * 7 / 10));
    after.forget(charge);

    // A window keeps each grant, but a longer one does not know those that had left.
    let mut before = window(10, SECOND);
    let mut gone = before.take(2, 0);
    let mut first = before.take(3, SECOND / 2);
    let mut second = before.take(4, SECOND);
    let mut after = window(20, 2 * SECOND);
    after.inherit(&before, SECOND);
    assert_eq!(after.available(SECOND), 13);
    after.settle(&mut gone, 0, SECOND);
    assert_eq!(after.available(SECOND), 13);
    after.settle(&mut first, 1, SECOND);
    after.settle(&mut second, 5, SECOND);
    assert_eq!(after.available(SECOND), 14);
    assert_eq!(after.available(SECOND * 5 / 2), 15);
    assert_eq!(after.available(3 * SECOND), 20);
}

#[test]
fn a_longer_window_does_not_know_what_had_left() {
    let mut before = window(10, SECOND);
    before.take(3, 0);
    let mut after = window(20, 2 * SECOND);
    after.inherit(&before, SECOND);
    assert_eq!(after.available(SECOND), 20);
}

#[test]
fn a_debt_is_inherited() {
    let meters = || {
        [
            bucket(5, SECOND, 5),
            bucket(10, 2 * SECOND, 7),
            window(5, SECOND),
        ]
    };
    for mut before in meters() {
        before.take(before.capacity() + 20, 0);
        for mut after in meters() {
            after.inherit(&before, 0);
            let due = match after {
                Meter::Bucket(_) => SECOND * 21 / 5,
                Meter::Window(_) => SECOND,
            };
            assert_eq!(after.check(1, 0, 0), Err(due), "{before:?}");
        }
    }
    // A third of a token in thirds is a whole half in halves.
    let mut before = bucket(1, 3, 1);
    before.take(2, 0);
    let mut after = bucket(1, 2, 1);
    after.inherit(&before, 2);
    assert_eq!(after.check(1, 0, 2), Err(5));
}

#[test]
fn another_kind_gives_no_refund_of_earlier_charges() {
    for mut before in both(10) {
        let early = before.take(6, 0);
        let other = match before {
            Meter::Bucket(_) => window(10, SECOND),
            Meter::Window(_) => bucket(10, SECOND, 10),
        };
        let mut after = other.clone();
        after.inherit(&before, 0);
        assert_eq!(after.available(0), 4);
        let late = after.take(2, 0);
        let mut renewed = other;
        renewed.inherit(&after, 0);
        for after in [&mut after, &mut renewed] {
            settle_copy(after, early, 0, 0);
            assert_eq!(after.available(0), 2);
            settle_copy(after, late, 1, 0);
            assert_eq!(after.available(0), 3);
            settle_copy(after, early, 7, 0);
            assert_eq!(after.available(0), 2);
        }
    }
}

#[test]
fn a_time_without_a_limit_forgets_what_was_taken() {
    for mut before in both(10) {
        let early = before.take(6, 0);
        for mut between in [bucket(u64::MAX, SECOND, u64::MAX), window(u64::MAX, SECOND)] {
            between.inherit(&before, 0);
            for mut after in both(10) {
                after.inherit(&between, 0);
                assert_eq!(after.available(0), 10);
                after.take(5, 0);
                settle_copy(&mut after, early, 0, 0);
                assert_eq!(after.available(0), 5);
            }
        }
    }
}

#[test]
fn time_stands_still_across_limits() {
    for mut before in both(10) {
        before.take(10, 5 * SECOND);
        for mut after in both(10) {
            after.inherit(&before, SECOND);
            assert_eq!(after.available(0), 0);
            assert_eq!(after.available(5 * SECOND), 0);
        }
    }
}

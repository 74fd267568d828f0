//! The arithmetic of a token bucket, with the time as an argument.

use super::ledger::{Ledger, Part};
use super::marks::Marks;
use super::{RateLimitConfig, SlidingWindow};

/// A bucket of tokens that refills at a steady rate. It starts full.
///
/// In any span of time it grants at most `burst + max_commands * span / window` tokens. Tokens are counted in
/// `1 / window_ns`, so each nanosecond adds exactly `max_commands` of them and no fraction is ever lost.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    max_commands: u64,
    window_ns: u64,
    burst: u64,
    /// What is missing to be full; more than a full bucket holds while it is in debt.
    lack: u128,
    last_ns: u64,
    pub(super) ledger: Ledger,
    pub(super) marks: Marks,
}

impl TokenBucket {
    pub(crate) fn new(config: &RateLimitConfig, burst: u64, now_ns: u64) -> Self {
        let (max_commands, window_ns) = config.normalised();
        let burst = if config.window.is_zero() { 0 } else { burst };
        Self {
            max_commands,
            window_ns,
            burst,
            lack: 0,
            last_ns: now_ns,
            ledger: Ledger::default(),
            marks: Marks::default(),
        }
    }

    /// Holds what `before` has left, fractions and debts included, as far as there is room for it.
    ///
    /// Open charges of `before` can be settled here; rounding only makes their refunds smaller.
    pub(crate) fn inherit(&mut self, before: &Self, now_ns: u64) {
        self.ledger = before.ledger.clone();
        self.last_ns = self.last_ns.max(before.last_ns).max(now_ns);
        if before.is_unlimited() {
            return;
        }
        let (from, to) = (u128::from(before.window_ns), u128::from(self.window_ns));
        let scale = |units: u128| scale(units, from, to);
        let (before_full, before_lack) = (before.full(), before.lack_at(now_ns));
        let lack = if before_lack <= before_full {
            self.full().saturating_sub(scale(before_full - before_lack))
        } else {
            // Rounded up: a new limit never forgives a debt.
            let debt = before_lack - before_full;
            let rounded = u128::from(debt % from * to % from != 0);
            self.full()
                .saturating_add(scale(debt))
                .saturating_add(rounded)
        };
        self.marks = before.marks.scaled(scale);
        self.lack = self.lack.max(lack);
        self.mark(scale(before_lack).min(self.lack));
    }

    /// Holds what `before` has left, as far as there is room for it. Its open charges get no refund here.
    pub(super) fn inherit_window(&mut self, before: &SlidingWindow, now_ns: u64) {
        self.ledger = before.ledger.clone();
        self.last_ns = self.last_ns.max(before.last_ns()).max(now_ns);
        if let Some(left) = before.left(now_ns) {
            let window = u128::from(self.window_ns);
            let lack = match u64::try_from(left) {
                Ok(left) => self.full().saturating_sub(u128::from(left) * window),
                Err(_) => self
                    .full()
                    .saturating_add(left.unsigned_abs().saturating_mul(window)),
            };
            self.lack = self.lack.max(lack);
        }
        self.mark(0);
    }

    /// Takes `cost` tokens, or takes nothing and says from when on it would succeed.
    ///
    /// The error is an absolute time in nanoseconds; `u64::MAX` means never, as for a cost above the burst. Time that runs
    /// backwards counts as standing still.
    pub(crate) fn try_take(&mut self, cost: u64, now_ns: u64) -> Result<(), u64> {
        self.check(cost, 0, now_ns)?;
        self.draw(cost, now_ns);
        Ok(())
    }

    /// Whether `cost` tokens can be taken so that `keep` stay, or from when on.
    pub(crate) fn check(&mut self, cost: u64, keep: u64, now_ns: u64) -> Result<(), u64> {
        if cost == 0 || self.is_unlimited() {
            return Ok(());
        }
        self.refill(now_ns);
        let need = u128::from(cost) + u128::from(keep);
        let Some(spare) = u128::from(self.burst).checked_sub(need) else {
            return Err(u64::MAX);
        };
        let allowed = spare * u128::from(self.window_ns);
        if self.lack <= allowed {
            return Ok(());
        }
        if self.max_commands == 0 {
            return Err(u64::MAX);
        }
        let wait_ns = (self.lack - allowed).div_ceil(u128::from(self.max_commands));
        Err(u64::try_from(wait_ns).map_or(u64::MAX, |wait_ns| self.last_ns.saturating_add(wait_ns)))
    }

    /// Takes `cost` tokens, whether or not they are there.
    pub(super) fn draw(&mut self, cost: u64, now_ns: u64) -> Part {
        self.refill(now_ns);
        if self.is_unlimited() {
            return self.ledger.part(self.last_ns, 0);
        }
        if self.ledger.has_open() {
            self.marks.push(self.ledger.next(), self.lack);
        }
        let window = u128::from(self.window_ns);
        let mut amount = cost;
        if self.lack.checked_add(u128::from(cost) * window).is_none() {
            // A debt is cut where it can no longer be counted.
            amount = u64::try_from((u128::MAX - self.lack) / window).unwrap_or(cost);
        }
        self.lack += u128::from(amount) * window;
        self.ledger.part(self.last_ns, amount)
    }

    /// Makes the level what it would be had `part` never been taken.
    pub(super) fn refund(&mut self, part: Part, now_ns: u64) {
        if self.is_unlimited() {
            return;
        }
        self.refill(now_ns);
        let units = (u128::from(part.amount) * u128::from(self.window_ns))
            .min(self.marks.least_after(part.number))
            .min(self.lack);
        self.lack -= units;
        self.marks.refund(part.number, units);
    }

    /// Whole tokens that could be taken now.
    pub(crate) fn available(&self, now_ns: u64) -> u64 {
        self.left(now_ns)
            .map_or(u64::MAX, |left| u64::try_from(left).unwrap_or(0))
    }

    /// Whole tokens in the bucket, negative in debt; `None` when there is no limit.
    pub(super) fn left(&self, now_ns: u64) -> Option<i128> {
        if self.is_unlimited() {
            return None;
        }
        let window = u128::from(self.window_ns);
        let missing = self.lack_at(now_ns).div_ceil(window);
        let missing = i128::try_from(missing).unwrap_or(i128::MAX);
        Some(i128::from(self.burst) - missing)
    }

    /// The most tokens the bucket holds.
    pub(crate) fn burst(&self) -> u64 {
        self.burst
    }

    /// Tokens added per second.
    pub(crate) fn refill_rate(&self) -> f64 {
        self.max_commands as f64 * 1e9 / self.window_ns as f64
    }

    fn is_unlimited(&self) -> bool {
        self.max_commands == u64::MAX && self.burst == u64::MAX
    }

    fn refill(&mut self, now_ns: u64) {
        self.lack = self.lack_at(now_ns);
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// The latest time the bucket was told.
    pub(super) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// What would be missing now.
    pub(super) fn lack_at(&self, now_ns: u64) -> u128 {
        let elapsed_ns = u128::from(now_ns.saturating_sub(self.last_ns));
        // The product cannot overflow: both factors are 64 bits wide.
        self.lack
            .saturating_sub(elapsed_ns * u128::from(self.max_commands))
    }

    fn full(&self) -> u128 {
        u128::from(self.burst) * u128::from(self.window_ns)
    }

    /// No open charge gets back more than `lack` from now on.
    fn mark(&mut self, lack: u128) {
        if self.ledger.has_open() {
            let number = self.ledger.part(self.last_ns, 0).number;
            self.marks.push(number, lack);
        }
    }
}

/// `units / from * to`, rounded down.
fn scale(units: u128, from: u128, to: u128) -> u128 {
    let (tokens, fraction) = (units / from, units % from);
    // Only a debt can be too large. The fraction is below a window, and windows are 64 bits wide.
    tokens
        .saturating_mul(to)
        .saturating_add(fraction * to / from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::seeds::{count_operation, properties};

    const SECOND: u64 = 1_000_000_000;

    fn bucket(max_commands: u64, window_ns: u64, burst: u64) -> TokenBucket {
        let config = RateLimitConfig::new(max_commands, Duration::from_nanos(window_ns));
        TokenBucket::new(&config, burst, 0)
    }

    #[test]
    fn starts_full_then_refills_at_the_rate() {
        let mut bucket = bucket(10, SECOND, 3);
        assert_eq!(bucket.available(0), 3);
        for _ in 0..3 {
            assert_eq!(bucket.try_take(1, 0), Ok(()));
        }
        assert_eq!(bucket.try_take(1, 0), Err(SECOND / 10));
        assert_eq!(bucket.try_take(1, SECOND / 10 - 1), Err(SECOND / 10));
        assert_eq!(bucket.try_take(1, SECOND / 10), Ok(()));
        assert_eq!(bucket.available(SECOND), 3);
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let mut bucket = bucket(10, SECOND, 5);
        assert_eq!(bucket.try_take(4, 0), Ok(()));
        assert_eq!(bucket.try_take(3, 0), Err(SECOND / 5));
        assert_eq!(bucket.try_take(3, 0), Err(SECOND / 5));
        assert_eq!(bucket.try_take(1, 0), Ok(()));
    }

    #[test]
    fn fractions_of_tokens_are_kept() {
        // A token takes 5.26 ms: asked every millisecond, losing the fraction would give 166 per second.
        let mut bucket = bucket(190, SECOND, 190);
        assert_eq!(bucket.try_take(190, 0), Ok(()));
        let granted = (1..=10_000)
            .filter(|ms| bucket.try_take(1, ms * 1_000_000).is_ok())
            .count();
        assert_eq!(granted, 1_900);
    }

    #[test]
    fn a_bucket_inherits_tokens_and_their_fractions() {
        let mut before = bucket(1, SECOND, 4);
        assert_eq!(before.try_take(3, 0), Ok(()));
        let half = SECOND / 2;
        let mut same = bucket(1, SECOND, 4);
        same.inherit(&before, half);
        assert_eq!(same.available(half), 1);
        assert_eq!(same.available(SECOND), 2);
        let mut longer = bucket(1, 2 * SECOND, 9);
        longer.inherit(&before, half);
        assert_eq!(longer.available(half), 1);
        assert_eq!(longer.available(half + SECOND), 2);
        let mut smaller = bucket(1, SECOND, 1);
        smaller.inherit(&before, half);
        assert_eq!(smaller.available(half), 1);
        let mut freed = bucket(1, SECOND, 3);
        freed.inherit(&bucket(u64::MAX, SECOND, u64::MAX), half);
        assert_eq!(freed.available(half), 3);
    }

    #[test]
    fn time_that_runs_backwards_stands_still() {
        let mut bucket = bucket(1, SECOND, 1);
        assert_eq!(bucket.try_take(1, 5 * SECOND), Ok(()));
        assert_eq!(bucket.try_take(1, SECOND), Err(6 * SECOND));
        assert_eq!(bucket.available(0), 0);
        assert_eq!(bucket.try_take(1, 6 * SECOND), Ok(()));
    }

    #[test]
    fn what_can_never_succeed_says_never() {
        assert_eq!(bucket(10, SECOND, 2).try_take(3, 0), Err(u64::MAX));
        let mut nothing = bucket(0, SECOND, 0);
        assert_eq!(nothing.try_take(1, 0), Err(u64::MAX));
        assert_eq!(nothing.try_take(1, u64::MAX), Err(u64::MAX));
        let mut no_window = bucket(5, 0, 5);
        assert_eq!(no_window.try_take(1, 0), Err(u64::MAX));
        assert_eq!((no_window.available(SECOND), no_window.burst()), (0, 0));
        assert_eq!(no_window.refill_rate(), 0.0);
        // A bucket without a rate spends its burst and is never refilled.
        let mut only_burst = bucket(0, SECOND, 1);
        assert_eq!(only_burst.try_take(1, 0), Ok(()));
        assert_eq!(only_burst.try_take(1, u64::MAX), Err(u64::MAX));
    }

    #[test]
    fn unlimited_always_grants() {
        let mut unlimited = TokenBucket::new(&RateLimitConfig::unlimited(), u64::MAX, 0);
        for now_ns in [0, 0, 1, u64::MAX, u64::MAX] {
            assert_eq!(unlimited.try_take(u64::MAX, now_ns), Ok(()));
            assert_eq!(unlimited.available(now_ns), u64::MAX);
        }
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let extremes = [1, u64::MAX - 1, u64::MAX];
        for max_commands in extremes {
            for window_ns in extremes {
                for burst in extremes {
                    let mut bucket = bucket(max_commands, window_ns, burst);
                    for now_ns in [0, 1, u64::MAX, 0, u64::MAX] {
                        let _ = bucket.try_take(1, now_ns);
                        let _ = bucket.try_take(u64::MAX, now_ns);
                        let _ = bucket.available(now_ns);
                    }
                }
            }
        }
        let longest = RateLimitConfig::new(u64::MAX, Duration::MAX);
        assert_eq!(TokenBucket::new(&longest, 1, 0).try_take(1, 0), Ok(()));
    }

    #[test]
    fn refill_rate_is_per_second() {
        assert_eq!(bucket(90, 60 * SECOND, 1).refill_rate(), 1.5);
    }

    properties! {
        cases: 3_000, least: 100_000;

        /// In every span of time: grants <= burst + max_commands * span / window. And a refusal names the exact moment
        /// from which on the take succeeds.
        #[test]
        fn i11_rate_bound_token_bucket(
            max_commands in 1u64..50,
            window_ns in 1u64..2_000,
            burst in 1u64..20,
            requests in prop::collection::vec((0u64..200, 0u64..25), 1..80),
        ) {
            let mut bucket = bucket(max_commands, window_ns, burst);
            let mut now_ns = 0;
            let mut grants: Vec<(u64, u64)> = Vec::new();
            for (gap_ns, cost) in requests {
                count_operation();
                now_ns += gap_ns;
                match bucket.try_take(cost, now_ns) {
                    Ok(()) => grants.push((now_ns, cost)),
                    Err(u64::MAX) => prop_assert!(cost > burst),
                    Err(due_ns) => {
                        prop_assert!(due_ns > now_ns);
                        prop_assert!(bucket.clone().try_take(cost, due_ns - 1).is_err());
                        prop_assert!(bucket.clone().try_take(cost, due_ns).is_ok());
                    }
                }
            }
            for first in 0..grants.len() {
                let mut granted = 0;
                for &(at_ns, cost) in &grants[first..] {
                    granted += cost;
                    let span_ns = at_ns - grants[first].0;
                    prop_assert!(granted <= burst + max_commands * span_ns / window_ns);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(crate::seeds::cases(256))]

        /// A bucket that is never full grants exactly what the rate gives, however the time is cut into steps.
        #[test]
        fn no_fraction_is_lost(
            max_commands in 1u64..50,
            window_ns in 1u64..2_000,
            gaps in prop::collection::vec(0u64..30, 1..200),
        ) {
            let burst = 10_000;
            let mut bucket = bucket(max_commands, window_ns, burst);
            prop_assert_eq!(bucket.try_take(burst, 0), Ok(()));
            let (mut now_ns, mut granted) = (0, 0);
            for gap_ns in gaps {
                now_ns += gap_ns;
                while granted < burst && bucket.try_take(1, now_ns).is_ok() {
                    granted += 1;
                }
                prop_assert_eq!(granted, (max_commands * now_ns / window_ns).min(burst));
                if granted == burst {
                    break;
                }
            }
        }
    }
}

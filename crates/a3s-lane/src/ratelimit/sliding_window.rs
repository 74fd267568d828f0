//! The arithmetic of a sliding window, with the time as an argument.

use std::collections::VecDeque;

use super::ledger::{Ledger, Part};
use super::{RateLimitConfig, TokenBucket};

/// Grants at most `max_commands` in any window of time that contains its first moment and not its last.
///
/// Remembers each moment at which something was granted, so it holds at most `2 * max_commands` entries of 16 bytes, and
/// up to [`SPARE`](Self::SPARE) + [`SLICES`](Self::SLICES) more while in debt. Usually it holds as many as there were grants
/// in the last window. Without a limit it remembers nothing.
#[derive(Debug, Clone)]
pub(crate) struct SlidingWindow {
    max_commands: u64,
    window_ns: u64,
    grants: VecDeque<Grant>,
    /// Above `max_commands` while the window is in debt.
    granted: u64,
    /// Entries of cost 0.
    empty: usize,
    last_ns: u64,
    /// The grants before have left, even if the window has become longer since.
    kept_from_ns: u64,
    /// Parts with smaller numbers are not among the grants one by one.
    refundable_from: u64,
    pub(super) ledger: Ledger,
}

#[derive(Debug, Clone, Copy)]
struct Grant {
    at_ns: u64,
    cost: u64,
}

impl SlidingWindow {
    /// Entries that debts may add before those of a slice of the window share one.
    const SPARE: usize = 4_096;
    /// Slices of a window that is crowded with debts.
    const SLICES: u64 = 4_096;

    pub(crate) fn new(config: &RateLimitConfig) -> Self {
        let (max_commands, window_ns) = config.normalised();
        Self {
            max_commands,
            window_ns,
            grants: VecDeque::new(),
            granted: 0,
            empty: 0,
            last_ns: 0,
            kept_from_ns: 0,
            refundable_from: 0,
            ledger: Ledger::default(),
        }
    }

    /// Counts what `before` has granted. Its open charges can be settled here.
    pub(super) fn inherit(&mut self, before: &Self, now_ns: u64) {
        self.ledger = before.ledger.clone();
        self.last_ns = self.last_ns.max(before.last_ns).max(now_ns);
        if self.is_unlimited() || before.is_unlimited() {
            self.refundable_from = self.ledger.next();
            return;
        }
        let mut before = before.clone();
        before.expire(now_ns);
        self.kept_from_ns = before.first_kept_ns();
        self.refundable_from = before.refundable_from;
        self.grants = before.grants;
        self.granted = before.granted;
        self.empty = before.empty;
    }

    /// Has room for what `before` has left, until a window from now. Its open charges get no refund here.
    pub(super) fn inherit_bucket(&mut self, before: &TokenBucket, now_ns: u64) {
        self.ledger = before.ledger.clone();
        self.refundable_from = self.ledger.next();
        self.last_ns = self.last_ns.max(before.last_ns()).max(now_ns);
        if let Some(left) = before.left(now_ns)
            && !self.is_unlimited()
        {
            let used = i128::from(self.max_commands).saturating_sub(left).max(0);
            self.remember(u64::try_from(used).unwrap_or(u64::MAX));
        }
    }

    /// Takes `cost` from the window that ends now, or takes nothing and says from when on it would succeed.
    ///
    /// The error is an absolute time in nanoseconds; `u64::MAX` means never, as for a cost above `max_commands`. Time that
    /// runs backwards counts as standing still.
    pub(crate) fn try_take(&mut self, cost: u64, now_ns: u64) -> Result<(), u64> {
        self.check(cost, 0, now_ns)?;
        self.draw(cost, now_ns);
        Ok(())
    }

    /// Whether `cost` can be taken from the window that ends now so that `keep` stay, or from when on.
    pub(super) fn check(&mut self, cost: u64, keep: u64, now_ns: u64) -> Result<(), u64> {
        if cost == 0 || self.is_unlimited() {
            return Ok(());
        }
        self.expire(now_ns);
        let allowed = cost
            .checked_add(keep)
            .and_then(|need| self.max_commands.checked_sub(need))
            .ok_or(u64::MAX)?;
        match self.granted.checked_sub(allowed) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(self.due_ns(missing)),
        }
    }

    /// Takes `cost` from the window that ends now, whether or not it is there.
    pub(super) fn draw(&mut self, cost: u64, now_ns: u64) -> Part {
        self.expire(now_ns);
        let amount = if self.is_unlimited() {
            0
        } else {
            self.remember(cost)
        };
        self.ledger.part(self.last_ns, amount)
    }

    /// Makes the window what it would be had `part` never been taken.
    pub(super) fn refund(&mut self, part: Part, now_ns: u64) {
        self.expire(now_ns);
        if part.number < self.refundable_from || part.at_ns < self.first_kept_ns() {
            return;
        }
        // A crowded window moves an entry to a later time, but never past the next one.
        let found = self
            .grants
            .partition_point(|grant| grant.at_ns < part.at_ns);
        let Some(grant) = self.grants.get_mut(found) else {
            return;
        };
        let amount = part.amount.min(grant.cost);
        debug_assert_eq!(amount, part.amount, "each part is in the window once");
        if amount == 0 {
            return;
        }
        grant.cost -= amount;
        self.granted -= amount;
        if grant.cost == 0 {
            self.empty += 1;
            self.compact();
        }
    }

    /// What was granted in the window that ends now; always 0 without a limit.
    pub(crate) fn count(&mut self, now_ns: u64) -> u64 {
        self.expire(now_ns);
        self.granted
    }

    /// What could be taken now.
    pub(crate) fn remaining(&mut self, now_ns: u64) -> u64 {
        self.expire(now_ns);
        self.max_commands.saturating_sub(self.granted)
    }

    /// What could be taken now, negative in debt; `None` when there is no limit.
    pub(super) fn left(&self, now_ns: u64) -> Option<i128> {
        if self.is_unlimited() {
            return None;
        }
        let now_ns = self.last_ns.max(now_ns);
        let gone: u64 = self
            .grants
            .iter()
            .take_while(|grant| now_ns - grant.at_ns >= self.window_ns)
            .map(|grant| grant.cost)
            .sum();
        Some(i128::from(self.max_commands) - i128::from(self.granted - gone))
    }

    /// The most that is granted in a window.
    pub(super) fn max_commands(&self) -> u64 {
        self.max_commands
    }

    /// The latest time the window was told.
    pub(super) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        let costs = || self.grants.iter().map(|grant| grant.cost);
        assert_eq!(costs().sum::<u64>(), self.granted);
        assert_eq!(costs().filter(|&cost| cost == 0).count(), self.empty);
        self.grants.len()
    }

    fn is_unlimited(&self) -> bool {
        self.max_commands == u64::MAX
    }

    fn expire(&mut self, now_ns: u64) {
        self.last_ns = self.last_ns.max(now_ns);
        while let Some(grant) = self.grants.front()
            && self.last_ns - grant.at_ns >= self.window_ns
        {
            self.granted -= grant.cost;
            self.empty -= usize::from(grant.cost == 0);
            self.grants.pop_front();
        }
        self.compact();
    }

    /// Grants before have left the window.
    fn first_kept_ns(&self) -> u64 {
        let left_ns = self.last_ns.checked_sub(self.window_ns);
        self.kept_from_ns
            .max(left_ns.map_or(0, |left_ns| left_ns + 1))
    }

    /// Adds `cost` as far as it can be counted, and returns that.
    fn remember(&mut self, cost: u64) -> u64 {
        let cost = cost.min(u64::MAX - self.granted);
        if cost == 0 {
            return 0;
        }
        self.granted += cost;
        let now_ns = self.last_ns;
        let slice_ns = (self.window_ns / Self::SLICES).max(1);
        let is_crowded = self.is_crowded();
        let shares =
            |at_ns: u64| at_ns == now_ns || (is_crowded && at_ns / slice_ns == now_ns / slice_ns);
        match self.grants.back_mut() {
            Some(grant) if shares(grant.at_ns) => {
                self.empty -= usize::from(grant.cost == 0);
                grant.at_ns = now_ns;
                grant.cost += cost;
            }
            _ => self.grants.push_back(Grant {
                at_ns: now_ns,
                cost,
            }),
        }
        cost
    }

    /// Only debts and their refunds crowd a window: grants find no room before.
    fn is_crowded(&self) -> bool {
        let most = self.max_commands.saturating_mul(2);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.grants.len() >= most.saturating_add(Self::SPARE)
    }

    /// Drops the empty entries when they are the larger part, which costs no more than making them did.
    fn compact(&mut self) {
        if self.empty > self.grants.len() / 2 {
            self.grants.retain(|grant| grant.cost > 0);
            self.empty = 0;
        }
    }

    /// When `missing` more will have left the window.
    fn due_ns(&self, missing: u64) -> u64 {
        let mut freed = 0;
        for grant in &self.grants {
            freed += grant.cost;
            if freed >= missing {
                return grant.at_ns.saturating_add(self.window_ns);
            }
        }
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::seeds::{count_operation, properties};

    const SECOND: u64 = 1_000_000_000;

    fn window(max_commands: u64, window_ns: u64) -> SlidingWindow {
        SlidingWindow::new(&RateLimitConfig::new(
            max_commands,
            Duration::from_nanos(window_ns),
        ))
    }

    #[test]
    fn a_window_holds_its_maximum_and_no_more() {
        let mut window = window(2, SECOND);
        assert_eq!(window.try_take(1, 0), Ok(()));
        assert_eq!(window.try_take(1, SECOND / 2), Ok(()));
        assert_eq!(
            (window.count(SECOND / 2), window.remaining(SECOND / 2)),
            (2, 0)
        );
        assert_eq!(window.try_take(1, SECOND - 1), Err(SECOND));
        assert_eq!(window.try_take(1, SECOND), Ok(()));
        assert_eq!(window.try_take(1, SECOND), Err(SECOND + SECOND / 2));
        assert_eq!(window.try_take(2, SECOND), Err(2 * SECOND));
    }

    #[test]
    fn grants_of_one_moment_share_an_entry() {
        let mut window = window(1_000_000, SECOND);
        for _ in 0..1_000 {
            assert_eq!(window.try_take(1, 7), Ok(()));
        }
        assert_eq!(window.grants.len(), 1);
        assert_eq!(window.count(7), 1_000);
        assert_eq!(window.count(7 + SECOND), 0);
        assert!(window.grants.is_empty());
    }

    #[test]
    fn time_that_runs_backwards_stands_still() {
        let mut window = window(1, SECOND);
        assert_eq!(window.try_take(1, 5 * SECOND), Ok(()));
        assert_eq!(window.try_take(1, SECOND), Err(6 * SECOND));
        assert_eq!(window.count(0), 1);
    }

    #[test]
    fn what_can_never_succeed_says_never() {
        assert_eq!(window(2, SECOND).try_take(3, 0), Err(u64::MAX));
        assert_eq!(window(0, SECOND).try_take(1, u64::MAX), Err(u64::MAX));
        assert_eq!(window(5, 0).try_take(1, 0), Err(u64::MAX));
        assert_eq!(window(5, 0).remaining(0), 0);
    }

    #[test]
    fn unlimited_always_grants_and_remembers_nothing() {
        let mut unlimited = SlidingWindow::new(&RateLimitConfig::unlimited());
        for now_ns in [0, 0, 1, u64::MAX, u64::MAX] {
            assert_eq!(unlimited.try_take(u64::MAX, now_ns), Ok(()));
            assert_eq!(unlimited.remaining(now_ns), u64::MAX);
            assert_eq!(unlimited.count(now_ns), 0);
        }
        assert!(unlimited.grants.is_empty());
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let extremes = [1, u64::MAX - 1, u64::MAX];
        for max_commands in extremes {
            for window_ns in extremes {
                let mut window = window(max_commands, window_ns);
                for now_ns in [0, 1, u64::MAX, 0, u64::MAX] {
                    let _ = window.try_take(1, now_ns);
                    let _ = window.try_take(u64::MAX - 1, now_ns);
                    let _ = window.try_take(u64::MAX, now_ns);
                }
            }
        }
    }

    properties! {
        cases: 3_000, least: 100_000;

        /// At most `max_commands` in every half-open window, and a refusal names the exact moment from which on the take
        /// succeeds.
        #[test]
        fn i11_rate_bound_sliding_window(
            max_commands in 1u64..20,
            window_ns in 1u64..500,
            requests in prop::collection::vec((0u64..100, 0u64..25), 1..80),
        ) {
            let mut window = window(max_commands, window_ns);
            let mut now_ns = 0;
            let mut grants: Vec<(u64, u64)> = Vec::new();
            for (gap_ns, cost) in requests {
                count_operation();
                now_ns += gap_ns;
                match window.try_take(cost, now_ns) {
                    Ok(()) => grants.push((now_ns, cost)),
                    Err(u64::MAX) => prop_assert!(cost > max_commands),
                    Err(due_ns) => {
                        prop_assert!(due_ns > now_ns);
                        prop_assert!(window.clone().try_take(cost, due_ns - 1).is_err());
                        prop_assert!(window.clone().try_take(cost, due_ns).is_ok());
                    }
                }
                prop_assert!(window.grants.len() as u64 <= max_commands);
                prop_assert_eq!(window.count(now_ns) + window.remaining(now_ns), max_commands);
            }
            for &(start_ns, _) in &grants {
                let granted: u64 = grants
                    .iter()
                    .filter(|&&(at_ns, _)| (start_ns..start_ns + window_ns).contains(&at_ns))
                    .map(|&(_, cost)| cost)
                    .sum();
                prop_assert!(granted <= max_commands);
            }
        }
    }
}

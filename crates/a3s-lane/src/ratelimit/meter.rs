//! A limit whose charges can be corrected while what they were for still runs.

use super::ledger::{Charge, Ledger, Part};
use super::{SlidingWindow, TokenBucket};

/// What a named limiter counts with. Pure: the time in nanoseconds is an argument, and stands still when it runs backwards.
///
/// A command is charged an estimate when it starts. As long as its charge is open, [`settle`](Self::settle) corrects it:
///
/// - To more: the difference is a debt, taken at that moment whether or not it is there. Nothing is granted until time has
///   made up for it.
/// - To less: everything is as if the smaller cost had been taken in the first place. What a token bucket could not have
///   held anyway does not come back, and neither does what has left a sliding window. So grants, counted at what they cost
///   in the end, never exceed the burst plus the rate in any window.
///
/// What is given back comes out of the latest debt first, then out of the one before, in the end out of the start.
#[derive(Debug, Clone)]
pub(crate) enum Meter {
    Bucket(TokenBucket),
    Window(SlidingWindow),
}

impl Meter {
    /// Whether `cost` can be taken so that `keep` stays, or the absolute time from when on it can; takes nothing.
    ///
    /// `u64::MAX` means never, as for a cost and a `keep` above the capacity. A cost of 0 can always be taken.
    pub(crate) fn check(&mut self, cost: u64, keep: u64, now_ns: u64) -> Result<(), u64> {
        match self {
            Self::Bucket(bucket) => bucket.check(cost, keep, now_ns),
            Self::Window(window) => window.check(cost, keep, now_ns),
        }
    }

    /// Takes `cost` and never refuses. The charge is open until it is forgotten.
    pub(crate) fn take(&mut self, cost: u64, now_ns: u64) -> Charge {
        let start = self.draw(cost, now_ns);
        self.ledger_mut().open(start, cost)
    }

    /// Corrects an open charge to the `actual` cost. A later call corrects the one before. Returns whether it gave something
    /// back.
    pub(crate) fn settle(&mut self, charge: &mut Charge, actual: u64, now_ns: u64) -> bool {
        let before = std::mem::replace(&mut charge.cost, actual);
        if actual > before {
            let debt = self.draw(actual - before, now_ns);
            self.ledger_mut().owe(charge, debt);
            return false;
        }
        let mut excess = before - actual;
        while excess > 0
            && let Some(debt) = self.ledger_mut().unowe(charge, excess)
        {
            excess -= debt.amount;
            self.refund(debt, now_ns);
        }
        let excess = charge.start.amount.saturating_sub(actual);
        if excess > 0 {
            let part = charge.start.split(excess);
            self.refund(part, now_ns);
        }
        actual < before
    }

    /// Closes a charge: it stays as it was settled last.
    pub(crate) fn forget(&mut self, charge: Charge) {
        self.ledger_mut().close(charge);
        if let Self::Bucket(bucket) = self
            && !bucket.ledger.has_open()
        {
            bucket.marks.clear();
        }
    }

    /// Holds what `before` has left, as far as there is room for it. Charges of `before` go on here: settle and forget them
    /// with this meter.
    ///
    /// A debt is carried along. A refund of an earlier charge is at most what `before` would have given, and nothing when
    /// the two are of different kinds or one has no limit.
    pub(crate) fn inherit(&mut self, before: &Self, now_ns: u64) {
        match (self, before) {
            (Self::Bucket(bucket), Self::Bucket(before)) => bucket.inherit(before, now_ns),
            (Self::Bucket(bucket), Self::Window(before)) => bucket.inherit_window(before, now_ns),
            (Self::Window(window), Self::Bucket(before)) => window.inherit_bucket(before, now_ns),
            (Self::Window(window), Self::Window(before)) => window.inherit(before, now_ns),
        }
    }

    /// The most that can be there.
    pub(crate) fn capacity(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.burst(),
            Self::Window(window) => window.max_commands(),
        }
    }

    #[cfg(test)]
    /// What could be taken now: 0 in debt, `u64::MAX` without a limit.
    pub(crate) fn available(&mut self, now_ns: u64) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.available(now_ns),
            Self::Window(window) => window.remaining(now_ns),
        }
    }

    fn draw(&mut self, cost: u64, now_ns: u64) -> Part {
        match self {
            Self::Bucket(bucket) => bucket.draw(cost, now_ns),
            Self::Window(window) => window.draw(cost, now_ns),
        }
    }

    fn refund(&mut self, part: Part, now_ns: u64) {
        match self {
            Self::Bucket(bucket) => bucket.refund(part, now_ns),
            Self::Window(window) => window.refund(part, now_ns),
        }
    }

    fn ledger_mut(&mut self) -> &mut Ledger {
        match self {
            Self::Bucket(bucket) => &mut bucket.ledger,
            Self::Window(window) => &mut window.ledger,
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

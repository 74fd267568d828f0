//! A token bucket that remembers everything.

use crate::scheduler::properties::rules::Rate;

/// A token bucket as its history: what it held when it was made, and when each token was taken.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Bucket {
    rate: Rate,
    made_at: u64,
    /// What it held then, in `1 / window_ns` tokens.
    held: u128,
    taken: Vec<u64>,
}

impl Bucket {
    /// A bucket starts full, but with no more than what is left in the one that it replaces.
    pub(super) fn new(rate: Rate, before: Option<&Self>, now: u64) -> Self {
        let window = u128::from(rate.window_ns);
        let full = u128::from(rate.burst) * window;
        let left =
            before.map(|before| before.level(now) * window / u128::from(before.rate.window_ns));
        Self {
            rate,
            made_at: now,
            held: left.unwrap_or(full).min(full),
            taken: Vec::new(),
        }
    }

    /// What the bucket holds, in `1 / window_ns` tokens, so that a nanosecond adds `max_commands`.
    fn level(&self, now: u64) -> u128 {
        let [window, per_ns, burst] =
            [self.rate.window_ns, self.rate.max_commands, self.rate.burst].map(u128::from);
        let mut level = self.held;
        let mut at = self.made_at;
        let refill = |level: u128, from: u64, to: u64| {
            (level + u128::from(to.saturating_sub(from)) * per_ns).min(burst * window)
        };
        for &taken in &self.taken {
            level = refill(level, at, taken) - window;
            at = taken;
        }
        refill(level, at, now)
    }

    /// The first time, from `now` on, at which a token can be taken.
    pub(super) fn grants_at(&self, now: u64) -> u64 {
        let missing = u128::from(self.rate.window_ns).saturating_sub(self.level(now));
        now + missing.div_ceil(u128::from(self.rate.max_commands)) as u64
    }

    pub(super) fn take(&mut self, now: u64) {
        self.taken.push(now);
    }
}

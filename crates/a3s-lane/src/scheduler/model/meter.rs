//! A meter that remembers everything it was charged, and counts by replaying that.

use crate::scheduler::properties::rules::{MeterRules, Rate};

/// A run of a command: its serial, and the number of the run.
pub(in crate::scheduler) type Owner = (u64, u32);

/// What was taken at one moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::scheduler) struct Entry {
    pub(in crate::scheduler) at: u64,
    /// After refunds.
    pub(in crate::scheduler) amount: u64,
    /// `None` for what was taken before the meter had these rules.
    owner: Option<Owner>,
    /// Taken by a settlement, whether or not it was there.
    pub(in crate::scheduler) debt: bool,
}

#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Meter {
    pub(in crate::scheduler) rules: MeterRules,
    made_at: u64,
    /// What a bucket held when it was made, in `1 / window_ns`, negative in debt.
    held: i128,
    pub(in crate::scheduler) entries: Vec<Entry>,
    /// What each run that may be settled costs as far as is known, and whether this meter has charged its start.
    costs: Vec<(Owner, u64, bool)>,
}

impl Meter {
    /// A bucket starts full.
    pub(super) fn bucket(rate: Rate, now: u64) -> Self {
        Self::new(MeterRules::Bucket(rate), now)
    }

    pub(super) fn new(rules: MeterRules, now: u64) -> Self {
        Self {
            rules,
            made_at: now,
            held: match rules {
                MeterRules::Bucket(rate) => rate.full(),
                MeterRules::Window { .. } => 0,
            },
            entries: Vec::new(),
            costs: Vec::new(),
        }
    }

    /// This meter, new, with no more in it than is left in the one before.
    pub(super) fn inherit(mut self, before: &Self, now: u64) -> Self {
        let costs = before.costs.iter();
        self.costs = costs
            .map(|&(owner, cost, _)| (owner, cost, false))
            .collect();
        let charge = |at: u64, amount: u64| Entry {
            at,
            amount,
            owner: None,
            debt: true,
        };
        match (self.rules, before.rules) {
            (MeterRules::Bucket(rate), MeterRules::Bucket(old)) => {
                let left = before.level(now) * i128::from(rate.window_ns);
                // Rounded down, debts too.
                self.held = self.held.min(left.div_euclid(old.window_ns.into()));
            }
            (MeterRules::Bucket(rate), MeterRules::Window { max, .. }) => {
                let left = i128::from(max) - i128::from(before.used(now));
                self.held = self.held.min(left * i128::from(rate.window_ns));
            }
            (MeterRules::Window { max, .. }, MeterRules::Bucket(old)) => {
                let left = before.level(now).div_euclid(old.window_ns.into());
                let used = (i128::from(max) - left).max(0);
                self.entries.push(charge(now, used as u64));
            }
            (MeterRules::Window { .. }, MeterRules::Window { window_ns, .. }) => {
                let entries = before.entries.iter();
                let inside = entries.filter(|entry| now - entry.at < window_ns);
                self.entries = inside.map(|entry| charge(entry.at, entry.amount)).collect();
            }
        }
        self
    }

    /// What a bucket holds, in `1 / window_ns`, so that a nanosecond adds `max_commands`.
    fn level(&self, now: u64) -> i128 {
        let MeterRules::Bucket(rate) = self.rules else {
            return 0;
        };
        let refill = |level: i128, from: u64, to: u64| {
            (level + i128::from(to - from) * i128::from(rate.max_commands)).min(rate.full())
        };
        let (mut level, mut at) = (self.held, self.made_at);
        for entry in &self.entries {
            let taken = i128::from(entry.amount) * i128::from(rate.window_ns);
            level = refill(level, at, entry.at) - taken;
            at = entry.at;
        }
        refill(level, at, now)
    }

    /// What was taken from a window that ends now.
    fn used(&self, now: u64) -> u64 {
        let MeterRules::Window { window_ns, .. } = self.rules else {
            return 0;
        };
        let entries = self.entries.iter();
        let inside = entries.filter(|entry| now - entry.at < window_ns);
        inside.map(|entry| entry.amount).sum()
    }

    /// The first time, from `now` on, at which `cost` can be taken so that `keep` stays; `u64::MAX` is never.
    pub(super) fn grants_at(&self, cost: u64, keep: u64, now: u64) -> u64 {
        if cost == 0 {
            return now;
        }
        let need = cost + keep;
        if need > self.rules.capacity() {
            return u64::MAX;
        }
        match self.rules {
            MeterRules::Bucket(rate) => {
                let need = i128::from(need) * i128::from(rate.window_ns);
                let missing = (need - self.level(now)).max(0) as u128;
                now + missing.div_ceil(rate.max_commands.into()) as u64
            }
            MeterRules::Window { max, window_ns } => {
                let leave = self.entries.iter().map(|entry| entry.at + window_ns);
                let times = leave.filter(|&at| at > now).chain([now]);
                let grants = |at: &u64| self.used(*at) + need <= max;
                times.filter(grants).min().unwrap_or(u64::MAX)
            }
        }
    }

    pub(super) fn take(&mut self, cost: u64, owner: Owner, now: u64) {
        self.costs.push((owner, cost, true));
        self.push(cost, owner, false, now);
    }

    fn push(&mut self, amount: u64, owner: Owner, debt: bool, now: u64) {
        self.entries.push(Entry {
            at: now,
            amount,
            owner: Some(owner),
            debt,
        });
    }

    /// What a run costs as far as is known, if it was charged, and whether by this meter.
    pub(in crate::scheduler) fn cost_of(&self, owner: Owner) -> Option<(u64, bool)> {
        let found = self.costs.iter().find(|(of, ..)| *of == owner);
        found.map(|&(_, cost, here)| (cost, here))
    }

    /// A run cost `actual`: more is taken now; less is as if the smaller cost had been taken, out of the latest debt
    /// first, in the end out of the start.
    pub(super) fn settle(&mut self, owner: Owner, actual: u64, now: u64) {
        let Some(known) = self.costs.iter_mut().find(|(of, ..)| *of == owner) else {
            return;
        };
        let before = std::mem::replace(&mut known.1, actual);
        if actual > before {
            self.push(actual - before, owner, true, now);
        }
        let mut excess = before.saturating_sub(actual);
        for entry in self.entries.iter_mut().rev() {
            if entry.owner == Some(owner) {
                let refund = excess.min(entry.amount);
                entry.amount -= refund;
                excess -= refund;
            }
        }
    }

    /// No settlement of this run will follow.
    pub(super) fn forget(&mut self, owner: Owner) {
        self.costs.retain(|(of, ..)| *of != owner);
    }
}

impl MeterRules {
    pub(super) fn capacity(&self) -> u64 {
        match self {
            Self::Bucket(rate) => rate.burst,
            Self::Window { max, .. } => *max,
        }
    }
}

impl Rate {
    fn full(&self) -> i128 {
        i128::from(self.burst) * i128::from(self.window_ns)
    }
}

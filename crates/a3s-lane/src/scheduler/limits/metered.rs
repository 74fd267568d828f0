//! Limits on starts per time: a lane's own, and named ones that lanes share.
//!
//! A start asks all limits of its lane before it takes from any, so a refusal costs nothing. A refused lane is *blocked*
//! until the limits would grant its front; anything that could make that sooner unblocks it.

use crate::ratelimit::{Charge, Meter};
use crate::scheduler::decision::{CommandKey, LaneKey};
use crate::scheduler::view::LaneView;
use crate::scheduler::{Scheduler, Terms};

/// What a run was charged.
pub(in crate::scheduler) type Charges = Vec<(LimiterKey, Charge)>;

/// A named limit of one scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LimiterKey(pub(in crate::scheduler) u32);

/// What a start is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// The command's cost.
    Cost,
    /// One.
    Commands,
}

/// A limit that lanes share.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    pub(crate) meter: Meter,
    pub(crate) counts: Counts,
    /// Lanes with a priority number above this one leave `reserve` in the meter.
    pub(crate) urgent: u8,
    pub(crate) reserve: u64,
}

impl Limiter {
    fn charge(&self, cost: u64) -> u64 {
        match self.counts {
            Counts::Cost => cost,
            Counts::Commands => 1,
        }
    }

    fn reserve_from(&self, priority: u8) -> u64 {
        if priority > self.urgent {
            self.reserve
        } else {
            0
        }
    }
}

impl<T> LaneView<'_, T> {
    /// The most that a command of this lane may ever cost, and the limiter that says so.
    pub(crate) fn highest_cost(&self) -> Option<(u64, LimiterKey)> {
        let policy = &self.state().policy;
        let costs = policy.limiters.iter().filter_map(|key| {
            let limiter = &self.scheduler.limits[key.0 as usize];
            let reserve = limiter.reserve_from(policy.priority);
            let most = limiter.meter.capacity().saturating_sub(reserve);
            (limiter.counts == Counts::Cost).then_some((most, *key))
        });
        costs.min()
    }
}

impl<T> Scheduler<T> {
    /// Takes in a limiter that policies may name from now on.
    pub(crate) fn add_limiter(&mut self, limiter: Limiter) -> LimiterKey {
        let key = u32::try_from(self.limits.len()).expect("fewer than 2^32 limiters");
        self.limits.push(limiter);
        LimiterKey(key)
    }

    /// Gives a limiter new limits; what is left of the old ones counts.
    pub(crate) fn set_limiter(&mut self, key: LimiterKey, mut limiter: Limiter, now: u64) {
        let present = &mut self.limits[key.0 as usize];
        limiter.meter.inherit(&present.meter, now);
        *present = limiter;
        self.unblock_users(key, now);
    }

    /// Whether the limits of a lane grant a start of its front now; if not, when.
    pub(in crate::scheduler) fn check_limits(
        &mut self,
        lane: LaneKey,
        place: u32,
        now: u64,
    ) -> Result<(), u64> {
        let policy = &mut self.lanes[lane.index()].policy;
        let own = policy
            .bucket
            .as_mut()
            .map_or(Ok(()), |bucket| bucket.check(1, 0, now));
        let cost = self.entries[place]
            .terms
            .as_ref()
            .map_or(1, |terms| terms.cost);
        let shared = policy.limiters.iter().map(|key| {
            let limiter = &mut self.limits[key.0 as usize];
            let reserve = limiter.reserve_from(policy.priority);
            limiter.meter.check(limiter.charge(cost), reserve, now)
        });
        let due = shared.chain([own]).filter_map(Result::err).max();
        due.map_or(Ok(()), Err)
    }

    /// Takes what [`check_limits`](Self::check_limits) has granted.
    pub(in crate::scheduler) fn charge_limits(&mut self, lane: LaneKey, place: u32, now: u64) {
        let policy = &mut self.lanes[lane.index()].policy;
        if let Some(bucket) = &mut policy.bucket {
            let taken = bucket.try_take(1, now);
            debug_assert!(taken.is_ok(), "the bucket has granted this");
        }
        if policy.limiters.is_empty() {
            return;
        }
        let terms: &mut Terms = self.entries[place].terms.get_or_insert_default();
        for key in &policy.limiters {
            let limiter = &mut self.limits[key.0 as usize];
            let charge = limiter.meter.take(limiter.charge(terms.cost), now);
            terms.notes.charges.push((*key, charge));
        }
    }

    /// Corrects what a running command was charged to what it really cost. False when it is not running any more.
    pub(crate) fn settle_cost(&mut self, key: CommandKey, run: u32, actual: u64, now: u64) -> bool {
        let Some(entry) = self.entries.running_mut(key, run) else {
            return false;
        };
        let mut charges = match &mut entry.terms {
            Some(terms) => std::mem::take(&mut terms.notes.charges),
            None => return true,
        };
        for (of, charge) in &mut charges {
            let limiter = &mut self.limits[of.0 as usize];
            // More that is taken makes no start possible.
            if limiter.counts == Counts::Cost && limiter.meter.settle(charge, actual, now) {
                self.unblock_users(*of, now);
            }
        }
        if let Some(terms) = &mut self.entries[key.place].terms {
            terms.notes.charges = charges;
        }
        true
    }

    /// No settlement of this run will follow.
    pub(in crate::scheduler) fn forget_charges(&mut self, place: u32) {
        if let Some(terms) = &mut self.entries[place].terms {
            for (limiter, charge) in terms.notes.charges.drain(..) {
                self.limits[limiter.0 as usize].meter.forget(charge);
            }
        }
    }

    fn unblock_users(&mut self, limiter: LimiterKey, now: u64) {
        for lane in 0..self.lanes.len() as u32 {
            let state = &mut self.lanes[lane as usize];
            if !state.policy.limiters.contains(&limiter) {
                continue;
            }
            state.limits_version += 1;
            if state.block.take().is_some() {
                self.blocks.remove(lane);
                self.refresh(LaneKey(lane), now);
            }
            self.nest_lane_changed(LaneKey(lane), now);
        }
    }
}

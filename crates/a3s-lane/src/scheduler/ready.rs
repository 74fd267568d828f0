//! Which lane goes next: the ready set, the total limit and the shares that are kept of it.
//!
//! A lane that uses fewer shares than its minimum has the difference *kept*: only it may start on those. What is free beyond all
//! that is kept is *common*. A minimum puts no lane first: of the lanes that may start a command, the best ranked does. The rank is
//! by *effective priority*: that of the lane, or a more urgent one (a *boost*) once its oldest command has waited long. Among
//! equals, the lane goes first that has waited longest since its last start.
//!
//! An example, with a total of 6 of which 3 shares are in use:
//!
//! ```text
//!  lane  min  max  shares  ready  kept  on_kept  on_common
//!  vip    3    4     1       5     2       2         1       it has 3 free slots, and is 2 below its minimum
//!  mail   1    2     0       1     1       1         0
//!  bulk   0    9     2       9     0       0         7
//!  sum               3             3       3         8
//! ```
//!
//! All 3 free shares are kept: two of vip may start and one of mail. When one of bulk ends, a fourth share is free, for the better
//! ranked of vip and bulk. When the total or a minimum is changed while commands run, fewer shares may be free than are kept: see `shortage`.
//!
//! Without a total limit there are more shares than commands, and none is kept.

mod shortage;
mod shortcuts;

use super::decision::LaneKey;
use super::lane::LaneState;
use super::{IndexedHeap, Scheduler};
use crate::hint::unlikely;

/// What a lane could start now, and what is kept for it; also the sum over all lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Shares of the total that are kept for this lane: as many as it has below its minimum, whether or not it has commands.
    pub(super) kept: usize,
    /// Commands that could start without a free share: favoured children.
    pub(super) exempt: usize,
    /// Commands that could start on a kept share.
    pub(super) on_kept: usize,
    /// Commands that could start on a share that is for anybody.
    pub(super) on_common: usize,
}

impl Demand {
    /// How many commands could start now if shares were free.
    pub(super) fn startable(self) -> usize {
        self.exempt + self.on_kept + self.on_common
    }

    /// The sum after one of its parts has changed.
    fn replaced(self, before: Self, after: Self) -> Self {
        Self {
            kept: self.kept - before.kept + after.kept,
            exempt: self.exempt - before.exempt + after.exempt,
            on_kept: self.on_kept - before.on_kept + after.on_kept,
            on_common: self.on_common - before.on_common + after.on_common,
        }
    }
}

impl LaneState {
    /// What it could start now, and what is kept for it.
    #[inline]
    pub(super) fn demand_now(&self, has_total: bool) -> Demand {
        let startable = match self.block {
            None => self.startable(),
            Some(_) => 0,
        };
        let kept = match has_total {
            true => self.policy.min.saturating_sub(self.shares),
            false => 0,
        };
        let exempt = if startable > 0 { self.exempt() } else { 0 };
        let on_kept = (startable - exempt).min(kept);
        Demand {
            kept,
            exempt,
            on_kept,
            on_common: startable - exempt - on_kept,
        }
    }
}

/// How a lane ranks among those that can start a command, the smallest first: effective priority (a smaller number is more urgent),
/// then the number of its last start; then, by the heap, that of the lane.
pub(super) type Rank = (u8, u64);

/// The lanes that could start a command, by rank. Which heaps a lane is in follows from its demand.
#[derive(Debug)]
pub(super) struct ReadySet {
    /// Those that could start one on a share for anybody, and none on a kept one.
    pub(super) common: IndexedHeap<Rank>,
    /// Those that could start one on a kept share. A start ranks its lane anew: when its kept shares are in use, it may go to `common`.
    pub(super) reserved: IndexedHeap<Rank>,
    /// Those that could start a favoured child, maybe also in one of the others.
    pub(super) exempt: IndexedHeap<Rank>,
    /// The sum over all lanes, whether or not they are in.
    pub(super) demand: Demand,
}

impl ReadySet {
    pub(super) fn new() -> Self {
        Self {
            common: IndexedHeap::new(),
            reserved: IndexedHeap::new(),
            exempt: IndexedHeap::new(),
            demand: Demand::default(),
        }
    }

    #[inline]
    fn set(&mut self, lane: LaneKey, rank: Rank, demand: Demand) {
        let is_reserved = demand.on_kept > 0;
        let is_common = !is_reserved && demand.on_common > 0;
        let is_exempt = demand.exempt > 0;
        // `None` takes it out.
        self.common.assign(lane.0, is_common.then_some(rank));
        if unlikely(is_reserved || !self.reserved.is_empty()) {
            self.reserved.assign(lane.0, is_reserved.then_some(rank));
        }
        if unlikely(is_exempt || !self.exempt.is_empty()) {
            self.exempt.assign(lane.0, is_exempt.then_some(rank));
        }
    }

    #[inline]
    fn remove(&mut self, lane: LaneKey) {
        self.common.remove(lane.0);
        self.reserved.remove(lane.0);
        self.exempt.remove(lane.0);
    }
}

impl<T> Scheduler<T> {
    /// How many commands could start now, as far as limits on starts per time have not said otherwise.
    #[inline]
    pub(crate) fn startable(&self) -> usize {
        if !self.open {
            return 0;
        }
        let Demand {
            kept,
            exempt,
            on_kept,
            on_common,
        } = self.ready.demand;
        let free = self.free_shares();
        if free < kept {
            return exempt + self.startable_in_shortage(free, kept - free);
        }
        exempt + on_kept + on_common.min(free - kept)
    }

    /// The best ranked lane that may start a command now.
    pub(super) fn best_lane(&self) -> Option<LaneKey> {
        let free = self.free_shares();
        let exempt = self.ready.exempt.peek();
        if free == 0 {
            // No share is needed: the front of such a lane is a favoured child.
            return exempt.map(|(_, lane)| LaneKey(lane));
        }
        let kept = self.ready.demand.kept;
        // Only what is not kept is for anybody.
        let common = self.ready.common.peek().filter(|_| free > kept);
        if exempt.is_none() && self.ready.reserved.is_empty() {
            // The usual case.
            return common.map(|(_, lane)| LaneKey(lane));
        }
        let reserved = if free >= kept {
            self.ready.reserved.peek()
        } else {
            // Too few for all: only a lane that leaves the others what is kept for them, if any.
            self.best_in_shortage()
        };
        let best = [common, reserved, exempt].into_iter().flatten().min();
        best.map(|(_, lane)| LaneKey(lane))
    }

    /// Whether shares are limited.
    #[inline]
    pub(super) fn has_total(&self) -> bool {
        self.total != usize::MAX
    }

    /// How many shares are not in use.
    #[inline]
    pub(super) fn free_shares(&self) -> usize {
        self.total.saturating_sub(self.shares)
    }

    /// Brings effective priorities up to date, and lets blocked lanes be asked again whose time has come.
    pub(super) fn catch_up(&mut self, now: u64) {
        while let Some(lane) = self.blocks.pop_if(|at| at <= now) {
            self.lanes[lane as usize].block = None;
            self.refresh(LaneKey(lane), now);
        }
        while let Some(lane) = self.boosts.pop_if(|at| at <= now) {
            self.refresh(LaneKey(lane), now);
        }
    }

    /// Brings everything up to date after anything about `lane` changed.
    #[inline]
    pub(super) fn refresh(&mut self, lane: LaneKey, now: u64) {
        self.rank_lane(lane, now);
        self.nest_lend(now);
    }

    /// As `refresh`, but takes up no offers: the caller ends with `nest_lend`. In this order it brings up to date
    ///
    /// - whether a limit still refuses the lane: if so, nothing of it can start;
    /// - whether it lets more awaited children start (an *offer*);
    /// - that it has a free slot (`vacated`);
    /// - that it may lose a command (`givers`);
    /// - its demand and its rank.
    pub(super) fn rank_lane(&mut self, lane: LaneKey, now: u64) {
        if unlikely(self.lanes[lane.index()].block.is_some()) {
            self.review_block(lane, now);
        }
        self.nest_note_opening(lane);
        let has_total = self.has_total();
        let state = &mut self.lanes[lane.index()];
        if unlikely(state.take_vacated()) {
            self.vacated.push(lane);
        }
        if unlikely(self.preemptible_lanes > 0 || !self.givers.is_empty()) {
            self.givers.assign(lane.0, state.as_giver());
        }
        let demand = state.demand_now(has_total);
        let before = std::mem::replace(&mut state.demand, demand);
        if demand != before {
            self.ready.demand = self.ready.demand.replaced(before, demand);
        }
        if demand.startable() > 0 {
            let (priority, change) = state.urgency(now);
            let rank = (priority, state.last_served);
            if unlikely(change.is_some() || !self.boosts.is_empty()) {
                self.boosts.assign(lane.0, change);
            }
            self.ready.set(lane, rank, demand);
        } else if before.startable() > 0 {
            self.boosts.remove(lane.0);
            self.ready.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests;

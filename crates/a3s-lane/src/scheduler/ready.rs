//! Which lane goes next: the ready set, the total limit and the shares that are kept of it.
//!
//! An example, with a total of 6 of which 3 shares are in use:
//!
//! ```text
//!  lane  min  max  runs  ready    kept  on_kept  on_common
//!  vip    3    4    1      5       2       2         1       it has 3 free slots, and is 2 below its minimum
//!  mail   1    2    0      1       1       1         0
//!  bulk   0    9    2      9       0       0         7
//!  sum                             3       3         8
//! ```
//!
//! All 3 free shares are kept: two of vip may start and one of mail. When one of bulk ends, a fourth share is free, for the best
//! ranked lane. When instead the total becomes 5, only 2 of the 3 are free, and each lane leaves the others what is kept for
//! them: one of vip may start, none of mail.

use std::cmp::Reverse;

use super::Scheduler;
use super::decision::LaneKey;
use super::lane::{Block, LaneState};

/// What a lane could start now, and what is kept for it; also the sum over all lanes.
///
/// Without a total limit the commands are told apart all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Shares of the total that are kept for this lane: as many as it has below its minimum.
    pub(super) kept: usize,
    /// Commands that could start on no share of the total (awaited children), on a kept one, and on one that is for anybody.
    pub(super) exempt: usize,
    pub(super) on_kept: usize,
    pub(super) on_common: usize,
}

impl Demand {
    /// How many commands could start now.
    pub(super) fn room(self) -> usize {
        self.exempt + self.on_kept + self.on_common
    }

    /// The sum after one of its parts has changed.
    pub(super) fn replaced(self, before: Self, after: Self) -> Self {
        Self {
            kept: self.kept - before.kept + after.kept,
            exempt: self.exempt - before.exempt + after.exempt,
            on_kept: self.on_kept - before.on_kept + after.on_kept,
            on_common: self.on_common - before.on_common + after.on_common,
        }
    }
}

impl<T> Scheduler<T> {
    /// How many commands could start now, as far as limits on starts per time have not said otherwise.
    #[inline]
    pub(crate) fn startable(&self) -> usize {
        let Demand {
            kept,
            exempt,
            on_kept,
            on_common,
        } = self.demand;
        if !self.open {
            return 0;
        }
        let Some(total) = self.total else {
            return exempt + on_kept + on_common;
        };
        let free = total.saturating_sub(self.shares);
        if free < kept {
            return exempt + self.startable_of_too_few(free, kept - free);
        }
        exempt + on_kept + on_common.min(free - kept)
    }

    /// The limits were changed while commands ran: of the shares that are kept so many are `missing`.
    fn startable_of_too_few(&self, free: usize, missing: usize) -> usize {
        let lanes = self.lanes.iter().map(|lane| lane.demand);
        let of_lanes = lanes.map(|lane| lane.on_kept.min(lane.kept.saturating_sub(missing)));
        of_lanes.sum::<usize>().min(free)
    }

    /// The best ranked lane that may start a command under the total limit.
    pub(super) fn best_lane(&self) -> Option<LaneKey> {
        let Some(total) = self.total else {
            return self.common.peek().map(|(_, lane)| LaneKey(lane));
        };
        let free = total.saturating_sub(self.shares);
        let exempt = self.exempt.peek();
        if free == 0 {
            return exempt.map(|(_, lane)| LaneKey(lane));
        }
        let kept = self.demand.kept;
        let common = self.common.peek().filter(|_| free > kept);
        let reserved = if free >= kept {
            self.reserved.peek()
        } else {
            let lanes = self.reserved.iter();
            lanes
                .filter(|(_, lane)| self.is_admitted(LaneKey(*lane)))
                .min()
        };
        let best = [common, reserved, exempt].into_iter().flatten().min();
        best.map(|(_, lane)| LaneKey(lane))
    }

    /// Whether the total limit leaves a share for this lane: one that is not kept for another.
    pub(super) fn is_admitted(&self, lane: LaneKey) -> bool {
        self.total.is_none_or(|total| {
            let free = total.saturating_sub(self.shares);
            let own = self.lanes[lane.index()].demand.kept;
            free > 0 && free + own > self.demand.kept
        })
    }

    /// Brings effective priorities up to date, and lets lanes take part again whose refusal is over.
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

    /// Brings the ready set up to date.
    pub(super) fn rank_lane(&mut self, lane: LaneKey, now: u64) {
        if self.lanes[lane.index()].block.is_some() {
            self.review_block(lane, now);
        }
        self.nest_note_opening(lane);
        let state = &mut self.lanes[lane.index()];
        if state.watched && state.free_slots() > 0 {
            state.watched = false;
            self.vacated.push(lane);
        }
        let gives = state.policy.preemptible && state.shares > state.policy.min;
        let priority = Reverse(state.policy.priority);
        self.givers.assign(lane.0, gives.then_some(priority));
        let demand = state.demand_now();
        let before = std::mem::replace(&mut state.demand, demand);
        if demand != before {
            self.demand = self.demand.replaced(before, demand);
        }
        if demand.room() == 0 {
            // Without room before, it is in none of them.
            if before.room() > 0 {
                self.common.remove(lane.0);
                self.reserved.remove(lane.0);
                self.exempt.remove(lane.0);
                self.boosts.remove(lane.0);
            }
            return;
        }
        let (priority, change) = state.urgency(now);
        let rank = (priority, state.last_served);
        self.boosts.assign(lane.0, change);
        if self.total.is_none() {
            self.common.set(lane.0, rank);
            self.reserved.remove(lane.0);
            self.exempt.remove(lane.0);
            return;
        }
        let is_reserved = demand.on_kept > 0;
        let is_common = !is_reserved && demand.on_common > 0;
        self.exempt
            .assign(lane.0, (demand.exempt > 0).then_some(rank));
        self.reserved.assign(lane.0, is_reserved.then_some(rank));
        self.common.assign(lane.0, is_common.then_some(rank));
    }

    /// Leaves a lane alone until `due`, or until its effective priority changes, which may bring another front.
    pub(super) fn block(&mut self, lane: LaneKey, place: u32, due: u64, now: u64) {
        let front = self.entries[place].serial;
        self.lanes[lane.index()].block = Some(Block { due, front });
        self.refresh(lane, now);
        self.nest_refused(place, due, now);
    }

    /// Looks whether a lane that a limit has refused is still refused.
    #[cold]
    fn review_block(&mut self, lane: LaneKey, now: u64) {
        let state = &mut self.lanes[lane.index()];
        if let Some(block) = state.block {
            let front = state.front(now).map(|place| self.entries[place].serial);
            if front != Some(block.front) {
                state.block = None;
            }
            // Another command may be the oldest now: the front may change at another time.
            let (_, change) = state.urgency(now);
            let until = change.map_or(block.due, |at| at.min(block.due));
            if state.block.is_some() && until != u64::MAX {
                self.blocks.set(lane.0, until);
            } else {
                self.blocks.remove(lane.0);
            }
        }
    }
}

#[cfg(test)]
mod tests;

impl LaneState {
    #[inline]
    fn demand_now(&self) -> Demand {
        let room = match self.block {
            None => self.room(),
            Some(_) => 0,
        };
        let kept = self.policy.min.saturating_sub(self.shares);
        let exempt = if room > 0 { self.exempt() } else { 0 };
        let on_kept = (room - exempt).min(kept);
        Demand {
            kept,
            exempt,
            on_kept,
            on_common: room - exempt - on_kept,
        }
    }
}

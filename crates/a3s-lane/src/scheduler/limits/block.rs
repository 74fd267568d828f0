//! Lanes that a limit on starts per time has refused.
//!
//! Such a lane is *blocked*: it starts nothing until the limit grants its front (`catch_up`), or has changed (`metered`), or
//! another command is its front (`rank_lane`).

use crate::scheduler::Scheduler;
use crate::scheduler::decision::LaneKey;

/// What a limit has said.
#[derive(Debug, Clone, Copy)]
pub(in crate::scheduler) struct Block {
    /// When the limits grant.
    pub(in crate::scheduler) due: u64,
    /// What it was asked for: the serial of the lane's front.
    pub(in crate::scheduler) front: u64,
}

impl<T> Scheduler<T> {
    /// Leaves a lane alone until `due`, or until its effective priority changes, which may bring another front.
    pub(in crate::scheduler) fn block(&mut self, lane: LaneKey, place: u32, due: u64, now: u64) {
        let front = self.entries[place].serial;
        self.lanes[lane.index()].block = Some(Block { due, front });
        self.refresh(lane, now);
        self.nest_refused(place, due, now);
    }

    /// Looks whether a lane that a limit has refused is still refused.
    #[cold]
    pub(in crate::scheduler) fn review_block(&mut self, lane: LaneKey, now: u64) {
        let state = &mut self.lanes[lane.index()];
        let Some(block) = state.block else {
            return;
        };
        let front = state.front(now).map(|place| self.entries[place].serial);
        if front != Some(block.front) {
            state.block = None;
        }
        // Another command may be the oldest now: the front may change at another time.
        let (_, change) = state.urgency(now);
        let until = change.map_or(block.due, |at| at.min(block.due));
        let until = Some(until).filter(|at| state.block.is_some() && *at != u64::MAX);
        self.blocks.assign(lane.0, until);
    }
}

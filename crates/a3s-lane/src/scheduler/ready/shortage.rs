//! Fewer shares are free than are kept: a total or a minimum was changed while commands ran.
//!
//! In the example of `ready`, when the total becomes 5: 2 shares are free for the 3 that are kept, and each lane leaves the others
//! what is kept for them. One of vip may start, none of mail. After that none, until one of bulk ends: vip and mail leave the last
//! share to each other.

use super::Rank;
use crate::scheduler::Scheduler;
use crate::scheduler::decision::LaneKey;

impl<T> Scheduler<T> {
    /// Whether there is a free share for this lane: one that is not kept for another.
    pub(in crate::scheduler) fn has_share_for(&self, lane: LaneKey) -> bool {
        let own = self.lanes[lane.index()].demand.kept;
        self.free_shares() > self.ready.demand.kept - own
    }

    /// The best of the lanes that could start a command on a share that is kept for them.
    pub(in crate::scheduler) fn best_in_shortage(&self) -> Option<(Rank, u32)> {
        let lanes = self.ready.reserved.iter();
        lanes
            .filter(|(_, lane)| self.has_share_for(LaneKey(*lane)))
            .min()
    }

    /// How many commands could start on `free` shares, exempt ones aside, where of the shares that are kept so many are `missing`.
    ///
    /// A lane may start one while more are free than are kept for the others ([`has_share_for`](Self::has_share_for)): as often as its
    /// own kept ones exceed `missing`. A start takes one off both what is free and what is kept, so `missing` stays.
    pub(in crate::scheduler) fn startable_in_shortage(&self, free: usize, missing: usize) -> usize {
        let lanes = self.lanes.iter().map(|lane| lane.demand);
        let of_lanes = lanes.map(|lane| lane.on_kept.min(lane.kept.saturating_sub(missing)));
        of_lanes.sum::<usize>().min(free)
    }
}

//! When `refresh` would find nothing new. Each `Else` says why the condition below it is needed.

use super::Demand;
use crate::scheduler::Scheduler;
use crate::scheduler::decision::LaneKey;
use crate::scheduler::lane::LaneState;

impl<T> Scheduler<T> {
    /// Whether `refresh` would find nothing new after a command of this lane has gone.
    #[inline]
    pub(in crate::scheduler) fn is_indifferent_to_room(&self, lane: LaneKey) -> bool {
        let state = &self.lanes[lane.index()];
        // Else a share more is kept for it.
        !self.has_total()
            // Else one more could start.
            && state.ready == 0
            && state.demand == Demand::default()
            // Else it may not be refused any more.
            && state.block.is_none()
            // Else somebody is to be told of the room.
            && !state.watched
            && !state.ahead.is_awaited()
            && self.nest_offers.is_empty()
            // Else it may have been one that can lose a command.
            && self.givers.is_empty()
    }
}

impl LaneState {
    /// Whether `refresh` would find nothing new after one more command without terms has joined.
    #[inline]
    pub(in crate::scheduler) fn is_indifferent(&self) -> bool {
        // The newcomer is counted already. Else one more could start. Never true with keys.
        self.more_wait_than_free_slots()
            // Else the newcomer may be a front that was not refused.
            && self.block.is_none()
            // Else its effective priority may be another by now, and so the time when that changes next.
            && !self.policy.is_aged()
    }
}

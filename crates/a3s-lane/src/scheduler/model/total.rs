//! The total limit, and the slots that are kept for lanes below their minimum.

use super::Model;

impl Model {
    pub(in crate::scheduler) fn set_total(&mut self, total: Option<usize>, now: u64) {
        self.total = total;
        for lane in self.lane_numbers() {
            self.touch(lane, now);
        }
    }

    /// How many shares of the total are in use: those that are lent once.
    pub(in crate::scheduler) fn active_in_all(&self) -> usize {
        let commands = self.commands.iter();
        commands.filter(|command| command.owns_share()).count()
    }

    /// How many of these are of commands of the lane.
    pub(super) fn shares(&self, lane: usize) -> usize {
        let commands = self.of_lane(lane);
        commands.filter(|command| command.owns_share()).count()
    }

    /// Free slots of the total; `None` without a total.
    pub(in crate::scheduler) fn free(&self) -> Option<usize> {
        let active = self.active_in_all();
        self.total.map(|total| total.saturating_sub(active))
    }

    /// How many slots are kept for a lane.
    pub(in crate::scheduler) fn kept_for(&self, lane: usize) -> usize {
        self.lane(lane)
            .rules
            .min()
            .saturating_sub(self.shares(lane))
    }

    pub(in crate::scheduler) fn kept_for_all(&self) -> usize {
        let lanes = self.lane_numbers().into_iter();
        lanes.map(|lane| self.kept_for(lane)).sum()
    }

    /// Whether there is a slot for this lane that is not kept for another, or a child of it needs none.
    pub(in crate::scheduler) fn admits(&self, lane: usize) -> bool {
        !self.exempt(lane).is_empty() || self.has_free_share(lane)
    }

    pub(super) fn has_free_share(&self, lane: usize) -> bool {
        let Some(free) = self.free() else {
            return true;
        };
        free > 0 && free + self.kept_for(lane) > self.kept_for_all()
    }
}

//! In the place of `metered` without the feature `distributed`: starts are not limited in time.

use crate::scheduler::Scheduler;
use crate::scheduler::decision::LaneKey;

impl<T> Scheduler<T> {
    #[expect(clippy::unused_self, reason = "as in `metered`")]
    pub(in crate::scheduler) fn check_limits(
        &self,
        _lane: LaneKey,
        _place: u32,
        _now: u64,
    ) -> Result<(), u64> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "as in `metered`")]
    pub(in crate::scheduler) fn charge_limits(&self, _lane: LaneKey, _place: u32, _now: u64) {}

    #[expect(clippy::unused_self, reason = "as in `metered`")]
    pub(in crate::scheduler) fn forget_charges(&self, _place: u32) {}
}

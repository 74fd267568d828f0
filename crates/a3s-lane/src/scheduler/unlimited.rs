//! In the place of `limits` without the feature `distributed`: starts are not limited in time.

use super::Scheduler;
use super::decision::LaneKey;

impl<T> Scheduler<T> {
    #[expect(clippy::unused_self, reason = "as in `limits`")]
    pub(super) fn check_limits(&self, _lane: LaneKey, _place: u32, _now: u64) -> Result<(), u64> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "as in `limits`")]
    pub(super) fn charge_limits(&self, _lane: LaneKey, _place: u32, _now: u64) {}

    #[expect(clippy::unused_self, reason = "as in `limits`")]
    pub(super) fn forget_charges(&self, _place: u32) {}
}

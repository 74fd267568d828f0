//! What must hold of families at any moment, and at their end.

use super::*;

impl Family {
    /// What holds after every operation.
    pub(in super::super) fn check(&self) -> Checked {
        if let Err(message) = self.scheduler.check_nests() {
            prop_assert!(false, "{}", message);
        }
        for (lane, rules) in self.lanes.iter().enumerate() {
            let slots = self.slots(lane);
            prop_assert!(slots <= rules.max(), "{} of {} slots", slots, rules.max());
            prop_assert!(self.moving(|member| member.lane == lane) <= slots);
            let waiting = self
                .members
                .values()
                .filter(|member| member.lane == lane && !member.holds_slot());
            prop_assert_eq!(
                self.scheduler.lane(lane_key(lane)).counts.pending,
                waiting.count()
            );
        }
        prop_assert!(self.moving(|_| true) <= self.scheduler.shares);
        let waiting = self.members.values().filter(|member| !member.holds_slot());
        prop_assert_eq!(self.scheduler.pending, waiting.count());
        Ok(())
    }

    /// Bodies that do not wait end, one after the other, until all is done.
    pub(in super::super) fn finish(&mut self, picks: &[u8], keys: u8) -> Checked {
        for lane in 0..self.lanes.len() {
            self.scheduler.pause_lane(lane_key(lane), false, self.now);
        }
        for key in 0..keys {
            self.scheduler.pause_key(&key_name(key), false, self.now);
        }
        let mut picks = picks.iter().copied().cycle();
        while !self.members.is_empty() {
            self.settle()?;
            self.check()?;
            let pick = picks.next().unwrap_or_default();
            let able = self.pick_serial(pick, |family, serial, member| {
                member.holds_slot() && !family.stands_still(serial)
            });
            if let Some(serial) = able {
                self.end_run(serial, Ending::Completed)?;
            } else if let Some(wake) = self.scheduler.next_wake() {
                prop_assert!(wake > self.now, "nothing happens at {}", wake);
                self.now = wake;
            } else {
                prop_assert!(self.members.is_empty(), "deadlock: {:#?}", self.members);
            }
            self.check()?;
        }
        Ok(())
    }

    pub(in super::super) fn check_end(&self) -> Checked {
        let mut left = self.left.clone();
        left.sort_unstable();
        prop_assert_eq!(left, self.accepted.keys().copied().collect::<Vec<_>>());
        prop_assert!(self.scheduler.is_empty_throughout());
        Ok(())
    }
}

//! The state of the scheduler against the state of the model.

use proptest::prelude::*;

use super::world::{Checked, World};
use crate::scheduler::model::Phase;
use crate::scheduler::{CommandKey, LaneKey};

impl World {
    /// Everything that the scheduler says about itself.
    pub(super) fn compare(&self) -> Checked {
        for lane in 0..self.model.lanes.len() {
            let counts = self.scheduler.counts(LaneKey(lane as u32));
            prop_assert_eq!(counts.pending, self.model.pending(lane));
            prop_assert_eq!(counts.active, self.model.active(lane));
            let rules = &self.model.lanes[lane].rules;
            prop_assert_eq!(
                (counts.min, counts.max),
                (rules.min.min(rules.max()), rules.max())
            );
            prop_assert_eq!(
                self.scheduler
                    .effective_priority(LaneKey(lane as u32), self.now),
                self.model.effective_priority(lane, self.now)
            );
        }
        let lanes = 0..self.model.lanes.len();
        prop_assert_eq!(
            self.scheduler.pending(),
            lanes
                .clone()
                .map(|lane| self.model.pending(lane))
                .sum::<usize>()
        );
        prop_assert_eq!(
            self.scheduler.active(),
            lanes.map(|lane| self.model.active(lane)).sum::<usize>()
        );
        prop_assert_eq!(self.scheduler.startable(), self.model.startable());
        prop_assert_eq!(self.scheduler.next_wake(), self.model.next_wake());
        prop_assert_eq!(self.scheduler.is_open(), self.model.open);
        let mut running: Vec<u64> = self.scheduler.running().map(CommandKey::serial).collect();
        running.sort_unstable();
        let holding = self
            .model
            .commands
            .iter()
            .filter(|command| command.holds_slot());
        prop_assert_eq!(
            running,
            holding.map(|command| command.serial).collect::<Vec<_>>()
        );
        for command in &self.model.commands {
            let attempt = self
                .scheduler
                .running_attempt(self.key(command.serial), command.attempt);
            let overdue = match command.phase {
                Phase::Running => Some(false),
                Phase::Overdue => Some(true),
                _ => None,
            };
            prop_assert_eq!(attempt.map(|attempt| attempt.overdue), overdue);
        }
        Ok(())
    }
}

//! The state of the scheduler against the state of the model.

use proptest::prelude::*;

use super::world::{Checked, World, lane_key};
use crate::scheduler::CommandKey;
use crate::scheduler::model::{Command, Phase};

impl World {
    /// Everything that the scheduler says about itself.
    pub(super) fn compare(&self) -> Checked {
        let (scheduler, model) = (&self.scheduler, &self.model);
        let (mut pending, mut active) = (0, 0);
        for (lane, key) in self.lane_keys() {
            let counts = scheduler.counts(key);
            let rules = &model.lane(lane).rules;
            prop_assert_eq!(counts.pending, model.pending(lane));
            prop_assert_eq!(counts.active, model.active(lane));
            prop_assert_eq!((counts.min, counts.max), (rules.min(), rules.max()));
            prop_assert_eq!(
                scheduler.effective_priority(key, self.now),
                model.effective_priority(lane, self.now)
            );
            prop_assert_eq!(scheduler.is_lane_paused(key), model.lane(lane).paused);
            pending += counts.pending;
            active += counts.active;
        }
        prop_assert_eq!(scheduler.pending(), pending);
        prop_assert_eq!(scheduler.active(), active);
        prop_assert_eq!(scheduler.total(), model.total);
        prop_assert_eq!(scheduler.is_open(), model.open);
        prop_assert_eq!(scheduler.startable() > 0, model.could_start());
        prop_assert_eq!(scheduler.next_wake(), model.next_wake());
        let mut running: Vec<u64> = scheduler.running().map(CommandKey::serial).collect();
        running.sort_unstable();
        prop_assert_eq!(running, serials(model.commands.iter(), Command::holds_slot));
        self.compare_runs()?;
        self.compare_limiters()
    }

    fn compare_runs(&self) -> Checked {
        let (scheduler, model) = (&self.scheduler, &self.model);
        let positions = scheduler.positions();
        for command in &model.commands {
            let key = self.key(command.serial);
            prop_assert_eq!(
                scheduler.explain_with(key, &positions, self.now),
                scheduler.explain(key, self.now)
            );
            let running = scheduler.running_attempt(key, command.run);
            prop_assert_eq!(running.is_some(), command.phase == Phase::Running);
            if let Some(running) = running {
                prop_assert_eq!(running.lane, lane_key(command.lane));
                prop_assert_eq!(running.stop, command.stop);
                prop_assert_eq!(running.drop, command.dropped);
                prop_assert_eq!(running.timeout_ns, command.timeout_ns);
                prop_assert_eq!(running.progress_ns, command.progress_ns);
                prop_assert_eq!(running.attempt, command.attempt());
                prop_assert_eq!(running.started_at, command.started_at);
            }
            let job = scheduler
                .commands()
                .find(|(other, ..)| *other == key)
                .map(|(_, lane, job)| (lane, *job));
            prop_assert_eq!(job, Some((lane_key(command.lane), command.serial)));
        }
        Ok(())
    }
}

fn serials<'a>(
    commands: impl Iterator<Item = &'a Command>,
    which: impl Fn(&Command) -> bool,
) -> Vec<u64> {
    let commands = commands.filter(|command| which(command));
    let mut serials: Vec<u64> = commands.map(|command| command.serial).collect();
    serials.sort_unstable();
    serials
}

//! The state of the scheduler against the state of the model.

use proptest::prelude::*;

use super::world::{Checked, World, lane_key};
use crate::config::Overflow;
use crate::scheduler::CommandKey;
use crate::scheduler::model::{Command, Phase};

impl World {
    /// Everything that the scheduler says about itself.
    pub(super) fn compare(&self) -> Checked {
        let (scheduler, model) = (&self.scheduler, &self.model);
        let mut pending = 0;
        for (lane, key) in self.lane_keys() {
            let view = scheduler.lane(key);
            let counts = view.counts;
            let rules = &model.lane(lane).rules;
            prop_assert_eq!(counts.pending, model.pending(lane));
            prop_assert_eq!(counts.active, model.active(lane));
            prop_assert_eq!((counts.min, counts.max), (rules.min(), rules.max()));
            prop_assert_eq!(
                view.effective_priority(self.now),
                model.effective_priority(lane, self.now)
            );
            prop_assert_eq!(view.paused, model.lane(lane).paused);
            if matches!(view.max_pending, Some((_, Overflow::DropOldest))) {
                let oldest = scheduler.lanes[key.index()].oldest_of_all();
                prop_assert_eq!(view.can_drop > 0, oldest.is_some());
            }
            pending += counts.pending;
        }
        let overview = scheduler.overview();
        prop_assert_eq!(overview.pending, pending);
        prop_assert_eq!(overview.active, model.active_in_all());
        prop_assert_eq!(overview.total, model.total);
        prop_assert_eq!(overview.open, model.open);
        prop_assert_eq!(scheduler.startable() > 0, model.could_start());
        prop_assert_eq!(scheduler.next_wake(), model.next_wake());
        let running = scheduler.commands().filter(|command| command.holds_slot);
        let mut running: Vec<u64> = running.map(|command| command.key.serial()).collect();
        running.sort_unstable();
        prop_assert_eq!(running, serials(model.commands.iter(), Command::holds_slot));
        self.compare_runs()?;
        self.compare_favours()?;
        self.compare_limiters()
    }

    /// Who goes before the others of its lane, in which order, and in whose slot.
    fn compare_favours(&self) -> Checked {
        let lanes = self.model.lane_numbers().into_iter();
        let ahead = lanes.flat_map(|lane| self.model.ahead(lane));
        let favour = |command: &Command| command.ties.favour.and_then(|favour| favour.lender);
        let ahead = ahead.map(|command| (command.serial, favour(command)));
        prop_assert_eq!(self.scheduler.all_favoured(), ahead.collect::<Vec<_>>());
        Ok(())
    }

    fn compare_runs(&self) -> Checked {
        let (scheduler, model) = (&self.scheduler, &self.model);
        let keys = model.commands.iter();
        let keys: Vec<CommandKey> = keys.map(|command| self.key(command.serial)).collect();
        // Many at once are explained in another way than one.
        let together = scheduler.explain(&keys, self.now);
        let alone = keys
            .iter()
            .flat_map(|key| scheduler.explain(&[*key], self.now));
        prop_assert_eq!(together, alone.collect::<Vec<_>>());
        for (command, &key) in model.commands.iter().zip(&keys) {
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
            let view = scheduler.command(key).expect("the model has it");
            prop_assert_eq!(
                (view.lane, *view.job),
                (lane_key(command.lane), command.serial)
            );
            prop_assert_eq!((view.key, view.attempts), (key, command.attempt()));
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

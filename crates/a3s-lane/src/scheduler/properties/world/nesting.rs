//! Bodies that submit children and wait for them.

use super::super::rules::CommandRules;
use super::{Checked, World};
use crate::scheduler::Ending;
use crate::scheduler::model::{Command, Phase};

impl World {
    /// Goes on to that time, and handles what is due at its own. A child that is not favoured any more finds its place by the
    /// time at which it became ready: so whatever is done next comes after all that became ready before.
    pub(super) fn pass_to(&mut self, to: u64) -> Checked {
        let mut to = self.now.max(to);
        while let Some(wake) = self.scheduler.next_wake().filter(|wake| *wake <= to) {
            self.now = self.now.max(wake);
            self.tick()?;
            to = to.max(self.now + 1);
        }
        self.now = to;
        Ok(())
    }

    /// Tells the model what the scheduler has set aside, before it makes the same call.
    pub(super) fn heed(&mut self) {
        self.model.heed(self.scheduler.all_favoured());
    }

    pub(super) fn spawn(
        &mut self,
        pick: u8,
        lane: usize,
        rules: &CommandRules,
        waits: bool,
    ) -> Checked {
        let Some((parent, run)) = self.pick(pick, Phase::Running) else {
            return Ok(());
        };
        let serial = self.scheduler.draw_serial();
        self.submit(lane, serial, rules, Some(parent))?;
        if waits && self.model.get(serial).is_some() {
            self.set_awaited(parent, run, serial, true);
        }
        Ok(())
    }

    pub(super) fn await_one(&mut self, pick: u8, any: bool, run: u32) {
        let child = self.pick_of(pick, |child| any || self.parent(child).is_some());
        self.set_awaited_by_its_parent(child, run, true);
    }

    pub(super) fn leave_one(&mut self, pick: u8, any: bool, run: u32) {
        let is_awaited = |child: &Command| {
            let parent = self.parent(child);
            parent.is_some_and(|parent| parent.ties.awaits.contains(&child.serial))
        };
        let child = self.pick_of(pick, |child| any || is_awaited(child));
        self.set_awaited_by_its_parent(child, run, false);
    }

    pub(super) fn end_leaf(&mut self, pick: u8, ending: Ending) -> Checked {
        let is_leaf =
            |command: &Command| command.phase == Phase::Running && command.ties.awaits.is_empty();
        match self.pick_of(pick, is_leaf) {
            Some((serial, run)) => self.end_run(serial, run, ending, u64::from(pick)),
            None => Ok(()),
        }
    }

    fn parent(&self, child: &Command) -> Option<&Command> {
        self.model.get(child.ties.parent?)
    }

    /// By its parent, else by the first command that runs; as of the present run, or so many runs before.
    fn set_awaited_by_its_parent(&mut self, child: Option<(u64, u32)>, ago: u32, awaited: bool) {
        let Some((child, _)) = child else {
            return;
        };
        let parent = self.model.get(child).and_then(|child| self.parent(child));
        let parent = parent.map(|parent| (parent.serial, parent.run));
        if let Some((parent, run)) = parent.or_else(|| self.pick(0, Phase::Running)) {
            self.set_awaited(parent, run.saturating_sub(ago), child, awaited);
        }
    }

    fn set_awaited(&mut self, parent: u64, run: u32, child: u64, awaited: bool) {
        let (above, below) = (self.key(parent), self.key(child));
        if awaited {
            self.scheduler.await_child(above, run, below, self.now);
        } else {
            self.scheduler.leave_child(above, run, below, self.now);
        }
        self.heed();
        self.model
            .set_awaited(parent, run, child, awaited, self.now);
    }
}

//! Who waits for whom, and who could lend a slot to whom.

use std::ops::Bound;

use super::super::Scheduler;
use super::super::decision::CommandKey;
use super::super::entry::Entry;
use super::Nest;

impl<T> Scheduler<T> {
    /// A command with terms has entered.
    pub(in crate::scheduler) fn nest_submit(&mut self, place: u32) {
        if let Some(parent) = self.entries[place].parent()
            && let Some(parent) = self.entries.alive_mut(parent)
        {
            parent.terms.get_or_insert_default().notes.is_parent = true;
        }
    }

    /// The body of `parent` waits for `child`. Does nothing unless the parent runs and submitted the child.
    pub(crate) fn await_child(
        &mut self,
        parent: CommandKey,
        run: u32,
        child: CommandKey,
        now: u64,
    ) {
        let runs = |entry: &Entry<T>| entry.is_running(parent, run);
        let is_its = |entry: &Entry<T>| entry.parent() == Some(parent);
        if !self.entries.alive(parent).is_some_and(runs)
            || !self.entries.alive(child).is_some_and(is_its)
        {
            return;
        }
        if let Some(nest) = self.nest_mut(parent) {
            nest.awaits.insert(child);
        }
        self.set_awaited(child, true);
        // Who is above the child may lend to it, and to those below it.
        self.try_favour(child, now);
        self.favour_below(child, false, now);
        self.nest_lend(now);
    }

    /// This run of `parent` does not wait for `child` any more. What runs keeps what it was lent until it ends; what has
    /// not started loses it to the others that the family waits for.
    pub(crate) fn leave_child(
        &mut self,
        parent: CommandKey,
        run: u32,
        child: CommandKey,
        now: u64,
    ) {
        let is_this_run = |entry: &Entry<T>| entry.run == run;
        if self.entries.alive(parent).is_some_and(is_this_run)
            && self.waiting_parent(child) == Some(parent)
        {
            self.nest_forget(child.place);
            self.unfavour_from(child, now);
            self.nest_lend(now);
        }
    }

    /// A command is gone or left: it is not awaited any more.
    #[inline]
    pub(in crate::scheduler) fn nest_forget(&mut self, place: u32) {
        let entry = &self.entries[place];
        let (child, parent) = (entry.key(place), entry.parent());
        let Some(parent) = parent else {
            return;
        };
        if self.entries.alive(parent).and_then(Entry::nest).is_some()
            && let Some(nest) = self.nest_mut(parent)
        {
            nest.awaits.remove(&child);
        }
        self.set_awaited(child, false);
    }

    pub(super) fn set_awaited(&mut self, child: CommandKey, awaited: bool) {
        let Some(entry) = self.entries.alive_mut(child) else {
            return;
        };
        let lane = &mut self.lanes[entry.lane.index()];
        let Some(terms) = entry.terms.as_mut() else {
            return;
        };
        let Some(parent) = terms.parent else {
            return;
        };
        match (
            std::mem::replace(&mut terms.notes.awaited, awaited),
            awaited,
        ) {
            (false, true) => {
                if !lane.ahead.is_awaited() {
                    // Nobody has looked before.
                    let _ = lane.has_opened();
                }
                lane.ahead.add_parent(parent);
            }
            (true, false) => lane.ahead.remove_parent(parent),
            _ => {}
        }
    }

    /// The parent of a command, while it waits for it.
    pub(super) fn waiting_parent(&self, child: CommandKey) -> Option<CommandKey> {
        let terms = self.entries.alive(child)?.terms.as_ref()?;
        terms.parent.filter(|_| terms.notes.awaited)
    }

    /// Those that wait for a command, at any number of removes, the nearest first.
    pub(super) fn waiting_ancestors(
        &self,
        child: CommandKey,
    ) -> impl Iterator<Item = CommandKey> + '_ {
        std::iter::successors(self.waiting_parent(child), |above| {
            self.waiting_parent(*above)
        })
    }

    /// The nearest waiting ancestor whose slot of the child's lane is not in use.
    pub(super) fn lender_of(&self, child: CommandKey) -> Option<CommandKey> {
        let lane = self.entries.alive(child)?.lane;
        let lends = |entry: &Entry<T>| {
            entry.lane == lane && entry.holds_slot() && entry.slot().borrower.is_none()
        };
        let mut ancestors = self.waiting_ancestors(child);
        ancestors.find(|above| self.entries.alive(*above).is_some_and(lends))
    }

    /// The children that a command waits for.
    pub(super) fn awaited(&self, parent: CommandKey) -> Vec<CommandKey> {
        let nest = self.entries.alive(parent).and_then(Entry::nest);
        nest.map_or_else(Vec::new, |nest| nest.awaits.iter().copied().collect())
    }

    /// The next of them, after this one.
    pub(super) fn awaited_after(
        &self,
        parent: CommandKey,
        child: Option<CommandKey>,
    ) -> Option<CommandKey> {
        let from = child.map_or(Bound::Unbounded, Bound::Excluded);
        let nest = self.entries.alive(parent).and_then(Entry::nest)?;
        nest.awaits.range((from, Bound::Unbounded)).next().copied()
    }

    pub(super) fn nest_mut(&mut self, key: CommandKey) -> Option<&mut Nest> {
        let entry = self.entries.alive_mut(key)?;
        let terms = entry.terms.get_or_insert_default();
        Some(terms.notes.nest.get_or_insert_default())
    }
}

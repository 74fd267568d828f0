//! Nested work: a command that waits for a child lends it its slots.
//!
//! The parent's body stands still while it waits, so its slots are free for the child and for nobody else: a lane of one
//! cannot deadlock on itself, and no unrelated command gets between the two. The child starts before the other
//! commands of its lane, and gives back what it was lent when it ends.
//!
//! - In the lane of an ancestor that waits for it (its parent, or the parent of one that waits too) the child runs in that
//!   ancestor's slot. It is *lent* one.
//! - In another lane it needs a slot of that lane, but under a total limit it uses its parent's share of the total. It is
//!   *urged*.
//!
//! An awaited child does not wait for its key: neither the most slots of one key nor a pause of the key keep it back, since
//! its parent holds a slot until it has ended. A paused lane does.

#[cfg(test)]
mod check;

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Scheduler;
use super::decision::{CommandKey, LaneKey};
use super::entry::{Entry, State};
use super::flow::End;

/// What ties a command to those above and below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nest {
    /// The children that its body waits for, in the order of submission. Each knows it too.
    awaits: BTreeSet<CommandKey>,
    /// How it goes before the others of its lane while it is ready.
    pub(super) favour: Favour,
    /// Whose slot of the lane it uses, and who uses its own.
    lane_lender: Option<CommandKey>,
    lane_borrower: Option<CommandKey>,
    /// Whose share of the total it uses, and who uses its own.
    total_lender: Option<CommandKey>,
    total_borrower: Option<CommandKey>,
}

/// How an awaited child starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Favour {
    /// In its turn.
    #[default]
    None,
    /// In the slot of an ancestor.
    Lent(CommandKey),
    /// In a slot of its lane, on its parent's share of the total.
    Urged,
}

/// What can be lent again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Freed {
    /// The slot of the lane that this command holds.
    Slot(CommandKey),
    /// Its share of the total.
    Share(CommandKey),
}

impl Nest {
    fn is_alone(&self) -> bool {
        self.awaits.is_empty()
            && [
                self.lane_lender,
                self.lane_borrower,
                self.total_lender,
                self.total_borrower,
            ]
            .iter()
            .all(Option::is_none)
    }
}

impl<T> Entry<T> {
    fn nest(&self) -> Option<&Nest> {
        self.terms.as_ref()?.nest.as_deref()
    }

    pub(super) fn favour(&self) -> Favour {
        self.nest().map_or(Favour::None, |nest| nest.favour)
    }

    /// Whether stopping it would free a slot at once.
    pub(super) fn is_alone(&self) -> bool {
        self.nest().is_none_or(Nest::is_alone)
    }

    /// Whether its slot of its lane and its share of the total are its own.
    fn owns(&self) -> (bool, bool) {
        self.nest().map_or((true, true), |nest| {
            (nest.lane_lender.is_none(), nest.total_lender.is_none())
        })
    }
}

impl<T> Scheduler<T> {
    /// The body of `parent` waits for `child`. Does nothing unless the parent runs and submitted the child.
    pub(crate) fn await_child(
        &mut self,
        parent: CommandKey,
        run: u32,
        child: CommandKey,
        now: u64,
    ) {
        let Some(entry) = self.entries.get_mut(parent.place) else {
            return;
        };
        if !entry.is_running(parent, run) || self.parent_of(child) != Some(parent) {
            return;
        }
        if let Some(nest) = self.nest_mut(parent) {
            nest.awaits.insert(child);
        }
        if let Some(terms) = &mut self.entries[child.place].terms {
            terms.awaited = true;
        }
        // Who is above the child may lend to it, and to those below it.
        self.favour(child, now);
        self.favour_below(child, |_| false, now);
        self.lend_freed(now);
    }

    /// The body of `parent` does not wait for `child` any more. What runs keeps what it was lent until it ends; what has
    /// not started loses it to the others that the family waits for.
    pub(crate) fn leave_child(&mut self, parent: CommandKey, child: CommandKey, now: u64) {
        if !self.awaits(parent, child) {
            return;
        }
        self.forget_child(parent, child);
        self.unfavour_from(child, now);
        self.lend_freed(now);
    }

    /// Takes back what was set aside for a command that is not awaited any more, and below it by those above it.
    fn unfavour_from(&mut self, child: CommandKey, now: u64) {
        self.unfavour(child, now);
        // Not by recursion: families may be deep.
        let mut left = self.awaited(child);
        while let Some(below) = left.pop() {
            match self.alive(below).map(Entry::favour) {
                Some(Favour::Lent(lender)) if !self.is_awaited_by(below, lender) => {
                    self.unfavour(below, now);
                }
                _ => left.extend(self.awaited(below)),
            }
        }
    }

    fn awaited(&self, parent: CommandKey) -> Vec<CommandKey> {
        let nest = self.alive(parent).and_then(Entry::nest);
        nest.map_or_else(Vec::new, |nest| nest.awaits.iter().copied().collect())
    }

    /// The next child that a command waits for, after this one.
    fn awaited_after(&self, parent: CommandKey, child: Option<CommandKey>) -> Option<CommandKey> {
        let from = child.map_or(Bound::Unbounded, Bound::Excluded);
        let nest = self.alive(parent).and_then(Entry::nest)?;
        nest.awaits.range((from, Bound::Unbounded)).next().copied()
    }

    /// Whether an ancestor waits for a command, at any number of removes.
    fn is_awaited_by(&self, child: CommandKey, ancestor: CommandKey) -> bool {
        let mut below = child;
        while let Some(above) = self.parent_of(below)
            && self.awaits(above, below)
        {
            if above == ancestor {
                return true;
            }
            below = above;
        }
        false
    }

    /// A child that is gone is not awaited any more, also when nobody says so.
    pub(super) fn forget_child(&mut self, parent: CommandKey, child: CommandKey) {
        if self.alive(parent).and_then(Entry::nest).is_some()
            && let Some(nest) = self.nest_mut(parent)
        {
            nest.awaits.remove(&child);
        }
        self.set_unawaited(child);
    }

    fn set_unawaited(&mut self, child: CommandKey) {
        if self.alive(child).is_some()
            && let Some(terms) = &mut self.entries[child.place].terms
        {
            terms.awaited = false;
        }
    }

    /// Whether the end of a command leaves a share of the total to others: it is its own, and nobody runs on it.
    pub(super) fn frees_share(&self, place: u32) -> bool {
        let Some(nest) = self.entries[place].nest() else {
            return true;
        };
        let borrower = nest
            .total_borrower
            .and_then(|borrower| self.alive(borrower));
        nest.total_lender.is_none() && !borrower.is_some_and(Entry::holds_slot)
    }

    fn alive(&self, key: CommandKey) -> Option<&Entry<T>> {
        let entry = self.entries.get(key.place)?;
        (entry.serial == key.serial).then_some(entry)
    }

    fn nest_mut(&mut self, key: CommandKey) -> Option<&mut Nest> {
        let entry = self.entries.get_mut(key.place)?;
        if entry.serial != key.serial {
            return None;
        }
        let terms = entry.terms.get_or_insert_default();
        Some(terms.nest.get_or_insert_default())
    }

    fn nest_if_any(&mut self, key: CommandKey) -> Option<&mut Nest> {
        let entry = self.entries.get_mut(key.place)?;
        entry.terms.as_mut()?.nest.as_deref_mut()
    }

    fn parent_of(&self, key: CommandKey) -> Option<CommandKey> {
        self.alive(key)?.terms.as_ref()?.parent
    }

    fn awaits(&self, parent: CommandKey, child: CommandKey) -> bool {
        let terms = self.alive(child).and_then(|child| child.terms.as_ref());
        terms.is_some_and(|terms| terms.awaited && terms.parent == Some(parent))
    }

    /// The nearest waiting ancestor of an awaited child whose slot of the child's lane is not in use.
    fn lender_of(&self, child: CommandKey) -> Option<CommandKey> {
        let lane = self.alive(child)?.lane;
        let mut below = child;
        loop {
            let above = self.parent_of(below)?;
            if !self.awaits(above, below) {
                return None;
            }
            let entry = self.alive(above)?;
            let lends = entry
                .nest()
                .is_some_and(|nest| nest.lane_borrower.is_none());
            if entry.lane == lane && entry.holds_slot() && lends {
                return Some(above);
            }
            below = above;
        }
    }

    /// Favours those among the awaited descendants of a command that can be favoured now, until `enough` says so.
    fn favour_below(&mut self, top: CommandKey, enough: impl Fn(&Self) -> bool, now: u64) {
        // Not by recursion: families may be deep.
        let mut left = vec![top];
        while let Some(parent) = left.pop() {
            self.favour_child_of(parent, now);
            if enough(self) {
                return;
            }
            let waits = |child: &CommandKey| {
                let nest = self.alive(*child).and_then(Entry::nest);
                nest.is_some_and(|nest| !nest.awaits.is_empty())
            };
            let nest = self.alive(parent).and_then(Entry::nest);
            let awaits = nest.into_iter().flat_map(|nest| nest.awaits.iter().rev());
            left.extend(awaits.copied().filter(waits));
        }
    }

    /// Favours the first child of a command that can be and can start, for one at a time uses its share of the total; else
    /// the first that can be.
    fn favour_child_of(&mut self, parent: CommandKey, now: u64) {
        let mut last = None;
        while let Some(nest) = self.alive(parent).and_then(Entry::nest) {
            if let Some(child) = nest.total_borrower {
                // It may be lent a slot now, if it was not.
                self.favour(child, now);
                if !self.is_stuck(child) {
                    return;
                }
            }
            let Some(child) = self.awaited_after(parent, last) else {
                return;
            };
            self.favour(child, now);
            last = Some(child);
        }
    }

    /// Whether a favoured child waits for its lane.
    fn is_stuck(&self, child: CommandKey) -> bool {
        self.alive(child).is_some_and(|entry| {
            let lane = &self.lanes[entry.lane.index()];
            match entry.favour() {
                Favour::None => false,
                Favour::Lent(_) => lane.demand.exempt == 0,
                Favour::Urged => lane.is_urged_in_vain(&self.entries, child.place),
            }
        })
    }

    /// Whether an awaited child could start at once, as far as is known, if it were favoured.
    fn could_start(&self, child: CommandKey) -> bool {
        self.alive(child).is_some_and(|entry| {
            let lane = &self.lanes[entry.lane.index()];
            lane.could_favour()
                && (self.lender_of(child).is_some() || self.total.is_some() && lane.could_urge())
        })
    }

    /// A lane has changed: what was set aside for children that it keeps from starting goes to siblings that can start.
    pub(super) fn pass_on(&mut self, lane: LaneKey, now: u64) {
        let state = &self.lanes[lane.index()];
        if !state.is_stuck() {
            return;
        }
        let favoured: Vec<CommandKey> = state
            .favoured(&self.entries)
            .filter_map(|place| self.parent_of(self.entries[place].key(place)))
            .collect();
        for parent in favoured {
            self.favour_child_of(parent, now);
        }
        self.lend_freed(now);
    }

    /// Lends what came back to commands that wait to others that they wait for.
    pub(super) fn lend_freed(&mut self, now: u64) {
        while let Some(freed) = self.freed.pop() {
            match freed {
                Freed::Share(lender) => self.favour_child_of(lender, now),
                Freed::Slot(lender) => {
                    let is_lent = |this: &Self| {
                        let nest = this.alive(lender).and_then(Entry::nest);
                        nest.is_none_or(|nest| nest.lane_borrower.is_some())
                    };
                    if !is_lent(self) {
                        self.favour_below(lender, is_lent, now);
                    }
                }
            }
        }
    }

    /// Favours every awaited command that can be favoured now.
    pub(super) fn favour_all(&mut self, now: u64) {
        let lanes = self.lanes.iter();
        let holders: Vec<u32> = lanes
            .flat_map(|lane| lane.running.iter(&self.entries))
            .filter(|place| !self.entries[*place].is_alone())
            .collect();
        for place in holders {
            let holder = self.entries[place].key(place);
            self.favour_child_of(holder, now);
        }
        self.lend_freed(now);
    }

    /// Lets an awaited child that is ready go before the others of its lane, if a slot can be lent to it.
    pub(super) fn favour(&mut self, child: CommandKey, now: u64) {
        let is_urged = |child: &Entry<T>| child.favour() == Favour::Urged;
        if self.alive(child).is_some_and(is_urged) && self.lender_of(child).is_some() {
            // It waits for a slot of the lane, which may never be free while its ancestor holds this one.
            self.unfavour(child, now);
        }
        let Some(entry) = self.alive(child) else {
            return;
        };
        let Some(parent) = entry.terms.as_ref().and_then(|terms| terms.parent) else {
            return;
        };
        if entry.state != State::Ready
            || entry.favour() != Favour::None
            || !self.awaits(parent, child)
        {
            return;
        }
        let lane = entry.lane;
        let holder = self.alive(parent).and_then(Entry::nest);
        if let Some(holder) = holder.and_then(|nest| nest.total_borrower) {
            if !self.is_stuck(holder) || !self.could_start(child) {
                return;
            }
            self.unfavour(holder, now);
        }
        let favour = match self.lender_of(child) {
            Some(lender) => {
                if let Some(nest) = self.nest_mut(lender) {
                    nest.lane_borrower = Some(child);
                }
                Favour::Lent(lender)
            }
            None if self.total.is_some() => Favour::Urged,
            None => return,
        };
        if let Some(nest) = self.nest_mut(parent) {
            nest.total_borrower = Some(child);
        }
        self.lanes[lane.index()].unlink(&mut self.entries, child.place);
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = favour;
        }
        let state = &mut self.lanes[lane.index()];
        state.push_favoured(&mut self.entries, child.place, favour != Favour::Urged);
        self.refresh(lane, now);
    }

    /// A child that has not started goes back into its turn.
    fn unfavour(&mut self, child: CommandKey, now: u64) {
        let Some(entry) = self.alive(child) else {
            return;
        };
        if entry.state != State::Ready || entry.favour() == Favour::None {
            return;
        }
        let lane = entry.lane;
        self.unqueue(child.place);
        self.lanes[lane.index()].push(&mut self.entries, child.place, End::Between);
        self.refresh(lane, now);
    }

    /// Takes a ready command out of its lane's queue, or out of those that go before it.
    pub(super) fn unqueue(&mut self, place: u32) {
        let entry = &self.entries[place];
        let (lane, key, favour) = (entry.lane, entry.key(place), entry.favour());
        let state = &mut self.lanes[lane.index()];
        if favour == Favour::None {
            state.unlink(&mut self.entries, place);
            return;
        }
        state.unlink_favoured(&mut self.entries, place, favour != Favour::Urged);
        self.give_up_loans(key, favour);
    }

    /// Takes back what was set aside for a favoured child that does not start.
    fn give_up_loans(&mut self, child: CommandKey, favour: Favour) {
        let parent = self.parent_of(child);
        if let Favour::Lent(lender) = favour
            && let Some(nest) = self.nest_mut(lender)
        {
            nest.lane_borrower = None;
            self.freed.push(Freed::Slot(lender));
        }
        if let Some(parent) = parent
            && let Some(nest) = self.nest_mut(parent)
        {
            nest.total_borrower = None;
            self.freed.push(Freed::Share(parent));
        }
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = Favour::None;
        }
    }

    /// A favoured child starts: it is out of the queue, and uses what was set aside for it.
    pub(super) fn borrow(&mut self, child: CommandKey, favour: Favour) {
        let parent = self.parent_of(child);
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = Favour::None;
            nest.total_lender = parent;
            if let Favour::Lent(lender) = favour {
                nest.lane_lender = Some(lender);
            }
        }
    }

    /// A command that gives its slots back gives back what it was lent, and hands on what it has lent itself. Returns
    /// whether a slot of its lane and one of the total become free.
    fn end_loans(&mut self, key: CommandKey, now: u64) -> (bool, bool) {
        let Some(nest) = self.nest_if_any(key) else {
            return (true, true);
        };
        // Who has not started goes back into its turn: nothing is lent any more by this one, nor through it.
        for child in std::mem::take(&mut nest.awaits) {
            self.set_unawaited(child);
            self.unfavour_from(child, now);
        }
        let terms = self.entries[key.place].terms.as_mut();
        let Some(nest) = terms.and_then(|terms| terms.nest.take()) else {
            return (true, true);
        };
        // The borrower goes on with the slot: it is the lender's own, or that of whoever lent it to the lender.
        let lane_free = match (nest.lane_lender, nest.lane_borrower) {
            (lender, Some(borrower)) => {
                if let Some(above) = lender.and_then(|lender| self.nest_mut(lender)) {
                    above.lane_borrower = Some(borrower);
                }
                if let Some(below) = self.nest_mut(borrower) {
                    below.lane_lender = lender;
                }
                false
            }
            (Some(lender), None) => {
                if let Some(above) = self.nest_mut(lender) {
                    above.lane_borrower = None;
                    self.freed.push(Freed::Slot(lender));
                }
                false
            }
            (None, None) => true,
        };
        let total_free = match (nest.total_lender, nest.total_borrower) {
            (lender, Some(borrower)) => {
                if let Some(above) = lender.and_then(|lender| self.nest_mut(lender)) {
                    above.total_borrower = Some(borrower);
                }
                if let Some(below) = self.nest_mut(borrower) {
                    below.total_lender = lender;
                }
                false
            }
            (Some(lender), None) => {
                if let Some(above) = self.nest_mut(lender) {
                    above.total_borrower = None;
                    self.freed.push(Freed::Share(lender));
                }
                false
            }
            (None, None) => true,
        };
        (lane_free, total_free)
    }

    /// Frees the slot that a command holds. The lane must be refreshed.
    pub(super) fn vacate(&mut self, place: u32, now: u64) {
        #[cfg(feature = "distributed")]
        self.forget_charges(place);
        let entry = &self.entries[place];
        let (key, number, lane) = (entry.key(place), entry.key_number(), entry.lane);
        if entry.nest().is_none() {
            // Its slot and its share are its own, and nobody uses them.
            let stopping = usize::from(entry.state != State::Running);
            let state = &mut self.lanes[lane.index()];
            state.running.unlink(&mut self.entries, place);
            state.stopping -= stopping;
            state.shares -= 1;
            state.vacate(number);
            self.active -= 1;
            return;
        }
        let (owns_lane, owns_total) = entry.owns();
        let heir = entry.nest().and_then(|nest| nest.lane_borrower);
        let share_heir = entry.nest().and_then(|nest| nest.total_borrower);
        let (lane_free, total_free) = self.end_loans(key, now);
        let entry = &self.entries[place];
        let stopping = usize::from(entry.state != State::Running);
        if owns_total {
            self.lanes[lane.index()].shares -= 1;
            match share_heir.filter(|_| !total_free) {
                Some(heir) => self.gain_share(heir, now),
                None => self.active -= 1,
            }
        }
        let heir = heir.filter(|_| !lane_free);
        let heir = heir
            .and_then(|heir| self.alive(heir))
            .map(Entry::key_number);
        let state = &mut self.lanes[lane.index()];
        state.stopping -= stopping;
        state.running.unlink(&mut self.entries, place);
        match heir {
            _ if !owns_lane => state.borrowing -= 1,
            Some(heir) => state.hand_over(number, heir),
            None => state.vacate(number),
        }
    }

    /// A command goes on with a share of the total that was lent to it so far.
    fn gain_share(&mut self, heir: CommandKey, now: u64) {
        if let Some(lane) = self.alive(heir).map(|heir| heir.lane) {
            self.lanes[lane.index()].shares += 1;
            self.refresh(lane, now);
        }
    }
}

//! Which awaited children go before the others of their lane: what is set aside for whom before it starts.

use super::super::Scheduler;
use super::super::decision::{CommandKey, LaneKey};
use super::super::entry::{Entry, State};
use super::super::flow::End;
use super::{Favour, Right};

impl<T> Scheduler<T> {
    /// Lets an awaited child that is ready go before the others of its lane, if something can be lent to it.
    pub(in crate::scheduler) fn favour(&mut self, child: CommandKey, now: u64) {
        let is_urged = |child: &Entry<T>| child.favour() == Favour::Urged;
        if self.entries.alive(child).is_some_and(is_urged) && self.lender_of(child).is_some() {
            // It waits for a slot of the lane, which may never be free while its ancestor holds this one.
            self.unfavour(child, now);
        }
        let in_turn =
            |entry: &Entry<T>| entry.state == State::Ready && entry.favour() == Favour::None;
        let Some(parent) = self.waiting_parent(child) else {
            return;
        };
        if !self.entries.alive(child).is_some_and(in_turn) {
            return;
        }
        if let Some(sibling) = self.share_borrower(parent) {
            if !self.is_stuck(sibling) || !self.could_start(child) {
                return;
            }
            self.unfavour(sibling, now);
        }
        let lender = self.lender_of(child);
        if lender.is_none() && self.total.is_none() {
            return;
        }
        let favour = lender.map_or(Favour::Urged, Favour::Lent);
        if let Some(nest) = lender.and_then(|lender| self.nest_mut(lender)) {
            nest.slot.borrower = Some(child);
        }
        if let Some(nest) = self.nest_mut(parent) {
            nest.share.borrower = Some(child);
        }
        let lane = self.entries[child.place].lane;
        let state = &mut self.lanes[lane.index()];
        state.unlink(&mut self.entries, child.place);
        state.push_favoured(&mut self.entries, child.place, favour);
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = favour;
        }
        self.refresh(lane, now);
    }

    /// A child that has not started goes back into its turn.
    fn unfavour(&mut self, child: CommandKey, now: u64) {
        let is_favoured =
            |entry: &Entry<T>| entry.state == State::Ready && entry.favour() != Favour::None;
        if self.entries.alive(child).is_some_and(is_favoured) {
            let lane = self.entries[child.place].lane;
            self.take_from_queue(child.place);
            self.lanes[lane.index()].push(&mut self.entries, child.place, End::Between);
            self.refresh(lane, now);
        }
    }

    /// Takes back what was set aside for a command that is not awaited any more, and below it by those above it.
    pub(super) fn unfavour_from(&mut self, child: CommandKey, now: u64) {
        self.unfavour(child, now);
        // Not by recursion: families may be deep.
        let mut left = self.awaited(child);
        while let Some(below) = left.pop() {
            match self.entries.alive(below).map(Entry::favour) {
                Some(Favour::Lent(lender))
                    if !self.waiting_ancestors(below).any(|above| above == lender) =>
                {
                    self.unfavour(below, now);
                }
                _ => left.extend(self.awaited(below)),
            }
        }
    }

    /// Favours the first child of a command that can be and can start; else the first that can be.
    fn favour_child_of(&mut self, parent: CommandKey, now: u64) {
        let mut last = None;
        loop {
            if let Some(child) = self.share_borrower(parent) {
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

    /// Favours those among the awaited descendants of a command that can be favoured now, until `enough` says so.
    pub(super) fn favour_below(
        &mut self,
        top: CommandKey,
        enough: impl Fn(&Self) -> bool,
        now: u64,
    ) {
        // Not by recursion: families may be deep.
        let mut left = vec![top];
        while let Some(parent) = left.pop() {
            self.favour_child_of(parent, now);
            if enough(self) {
                return;
            }
            let children = self.awaited(parent).into_iter().rev();
            left.extend(children.filter(|child| self.awaited_after(*child, None).is_some()));
        }
    }

    /// Favours every awaited command that can be favoured now.
    pub(in crate::scheduler) fn favour_all(&mut self, now: u64) {
        let lanes = self.lanes.iter();
        let running = lanes.flat_map(|lane| lane.running.iter(&self.entries));
        let holders: Vec<CommandKey> = running
            .filter(|place| !self.entries[*place].is_alone())
            .map(|place| self.entries[place].key(place))
            .collect();
        for holder in holders {
            self.favour_child_of(holder, now);
        }
        self.lend_freed(now);
    }

    /// Lends what came back to commands that wait to others that they wait for.
    pub(in crate::scheduler) fn lend_freed(&mut self, now: u64) {
        while let Some((right, lender)) = self.freed.pop() {
            let is_lent = |this: &Self| {
                let lender = this.entries.alive(lender);
                lender.is_none_or(|entry| entry.slot().borrower.is_some())
            };
            match right {
                Right::Share => self.favour_child_of(lender, now),
                Right::Slot if is_lent(self) => {}
                Right::Slot => self.favour_below(lender, is_lent, now),
            }
        }
    }

    /// A lane has changed: what was set aside for children that it keeps from starting goes to siblings that can start.
    pub(in crate::scheduler) fn pass_on(&mut self, lane: LaneKey, now: u64) {
        let state = &self.lanes[lane.index()];
        if !state.is_stuck() {
            return;
        }
        let favoured = state.favoured(&self.entries);
        let parents: Vec<CommandKey> = favoured
            .filter_map(|place| self.entries[place].parent())
            .collect();
        for parent in parents {
            self.favour_child_of(parent, now);
        }
        self.lend_freed(now);
    }

    /// Who uses a command's share of the total, or is to use it.
    fn share_borrower(&self, parent: CommandKey) -> Option<CommandKey> {
        self.entries.alive(parent)?.share().borrower
    }

    /// Whether a favoured child waits for its lane.
    fn is_stuck(&self, child: CommandKey) -> bool {
        self.entries.alive(child).is_some_and(|entry| {
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
        self.entries.alive(child).is_some_and(|entry| {
            let lane = &self.lanes[entry.lane.index()];
            lane.could_favour()
                && (self.lender_of(child).is_some() || self.total.is_some() && lane.could_urge())
        })
    }
}

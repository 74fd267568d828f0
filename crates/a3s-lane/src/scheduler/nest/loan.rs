//! What runs on what: the rights that commands lend each other, from the start of the borrower to its end.

use super::super::Scheduler;
use super::super::decision::CommandKey;
use super::super::entry::Entry;
use super::{Favour, Loan, Right};

impl<T> Scheduler<T> {
    /// A favoured child starts: it is out of the queue, and uses what was set aside for it.
    pub(in crate::scheduler) fn borrow(&mut self, child: CommandKey, favour: Favour) {
        let parent = self.entries[child.place].parent();
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = Favour::None;
            nest.share.lender = parent;
            if let Favour::Lent(lender) = favour {
                nest.slot.lender = Some(lender);
            }
        }
    }

    /// Takes back what was set aside for a favoured child that does not start now.
    pub(in crate::scheduler) fn give_up_loans(&mut self, child: CommandKey) {
        let Some(nest) = self.nest_mut(child) else {
            return;
        };
        if let Favour::Lent(lender) = std::mem::take(&mut nest.favour) {
            self.take_back(Right::Slot, lender);
        }
        if let Some(parent) = self.entries[child.place].parent() {
            self.take_back(Right::Share, parent);
        }
    }

    /// A right that was lent or set aside is its lender's again, who may lend it to another.
    fn take_back(&mut self, right: Right, lender: CommandKey) {
        if let Some(nest) = self.nest_mut(lender) {
            nest.loan(right).borrower = None;
            self.freed.push((right, lender));
        }
    }

    /// A command that holds a slot ends. The rights that it was lent go back, those that it lends go on: whoever borrowed
    /// them from it borrows from its lender now, or owns them. Returns both as they were.
    fn end_loans(&mut self, key: CommandKey, now: u64) -> (Loan, Loan) {
        let awaited = self
            .nest_mut(key)
            .map(|nest| std::mem::take(&mut nest.awaits));
        // Who has not started goes back into its turn: nothing is lent any more by this one, nor through it.
        for child in awaited.into_iter().flatten() {
            self.set_awaited(child, false);
            self.unfavour_from(child, now);
        }
        let terms = self.entries[key.place].terms.as_mut();
        let nest = terms.and_then(|terms| terms.nest.take());
        let nest = nest.unwrap_or_default();
        for (right, loan) in [(Right::Slot, nest.slot), (Right::Share, nest.share)] {
            match (loan.lender, loan.borrower) {
                (Some(lender), None) => self.take_back(right, lender),
                (lender, Some(borrower)) => {
                    if let Some(above) = lender.and_then(|lender| self.nest_mut(lender)) {
                        above.loan(right).borrower = Some(borrower);
                    }
                    if let Some(below) = self.nest_mut(borrower) {
                        below.loan(right).lender = lender;
                    }
                }
                (None, None) => {}
            }
        }
        (nest.slot, nest.share)
    }

    /// A command that is tied to others gives up its slot and its share.
    pub(in crate::scheduler) fn free_tied(&mut self, key: CommandKey, now: u64) {
        let (slot, share) = self.end_loans(key, now);
        let entry = &self.entries[key.place];
        let (lane, number) = (entry.lane, entry.key_number());
        if share.lender.is_none() {
            self.lanes[lane.index()].shares -= 1;
            match share.borrower {
                Some(heir) => self.gain_share(heir, now),
                None => self.active -= 1,
            }
        }
        let heir = slot.borrower.and_then(|heir| self.entries.alive(heir));
        let heir = heir.map(Entry::key_number);
        let state = &mut self.lanes[lane.index()];
        match (slot.lender, heir) {
            (Some(_), _) => state.borrowing -= 1,
            (None, Some(heir)) => state.hand_over(number, heir),
            (None, None) => state.vacate(number),
        }
    }

    /// A command goes on with a share of the total that was lent to it so far.
    fn gain_share(&mut self, heir: CommandKey, now: u64) {
        if let Some(lane) = self.entries.alive(heir).map(|heir| heir.lane) {
            self.lanes[lane.index()].shares += 1;
            self.refresh(lane, now);
        }
    }

    /// Whether the end of a command leaves a share of the total to others: it is its own, and nobody runs on it.
    pub(in crate::scheduler) fn frees_share(&self, place: u32) -> bool {
        let share = self.entries[place].share();
        let borrower = share
            .borrower
            .and_then(|borrower| self.entries.alive(borrower));
        share.lender.is_none() && !borrower.is_some_and(Entry::holds_slot)
    }
}

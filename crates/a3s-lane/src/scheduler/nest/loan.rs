//! What runs on what: the rights that commands lend each other, from the start of the borrower to its end, and how what was set
//! aside comes back.

use super::super::Scheduler;
use super::super::decision::{CommandKey, LaneKey};
use super::super::entry::{Entry, State};
use super::{Favour, Loan, Offer, Right};

impl<T> Scheduler<T> {
    /// A ready command starts. True for a favoured one: it uses what was set aside for it.
    #[inline]
    pub(in crate::scheduler) fn nest_start(&mut self, place: u32) -> bool {
        let favour = self.entries[place].favour();
        favour != Favour::None && self.borrow(place, favour)
    }

    #[cold]
    fn borrow(&mut self, place: u32, favour: Favour) -> bool {
        let entry = &self.entries[place];
        let (child, parent, lane) = (entry.key(place), entry.parent(), entry.lane);
        self.favoured -= 1;
        self.lanes[lane.index()].start_favoured(&mut self.entries, place, favour);
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = Favour::None;
            nest.share.lender = parent;
            if let Favour::Lent(lender) = favour {
                nest.slot.lender = Some(lender);
            }
        }
        true
    }

    /// A ready command leaves its queue. True for a favoured one: it gives up what was set aside for it.
    #[inline]
    pub(in crate::scheduler) fn nest_unlink(&mut self, place: u32) -> bool {
        let favour = self.entries[place].favour();
        favour != Favour::None && self.give_up(place, favour)
    }

    #[cold]
    fn give_up(&mut self, place: u32, favour: Favour) -> bool {
        let entry = &self.entries[place];
        let (child, parent, lane) = (entry.key(place), entry.parent(), entry.lane);
        self.favoured -= 1;
        self.lanes[lane.index()].unlink_favoured(&mut self.entries, place, favour);
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = Favour::None;
        }
        if let Favour::Lent(lender) = favour {
            self.take_back(Right::Slot, lender);
        }
        if let Some(parent) = parent {
            self.take_back(Right::Share, parent);
        }
        true
    }

    /// A right that was lent or set aside is its lender's again, who may lend it to another.
    fn take_back(&mut self, right: Right, lender: CommandKey) {
        if let Some(nest) = self.nest_mut(lender) {
            nest.loan(right).borrower = None;
            self.nest_offers.push(Offer::Right(right, lender));
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
        let nest = terms.and_then(|terms| terms.notes.nest.take());
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

    /// A command gives up its slot and its share. False for one without ties: both are its own, and nobody else's.
    #[inline]
    pub(in crate::scheduler) fn nest_free(&mut self, place: u32, now: u64) -> bool {
        self.entries[place].nest().is_some() && self.free_tied(place, now)
    }

    #[cold]
    fn free_tied(&mut self, place: u32, now: u64) -> bool {
        let (slot, share) = self.end_loans(self.entries[place].key(place), now);
        let entry = &self.entries[place];
        let (lane, number) = (entry.lane, entry.key_number());
        if share.lender.is_none() {
            self.lanes[lane.index()].shares -= 1;
            match share.borrower.and_then(|heir| self.entries.alive(heir)) {
                Some(heir) => {
                    let lane = heir.lane;
                    self.lanes[lane.index()].shares += 1;
                    self.rank_lane(lane, now);
                }
                None => self.shares -= 1,
            }
        }
        let heir = slot.borrower.and_then(|heir| self.entries.alive(heir));
        let state = &mut self.lanes[lane.index()];
        match (slot.lender, heir) {
            (Some(_), _) => state.borrowing -= 1,
            (None, Some(heir)) => state.hand_over(number, heir),
            (None, None) => state.vacate(number),
        }
        true
    }

    /// The lane of the command that has the share of this one when all that is stopping has ended; `None` when it is free.
    pub(in crate::scheduler) fn nest_heir(&self, place: u32) -> Option<LaneKey> {
        let below = |entry: &&Entry<T>| self.entries.alive(entry.share().borrower?);
        let borrowers = std::iter::successors(Some(&self.entries[place]), below).skip(1);
        let mut running = borrowers.take_while(|entry| entry.holds_slot());
        let heir = running.find(|entry| entry.state == State::Running)?;
        Some(heir.lane)
    }
}

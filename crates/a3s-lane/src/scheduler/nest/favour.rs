//! Which awaited children go before the others of their lane: what is set aside for whom before it starts.

use super::super::Scheduler;
use super::super::decision::{CommandKey, LaneKey};
use super::super::entry::{Entry, State};
use super::super::flow::End;
#[cfg(feature = "distributed")]
use super::Refusal;
use super::{Favour, Opening, Right};

impl<T> Scheduler<T> {
    /// Lets an awaited child that is ready go before the others of its lane, if something can be lent to it.
    pub(in crate::scheduler) fn try_favour(&mut self, child: CommandKey, now: u64) {
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
            if !self.is_stuck(sibling) || !self.could_start(child, now) {
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
    fn set_share_aside(&mut self, parent: CommandKey, now: u64) {
        let mut last = None;
        loop {
            if let Some(child) = self.share_borrower(parent) {
                // It may be lent a slot now, if it was not.
                self.try_favour(child, now);
                if !self.is_stuck(child) {
                    return;
                }
            }
            let Some(child) = self.awaited_after(parent, last) else {
                return;
            };
            self.try_favour(child, now);
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
            self.set_share_aside(parent, now);
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
            self.set_share_aside(holder, now);
        }
        self.lend_freed(now);
    }

    /// Lends what came back to commands that wait to others that they wait for, and passes shares on to lanes that have
    /// opened.
    #[inline]
    pub(in crate::scheduler) fn lend_freed(&mut self, now: u64) {
        if !self.freed.is_empty() || !self.opened.is_empty() {
            self.lend_all_freed(now);
        }
    }

    fn lend_all_freed(&mut self, now: u64) {
        let mut steps = self.steps();
        loop {
            steps.count();
            let Some((right, lender)) = self.freed.pop() else {
                let Some(lane) = self.opened.pop() else {
                    return;
                };
                self.pass_to(lane, now);
                continue;
            };
            let is_lent = |this: &Self| {
                let lender = this.entries.alive(lender);
                lender.is_none_or(|entry| entry.slot().borrower.is_some())
            };
            match right {
                Right::Share => self.set_share_aside(lender, now),
                Right::Slot if is_lent(self) => {}
                Right::Slot => self.favour_below(lender, is_lent, now),
            }
        }
    }

    /// A lane has changed: what was set aside for children that it keeps from starting goes to siblings that can start.
    pub(in crate::scheduler) fn pass_on(&mut self, lane: LaneKey, now: u64) {
        let state = &self.lanes[lane.index()];
        if state.keeps_favoured_back() {
            let favoured = state.favoured(&self.entries);
            let parents: Vec<CommandKey> = favoured
                .filter_map(|place| self.entries[place].parent())
                .collect();
            for parent in parents {
                self.set_share_aside(parent, now);
            }
        }
        self.lend_freed(now);
    }

    /// Notes whether children can start in a lane now that could not before.
    #[cold]
    pub(in crate::scheduler) fn note_opening(&mut self, lane: LaneKey) {
        if self.lanes[lane.index()].has_opened() {
            self.opened.push(lane);
        }
    }

    /// The limits of a lane may grant what they have refused.
    pub(in crate::scheduler) fn forget_refusals(&mut self, lane: LaneKey) {
        let state = &mut self.lanes[lane.index()];
        state.limits_version += 1;
        if state.ahead.is_awaited() {
            self.opened.push(lane);
        }
    }

    /// A lane has opened: children in it get the shares that are set aside for siblings which cannot start.
    fn pass_to(&mut self, lane: LaneKey, now: u64) {
        for parent in self.lanes[lane.index()].ahead.parents() {
            if self.lanes[lane.index()].opening() == Opening::None {
                return;
            }
            let borrower = self.share_borrower(parent);
            if borrower.is_some_and(|child| self.is_stuck(child)) {
                self.set_share_aside(parent, now);
            }
        }
    }

    /// Who uses a command's share of the total, or is to use it.
    pub(super) fn share_borrower(&self, parent: CommandKey) -> Option<CommandKey> {
        self.entries.alive(parent)?.share().borrower
    }

    /// Whether a favoured child waits for its lane.
    pub(super) fn is_stuck(&self, child: CommandKey) -> bool {
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
    pub(super) fn could_start(&self, child: CommandKey, now: u64) -> bool {
        self.entries.alive(child).is_some_and(|entry| {
            let lane = &self.lanes[entry.lane.index()];
            let opening = lane.opening();
            let is_refused = entry.nest().is_some_and(|nest| {
                nest.refused.until > now && nest.refused.version == lane.limits_version
            });
            !is_refused
                && opening != Opening::None
                && (self.lender_of(child).is_some()
                    || self.total.is_some() && opening == Opening::Any)
        })
    }

    /// A limit has refused this child until `due`: it is asked again then, wherever it stands.
    #[cfg(feature = "distributed")]
    pub(in crate::scheduler) fn note_refusal(&mut self, place: u32, due: u64) {
        let entry = &self.entries[place];
        if entry.parent().is_none() {
            return;
        }
        let key = entry.key(place);
        let version = self.lanes[entry.lane.index()].limits_version;
        let at = entry.expires_at().map_or(due, |at| at.min(due));
        if at != u64::MAX {
            self.timers.set(place, (at, key.serial));
        }
        if let Some(nest) = self.nest_mut(key) {
            nest.refused = Refusal {
                until: due,
                version,
            };
        }
    }
}

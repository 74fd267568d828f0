//! Which awaited children go before the others of their lane: what is set aside for whom before it starts.
//!
//! | what happened | who is looked at |
//! |---|---|
//! | `await_child` | the child: `try_favour`; those below it: `favour_below` |
//! | `nest_ready`: a child is ready again; `nest_refused_no_more` | the child: `try_favour` |
//! | a slot came back (`Offer::Right`) | those below its owner: `favour_below` |
//! | a share came back (`Offer::Right`) | the children of its owner: `set_share_aside` |
//! | `nest_note_opening`: a lane lets more children start | parents of its commands whose share is for a child that is stuck: `fill_opening` |
//! | `nest_refused`: a lane is refused by its limits | parents of its favoured children, for the sake of siblings: `free_stuck_shares` |
//! | `nest_lane_changed`: policy, limits, pause | parents as in the two rows above |
//! | `nest_total_changed` | all who wait |
//! | `leave_child`, or the parent ends | those below lose what came from above: `unfavour_from` |

use super::super::Scheduler;
use super::super::decision::{CommandKey, LaneKey};
use super::super::entry::Entry;
use super::super::lane::End;
use super::super::limits::Block;
use super::{Favour, Offer, Opening, Refusal, Right};

impl<T> Scheduler<T> {
    /// Lets an awaited child that is ready go before the others of its lane, if something can be lent to it.
    pub(super) fn try_favour(&mut self, child: CommandKey, now: u64) {
        if self.favour_of(child) == Favour::Urged && self.lender_of(child).is_some() {
            // It waits for a slot of the lane, which may never be free while its ancestor holds this one.
            self.unfavour(child, now);
        }
        let Some(parent) = self.waiting_parent(child) else {
            return;
        };
        if !self.entries[child.place].is_in_turn() {
            return;
        }
        if let Some(sibling) = self.share_borrower(parent) {
            if !self.is_stuck(sibling) || !self.could_start(child, now) {
                return;
            }
            self.unfavour(sibling, now);
        }
        let lender = self.lender_of(child);
        if lender.is_none() && !self.has_total() {
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
        self.favoured += 1;
        if let Some(nest) = self.nest_mut(child) {
            nest.favour = favour;
        }
        self.rank_lane(lane, now);
    }

    /// A child that has not started goes back into its turn.
    fn unfavour(&mut self, child: CommandKey, now: u64) {
        if self.favour_of(child) != Favour::None {
            let lane = self.entries[child.place].lane;
            self.take_from_queue(child.place);
            self.lanes[lane.index()].push(&mut self.entries, child.place, End::Between);
            self.rank_lane(lane, now);
        }
    }

    /// Takes back what was set aside for a command that is not awaited any more, and below it by those above it.
    pub(super) fn unfavour_from(&mut self, child: CommandKey, now: u64) {
        self.unfavour(child, now);
        // Not by recursion: families may be deep.
        let mut left = self.awaited(child);
        while let Some(below) = left.pop() {
            match self.favour_of(below) {
                Favour::Lent(lender)
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

    /// Favours those among the awaited descendants of a command that can be favoured now; below a `lender` until its slot is lent.
    pub(super) fn favour_below(&mut self, top: CommandKey, is_lender: bool, now: u64) {
        // Not by recursion: families may be deep.
        let mut left = vec![top];
        while !(is_lender && self.is_lent(top))
            && let Some(parent) = left.pop()
        {
            self.set_share_aside(parent, now);
            let children = self.awaited(parent).into_iter().rev();
            left.extend(children.filter(|child| self.awaited_after(*child, None).is_some()));
        }
    }

    /// The total has changed: all who wait set their share aside anew. Without a total nobody needed one.
    pub(in crate::scheduler) fn nest_total_changed(&mut self, now: u64) {
        let lanes = self.lanes.iter();
        let running = lanes.flat_map(|lane| lane.running.iter(&self.entries));
        let holders: Vec<CommandKey> = running
            .filter(|place| !self.entries[*place].is_alone())
            .map(|place| self.entries[place].key(place))
            .collect();
        for holder in holders {
            self.set_share_aside(holder, now);
        }
        self.nest_lend(now);
    }

    /// A child is ready again.
    pub(in crate::scheduler) fn nest_ready(&mut self, child: CommandKey, now: u64) {
        self.try_favour(child, now);
        self.nest_lend(now);
    }

    /// Takes up all offers: every call of the scheduler ends with this.
    #[inline]
    pub(in crate::scheduler) fn nest_lend(&mut self, now: u64) {
        if !self.nest_offers.is_empty() {
            self.take_up_offers(now);
        }
    }

    #[cold]
    fn take_up_offers(&mut self, now: u64) {
        let mut steps = self.steps();
        while let Some(offer) = self.nest_offers.pop() {
            steps.count();
            match offer {
                Offer::Lane(lane, before) => self.fill_opening(lane, before, now),
                Offer::Right(Right::Share, lender) => self.set_share_aside(lender, now),
                Offer::Right(Right::Slot, lender) => self.favour_below(lender, true, now),
            }
        }
    }

    /// Its policy, its limits or its pause.
    pub(in crate::scheduler) fn nest_lane_changed(&mut self, lane: LaneKey, now: u64) {
        if self.lanes[lane.index()].ahead.is_awaited() {
            self.nest_offers.push(Offer::Lane(lane, Opening::None));
        }
        self.free_stuck_shares(lane, now);
    }

    /// What is set aside for children that a lane keeps from starting goes to siblings that can start.
    fn free_stuck_shares(&mut self, lane: LaneKey, now: u64) {
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
        self.nest_lend(now);
    }

    /// Notes whether the lane lets more children start than before.
    #[inline]
    pub(in crate::scheduler) fn nest_note_opening(&mut self, lane: LaneKey) {
        let state = &mut self.lanes[lane.index()];
        if state.ahead.is_awaited()
            && let Some(before) = state.has_opened()
        {
            self.nest_offers.push(Offer::Lane(lane, before));
        }
    }

    /// A lane has opened: it gets children to start until it is as open as it was before.
    fn fill_opening(&mut self, lane: LaneKey, before: Opening, now: u64) {
        let (mut steps, mut last) = (self.steps(), None);
        // Mostly all can start, however many wait: then there is nobody to look for.
        while self.favoured > self.ready.demand.exempt
            && self.lanes[lane.index()].opening() > before
            && let Some(parent) = self.lanes[lane.index()].ahead.parent_after(last)
        {
            steps.count();
            let borrower = self.share_borrower(parent);
            if borrower.is_some_and(|child| self.is_stuck(child)) {
                self.set_share_aside(parent, now);
            }
            last = Some(parent);
        }
    }

    fn is_lent(&self, lender: CommandKey) -> bool {
        let lender = self.entries.alive(lender);
        lender.is_none_or(|entry| entry.slot().borrower.is_some())
    }

    fn favour_of(&self, child: CommandKey) -> Favour {
        let child = self.entries.alive(child);
        child.map_or(Favour::None, Entry::favour)
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
            let is_front = |block: Block| block.front == entry.serial;
            let is_refused = lane.block.is_some_and(is_front)
                || entry.nest().is_some_and(|nest| {
                    nest.refused.until > now && nest.refused.version == lane.limits_version
                });
            !is_refused
                && opening != Opening::None
                && (self.lender_of(child).is_some() || self.has_total() && opening == Opening::Any)
        })
    }

    /// A child that was refused until `due` is asked again then, wherever it stands.
    pub(in crate::scheduler) fn nest_refused(&mut self, place: u32, due: u64, now: u64) {
        let entry = &self.entries[place];
        let (key, lane) = (entry.key(place), entry.lane);
        if entry.parent().is_some() {
            let at = entry.expires_at().map_or(due, |at| at.min(due));
            if at != u64::MAX {
                self.timers.set(place, (at, key.serial));
            }
            let version = self.lanes[lane.index()].limits_version;
            if let Some(nest) = self.nest_mut(key) {
                nest.refused = Refusal {
                    until: due,
                    version,
                };
            }
        }
        self.free_stuck_shares(lane, now);
    }

    /// What was refused a child may be granted now.
    pub(in crate::scheduler) fn nest_refused_no_more(&mut self, place: u32, now: u64) {
        self.wait_for_expiry(place);
        self.nest_ready(self.entries[place].key(place), now);
    }
}

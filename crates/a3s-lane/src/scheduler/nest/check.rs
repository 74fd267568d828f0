//! Whether the ties between commands fit together: for tests.

use super::super::Scheduler;
use super::super::decision::{CommandKey, LaneKey};
use super::super::entry::{Entry, State};
use super::super::ready::ReadySet;
use super::{Favour, Nest};

type Checked = Result<(), String>;

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(message()) }
}

impl<T> Scheduler<T> {
    /// Checks that every tie has two ends, that every count is the number of what it counts, and that whoever could be
    /// favoured is.
    pub(in crate::scheduler) fn check_nests(&self) -> Checked {
        let none = Nest::default();
        for (place, entry) in self.entries.iter() {
            let key = entry.key(place);
            let nest = entry.nest().unwrap_or(&none);
            self.check_lenders(key, entry, nest)?;
            self.check_borrowers(key, nest)?;
            self.check_favour(key, entry)?;
            for &child in &nest.awaits {
                ensure(self.waiting_parent(child) == Some(key), || {
                    format!("{key:?} waits for {child:?}, which does not know it")
                })?;
            }
            if let Some(parent) = self.waiting_parent(key) {
                let nest = self.entries.alive(parent).and_then(Entry::nest);
                let fits = nest.is_some_and(|nest| nest.awaits.contains(&key));
                ensure(fits, || format!("{parent:?} does not wait for {key:?}"))?;
            }
            ensure(entry.holds_slot() || entry.is_alone(), || {
                format!("{key:?} lends, and holds no slot")
            })?;
        }
        let favoured: usize = self.lanes.iter().map(|lane| lane.ahead.len()).sum();
        ensure(self.favoured == favoured, || "some are favoured".into())?;
        ensure(self.nest_offers.is_empty(), || {
            "something is lent to nobody".into()
        })?;
        // A refusal that has passed is noticed by the next tick.
        self.check_shares(0)?;
        for lane in 0..self.lanes.len() as u32 {
            self.check_lane(LaneKey(lane))?;
        }
        let owners = self.holders(Entry::owns_share);
        ensure(self.shares == owners, || {
            format!("{} shares, {owners} owners", self.shares)
        })
    }

    /// Checks that no share is set aside for a child that cannot start while a sibling could start on it.
    pub(in crate::scheduler) fn check_shares(&self, now: u64) -> Checked {
        for (place, entry) in self.entries.iter() {
            let key = entry.key(place);
            if let Some(parent) = self.waiting_parent(key).filter(|_| entry.is_in_turn())
                && let Some(sibling) = self.share_borrower(parent)
            {
                ensure(
                    !self.is_stuck(sibling) || !self.could_start(key, now),
                    || {
                        format!(
                            "{key:?} could start, {sibling:?} cannot, on the share of {parent:?}"
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    fn check_lenders(&self, key: CommandKey, entry: &Entry<T>, nest: &Nest) -> Checked {
        if let Some(lender) = nest.slot.lender {
            let above = self.entries.alive(lender);
            let fits = above.is_some_and(|above| {
                above.lane == entry.lane
                    && above.nest().and_then(|nest| nest.slot.borrower) == Some(key)
            });
            ensure(fits, || format!("{key:?} uses the slot of {lender:?}"))?;
        }
        if let Some(lender) = nest.share.lender {
            let above = self.entries.alive(lender).and_then(Entry::nest);
            let fits = above.is_some_and(|above| above.share.borrower == Some(key));
            ensure(fits, || format!("{key:?} uses the share of {lender:?}"))?;
        }
        Ok(())
    }

    fn check_borrowers(&self, key: CommandKey, nest: &Nest) -> Checked {
        if let Some(borrower) = nest.slot.borrower {
            let fits = self.entries.alive(borrower).is_some_and(|below| {
                let lender = below.nest().and_then(|nest| nest.slot.lender);
                below.favour() == Favour::Lent(key) || lender == Some(key)
            });
            ensure(fits, || format!("{key:?} lends its slot to {borrower:?}"))?;
        }
        if let Some(borrower) = nest.share.borrower {
            let fits = self.entries.alive(borrower).is_some_and(|below| {
                let lender = below.nest().and_then(|nest| nest.share.lender);
                let is_set_aside = below.favour() != Favour::None;
                is_set_aside && below.parent() == Some(key) || lender == Some(key)
            });
            ensure(fits, || format!("{key:?} lends its share to {borrower:?}"))?;
        }
        Ok(())
    }

    fn check_favour(&self, key: CommandKey, entry: &Entry<T>) -> Checked {
        let parent = self.waiting_parent(key);
        let favour = entry.favour();
        if favour == Favour::None {
            let Some(parent) = parent.filter(|_| entry.state == State::Ready) else {
                return Ok(());
            };
            let nest = self.entries.alive(parent).and_then(Entry::nest);
            let share_is_free = nest.is_some_and(|nest| nest.share.borrower.is_none());
            let could = share_is_free && (self.has_total() || self.lender_of(key).is_some());
            return ensure(!could, || format!("{key:?} is not favoured"));
        }
        ensure(entry.state == State::Ready, || {
            format!("{key:?} is favoured and does not wait")
        })?;
        let Some(parent) = parent else {
            return Err(format!("{key:?} is favoured and not awaited"));
        };
        let nest = self.entries.alive(parent).and_then(Entry::nest);
        ensure(
            nest.is_some_and(|nest| nest.share.borrower == Some(key)),
            || format!("{key:?} has no share set aside"),
        )?;
        match favour {
            Favour::Lent(lender) => {
                let nest = self.entries.alive(lender).and_then(Entry::nest);
                ensure(
                    nest.is_some_and(|nest| nest.slot.borrower == Some(key)),
                    || format!("{key:?} has no slot set aside"),
                )?;
                ensure(
                    self.waiting_ancestors(key).any(|above| above == lender),
                    || format!("{lender:?} does not wait and lends to {key:?}"),
                )
            }
            _ => ensure(self.lender_of(key).is_none(), || {
                format!("{key:?} could be lent a slot")
            }),
        }
    }

    fn check_lane(&self, lane: LaneKey) -> Checked {
        let state = &self.lanes[lane.index()];
        let owners = self.holders(|entry| entry.lane == lane && entry.slot().lender.is_none());
        let shares = self.holders(|entry| entry.lane == lane && entry.owns_share());
        ensure(state.shares == shares, || {
            format!("{lane:?}: {} shares, {shares} owners", state.shares)
        })?;
        let demand = state.demand_now(self.has_total());
        ensure(state.demand == demand, || {
            format!("{lane:?}: {:?}, not {demand:?}", state.demand)
        })?;
        let ready = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.lane == lane && matches!(entry.state, State::Ready));
        let ready = ready.count();
        let droppable = state.policy.is_aged() && state.oldest_of_all().is_some();
        ensure(
            !state.policy.is_aged() || droppable == (state.unfavoured() > 0),
            || format!("{lane:?}: something can be dropped: {droppable}"),
        )?;
        ensure(state.slots == owners && state.ready == ready, || {
            format!(
                "{lane:?}: {} slots, {owners} owners, {} ready, {ready} commands",
                state.slots, state.ready
            )
        })
    }

    /// The awaited children that go before the others of their lanes, lane by lane and in this order, each with the one whose
    /// slot it is lent: by their serials.
    pub(in crate::scheduler) fn all_favoured(&self) -> Vec<(u64, Option<u64>)> {
        let lanes = self.lanes.iter();
        let places = lanes.flat_map(|lane| lane.favoured(&self.entries));
        let with_lender = |place| {
            let entry: &Entry<T> = &self.entries[place];
            match entry.favour() {
                Favour::Lent(lender) => (entry.serial, Some(lender.serial)),
                Favour::Urged | Favour::None => (entry.serial, None),
            }
        };
        places.map(with_lender).collect()
    }

    /// Whether nothing is left of any command.
    pub(in crate::scheduler) fn is_empty_throughout(&self) -> bool {
        let ReadySet {
            common,
            reserved,
            exempt,
            ..
        } = &self.ready;
        let lanes = self.lanes.iter().all(|lane| {
            lane.pending() + lane.slots + lane.stopping + lane.borrowing + lane.shares == 0
                && lane.running.is_empty()
                && !lane.ahead.is_awaited()
                && lane.demand.startable() == 0
                && lane.keys() == (0, 0)
        });
        lanes
            && [common, reserved, exempt]
                .iter()
                .all(|heap| heap.is_empty())
            && self.boosts.len() + self.blocks.len() + self.timers.len() == 0
            && self.pending + self.shares + self.startable() + self.givers.len() == 0
            && self.entries.len() + self.favoured == 0
    }

    fn holders(&self, which: impl Fn(&Entry<T>) -> bool) -> usize {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        let holders = entries.filter(|entry| entry.holds_slot() && which(entry));
        holders.count()
    }
}

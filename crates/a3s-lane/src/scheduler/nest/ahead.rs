//! The part of a lane that holds the awaited children which go before the others.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::Arena;
use super::super::decision::CommandKey;
use super::super::entry::Entry;
use super::super::lane::{Chain, LaneState};
use super::Favour;

/// Those that start in the slot of an ancestor, and behind them those that need one of the lane's.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Ahead {
    lent: Chain,
    urged: Chain,
    lent_length: usize,
    urged_length: usize,
    /// Who waits for commands of this lane, each for how many.
    awaited_by: BTreeMap<CommandKey, usize>,
    /// As it was last seen, while somebody waits.
    opening: Opening,
}

/// In what one more awaited child could start if it went before the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) enum Opening {
    #[default]
    None,
    /// In a slot that it is lent.
    Lent,
    /// Also in one of the lane.
    Any,
}

impl Ahead {
    #[inline]
    pub(in crate::scheduler) fn len(&self) -> usize {
        self.lent_length + self.urged_length
    }

    /// How many need no slot of the lane.
    #[inline]
    pub(in crate::scheduler) fn lent(&self) -> usize {
        self.lent_length
    }

    /// How many need a slot of the lane.
    #[inline]
    pub(in crate::scheduler) fn urged(&self) -> usize {
        self.urged_length
    }

    /// Whether somebody waits for a command of the lane.
    #[inline]
    pub(in crate::scheduler) fn is_awaited(&self) -> bool {
        !self.awaited_by.is_empty()
    }

    /// Of those that wait for commands of the lane, the next one after this.
    pub(super) fn parent_after(&self, parent: Option<CommandKey>) -> Option<CommandKey> {
        let from = parent.map_or(Bound::Unbounded, Bound::Excluded);
        let mut parents = self.awaited_by.range((from, Bound::Unbounded));
        parents.next().map(|(parent, _)| *parent)
    }

    pub(super) fn add_parent(&mut self, parent: CommandKey) {
        *self.awaited_by.entry(parent).or_default() += 1;
    }

    pub(super) fn remove_parent(&mut self, parent: CommandKey) {
        if let Some(children) = self.awaited_by.get_mut(&parent) {
            *children -= 1;
            if *children == 0 {
                self.awaited_by.remove(&parent);
            }
        }
    }

    #[inline]
    pub(in crate::scheduler) fn front(&self) -> Option<u32> {
        self.lent.front().or_else(|| self.urged.front())
    }

    fn queue_of(&mut self, favour: Favour) -> (&mut Chain, &mut usize) {
        match favour {
            Favour::Lent(_) => (&mut self.lent, &mut self.lent_length),
            Favour::Urged | Favour::None => (&mut self.urged, &mut self.urged_length),
        }
    }
}

impl LaneState {
    /// How many of those that could start need no share of the total.
    #[inline]
    pub(in crate::scheduler) fn exempt(&self) -> usize {
        self.ahead.lent_length + self.ahead.urged_length.min(self.free_slots())
    }

    /// The awaited children that go before the others.
    pub(super) fn favoured<'a, T>(
        &'a self,
        entries: &'a Arena<Entry<T>>,
    ) -> impl Iterator<Item = u32> + 'a {
        let Ahead { lent, urged, .. } = &self.ahead;
        lent.iter(entries).chain(urged.iter(entries))
    }

    /// Whether it keeps awaited children from starting that go before the others.
    pub(super) fn keeps_favoured_back(&self) -> bool {
        self.ahead.len() > self.demand.exempt
    }

    /// Whether there is no slot for an awaited child that needs one: those before it get what is free.
    pub(super) fn is_urged_in_vain<T>(&self, entries: &Arena<Entry<T>>, place: u32) -> bool {
        let free = self.demand.exempt.saturating_sub(self.ahead.lent_length);
        let mut with_slot = self.ahead.urged.iter(entries).take(free);
        free < self.ahead.urged_length && !with_slot.any(|other| other == place)
    }

    /// What there is for one more awaited child that goes before the others. A refusal of limits was not for it, unless it
    /// was for another such child that it would be behind.
    pub(super) fn opening(&self) -> Opening {
        let is_behind = |before: usize| self.block.is_some() && before > 0;
        if self.paused || is_behind(self.ahead.lent_length) {
            Opening::None
        } else if is_behind(self.ahead.len())
            || self.slots + self.ahead.urged_length >= self.policy.max
        {
            Opening::Lent
        } else {
            Opening::Any
        }
    }

    /// What there was for one when this was last asked, if it was less than now.
    #[cold]
    pub(super) fn has_opened(&mut self) -> Option<Opening> {
        let opening = self.opening();
        let before = std::mem::replace(&mut self.ahead.opening, opening);
        (opening > before).then_some(before)
    }

    /// An awaited child that is in no queue goes before the others.
    pub(super) fn push_favoured<T>(
        &mut self,
        entries: &mut Arena<Entry<T>>,
        place: u32,
        favour: Favour,
    ) {
        self.begin_wait(entries, place);
        let (queue, length) = self.ahead.queue_of(favour);
        queue.push_back(entries, place);
        *length += 1;
        if favour == Favour::Urged
            && let Some(keys) = self.keys_mut()
        {
            // It goes first: the others of its key must not count on its slot.
            keys.occupy(entries[place].key_number());
        }
    }

    pub(in crate::scheduler) fn unlink_favoured<T>(
        &mut self,
        entries: &mut Arena<Entry<T>>,
        place: u32,
        favour: Favour,
    ) {
        self.ready -= 1;
        let (queue, length) = self.ahead.queue_of(favour);
        queue.unlink(entries, place);
        *length -= 1;
        if favour == Favour::Urged
            && let Some(keys) = self.keys_mut()
        {
            keys.vacate(entries[place].key_number());
        }
    }

    /// An awaited child starts that goes before the others.
    pub(in crate::scheduler) fn start_favoured<T>(
        &mut self,
        entries: &mut Arena<Entry<T>>,
        place: u32,
        favour: Favour,
    ) {
        self.unlink_favoured(entries, place, favour);
        if favour != Favour::Urged {
            self.borrowing += 1;
            return;
        }
        self.slots += 1;
        if let Some(keys) = self.keys_mut() {
            keys.take_slot(&entries[place]);
        }
    }

    /// A slot goes from a command of this key to its heir, which borrowed it so far.
    pub(super) fn hand_over<T>(&mut self, from: u32, heir: &Entry<T>) {
        self.borrowing -= 1;
        if let Some(keys) = self.keys_mut() {
            keys.vacate(from);
            keys.take_slot(heir);
        }
    }
}

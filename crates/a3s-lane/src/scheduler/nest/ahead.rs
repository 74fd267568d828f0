//! The part of a lane that holds the awaited children which go before the others.

use super::super::arena::Arena;
use super::super::entry::Entry;
use super::super::flow::Chain;
use super::super::lane::LaneState;
use super::Favour;

/// Those that start in the slot of an ancestor, and behind them those that need one of the lane's.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Ahead {
    lent: Chain,
    urged: Chain,
    lent_length: usize,
    urged_length: usize,
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
    pub(super) fn is_stuck(&self) -> bool {
        self.ahead.len() > self.demand.exempt
    }

    /// Whether there is no slot for an awaited child that needs one: those before it get what is free.
    pub(super) fn is_urged_in_vain<T>(&self, entries: &Arena<Entry<T>>, place: u32) -> bool {
        let free = self.demand.exempt.saturating_sub(self.ahead.lent_length);
        let mut with_slot = self.ahead.urged.iter(entries).take(free);
        free < self.ahead.urged_length && !with_slot.any(|other| other == place)
    }

    /// Whether one more awaited child that went before the others could start. A refusal of limits was not for it unless
    /// it was for another such child, which it would be behind.
    pub(super) fn could_favour(&self) -> bool {
        !self.paused && (self.block.is_none() || self.ahead.len() == 0)
    }

    /// Whether there is a slot for one more of those that need one.
    pub(super) fn could_urge(&self) -> bool {
        self.active + self.ahead.urged_length < self.policy.max
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
        self.active += 1;
        if let Some(keys) = self.keys_mut() {
            keys.start_favoured(entries[place].key_number());
        }
    }

    /// A slot goes from a command of one key to one of another, which borrowed it so far.
    pub(super) fn hand_over(&mut self, from: u32, to: u32) {
        self.borrowing -= 1;
        if let Some(keys) = self.keys_mut() {
            keys.vacate(from);
            keys.occupy(to);
        }
    }
}

//! The fairness keys of one lane: a flow of commands for each, and which of them may start.
//!
//! [`turns`] has the order in which they do.

mod turns;

use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;

use super::flow::{Age, End, Flow};
use crate::scheduler::decision::CommandKey;
use crate::scheduler::entry::Entry;
use crate::scheduler::view::Obstacle;
use crate::scheduler::{Arena, IndexedHeap};
use turns::{Turn, Turns};

/// The number of the flow of commands without a key.
pub(super) const NO_KEY: u32 = 0;

/// What the lane's policy says about keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyLimits<'a> {
    /// Slots per key.
    pub(super) max: usize,
    /// How many absent keys are remembered.
    pub(super) most_absent: usize,
    pub(super) weights: &'a HashMap<Arc<str>, u32>,
}

impl KeyLimits<'_> {
    fn weight(&self, name: Option<&Arc<str>>) -> u64 {
        let weight = name.and_then(|name| self.weights.get(name));
        weight.copied().unwrap_or(1).max(1).into()
    }
}

#[derive(Debug)]
struct KeyState {
    /// `None` for commands without a key.
    name: Option<Arc<str>>,
    flow: Flow,
    /// Commands of this key in the lane, waiting or running.
    members: usize,
    /// Slots that it uses, or that are set aside for it.
    slots: usize,
    paused: bool,
    weight: u64,
    turn: Turn,
    /// How many of its commands could start as far as it is concerned.
    startable: usize,
}

impl KeyState {
    /// How many more commands may start, with so many slots per key.
    fn free_slots(&self, max: usize) -> usize {
        match &self.name {
            _ if self.paused => 0,
            Some(_) => max.saturating_sub(self.slots),
            None => usize::MAX,
        }
    }
}

/// The keys of one lane.
#[derive(Debug)]
pub(in crate::scheduler) struct KeyTable {
    names: HashMap<Arc<str>, u32>,
    states: Slab<KeyState>,
    /// Keys of which a command could start, in the order of their turns: priority of the front, pass, number.
    order: IndexedHeap<(i32, u64, u64)>,
    /// The same keys by their oldest command. Kept where the lane keeps ages.
    oldest: IndexedHeap<(u64, u64)>,
    /// Keys with ready commands, whether or not one could start, by their oldest. Kept where the lane keeps ages.
    oldest_of_all: IndexedHeap<(u64, u64)>,
    turns: Turns,
    /// Commands in the lane.
    members: usize,
    /// The sum over all keys.
    startable: usize,
    /// What the lane's policy says.
    max: usize,
    most_absent: usize,
}

impl KeyTable {
    /// Takes over the flow of a lane that had no keys so far, with its `members`, and the `slots` that they use.
    pub(super) fn new(flow: Flow, members: usize, slots: usize, limits: KeyLimits<'_>) -> Self {
        let mut turns = Turns::default();
        let turn = turns.add(flow.priority());
        let mut states = Slab::new();
        let first = states.insert(KeyState {
            name: None,
            flow,
            members,
            slots,
            paused: false,
            weight: 1,
            turn,
            startable: 0,
        });
        debug_assert_eq!(first, NO_KEY as usize);
        let mut table = Self {
            names: HashMap::new(),
            states,
            order: IndexedHeap::new(),
            oldest: IndexedHeap::new(),
            oldest_of_all: IndexedHeap::new(),
            turns,
            members,
            startable: 0,
            max: limits.max,
            most_absent: limits.most_absent,
        };
        table.update(NO_KEY);
        table
    }

    /// How many commands could start as far as keys are concerned.
    pub(super) fn startable(&self) -> usize {
        self.startable
    }

    /// How many could start were there none whose parent is `left_out`; up to `most`.
    pub(super) fn startable_beside(
        &self,
        most: usize,
        left_out: impl Fn(CommandKey) -> bool,
    ) -> usize {
        let mut found = 0;
        for (_, state) in &self.states {
            if found >= most {
                break;
            }
            let free = state.free_slots(self.max).min(most);
            found += state.flow.len_beside(free, &left_out);
        }
        found.min(most)
    }

    /// The command that goes first.
    pub(super) fn front(&self) -> Option<u32> {
        let (_, key) = self.order.peek()?;
        self.flow(key).front()
    }

    /// The oldest command of those that could start.
    pub(super) fn oldest(&self) -> Option<Age> {
        let (_, key) = self.oldest.peek()?;
        self.flow(key).oldest()
    }

    /// The oldest command of all.
    pub(super) fn oldest_of_all(&self) -> Option<Age> {
        let (_, key) = self.oldest_of_all.peek()?;
        self.flow(key).oldest()
    }

    /// A command of the key `name` and this priority enters the lane; returns the key's number.
    pub(super) fn join(
        &mut self,
        name: Option<&Arc<str>>,
        priority: i32,
        paused: impl FnOnce(&Arc<str>) -> bool,
        limits: KeyLimits<'_>,
        aged: bool,
    ) -> u32 {
        self.members += 1;
        let known = match name {
            None => Some(NO_KEY),
            Some(name) => self.names.get(name).copied(),
        };
        if let Some(key) = known {
            let state = &mut self.states[key as usize];
            state.members += 1;
            if state.members == 1 {
                self.turns.come_back(key, &mut state.turn);
            }
            return key;
        }
        let state = KeyState {
            name: name.cloned(),
            flow: Flow::new(aged),
            members: 1,
            slots: 0,
            paused: name.is_some_and(paused),
            weight: limits.weight(name),
            turn: self.turns.add(priority),
            startable: 0,
        };
        let key = u32::try_from(self.states.insert(state)).expect("fewer keys than commands");
        if let Some(name) = name {
            self.names.insert(Arc::clone(name), key);
        }
        key
    }

    /// A command of the key has left the lane.
    pub(super) fn leave(&mut self, key: u32) {
        self.members -= 1;
        let state = &mut self.states[key as usize];
        state.members -= 1;
        if self.members == 0 {
            return self.forget_all(key);
        }
        if state.members > 0 || key == NO_KEY {
            return;
        }
        if !self.turns.leave(key, state.turn) {
            return self.forget(key);
        }
        if self.turns.absent() > self.most_absent {
            // On all levels: some may have no commands any more.
            let mut last = None;
            while let Some(level) = self.turns.skip_after(last) {
                self.forget_passed(level);
                last = Some(level);
            }
        }
    }

    /// The last command of all has left, one of this key: nobody waits for a turn that another took.
    fn forget_all(&mut self, key: u32) {
        if key != NO_KEY {
            self.forget(key);
        }
        while let Some(key) = self.turns.pop_absent() {
            self.forget(key);
        }
        // All that is left.
        let turn = &mut self.states[NO_KEY as usize].turn;
        turn.pass = self.turns.time(turn.level);
    }

    /// The time of a level has moved on.
    fn forget_passed(&mut self, level: i32) {
        while let Some(key) = self.turns.pop_passed(level) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: u32) {
        let state = self.states.remove(key as usize);
        self.order.remove(key);
        self.oldest.remove(key);
        self.oldest_of_all.remove(key);
        self.turns.remove(state.turn);
        if let Some(name) = state.name {
            self.names.remove(&name);
        }
    }

    pub(super) fn push<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32, end: End) {
        let key = entries[place].key_number();
        self.states[key as usize].flow.push(entries, place, end);
        self.update(key);
    }

    pub(super) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        let key = entries[place].key_number();
        self.states[key as usize].flow.unlink(entries, place);
        self.update(key);
    }

    /// A ready command starts: its key takes its turn.
    pub(super) fn start<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        let out_of_turn = self.front() != Some(place);
        let key = entries[place].key_number();
        self.charge(key, out_of_turn, entries[place].was_preempted());
        let state = &mut self.states[key as usize];
        state.flow.unlink(entries, place);
        state.slots += 1;
        self.update(key);
    }

    /// A command that is in no flow gets a slot: an awaited child starts in one, or inherits the one in which it runs.
    pub(in crate::scheduler) fn take_slot<T>(&mut self, entry: &Entry<T>) {
        self.charge(entry.key_number(), true, entry.was_preempted());
        self.occupy(entry.key_number());
    }

    fn charge(&mut self, key: u32, out_of_turn: bool, has_paid: bool) {
        let KeyState { turn, weight, .. } = &mut self.states[key as usize];
        let level = turn.level;
        if self.turns.take(turn, *weight, out_of_turn, has_paid) {
            self.forget_passed(level);
        }
    }

    /// A command of the key gets a slot, or has one set aside.
    pub(in crate::scheduler) fn occupy(&mut self, key: u32) {
        self.states[key as usize].slots += 1;
        self.update(key);
    }

    /// A command of the key gives its slot back.
    pub(in crate::scheduler) fn vacate(&mut self, key: u32) {
        self.states[key as usize].slots -= 1;
        self.update(key);
    }

    /// Returns whether the lane has commands of the key.
    pub(super) fn pause(&mut self, name: &Arc<str>, paused: bool) -> bool {
        let Some(&key) = self.names.get(name) else {
            return false;
        };
        self.states[key as usize].paused = paused;
        self.update(key);
        self.states[key as usize].members > 0
    }

    /// Follows a new policy of the lane.
    pub(super) fn set_policy<T>(
        &mut self,
        entries: &Arena<Entry<T>>,
        limits: KeyLimits<'_>,
        aged: bool,
    ) {
        self.max = limits.max;
        self.most_absent = limits.most_absent;
        let keys: Vec<u32> = self.states.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            let state = &mut self.states[key as usize];
            state.weight = limits.weight(state.name.as_ref());
            state.flow.keep_ages(entries, aged);
            self.update(key);
        }
    }

    /// Brings the order up to date after anything about a key changed.
    fn update(&mut self, key: u32) {
        let state = &mut self.states[key as usize];
        let startable = state.flow.len().min(state.free_slots(self.max));
        let was_away = state.startable == 0;
        self.startable = self.startable - state.startable + startable;
        state.startable = startable;
        let oldest = state.flow.oldest();
        let oldest = oldest.map(|(since, serial, _)| (since, serial));
        self.oldest_of_all.assign(key, oldest);
        if startable == 0 {
            self.order.remove(key);
            self.oldest.remove(key);
            return;
        }
        let (level, turn) = (state.flow.priority(), &mut state.turn);
        if was_away || level != turn.level {
            self.turns.enter_level(turn, level);
        }
        self.order.set(key, (level, turn.pass, turn.number));
        self.oldest.assign(key, oldest);
    }

    /// What keeps the commands of a key from starting, if anything: it is paused, or so many of it run.
    pub(super) fn obstacle(&self, key: u32) -> Option<Obstacle> {
        let state = &self.states[key as usize];
        if state.paused {
            return Some(Obstacle::KeyPaused);
        }
        let limited = state.name.is_some() && state.slots >= self.max;
        limited.then_some(Obstacle::KeyBusy(state.slots))
    }

    pub(super) fn flow(&self, key: u32) -> &Flow {
        &self.states[key as usize].flow
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.states.iter().map(|(_, state)| &state.flow)
    }

    /// How many keys there are, and how many of them are absent.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        // Each is on one level, and so are the commands without a key.
        assert!(self.turns.levels() <= self.states.len());
        assert_eq!(self.names.len(), self.states.len() - 1);
        assert!(self.turns.absent() <= self.most_absent);
        (self.names.len(), self.turns.absent())
    }
}

#[cfg(test)]
mod tests;

//! Fairness keys: how the keys of one lane take turns.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996): each key has a *pass*, the virtual time at which it may start next.
//! The smallest goes first, of equals the one that had its turn longest ago. *Time* moves on to the pass of each start in
//! turn, and the key's next pass is that time and a [`STRIDE`] / weight. So keys that always have work get starts in
//! proportion to their weights. A key that was away, whatever kept it away, comes back at the present time, or at its pass if that
//! is later: it cannot save up turns, and owes one at most, however many of its commands started out of turn.
//!
//! - Keys take turns with those whose front has the same priority. Each such *level* has its own time, which stands still while
//!   a more urgent one has work. A key that changes its level stays as far ahead of time as it was.
//! - A key without commands is *kept* while it is ahead of time and the lane is not empty: else one whose commands come one at a
//!   time would be new before each, and go first. When more than [`MOST_KEPT`] are kept, time moves on.
//! - The next run of a preempted command costs no turn. Nor does a run in the slot of a parent, until the command inherits it.
//!
//! Gold of weight 2, silver and tin of weight 1; time and passes of level 0 after each start, in strides:
//!
//! ```text
//!  start   level   time  gold  silver  tin
//!  -         -      0     0      0      0
//!  gold      0      0    1/2     0      0
//!  silver    0      0    1/2     1      0
//!  tin       0      0    1/2     1      1     tin has no more: kept, 1 ahead
//!  gold      0     1/2    1      1      1     tin comes back: at 1, where a new key comes at 1/2
//!  silver    0      1     1      2      1     all were at 1, silver had its turn longest ago
//!  gold     -1      1    3/2     2      1     gold was not ahead, so an urgent command costs it a turn
//!  tin       0      1    3/2     2      2     tin has no more
//!  gold      0     3/2    2      2      2
//!  silver    0      2     2      3      -     time has come to tin's pass: forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;

use super::arena::Arena;
use super::decision::CommandKey;
use super::entry::Entry;
use super::explain::Obstacle;
use super::flow::{Age, End, Flow};
use super::heap::IndexedHeap;

/// By how much the pass of a key of weight 1 grows with each start. Weights up to 16 divide it.
pub(super) const STRIDE: u64 = 720_720;

/// How many keys without a command a lane keeps at most. Few in tests, so that random operations come that far.
pub(super) const MOST_KEPT: usize = if cfg!(test) { 2 } else { 1_024 };

/// The number of the flow of commands without a key.
pub(super) const NO_KEY: u32 = 0;

/// What the lane's policy says about keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyLimits<'a> {
    /// Slots per key.
    pub(super) max: usize,
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
    /// The priority of its front, or the last that it had, and when it may start in the time of that level.
    level: i32,
    pass: u64,
    /// When it had its last turn, as a number; decides between equal passes.
    turn: u64,
    /// How many commands may start as far as this key is concerned.
    room: usize,
}

impl KeyState {
    /// How many more commands may start with so many slots per key.
    fn most(&self, max: usize) -> usize {
        match &self.name {
            _ if self.paused => 0,
            Some(_) => max.saturating_sub(self.slots),
            None => usize::MAX,
        }
    }
}

/// The time of the keys of one level.
#[derive(Debug, Default)]
struct Clock {
    /// The pass of the last one that had its turn.
    time: u64,
    keys: usize,
}

/// The keys of one lane.
#[derive(Debug)]
pub(super) struct KeyTable {
    names: HashMap<Arc<str>, u32>,
    states: Slab<KeyState>,
    /// Keys with room, in the order of their turns: priority of the front, pass, turn.
    order: IndexedHeap<(i32, u64, u64)>,
    /// Keys with room, by their oldest command. Kept where the lane keeps ages.
    oldest: IndexedHeap<(u64, u64)>,
    /// Keys with ready commands, whether or not they have room, by their oldest. Kept where the lane keeps ages.
    oldest_of_all: IndexedHeap<(u64, u64)>,
    /// Keys without a command that are ahead of the time of their level: the level, their pass.
    kept: BTreeSet<(i32, u64, u32)>,
    /// By level, as long as a key is there.
    clocks: BTreeMap<i32, Clock>,
    /// Commands in the lane.
    members: usize,
    room: usize,
    turns: u64,
    /// Slots per key.
    max: usize,
}

impl KeyTable {
    /// Takes over the flow of a lane that had no keys so far, with its `members`, and the `slots` that they use.
    pub(super) fn new(flow: Flow, members: usize, slots: usize, limits: KeyLimits<'_>) -> Self {
        let level = flow.priority();
        let mut states = Slab::new();
        let first = states.insert(KeyState {
            name: None,
            flow,
            members,
            slots,
            paused: false,
            weight: 1,
            level,
            pass: 0,
            turn: 1,
            room: 0,
        });
        debug_assert_eq!(first, NO_KEY as usize);
        let mut table = Self {
            names: HashMap::new(),
            states,
            order: IndexedHeap::new(),
            oldest: IndexedHeap::new(),
            oldest_of_all: IndexedHeap::new(),
            kept: BTreeSet::new(),
            clocks: BTreeMap::from([(level, Clock { time: 0, keys: 1 })]),
            members,
            room: 0,
            turns: u64::from(members > 0),
            max: limits.max,
        };
        table.update(NO_KEY);
        table
    }

    /// How many commands may start as far as keys are concerned.
    pub(super) fn startable(&self) -> usize {
        self.room
    }

    /// How many of these this command has not submitted, or how many others could start in their place.
    pub(super) fn startable_beside(&self, parent: CommandKey) -> usize {
        let states = self.states.iter();
        let rooms =
            states.map(|(_, state)| state.flow.len_beside(parent).min(state.most(self.max)));
        rooms.sum()
    }

    /// The command that goes first.
    pub(super) fn front(&self) -> Option<u32> {
        let (_, key) = self.order.peek()?;
        self.flow(key).front()
    }

    /// The oldest command whose key has room.
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
                if self.clocks[&state.level].time < state.pass {
                    self.kept.remove(&(state.level, state.pass, key));
                } else {
                    // As a new one.
                    self.turns += 1;
                    state.turn = self.turns;
                }
            }
            return key;
        }
        self.turns += 1;
        let clock = self.clocks.entry(priority).or_default();
        clock.keys += 1;
        let state = KeyState {
            name: name.cloned(),
            flow: Flow::new(aged),
            members: 1,
            slots: 0,
            paused: name.is_some_and(paused),
            weight: limits.weight(name),
            level: priority,
            pass: clock.time,
            turn: self.turns,
            room: 0,
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
        let (level, pass) = (state.level, state.pass);
        let time = self.clocks[&level].time;
        if pass <= time {
            return self.forget(key);
        }
        self.kept.insert((level, pass, key));
        if self.kept.len() > MOST_KEPT {
            self.forget_first();
        }
    }

    /// Time moves on, on each level to the first key that is kept there: some levels may have no commands any more.
    fn forget_first(&mut self) {
        let mut from = Bound::Unbounded;
        while let Some(&(level, pass, _)) = self.kept.range((from, Bound::Unbounded)).next() {
            self.clocks.entry(level).or_default().time = pass;
            self.forget_passed(level, pass);
            from = Bound::Excluded((level, u64::MAX, u32::MAX));
        }
    }

    /// The last command of all has left, one of this key: nobody waits for a turn that another took.
    fn forget_all(&mut self, key: u32) {
        if key != NO_KEY {
            self.forget(key);
        }
        while let Some((_, _, key)) = self.kept.pop_first() {
            self.forget(key);
        }
        // All that is left.
        let state = &mut self.states[NO_KEY as usize];
        state.pass = self.clocks[&state.level].time;
    }

    /// The time of a level has moved on.
    fn forget_passed(&mut self, level: i32, time: u64) {
        let passed = (level, 0, 0)..=(level, time, u32::MAX);
        while let Some(&kept) = self.kept.range(passed.clone()).next() {
            self.kept.remove(&kept);
            self.forget(kept.2);
        }
    }

    fn forget(&mut self, key: u32) {
        let state = self.states.remove(key as usize);
        self.order.remove(key);
        self.oldest.remove(key);
        self.oldest_of_all.remove(key);
        self.leave_level(state.level);
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
        // One that is overdue may not be: then time does not move, or all others would be late.
        let in_turn = self.front() == Some(place);
        let key = entries[place].key_number();
        self.charge(key, in_turn, entries[place].was_preempted());
        let state = &mut self.states[key as usize];
        state.flow.unlink(entries, place);
        state.slots += 1;
        self.update(key);
    }

    /// A command that is in no flow gets a slot: an awaited child starts in one, or inherits the one in which it runs.
    pub(super) fn take_slot<T>(&mut self, entry: &Entry<T>) {
        self.charge(entry.key_number(), false, entry.was_preempted());
        self.occupy(entry.key_number());
    }

    /// A key has its turn. For the next run of a preempted command it `has_paid` with the one before.
    fn charge(&mut self, key: u32, in_turn: bool, has_paid: bool) {
        let state = &mut self.states[key as usize];
        let clock = self.clocks.entry(state.level).or_default();
        let moves_on = in_turn && clock.time < state.pass;
        if moves_on {
            clock.time = state.pass;
        }
        let (level, time) = (state.level, clock.time);
        if !has_paid {
            state.pass = time.saturating_add(STRIDE / state.weight.min(STRIDE));
        }
        self.turns += 1;
        state.turn = self.turns;
        if moves_on && !self.kept.is_empty() {
            self.forget_passed(level, time);
        }
    }

    /// A key comes to a level, its own or another, as far ahead of its time as it is of the time of its own. Never behind
    /// the level's time, so what it passed through during one call leaves no trace.
    fn enter_level(&mut self, key: u32, level: i32) {
        let state = &mut self.states[key as usize];
        let before = state.level;
        let ahead = state.pass.saturating_sub(self.clocks[&before].time);
        let clock = self.clocks.entry(level).or_default();
        state.level = level;
        state.pass = clock.time.saturating_add(ahead);
        clock.keys += 1;
        self.leave_level(before);
    }

    fn leave_level(&mut self, level: i32) {
        if let Some(clock) = self.clocks.get_mut(&level) {
            clock.keys -= 1;
            if clock.keys == 0 {
                self.clocks.remove(&level);
            }
        }
    }

    /// A command of the key gets a slot, or has one set aside.
    pub(super) fn occupy(&mut self, key: u32) {
        self.states[key as usize].slots += 1;
        self.update(key);
    }

    /// A command of the key gives its slot back.
    pub(super) fn vacate(&mut self, key: u32) {
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
        let room = state.flow.len().min(state.most(self.max));
        let was_away = state.room == 0;
        self.room = self.room - state.room + room;
        state.room = room;
        let oldest = state.flow.oldest();
        let oldest = oldest.map(|(since, serial, _)| (since, serial));
        self.oldest_of_all.assign(key, oldest);
        if room == 0 {
            self.order.remove(key);
            self.oldest.remove(key);
            return;
        }
        let level = state.flow.priority();
        if was_away || level != state.level {
            self.enter_level(key, level);
        }
        let state = &self.states[key as usize];
        let rank = (level, state.pass, state.turn);
        self.order.set(key, rank);
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

    /// How many keys there are, and how many of them are kept without a command.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        // Each is on one level, and so are the commands without a key.
        assert!(self.clocks.len() <= self.states.len());
        assert_eq!(self.names.len(), self.states.len() - 1);
        assert!(self.kept.len() <= MOST_KEPT);
        (self.names.len(), self.kept.len())
    }
}

#[cfg(test)]
mod tests;

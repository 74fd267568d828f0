//! One lane inside the scheduler: its queue and its counts.

mod flow;
mod keys;
mod policy;
mod waits;

use std::sync::Arc;

use super::Arena;
use super::decision::CommandKey;
use super::entry::Entry;
use super::limits::Block;
use super::nest::Ahead;
use super::ready::Demand;
use super::view::Obstacle;
use crate::config::Overflow;
use flow::{Age, Flow};
use keys::{KeyTable, NO_KEY};

pub(super) use flow::{Chain, End, NONE};
pub(crate) use policy::{LanePolicy, nanos};
pub(super) use waits::Waits;

/// A lane of one scheduler. A removed lane's key may come to mean another lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey(pub(super) u32);

impl LaneKey {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The ready commands of a lane: one flow, or one per key once a command with a key has come.
#[derive(Debug)]
enum Queue {
    Plain(Flow),
    Keyed(Box<KeyTable>),
}

#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) policy: LanePolicy,
    queue: Queue,
    /// Commands in the queue, awaited children that start before the others included.
    pub(super) ready: usize,
    /// Commands that wait and are not in the queue: delayed, or expired.
    pub(super) unready: usize,
    /// Slots that are in use.
    pub(super) slots: usize,
    /// The commands that run in the slot of another.
    pub(super) borrowing: usize,
    /// The commands that use a share of the total of their own: those that its minimum is for.
    pub(super) shares: usize,
    /// How many of these are left when all commands have ended that are stopping. Only for `preempt`, which sets it.
    pub(super) staying: usize,
    /// The commands that hold a slot, their own or that of another, and were asked to stop or are concluded.
    pub(super) stopping: usize,
    /// The commands that hold a slot, in the order of their starts.
    pub(super) running: Chain,
    /// Awaited children that start before the others.
    pub(super) ahead: Ahead,
    /// The number of the start that this lane made last; 0 before the first.
    pub(super) last_served: u64,
    pub(super) block: Option<Block>,
    /// How often its limits have changed in a way that may make a start possible.
    pub(super) limits_version: u64,
    pub(super) paused: bool,
    /// Gone; its place waits for a new lane.
    pub(super) removed: bool,
    /// Pressure was reported and not yet relieved.
    pub(super) pressed: bool,
    pub(super) demand: Demand,
    /// Somebody wants to know when it has a free slot.
    pub(super) watched: bool,
    /// Kept where somebody asks for it. The lane is empty when it is set.
    pub(super) waits: Option<Waits>,
}

impl LaneState {
    pub(super) fn new(policy: LanePolicy) -> Self {
        Self {
            queue: Queue::Plain(Flow::new(policy.is_aged())),
            policy,
            ready: 0,
            unready: 0,
            slots: 0,
            borrowing: 0,
            shares: 0,
            staying: 0,
            stopping: 0,
            running: Chain::default(),
            ahead: Ahead::default(),
            last_served: 0,
            block: None,
            limits_version: 0,
            paused: false,
            removed: false,
            pressed: false,
            demand: Demand::default(),
            watched: false,
            waits: None,
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.ready + self.unready
    }

    /// Whether it takes no more commands. A child that waited for room might wait for its own parent, so it goes in.
    #[inline]
    pub(super) fn is_full(&self, is_child: bool) -> bool {
        let Some(max) = self.policy.max_pending else {
            return false;
        };
        self.pending() >= max && !(is_child && self.policy.overflow == Overflow::Wait)
    }

    /// Whether pressure is to be reported now: a command has come.
    #[inline]
    pub(super) fn press(&mut self) -> bool {
        let threshold = self.policy.pressure_threshold;
        let pressure =
            !self.pressed && threshold.is_some_and(|threshold| self.pending() >= threshold);
        self.pressed |= pressure;
        pressure
    }

    /// Reports relief once: a command has left.
    #[inline]
    pub(super) fn relieve(&mut self) -> bool {
        self.pressed && self.pending() == 0 && std::mem::take(&mut self.pressed)
    }

    /// How many commands of this lane could start, as far as slots, its own and lent ones, keys and its pause go. Neither blocks
    /// nor the total are looked at: see `Demand`.
    #[inline]
    pub(super) fn startable(&self) -> usize {
        if self.paused {
            return 0;
        }
        let candidates = match &self.queue {
            Queue::Plain(flow) => flow.len(),
            Queue::Keyed(keys) => keys.startable(),
        };
        self.ahead.lent() + (self.ahead.urged() + candidates).min(self.free_slots())
    }

    /// Whether more wait than it has free slots for, so that the last one to come changes nothing of what could start. False with
    /// keys, where that takes longer to see.
    #[inline]
    pub(super) fn more_wait_than_free_slots(&self) -> bool {
        match &self.queue {
            Queue::Plain(flow) => self.ahead.urged() + flow.len() > self.free_slots(),
            Queue::Keyed(_) => false,
        }
    }

    /// How many could start in a slot of the lane, as far as keys go, were there none whose parent is `left_out`; up to `most`.
    pub(super) fn startable_beside(
        &self,
        most: usize,
        left_out: impl Fn(CommandKey) -> bool,
    ) -> usize {
        match &self.queue {
            Queue::Plain(flow) => flow.len_beside(most, left_out),
            Queue::Keyed(keys) => keys.startable_beside(most, left_out),
        }
    }

    #[inline]
    pub(super) fn free_slots(&self) -> usize {
        self.policy.max.saturating_sub(self.slots)
    }

    /// Ready commands that wait for their turn, not before the others.
    pub(super) fn unfavoured(&self) -> usize {
        self.ready - self.ahead.len()
    }

    /// The command that goes first, by its place.
    ///
    /// One that has waited its deadline goes before all others: else newer commands of a lower priority number, or of
    /// other keys, could keep it waiting for ever.
    pub(super) fn front(&self, now: u64) -> Option<u32> {
        if let Some(place) = self.ahead.front() {
            return Some(place);
        }
        if let Some(overdue) = self.policy.overdue_ns()
            && let Some((since, _, place)) = self.oldest()
            && now.saturating_sub(since) >= overdue
        {
            return Some(place);
        }
        match &self.queue {
            Queue::Plain(flow) => flow.front(),
            Queue::Keyed(keys) => keys.front(),
        }
    }

    /// The oldest command that may start as far as its key is concerned. Known where ages are kept.
    #[inline]
    fn oldest(&self) -> Option<Age> {
        match &self.queue {
            Queue::Plain(flow) => flow.oldest(),
            Queue::Keyed(keys) => keys.oldest(),
        }
    }

    /// The oldest ready command, whether or not it may start. Known where ages are kept.
    pub(super) fn oldest_of_all(&self) -> Option<u32> {
        let oldest = match &self.queue {
            Queue::Plain(flow) => flow.oldest(),
            Queue::Keyed(keys) => keys.oldest_of_all(),
        };
        oldest.map(|(_, _, place)| place)
    }

    /// The effective priority, and when it changes next if nothing else happens.
    #[inline]
    pub(super) fn urgency(&self, now: u64) -> (u8, Option<u64>) {
        match self.oldest() {
            Some((since, ..)) => self.urgency_since(since, now),
            None => (self.policy.priority, None),
        }
    }

    #[inline(never)]
    fn urgency_since(&self, since: u64, now: u64) -> (u8, Option<u64>) {
        let waited = now.saturating_sub(since);
        let change = self.policy.next_boost(waited);
        let change = change.map(|waited| since.saturating_add(waited));
        (self.policy.effective_priority(waited), change)
    }

    pub(super) fn effective_priority(&self, now: u64) -> u8 {
        self.urgency(now).0
    }

    /// The most urgent that the lane may have become by `then` with a command of this age back in it.
    pub(super) fn urgency_with(&self, since: u64, then: u64) -> u8 {
        let oldest = self.oldest().map_or(since, |(at, ..)| at.min(since));
        self.policy.most_urgent(then.saturating_sub(oldest))
    }

    /// A command enters the lane; returns the number of its key.
    #[inline]
    pub(super) fn join(
        &mut self,
        name: Option<&Arc<str>>,
        priority: i32,
        paused: impl FnOnce(&Arc<str>) -> bool,
    ) -> u32 {
        let aged = self.policy.is_aged();
        if let (Queue::Plain(flow), Some(_)) = (&mut self.queue, name) {
            let flow = std::mem::replace(flow, Flow::new(false));
            let members = self.ready + self.unready + self.slots + self.borrowing;
            let slots = self.slots + self.ahead.urged();
            let keys = KeyTable::new(flow, members, slots, self.policy.keys());
            self.queue = Queue::Keyed(Box::new(keys));
        }
        match &mut self.queue {
            Queue::Plain(_) => NO_KEY,
            Queue::Keyed(keys) => keys.join(name, priority, paused, self.policy.keys(), aged),
        }
    }

    /// A command of this key has left the lane.
    #[inline]
    pub(super) fn leave(&mut self, key: u32) {
        if let Some(keys) = self.keys_mut() {
            keys.leave(key);
        }
    }

    pub(super) fn keys_mut(&mut self) -> Option<&mut KeyTable> {
        match &mut self.queue {
            Queue::Plain(_) => None,
            Queue::Keyed(keys) => Some(keys),
        }
    }

    #[inline]
    pub(super) fn begin_wait<T>(&mut self, entries: &Arena<Entry<T>>, place: u32) {
        self.ready += 1;
        if let Some(waits) = &mut self.waits {
            waits.note(entries, place, self.ready);
        }
    }

    pub(super) fn push<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32, end: End) {
        self.begin_wait(entries, place);
        match &mut self.queue {
            Queue::Plain(flow) => flow.push(entries, place, end),
            Queue::Keyed(keys) => keys.push(entries, place, end),
        }
    }

    pub(super) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        self.ready -= 1;
        match &mut self.queue {
            Queue::Plain(flow) => flow.unlink(entries, place),
            Queue::Keyed(keys) => keys.unlink(entries, place),
        }
    }

    /// A ready command starts in a slot of the lane.
    pub(super) fn start<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        self.ready -= 1;
        self.slots += 1;
        match &mut self.queue {
            Queue::Plain(flow) => flow.unlink(entries, place),
            Queue::Keyed(keys) => keys.start(entries, place),
        }
    }

    /// A command of this key gives its slot back.
    pub(super) fn vacate(&mut self, key: u32) {
        self.slots -= 1;
        if let Some(keys) = self.keys_mut() {
            keys.vacate(key);
        }
    }

    /// Returns whether the lane has commands of the key.
    pub(super) fn pause_key(&mut self, name: &Arc<str>, paused: bool) -> bool {
        let keys = self.keys_mut();
        keys.is_some_and(|keys| keys.pause(name, paused))
    }

    pub(super) fn set_policy<T>(&mut self, entries: &mut Arena<Entry<T>>, policy: LanePolicy) {
        let limit = self.policy.timeout_ns;
        if policy.timeout_ns != limit {
            let mut place = self.running.head;
            while place != NONE {
                let entry = &mut entries[place];
                let limit = entry.timeout_ns(limit);
                entry.terms.get_or_insert_default().notes.timeout_ns = Some(limit);
                place = entry.next;
            }
        }
        self.policy = policy;
        let aged = self.policy.is_aged();
        match &mut self.queue {
            Queue::Plain(flow) => flow.keep_ages(entries, aged),
            Queue::Keyed(keys) => keys.set_policy(entries, self.policy.keys(), aged),
        }
    }

    /// What keeps the commands of a key from starting, if anything.
    pub(super) fn key_obstacle(&self, key: u32) -> Option<Obstacle> {
        match &self.queue {
            Queue::Plain(_) => None,
            Queue::Keyed(keys) => keys.obstacle(key),
        }
    }

    /// The queue in which the commands of this key wait.
    pub(super) fn flow(&self, key: u32) -> &Flow {
        match &self.queue {
            Queue::Plain(flow) => flow,
            Queue::Keyed(keys) => keys.flow(key),
        }
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        let (plain, keyed) = match &self.queue {
            Queue::Plain(flow) => (Some(flow), None),
            Queue::Keyed(keys) => (None, Some(keys.flows())),
        };
        plain.into_iter().chain(keyed.into_iter().flatten())
    }

    /// How many keys it knows, and how many of them are absent.
    #[cfg(test)]
    pub(super) fn keys(&self) -> (usize, usize) {
        match &self.queue {
            Queue::Plain(_) => (0, 0),
            Queue::Keyed(keys) => keys.len(),
        }
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests;

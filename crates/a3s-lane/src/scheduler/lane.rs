//! One lane inside the scheduler: its queue and its counts.

use std::collections::VecDeque;
use std::sync::Arc;

use super::arena::Arena;
use super::entry::{Entry, State};
use super::flow::{Chain, End, Flow, NONE};
use super::keys::{KeyObstacle, KeyTable, NO_KEY};
use super::policy::LanePolicy;

/// The ready commands of a lane: one flow, or one per key once a command with a key has come.
#[derive(Debug)]
pub(super) enum Queue {
    Plain(Flow),
    Keyed(Box<KeyTable>),
}

/// A limit said no: the lane is left alone for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// When the limits grant.
    pub(super) due: u64,
    /// What it was asked for: the serial of the lane's front.
    pub(super) front: u64,
}

/// What a lane could start now, and what is kept for it; also the sum over all lanes.
///
/// Without a total limit the commands are told apart all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Shares of the total that are kept for this lane: as many as it has below its minimum.
    pub(super) kept: usize,
    /// Commands that could start on no share of the total, on a kept one, and on one that is for anybody.
    pub(super) exempt: usize,
    pub(super) on_kept: usize,
    pub(super) on_common: usize,
}

impl Demand {
    /// How many commands could start now.
    pub(super) fn room(self) -> usize {
        self.exempt + self.on_kept + self.on_common
    }

    /// The sum after one of its parts has changed.
    pub(super) fn replaced(self, before: Self, after: Self) -> Self {
        Self {
            kept: self.kept - before.kept + after.kept,
            exempt: self.exempt - before.exempt + after.exempt,
            on_kept: self.on_kept - before.on_kept + after.on_kept,
            on_common: self.on_common - before.on_common + after.on_common,
        }
    }
}

#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) policy: LanePolicy,
    queue: Queue,
    pub(super) ready: usize,
    pub(super) delayed: usize,
    pub(super) active: usize,
    /// The commands that run in the slot of another.
    pub(super) borrowing: usize,
    /// The commands that use a share of the total of their own: those that its minimum is for.
    pub(super) shares: usize,
    /// Of the active ones, those that were asked to stop or are concluded: their slots are about to be free.
    pub(super) stopping: usize,
    /// The commands that hold a slot, in the order of their starts.
    pub(super) running: Chain,
    /// Awaited children that start before the others: in the slot of an ancestor, and in one of the lane's.
    lent: Chain,
    urged: Chain,
    lent_length: usize,
    urged_length: usize,
    /// The number of the start that this lane made last; 0 before the first.
    pub(super) last_served: u64,
    pub(super) block: Option<Block>,
    pub(super) paused: bool,
    /// Gone; its place waits for a new lane.
    pub(super) removed: bool,
    /// Pressure was reported and not yet relieved.
    pub(super) pressed: bool,
    pub(super) demand: Demand,
    /// The ready commands in the order in which they became ready; kept for metrics only. Those that have left stay until
    /// they are the first, or outnumber the others.
    waits: Option<VecDeque<Wait>>,
}

/// That a command became ready.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: u64,
    serial: u64,
    place: u32,
}

impl Wait {
    fn goes_on<T>(&self, entries: &Arena<Entry<T>>) -> bool {
        entries.get(self.place).is_some_and(|entry| {
            entry.serial == self.serial && entry.state == State::Ready && entry.since == self.since
        })
    }
}

impl LaneState {
    pub(super) fn new(policy: LanePolicy) -> Self {
        Self {
            queue: Queue::Plain(Flow::new(policy.is_aged())),
            policy,
            ready: 0,
            delayed: 0,
            active: 0,
            borrowing: 0,
            shares: 0,
            stopping: 0,
            running: Chain::EMPTY,
            lent: Chain::EMPTY,
            urged: Chain::EMPTY,
            lent_length: 0,
            urged_length: 0,
            last_served: 0,
            block: None,
            paused: false,
            removed: false,
            pressed: false,
            demand: Demand::default(),
            waits: None,
        }
    }

    /// Keeps note from now on of how long commands wait. The lane must be empty.
    pub(super) fn keep_waits(&mut self) {
        self.waits = Some(VecDeque::new());
    }

    /// Since when the ready command waits that became ready first. Known where waits are kept.
    #[cfg(feature = "metrics")]
    pub(super) fn waits_since<T>(&self, entries: &Arena<Entry<T>>) -> Option<u64> {
        let mut waits = self.waits.as_ref()?.iter();
        let first = waits.find(|wait| wait.goes_on(entries))?;
        Some(first.since)
    }

    fn begin_wait<T>(&mut self, entries: &Arena<Entry<T>>, place: u32) {
        self.ready += 1;
        let Some(waits) = &mut self.waits else {
            return;
        };
        while waits.front().is_some_and(|wait| !wait.goes_on(entries)) {
            waits.pop_front();
        }
        if waits.len() > 2 * self.ready + 64 {
            waits.retain(|wait| wait.goes_on(entries));
        }
        let Entry { since, serial, .. } = entries[place];
        // Mostly the last one; an awaited child goes from one queue to another without becoming ready anew.
        let later = waits.iter().rev().take_while(|wait| wait.since > since);
        let at = waits.len() - later.count();
        waits.insert(
            at,
            Wait {
                since,
                serial,
                place,
            },
        );
    }

    fn end_wait(&mut self) {
        self.ready -= 1;
    }

    #[cfg(all(test, feature = "metrics"))]
    pub(super) fn noted_waits(&self) -> usize {
        self.waits.as_ref().map_or(0, VecDeque::len)
    }

    pub(super) fn pending(&self) -> usize {
        self.ready + self.delayed
    }

    /// How many commands of this lane could start, as far as its own slots and keys go.
    pub(super) fn has_room_for(&self) -> usize {
        if self.paused {
            return 0;
        }
        let candidates = match &self.queue {
            Queue::Plain(flow) => flow.len(),
            Queue::Keyed(keys) => keys.room(),
        };
        let free = self.policy.max.saturating_sub(self.active);
        self.lent_length + (self.urged_length + candidates).min(free)
    }

    /// How many of these need no slot of the total limit.
    pub(super) fn exempt(&self) -> usize {
        let free = self.policy.max.saturating_sub(self.active);
        self.lent_length + self.urged_length.min(free)
    }

    /// Whether there is no slot for an awaited child that needs one: those before it get what is free.
    pub(super) fn is_urged_in_vain<T>(&self, entries: &Arena<Entry<T>>, place: u32) -> bool {
        let free = self.demand.exempt.saturating_sub(self.lent_length);
        free < self.urged_length
            && !self
                .urged
                .iter(entries)
                .take(free)
                .any(|other| other == place)
    }

    /// Whether it keeps awaited children from starting that go before the others.
    pub(super) fn is_stuck(&self) -> bool {
        self.lent_length + self.urged_length > self.demand.exempt
    }

    /// Whether one more awaited child that went before the others could start. A refusal of limits was not for it unless
    /// it was for another such child, which it would be behind.
    pub(super) fn could_favour(&self) -> bool {
        let is_first = self.lent_length + self.urged_length == 0;
        !self.paused && (self.block.is_none() || is_first)
    }

    /// Whether there is a slot for one more of those that need one.
    pub(super) fn could_urge(&self) -> bool {
        self.active + self.urged_length < self.policy.max
    }

    /// The awaited children that go before the others.
    pub(super) fn favoured<'a, T>(
        &'a self,
        entries: &'a Arena<Entry<T>>,
    ) -> impl Iterator<Item = u32> + 'a {
        self.lent.iter(entries).chain(self.urged.iter(entries))
    }

    /// An awaited child goes before the others; with `lent` it needs no slot of the lane.
    pub(super) fn push_favoured<T>(
        &mut self,
        entries: &mut Arena<Entry<T>>,
        place: u32,
        lent: bool,
    ) {
        self.begin_wait(entries, place);
        if lent {
            self.lent_length += 1;
            self.lent.push_back(entries, place);
        } else {
            self.urged_length += 1;
            self.urged.push_back(entries, place);
            // It goes first: the others of its key must not count on its place.
            let max = self.policy.keys().max;
            if let Queue::Keyed(keys) = &mut self.queue {
                keys.inherit(entries[place].key_number(), max);
            }
        }
    }

    pub(super) fn unlink_favoured<T>(
        &mut self,
        entries: &mut Arena<Entry<T>>,
        place: u32,
        lent: bool,
    ) {
        self.end_wait();
        if lent {
            self.lent_length -= 1;
            self.lent.unlink(entries, place);
        } else {
            self.urged_length -= 1;
            self.urged.unlink(entries, place);
            let max = self.policy.keys().max;
            if let Queue::Keyed(keys) = &mut self.queue {
                keys.free(entries[place].key_number(), max);
            }
        }
    }

    /// The command that goes first, by its place.
    ///
    /// One that has waited its deadline goes before all others: else newer commands of a lower priority number, or of
    /// other keys, could keep it waiting for ever.
    pub(super) fn front(&self, now: u64) -> Option<u32> {
        if !self.lent.is_empty() {
            return Some(self.lent.head);
        }
        if !self.urged.is_empty() {
            return Some(self.urged.head);
        }
        if let Some(deadline) = self.policy.deadline_ns()
            && let Some((since, place)) = self.oldest()
            && now.saturating_sub(since) >= deadline
        {
            return Some(place);
        }
        match &self.queue {
            Queue::Plain(flow) => flow.front(),
            Queue::Keyed(keys) => keys.front(),
        }
    }

    /// The oldest command that may start as far as its key is concerned. Known where ages are kept.
    fn oldest(&self) -> Option<(u64, u32)> {
        match &self.queue {
            Queue::Plain(flow) => flow.oldest().map(|(at, _, place)| (at, place)),
            Queue::Keyed(keys) => keys.oldest(),
        }
    }

    /// The oldest ready command, whether or not it may start. Known where ages are kept.
    pub(super) fn oldest_of_all(&self) -> Option<u32> {
        match &self.queue {
            Queue::Plain(flow) => flow.oldest().map(|(_, _, place)| place),
            Queue::Keyed(keys) => keys.oldest_of_all(),
        }
    }

    pub(super) fn effective_priority(&self, now: u64) -> u8 {
        match self.oldest() {
            Some((since, _)) => {
                let waited = now.saturating_sub(since);
                self.policy.effective_priority(waited)
            }
            None => self.policy.priority,
        }
    }

    /// The most urgent that the lane may have become by `then` with a command of this age back in it.
    pub(super) fn urgency_with(&self, since: u64, then: u64) -> u8 {
        let oldest = self.oldest().map_or(since, |(at, _)| at.min(since));
        self.policy.most_urgent(then.saturating_sub(oldest))
    }

    /// When the effective priority changes next if nothing else happens.
    pub(super) fn next_boost_at(&self, now: u64) -> Option<u64> {
        let (since, _) = self.oldest()?;
        let waited = self.policy.next_boost(now.saturating_sub(since))?;
        Some(since.saturating_add(waited))
    }

    /// A command enters the lane; returns the number of its key.
    pub(super) fn join(
        &mut self,
        name: Option<&Arc<str>>,
        priority: i32,
        paused: impl FnOnce(&Arc<str>) -> bool,
    ) -> u32 {
        let aged = self.policy.is_aged();
        if let (Queue::Plain(flow), Some(_)) = (&mut self.queue, name) {
            let flow = std::mem::replace(flow, Flow::new(false));
            let members = self.ready + self.delayed + self.active + self.borrowing;
            let active = self.active + self.urged_length;
            self.queue = Queue::Keyed(Box::new(KeyTable::new(flow, members, active)));
        }
        match &mut self.queue {
            Queue::Plain(_) => NO_KEY,
            Queue::Keyed(keys) => keys.join(name, priority, paused, self.policy.keys(), aged),
        }
    }

    /// A command of this key has left the lane.
    pub(super) fn leave(&mut self, key: u32) {
        if let Queue::Keyed(keys) = &mut self.queue {
            keys.leave(key);
        }
    }

    pub(super) fn push<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32, end: End) {
        self.begin_wait(entries, place);
        let max = self.policy.keys().max;
        match &mut self.queue {
            Queue::Plain(flow) => flow.push(entries, place, end),
            Queue::Keyed(keys) => keys.push(entries, place, end, max),
        }
    }

    pub(super) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        self.end_wait();
        let max = self.policy.keys().max;
        match &mut self.queue {
            Queue::Plain(flow) => flow.unlink(entries, place),
            Queue::Keyed(keys) => keys.unlink(entries, place, max),
        }
    }

    /// A ready command starts in a slot of the lane.
    pub(super) fn start<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        self.end_wait();
        self.active += 1;
        let max = self.policy.keys().max;
        match &mut self.queue {
            Queue::Plain(flow) => flow.unlink(entries, place),
            Queue::Keyed(keys) => keys.start(entries, place, max),
        }
    }

    /// An awaited child starts; with `lent` in the slot of another command.
    pub(super) fn start_favoured<T>(
        &mut self,
        entries: &mut Arena<Entry<T>>,
        place: u32,
        lent: bool,
    ) {
        self.unlink_favoured(entries, place, lent);
        if lent {
            self.borrowing += 1;
            return;
        }
        self.active += 1;
        let max = self.policy.keys().max;
        if let Queue::Keyed(keys) = &mut self.queue {
            keys.start_favoured(entries[place].key_number(), max);
        }
    }

    /// A command of this key gives its slot back.
    pub(super) fn vacate(&mut self, key: u32) {
        self.active -= 1;
        let max = self.policy.keys().max;
        if let Queue::Keyed(keys) = &mut self.queue {
            keys.free(key, max);
        }
    }

    /// A slot goes from a command of one key to one of another.
    pub(super) fn hand_over(&mut self, from: u32, to: u32) {
        self.borrowing -= 1;
        let max = self.policy.keys().max;
        if let Queue::Keyed(keys) = &mut self.queue {
            keys.free(from, max);
            keys.inherit(to, max);
        }
    }

    /// Returns whether the lane knows the key.
    pub(super) fn pause_key(&mut self, name: &Arc<str>, paused: bool) -> bool {
        let max = self.policy.keys().max;
        match &mut self.queue {
            Queue::Plain(_) => false,
            Queue::Keyed(keys) => keys.pause(name, paused, max),
        }
    }

    pub(super) fn set_policy<T>(&mut self, entries: &mut Arena<Entry<T>>, policy: LanePolicy) {
        let limit = self.policy.timeout_ns;
        if policy.timeout_ns != limit {
            let mut place = self.running.head;
            while place != NONE {
                let entry = &mut entries[place];
                let limit = entry.timeout_ns(limit);
                entry.terms.get_or_insert_default().run_timeout_ns = Some(limit);
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
    pub(super) fn key_obstacle(&self, key: u32) -> Option<KeyObstacle> {
        match &self.queue {
            Queue::Plain(_) => None,
            Queue::Keyed(keys) => keys.obstacle(key, self.policy.keys().max),
        }
    }

    /// How many commands of the lane go before this ready one; where it has keys, of its key.
    pub(super) fn position<T>(&self, entries: &Arena<Entry<T>>, place: u32) -> usize {
        match &self.queue {
            Queue::Plain(flow) => {
                let found = flow.iter(entries).position(|other| other == place);
                found.unwrap_or_default()
            }
            Queue::Keyed(keys) => keys.position(entries, place),
        }
    }

    /// The same for every ready one.
    pub(super) fn each_position<T>(
        &self,
        entries: &Arena<Entry<T>>,
        mut visit: impl FnMut(u32, usize),
    ) {
        let mut walk = |flow: &Flow| {
            let slots = flow.iter(entries).zip(0..);
            slots.for_each(|(place, position)| visit(place, position));
        };
        match &self.queue {
            Queue::Plain(flow) => walk(flow),
            Queue::Keyed(keys) => keys.flows().for_each(walk),
        }
    }

    #[cfg(test)]
    pub(super) fn chains(&self) -> impl Iterator<Item = (i32, usize)> + '_ {
        let flow = match &self.queue {
            Queue::Plain(flow) => Some(flow),
            Queue::Keyed(_) => None,
        };
        flow.into_iter().flat_map(Flow::chains)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        match &self.queue {
            Queue::Plain(_) => 0,
            Queue::Keyed(keys) => keys.len(),
        }
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::super::{CommandKey, Ending, LaneKey, LanePolicy, Scheduler, Terms};
    use crate::config::{LaneConfig, LaneOptions};

    fn submit(scheduler: &mut Scheduler<()>, lane: LaneKey, priority: i32, now: u64) -> CommandKey {
        let serial = scheduler.draw_serial();
        let terms = Terms {
            priority,
            ..Terms::default()
        };
        let submitted = scheduler.submit(lane, serial, (), Some(Box::new(terms)), now);
        submitted.expect("it is let in").key
    }

    /// However many go before it. What is noted is bounded by what waits (I10).
    #[test]
    fn the_longest_wait_is_the_one_of_who_starves() {
        let mut scheduler = Scheduler::new();
        scheduler.keep_waits();
        let policy = LanePolicy::new(&LaneConfig::new(0, 1), &LaneOptions::new(), 0, 0);
        let lane = scheduler.add_lane(policy);
        scheduler.open();
        assert_eq!(scheduler.longest_wait(lane, 5), 0);
        let starves = submit(&mut scheduler, lane, 1, 10);
        for now in 11..5_000 {
            submit(&mut scheduler, lane, 0, now);
            let start = scheduler.next(now).expect("the slot is free");
            assert_ne!(start.key, starves);
            assert_eq!(scheduler.longest_wait(lane, now), now - 10);
            assert!(scheduler.lanes[lane.index()].noted_waits() <= 2 * 2 + 65);
            let verdict = scheduler.conclude(start.key, start.run, Ending::Completed, 0);
            verdict.expect("it runs");
            scheduler.release(start.key, now);
        }
        assert_eq!(scheduler.next(5_000).map(|start| start.key), Some(starves));
        assert_eq!(scheduler.longest_wait(lane, 6_000), 0);
    }
}

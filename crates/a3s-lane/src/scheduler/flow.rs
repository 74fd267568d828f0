//! The ready commands of one lane and one fairness key, in order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::arena::Arena;
use super::entry::Entry;

/// No entry: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A list of entries that are linked to each other: adding and taking out cost the same at any length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) head: u32,
    pub(super) tail: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
        }
    }
}

impl Chain {
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.head == NONE
    }

    #[inline]
    pub(super) fn front(self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    #[inline]
    pub(super) fn push_back<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        let tail = std::mem::replace(&mut self.tail, place);
        if tail == NONE {
            self.head = place;
        } else {
            entries[tail].next = place;
        }
        let entry = &mut entries[place];
        entry.prev = tail;
        entry.next = NONE;
    }

    pub(super) fn push_front<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        let head = std::mem::replace(&mut self.head, place);
        if head == NONE {
            self.tail = place;
        } else {
            entries[head].prev = place;
        }
        let entry = &mut entries[place];
        entry.next = head;
        entry.prev = NONE;
    }

    /// Puts an entry where it would be had it waited here since it became ready. Looks at those that came after it.
    fn put_back<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        let mut prev = self.tail;
        while prev != NONE && entries[place].came_before(&entries[prev]) {
            prev = entries[prev].prev;
        }
        if prev == self.tail {
            return self.push_back(entries, place);
        }
        if prev == NONE {
            return self.push_front(entries, place);
        }
        let next = std::mem::replace(&mut entries[prev].next, place);
        entries[next].prev = place;
        (entries[place].prev, entries[place].next) = (prev, next);
    }

    /// The places from head to tail.
    pub(super) fn iter<T>(self, entries: &Arena<Entry<T>>) -> impl Iterator<Item = u32> + '_ {
        let next = |&place: &u32| Some(entries[place].next).filter(|next| *next != NONE);
        std::iter::successors(self.front(), next)
    }

    #[inline]
    pub(super) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        let entry = &entries[place];
        let (prev, next) = (entry.prev, entry.next);
        match prev {
            NONE => self.head = next,
            prev => entries[prev].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => entries[next].prev = prev,
        }
    }
}

/// Where a command joins a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Back,
    Front,
    /// Where it would be had it waited in the queue since it became ready.
    Between,
}

/// A priority inside a lane. Tests count how often two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level(i32);

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::COMPARISONS.set(tests::COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Ready commands by their priority, and first in first out inside one.
///
/// Most flows hold one priority only, and keep it in `first`; `rest` has the less urgent ones.
#[derive(Debug)]
pub(super) struct Flow {
    priority: i32,
    first: Chain,
    rest: BTreeMap<Level, Chain>,
    length: usize,
    /// The commands by age, where the lane asks for that.
    ages: Option<BTreeSet<Age>>,
}

/// Since when a command waits, its serial, its place.
type Age = (u64, u64, u32);

impl Flow {
    pub(super) fn new(aged: bool) -> Self {
        Self {
            priority: 0,
            first: Chain::default(),
            rest: BTreeMap::new(),
            length: 0,
            ages: aged.then(BTreeSet::new),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The command that goes first, by its place.
    pub(super) fn front(&self) -> Option<u32> {
        self.first.front()
    }

    /// The priority of the front.
    pub(super) fn priority(&self) -> i32 {
        self.priority
    }

    /// The command that has waited longest. Known where ages are kept.
    pub(super) fn oldest(&self) -> Option<Age> {
        self.ages.as_ref()?.first().copied()
    }

    pub(super) fn push<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32, end: End) {
        let priority = entries[place].priority();
        if self.length == 0 {
            self.priority = priority;
        } else if priority < self.priority {
            let first = std::mem::take(&mut self.first);
            self.rest.insert(Level(self.priority), first);
            self.priority = priority;
        }
        let chain = if priority == self.priority {
            &mut self.first
        } else {
            self.rest.entry(Level(priority)).or_default()
        };
        match end {
            End::Back => chain.push_back(entries, place),
            End::Front => chain.push_front(entries, place),
            End::Between => chain.put_back(entries, place),
        }
        self.length += 1;
        if let Some(ages) = &mut self.ages {
            ages.insert(age(&entries[place], place));
        }
    }

    pub(super) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        if let Some(ages) = &mut self.ages {
            ages.remove(&age(&entries[place], place));
        }
        self.length -= 1;
        let priority = entries[place].priority();
        if priority == self.priority {
            self.first.unlink(entries, place);
            if self.first.is_empty()
                && let Some((Level(priority), chain)) = self.rest.pop_first()
            {
                (self.priority, self.first) = (priority, chain);
            }
        } else if let Some(chain) = self.rest.get_mut(&Level(priority)) {
            chain.unlink(entries, place);
            if chain.is_empty() {
                self.rest.remove(&Level(priority));
            }
        }
    }

    /// Starts or stops to keep ages.
    pub(super) fn keep_ages<T>(&mut self, entries: &Arena<Entry<T>>, aged: bool) {
        if aged == self.ages.is_some() {
            return;
        }
        self.ages = aged.then(|| {
            let mut ages = BTreeSet::new();
            for chain in std::iter::once(&self.first).chain(self.rest.values()) {
                ages.extend(chain.iter(entries).map(|place| age(&entries[place], place)));
            }
            ages
        });
    }

    /// Where the commands of each priority are kept.
    #[cfg(test)]
    pub(super) fn chains(&self) -> impl Iterator<Item = (i32, usize)> + '_ {
        let rest = self.rest.iter();
        rest.map(|(level, chain)| (level.0, std::ptr::from_ref(chain).addr()))
    }

    /// The commands in order.
    pub(super) fn iter<'a, T>(
        &'a self,
        entries: &'a Arena<Entry<T>>,
    ) -> impl Iterator<Item = u32> + 'a {
        let chains = std::iter::once(&self.first).chain(self.rest.values());
        chains.flat_map(move |chain| chain.iter(entries))
    }
}

fn age<T>(entry: &Entry<T>, place: u32) -> Age {
    (entry.waits_since(), entry.serial, place)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashMap;

    use super::super::policy::LanePolicy;
    use super::super::{CommandKey, LaneKey, Scheduler, Stopped, Terms};
    use crate::command::StopReason;
    use crate::config::{LaneConfig, LaneOptions};

    thread_local! {
        pub(super) static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    fn scheduler() -> (Scheduler<()>, LaneKey) {
        let mut scheduler = Scheduler::new();
        let policy = LanePolicy::new(&LaneConfig::new(0, 1), &LaneOptions::new(), 0, 0);
        let lane = scheduler.add_lane(policy);
        scheduler.set_open(true);
        (scheduler, lane)
    }

    fn submit(scheduler: &mut Scheduler<()>, lane: LaneKey, priority: i32) -> CommandKey {
        let serial = scheduler.draw_serial();
        let terms = Terms {
            priority,
            ..Terms::default()
        };
        let submitted = scheduler.submit(lane, serial, (), Some(Box::new(terms)), 0);
        submitted.expect("it is let in").key
    }

    fn comparisons(work: impl FnOnce()) -> usize {
        COMPARISONS.set(0);
        work();
        COMPARISONS.get()
    }

    /// sindresorhus/p-queue and others keep a sorted list, in which a command that goes before others costs as many
    /// steps as there are others. Here it is a walk from the root of a tree, whatever the order in which they come.
    #[test]
    fn l08_a_command_finds_its_place_without_a_look_at_the_others() {
        // A node has at least 6 children and at most 11 keys, which are looked at one by one: 6^7 is more than 100,000.
        const MOST: usize = 7 * 11 + 3;
        let orders: [fn(i32) -> i32; 3] = [|n| -n, |n| n, |n| n.wrapping_mul(0x5E37_79B1)];
        for order in orders {
            let (mut scheduler, lane) = scheduler();
            let mut keys = Vec::new();
            for number in 0..100_000 {
                let cost = comparisons(|| keys.push(submit(&mut scheduler, lane, order(number))));
                assert!(cost <= MOST, "{cost} comparisons for command {number}");
            }
            let cost = comparisons(|| {
                let stopped = scheduler.stop(keys[50_000], StopReason::Cancel, 0);
                assert!(matches!(stopped, Stopped::Left(..)));
            });
            assert!(cost <= MOST, "{cost} comparisons for a cancel");
            let cost = comparisons(|| assert!(scheduler.next(0).is_some()));
            assert!(cost <= MOST, "{cost} comparisons for a start");
        }
    }

    /// Nor does anyone else have to move for it.
    #[test]
    fn l08_a_command_takes_its_place_without_a_move_of_the_others() {
        let (mut scheduler, lane) = scheduler();
        for number in 0..10_000 {
            submit(&mut scheduler, lane, 2 * number);
        }
        for priority in [-1, 1, 9_999, 19_999] {
            let before: HashMap<i32, usize> = scheduler.lanes[lane.index()].chains().collect();
            submit(&mut scheduler, lane, priority);
            let after = scheduler.lanes[lane.index()].chains();
            let moved = after.filter(|(priority, place)| before.get(priority) != Some(place));
            // Those of its node, and one of each node above when all of them are split.
            let moved = moved.count();
            assert!(moved <= 7 * 11, "{moved} moved for priority {priority}");
        }
    }
}

//! The ready commands of one lane and one fairness key, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::hint::likely;
use crate::scheduler::Arena;
use crate::scheduler::decision::CommandKey;
use crate::scheduler::entry::{After, Entry};

/// No entry: the end of a list.
pub(in crate::scheduler) const NONE: u32 = u32::MAX;

impl<T> Entry<T> {
    /// Whether a ready command was preempted when it ran last.
    pub(super) fn was_preempted(&self) -> bool {
        self.after == After::Preempted
    }

    /// Whether it stands before another one that is ready, of the same priority: preempted ones do, the last of them first;
    /// the others stand in the order in which they became ready. Of the same nanosecond, in that of submission, retries last.
    pub(super) fn came_before(&self, other: &Self) -> bool {
        let joined = |entry: &Self| (entry.ready_at(), entry.after == After::Retry, entry.serial);
        match (self.was_preempted(), other.was_preempted()) {
            (true, true) => other.ready_at() <= self.ready_at(),
            (false, false) => joined(self) < joined(other),
            (before, _) => before,
        }
    }
}

/// A list of entries that are linked to each other: adding and taking out cost the same at any length.
#[derive(Debug, Clone, Copy)]
pub(in crate::scheduler) struct Chain {
    pub(in crate::scheduler) head: u32,
    pub(in crate::scheduler) tail: u32,
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
    pub(in crate::scheduler) fn is_empty(self) -> bool {
        self.head == NONE
    }

    #[inline]
    pub(in crate::scheduler) fn front(self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    #[inline]
    pub(in crate::scheduler) fn push_back<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
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
    fn put_between<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
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
    pub(in crate::scheduler) fn iter<T>(
        self,
        entries: &Arena<Entry<T>>,
    ) -> impl Iterator<Item = u32> + '_ {
        let next = |&place: &u32| Some(entries[place].next).filter(|next| *next != NONE);
        std::iter::successors(self.front(), next)
    }

    #[inline]
    pub(in crate::scheduler) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
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
pub(in crate::scheduler) enum End {
    Back,
    Front,
    /// Where it would be had it waited in the queue since it became ready.
    Between,
}

/// A priority inside a lane. Tests count how often two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), derive(PartialOrd, Ord))]
struct Level(i32);

/// Ready commands by their priority, and first in first out inside one.
///
/// Most flows hold one priority only, and keep it in `first`; `rest` has the less urgent ones.
#[derive(Debug)]
pub(in crate::scheduler) struct Flow {
    priority: i32,
    first: Chain,
    rest: BTreeMap<Level, Chain>,
    length: usize,
    /// Who has submitted commands of the flow, each how many.
    parents: BTreeMap<CommandKey, usize>,
    /// How many these are.
    children: usize,
    /// The commands by age, where the lane asks for that.
    ages: Option<BTreeSet<Age>>,
}

/// Since when a command waits, its serial, its place.
pub(super) type Age = (u64, u64, u32);

impl Flow {
    pub(super) fn new(aged: bool) -> Self {
        Self {
            priority: 0,
            first: Chain::default(),
            rest: BTreeMap::new(),
            length: 0,
            parents: BTreeMap::new(),
            children: 0,
            ages: aged.then(BTreeSet::new),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// How many commands are in it whose parent, if they have one, is not `left_out`; up to `most`.
    pub(super) fn len_beside(&self, most: usize, left_out: impl Fn(CommandKey) -> bool) -> usize {
        let mut found = self.length - self.children;
        for (parent, children) in &self.parents {
            if found >= most {
                break;
            }
            if !left_out(*parent) {
                found += children;
            }
        }
        found.min(most)
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
        let entry = &entries[place];
        let is_usual = self.is_usual() && entry.terms.is_none() && end == End::Back;
        if likely(is_usual && (self.length == 0 || self.priority == 0)) {
            self.priority = 0;
            self.length += 1;
            return self.first.push_back(entries, place);
        }
        self.push_unusual(entries, place, end);
    }

    /// Whether it holds no more than one chain of commands, and no ages.
    #[inline]
    fn is_usual(&self) -> bool {
        self.rest.is_empty() && self.ages.is_none()
    }

    #[inline(never)]
    fn push_unusual<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32, end: End) {
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
            End::Between => chain.put_between(entries, place),
        }
        self.length += 1;
        if let Some(parent) = entries[place].parent() {
            *self.parents.entry(parent).or_default() += 1;
            self.children += 1;
        }
        if let Some(ages) = &mut self.ages {
            ages.insert(age(&entries[place], place));
        }
    }

    pub(super) fn unlink<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        if likely(self.is_usual() && entries[place].terms.is_none()) {
            self.length -= 1;
            return self.first.unlink(entries, place);
        }
        self.unlink_unusual(entries, place);
    }

    #[inline(never)]
    fn unlink_unusual<T>(&mut self, entries: &mut Arena<Entry<T>>, place: u32) {
        if let Some(ages) = &mut self.ages {
            ages.remove(&age(&entries[place], place));
        }
        self.length -= 1;
        if let Some(parent) = entries[place].parent()
            && let Some(children) = self.parents.get_mut(&parent)
        {
            *children -= 1;
            self.children -= 1;
            if *children == 0 {
                self.parents.remove(&parent);
            }
        }
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

    /// The commands in order.
    pub(in crate::scheduler) fn iter<'a, T>(
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
mod tests;

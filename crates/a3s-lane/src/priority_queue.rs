//! A priority queue that keeps the order of arrival within a priority.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::command::Priority;

/// One value of a [`PriorityQueue`] with its place in the order.
///
/// Items compare by priority and place only, whatever the value: the greater item leaves the queue first.
#[derive(Debug)]
pub struct PriorityItem<T> {
    priority: Priority,
    sequence: u64,
    value: T,
}

impl<T> PriorityItem<T> {
    /// The priority it was pushed with; 0 is the most urgent.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Its place in the order of arrival, counted from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, to change it in place.
    pub fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Gives up the place and returns the value.
    pub fn into_value(self) -> T {
        self.value
    }

    fn place(&self) -> Reverse<(Priority, u64)> {
        Reverse((self.priority, self.sequence))
    }
}

impl<T> PartialEq for PriorityItem<T> {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl<T> Eq for PriorityItem<T> {}

impl<T> PartialOrd for PriorityItem<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for PriorityItem<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// Values in order of priority, lower numbers first, and in order of arrival within a priority.
///
/// Holds any number of values; `push` and `pop` take time logarithmic in their number.
///
/// # Examples
///
/// ```
/// use a3s_lane::priority_queue::PriorityQueue;
///
/// let mut queue = PriorityQueue::new();
/// queue.push(5, "generate");
/// queue.push(1, "cancel");
/// let next = queue.pop().expect("two values");
/// assert_eq!(*next.value(), "cancel");
/// ```
#[derive(Debug)]
pub struct PriorityQueue<T> {
    heap: BinaryHeap<PriorityItem<T>>,
    last_sequence: u64,
}

impl<T> Default for PriorityQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PriorityQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            last_sequence: 0,
        }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Adds a value behind all others of its priority; returns its place in the order of arrival, counted from 1.
    pub fn push(&mut self, priority: Priority, value: T) -> u64 {
        self.last_sequence += 1;
        self.heap.push(PriorityItem {
            priority,
            sequence: self.last_sequence,
            value,
        });
        self.last_sequence
    }

    /// Takes the most urgent value, the oldest of its priority.
    pub fn pop(&mut self) -> Option<PriorityItem<T>> {
        self.heap.pop()
    }

    /// Puts a popped item back to the place it had.
    pub fn restore(&mut self, item: PriorityItem<T>) {
        self.heap.push(item);
    }

    /// All items in the order in which [`pop`](Self::pop) would return them; sorts, so it takes O(n log n).
    pub fn ordered(&self) -> Vec<&PriorityItem<T>> {
        let mut items: Vec<_> = self.heap.iter().collect();
        items.sort_unstable_by(|a, b| b.cmp(a));
        items
    }

    /// Drops all values and counts places from 1 again.
    pub fn clear(&mut self) {
        self.heap.clear();
        self.last_sequence = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Implements nothing, so that it proves the absence of bounds.
    struct Opaque;

    fn drain<T>(queue: &mut PriorityQueue<T>) -> Vec<T> {
        std::iter::from_fn(|| queue.pop())
            .map(PriorityItem::into_value)
            .collect()
    }

    #[test]
    fn lower_numbers_first_and_fifo_within() {
        let mut queue = PriorityQueue::new();
        for (priority, value) in [(5, "a"), (0, "b"), (5, "c"), (255, "d"), (0, "e")] {
            queue.push(priority, value);
        }
        assert_eq!(drain(&mut queue), ["b", "e", "a", "c", "d"]);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn places_are_counted_from_one() {
        let mut queue = PriorityQueue::default();
        assert_eq!(queue.push(3, 'x'), 1);
        assert_eq!(queue.push(0, 'y'), 2);
        let item = queue.pop().expect("two values");
        assert_eq!(
            (item.priority(), item.sequence(), *item.value()),
            (0, 2, 'y')
        );
    }

    #[test]
    fn restore_keeps_the_place() {
        let mut queue = PriorityQueue::new();
        queue.push(1, 'a');
        queue.push(1, 'b');
        let mut first = queue.pop().expect("two values");
        *first.value_mut() = 'A';
        queue.push(1, 'c');
        queue.restore(first);
        assert_eq!(drain(&mut queue), ['A', 'b', 'c']);
    }

    #[test]
    fn clear_resets_the_count() {
        let mut queue = PriorityQueue::new();
        queue.push(1, ());
        queue.push(1, ());
        queue.clear();
        assert!(queue.is_empty());
        assert_eq!((queue.push(1, ()), queue.len()), (1, 1));
    }

    #[test]
    fn values_need_no_bounds() {
        let mut queue = PriorityQueue::new();
        queue.push(1, Opaque);
        queue.push(0, Opaque);
        let (urgent, other) = (queue.pop().expect("two"), queue.pop().expect("one"));
        assert!(urgent > other && urgent != other && urgent == urgent);
    }

    proptest! {
        #![proptest_config(crate::seeds::cases(256))]

        #[test]
        fn ordered_is_the_order_of_pop(priorities in prop::collection::vec(0u8..5, 0..50)) {
            let mut queue = PriorityQueue::new();
            for &priority in &priorities {
                queue.push(priority, ());
            }
            let key = |item: &PriorityItem<()>| (item.priority(), item.sequence());
            let ordered: Vec<_> = queue.ordered().into_iter().map(key).collect();
            let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|item| key(&item)).collect();
            prop_assert!(popped.is_sorted());
            prop_assert_eq!(popped.len(), priorities.len());
            prop_assert_eq!(ordered, popped);
        }
    }
}

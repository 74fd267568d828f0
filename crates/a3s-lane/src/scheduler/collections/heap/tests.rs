//! The heap against a map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(crate::seeds::cases(256))]

    #[test]
    fn agrees_with_a_sorted_map(operations in prop::collection::vec((0u8..4, 0u32..40, 0u64..30), 1..300)) {
        let mut heap = IndexedHeap::new();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let smallest = |model: &BTreeMap<u32, u64>| model.iter().map(|(member, key)| (*key, *member)).min();
        for (operation, member, key) in operations {
            match operation {
                0 | 1 => {
                    heap.set(member, key);
                    model.insert(member, key);
                }
                2 => {
                    heap.remove(member);
                    model.remove(&member);
                }
                _ => {
                    let expected = smallest(&model).filter(|(least, _)| *least <= key);
                    let popped = heap.pop_if(|least| least <= key);
                    prop_assert_eq!(popped, expected.map(|(_, member)| member));
                    if let Some(member) = popped {
                        model.remove(&member);
                    }
                }
            }
            prop_assert_eq!(heap.peek(), smallest(&model));
            let (mut looked_at, mut due) = (0, BTreeSet::new());
            due.extend(heap.all_due(|least| {
                looked_at += 1;
                least <= key
            }));
            prop_assert!(looked_at <= 1 + 2 * due.len());
            let expected = model.iter().filter(|(_, least)| **least <= key);
            prop_assert_eq!(due, expected.map(|(member, _)| *member).collect());
        }
    }
}

thread_local! {
    static COMPARISONS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A key that counts how often it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted(u64);

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

/// One step per doubling, whatever the order in which they come.
#[test]
fn an_insertion_costs_no_more_than_the_depth_of_a_tree() {
    for order in [
        |n: u64| u64::MAX - n,
        |n: u64| n,
        |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
    ] {
        let mut heap = IndexedHeap::new();
        let mut most = 0;
        for member in 0..100_000_u32 {
            COMPARISONS.set(0);
            heap.set(member, Counted(order(u64::from(member))));
            most = most.max(COMPARISONS.get());
        }
        assert!(
            most <= 17,
            "{most} comparisons, and 2^17 is more than 100 000"
        );
        COMPARISONS.set(0);
        heap.remove(50_000);
        let front = heap.peek().map(|(_, member)| member).expect("it is full");
        heap.remove(front);
        assert!(COMPARISONS.get() <= 4 * 17);
    }
}

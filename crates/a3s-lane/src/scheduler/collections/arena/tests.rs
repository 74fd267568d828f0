//! The arena against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(crate::seeds::cases(256))]

    #[test]
    fn agrees_with_a_map(operations in prop::collection::vec((any::<bool>(), 0u32..1500), 1..3000)) {
        let mut arena = Arena::new();
        let mut model = BTreeMap::new();
        for (insert, number) in operations {
            if insert {
                let place = arena.insert(number);
                prop_assert_eq!(model.insert(place, number), None);
            } else {
                prop_assert_eq!(arena.remove(number), model.remove(&number));
            }
            prop_assert_eq!(arena.get(number), model.get(&number));
            prop_assert_eq!(arena.len(), model.len());
        }
        let held: Vec<_> = arena.iter().map(|(place, number)| (place, *number)).collect();
        prop_assert_eq!(held, model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn places_are_reused_before_memory_grows() {
    let mut arena = Arena::new();
    for round in 0..10 {
        let places: Vec<u32> = (0..BLOCK as u32 + 1).map(|n| arena.insert(n)).collect();
        assert_eq!(arena.blocks.len(), 2, "round {round}");
        for place in places {
            arena.remove(place);
        }
    }
}

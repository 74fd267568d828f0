//! Where the scheduler keeps its entries: slots with stable numbers, in blocks that never move.
//!
//! A growing vector would copy every pending command while the queue's lock is held; here growth costs one block.

/// Slots per block.
const BLOCK: usize = 1 << BLOCK_BITS;
const BLOCK_BITS: u32 = 9;

/// No slot: the end of the free list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// The next free slot.
    Free(u32),
}

/// Values by slot number. A freed slot is the next one taken, while its memory is still warm.
///
/// Blocks are kept when they become empty: memory follows the most values that were held at once.
#[derive(Debug)]
pub(super) struct Arena<T> {
    blocks: Vec<Vec<Slot<T>>>,
    free: u32,
    length: usize,
}

impl<T> Arena<T> {
    pub(super) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            free: NONE,
            length: 0,
        }
    }

    /// Stores `value` and returns its slot.
    ///
    /// # Panics
    ///
    /// With 2^32 - 1 values in it.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if self.free == NONE {
            self.add_slot();
        }
        self.length += 1;
        let slot = self.free;
        let place = &mut self.blocks[block(slot)][offset(slot)];
        if let Slot::Free(next) = *place {
            self.free = next;
        }
        *place = Slot::Taken(value);
        slot
    }

    /// Adds one free slot.
    fn add_slot(&mut self) {
        if self.blocks.last().is_none_or(|last| last.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = self.blocks.len() - 1;
        let last = &mut self.blocks[number];
        let slot = number * BLOCK + last.len();
        let slot = u32::try_from(slot).ok().filter(|slot| *slot != NONE);
        let slot = slot.expect("fewer than 2^32 - 1 commands");
        last.push(Slot::Free(self.free));
        self.free = slot;
    }

    /// Takes the value out of `slot` and frees it.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.blocks.get_mut(block(slot))?.get_mut(offset(slot))?;
        if matches!(place, Slot::Free(_)) {
            return None;
        }
        let Slot::Taken(value) = std::mem::replace(place, Slot::Free(self.free)) else {
            return None;
        };
        self.free = slot;
        self.length -= 1;
        Some(value)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        match self.blocks.get(block(slot))?.get(offset(slot))? {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        match self.blocks.get_mut(block(slot))?.get_mut(offset(slot))? {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// All values with their slots, in slot order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.blocks.iter().flatten().zip(0..);
        slots.filter_map(|(place, slot)| match place {
            Slot::Taken(value) => Some((slot, value)),
            Slot::Free(_) => None,
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// How many slots were ever in use at once.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }
}

fn block(slot: u32) -> usize {
    (slot >> BLOCK_BITS) as usize
}

fn offset(slot: u32) -> usize {
    slot as usize & (BLOCK - 1)
}

impl<T> std::ops::Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        self.get(slot).expect("the slot is taken")
    }
}

impl<T> std::ops::IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        self.get_mut(slot).expect("the slot is taken")
    }
}

#[cfg(test)]
mod tests {
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
                    let slot = arena.insert(number);
                    prop_assert_eq!(model.insert(slot, number), None);
                } else {
                    prop_assert_eq!(arena.remove(number), model.remove(&number));
                }
                prop_assert_eq!(arena.get(number), model.get(&number));
                prop_assert_eq!(arena.len(), model.len());
            }
            let held: Vec<_> = arena.iter().map(|(slot, number)| (slot, *number)).collect();
            prop_assert_eq!(held, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn slots_are_reused_before_memory_grows() {
        let mut arena = Arena::new();
        for round in 0..10 {
            let slots: Vec<u32> = (0..BLOCK as u32 + 1).map(|n| arena.insert(n)).collect();
            assert_eq!(arena.blocks.len(), 2, "round {round}");
            for slot in slots {
                arena.remove(slot);
            }
        }
    }
}

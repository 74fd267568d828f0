//! Where the scheduler keeps its entries: places with stable numbers, in blocks that never move.
//!
//! A growing vector would copy every pending command while the queue's lock is held; here growth costs one block.

use crate::scheduler::entry::Entry;

/// A command of one scheduler, in the order of submission. Never valid again once the command is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommandKey {
    pub(in crate::scheduler) serial: u64,
    pub(in crate::scheduler) place: u32,
}

impl CommandKey {
    /// The number that [`Scheduler::draw_serial`](crate::scheduler::Scheduler::draw_serial) drew for this command.
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

/// Places per block.
const BLOCK: usize = 1 << BLOCK_BITS;
const BLOCK_BITS: u32 = 9;

/// No place: the end of the free list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// The next free place.
    Free(u32),
}

/// Values by place number. A freed place is the next one taken, while its memory is still warm.
///
/// Blocks are kept when they become empty: memory follows the most values that were held at once.
#[derive(Debug)]
pub(in crate::scheduler) struct Arena<T> {
    blocks: Vec<Vec<Place<T>>>,
    free: u32,
    length: usize,
}

impl<T> Arena<T> {
    pub(in crate::scheduler) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            free: NONE,
            length: 0,
        }
    }

    /// Stores `value` and returns its place.
    ///
    /// # Panics
    ///
    /// With 2^32 - 1 values in it.
    #[inline]
    pub(in crate::scheduler) fn insert(&mut self, value: T) -> u32 {
        if self.free == NONE {
            self.add_place();
        }
        self.length += 1;
        let place = self.free;
        let taken = &mut self.blocks[block(place)][offset(place)];
        if let Place::Free(next) = *taken {
            self.free = next;
        }
        *taken = Place::Taken(value);
        place
    }

    /// Adds one free place.
    fn add_place(&mut self) {
        if self.blocks.last().is_none_or(|last| last.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = self.blocks.len() - 1;
        let last = &mut self.blocks[number];
        let place = number * BLOCK + last.len();
        let place = u32::try_from(place).ok().filter(|place| *place != NONE);
        let place = place.expect("fewer than 2^32 - 1 commands");
        last.push(Place::Free(self.free));
        self.free = place;
    }

    /// Takes the value out of `place` and frees it.
    pub(in crate::scheduler) fn remove(&mut self, place: u32) -> Option<T> {
        let taken = self.blocks.get_mut(block(place))?.get_mut(offset(place))?;
        if matches!(taken, Place::Free(_)) {
            return None;
        }
        let Place::Taken(value) = std::mem::replace(taken, Place::Free(self.free)) else {
            return None;
        };
        self.free = place;
        self.length -= 1;
        Some(value)
    }

    pub(in crate::scheduler) fn get(&self, place: u32) -> Option<&T> {
        match self.blocks.get(block(place))?.get(offset(place))? {
            Place::Taken(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    pub(in crate::scheduler) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self.blocks.get_mut(block(place))?.get_mut(offset(place))? {
            Place::Taken(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// All values with their places, in place order.
    pub(in crate::scheduler) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.blocks.iter().flatten().zip(0..);
        places.filter_map(|(held, place)| match held {
            Place::Taken(value) => Some((place, value)),
            Place::Free(_) => None,
        })
    }

    #[cfg(test)]
    pub(in crate::scheduler) fn len(&self) -> usize {
        self.length
    }

    /// How many places were ever in use at once.
    #[cfg(test)]
    pub(in crate::scheduler) fn places(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }
}

fn block(place: u32) -> usize {
    (place >> BLOCK_BITS) as usize
}

fn offset(place: u32) -> usize {
    place as usize & (BLOCK - 1)
}

impl<T> std::ops::Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        self.get(place).expect("the place is taken")
    }
}

impl<T> std::ops::IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        self.get_mut(place).expect("the place is taken")
    }
}

impl<T> Arena<Entry<T>> {
    /// The entry of a command that is not gone.
    #[inline]
    pub(in crate::scheduler) fn alive(&self, key: CommandKey) -> Option<&Entry<T>> {
        let entry = self.get(key.place)?;
        (entry.serial == key.serial).then_some(entry)
    }

    #[inline]
    pub(in crate::scheduler) fn alive_mut(&mut self, key: CommandKey) -> Option<&mut Entry<T>> {
        let entry = self.get_mut(key.place)?;
        (entry.serial == key.serial).then_some(entry)
    }

    /// The entry of a command while this run of it is neither concluded nor over.
    #[inline]
    pub(in crate::scheduler) fn running_mut(
        &mut self,
        key: CommandKey,
        run: u32,
    ) -> Option<&mut Entry<T>> {
        let entry = self.get_mut(key.place)?;
        entry.is_running(key, run).then_some(entry)
    }
}

#[cfg(test)]
mod tests;

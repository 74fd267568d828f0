//! Entries at places that do not move, numbers in the order of their keys, and a count of the steps of a call.

mod arena;
mod heap;
mod steps;

pub(super) use arena::Arena;
pub(crate) use arena::CommandKey;
pub(super) use heap::IndexedHeap;
#[cfg(test)]
pub(super) use steps::TAKEN;

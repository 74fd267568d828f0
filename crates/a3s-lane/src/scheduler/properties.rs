//! What the crate promises about order, limits and progress, as properties of the scheduler under random operations.
//!
//! `agreement` compares every answer of the scheduler with the reference model. `invariants` states each promise by
//! itself: there the model only keeps the books of what the scheduler did. A failure prints the smallest operations
//! that show it, and proptest keeps its seed in `proptest-regressions`.

mod agreement;
mod bounds;
mod compare;
mod invariants;
mod operation;
pub(super) mod rules;
mod world;

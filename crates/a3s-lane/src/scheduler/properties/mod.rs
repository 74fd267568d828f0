//! What the crate promises about order, limits and progress, as properties of the scheduler under random operations.
//!
//! `agreement` compares every answer of the scheduler with the reference model, and `nesting/agreement` with children that
//! are waited for. `invariants`, `slots`, `fairness` and
//! `bounds` state each promise by itself: there the model only keeps the books of what the scheduler did. A failure prints
//! the smallest operations that show it; it then gets a name in `regressions`.

#![cfg_attr(
    not(feature = "distributed"),
    allow(dead_code, unused_imports, reason = "part of it is about limiters")
)]

mod agreement;
mod bounds;
mod compare;
mod fairness;
mod invariants;
mod nesting;
mod operation;
mod regressions;
pub(super) mod rules;
mod slots;
mod strategies;
mod turns;
mod world;

/// The fewest random operations that a property plays in one run of the tests; those of `fairness`, which take longer, a
/// fifth of it.
const LEAST: usize = 100_000;

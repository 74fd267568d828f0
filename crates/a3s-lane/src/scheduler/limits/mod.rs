//! Limits on starts per time: `metered` with the feature `distributed`, `unlimited` without. `block` has the lanes that they
//! have refused.

mod block;
#[cfg(feature = "distributed")]
mod metered;
#[cfg(not(feature = "distributed"))]
mod unlimited;

pub(super) use block::Block;
#[cfg(feature = "distributed")]
pub(super) use metered::Charges;
#[cfg(feature = "distributed")]
pub(crate) use metered::{Counts, Limiter, LimiterKey};

//! Sampling, statistics and reports; knows nothing about lanes.

pub(crate) mod alloc;
pub(crate) mod contest;
pub(crate) mod json;
pub(crate) mod line;
pub(crate) mod machine;
pub(crate) mod options;
pub(crate) mod random;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod usage;

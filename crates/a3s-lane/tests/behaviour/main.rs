//! What a queue does, one file per subject.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod lifecycle;
mod retry;
mod storage;
mod timeout;

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "monitoring")]
mod monitor;

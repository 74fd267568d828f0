//! What a queue does, one file per subject.

#[path = "../support/mod.rs"]
mod support;

mod context;
mod dead_letters;
mod ends;
mod events;
mod executor_faults;
mod executors;
mod handlers;
mod lifecycle;
mod overflow;
mod restore;
mod retry;
mod sink;
mod stopping;
mod storage;
mod submission;
mod timeout;
mod tools;
mod unique;

#[cfg(feature = "distributed")]
mod control;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "monitoring")]
mod monitor;
#[cfg(feature = "distributed")]
mod state;

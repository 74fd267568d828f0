//! Node bindings of a3s-lane: the native half of the npm package `@a3s-lab/lane`.
//!
//! The JavaScript half (`npm/`) checks the *types* of arguments and turns errors into `LaneError`; this half checks
//! *ranges* and runs the queue. All lanes of a process, in all its JavaScript threads, share one tokio runtime.
#![expect(
    unreachable_pub,
    reason = "napi exports only items that are pub, also those of private modules"
)]

mod admission;
mod alerts;
mod attempts;
mod batch;
mod bridge;
mod calls;
mod config;
mod control;
mod event;
mod exchange;
mod fault;
mod handle;
mod hosted;
mod lane;
mod lanes;
mod letters;
mod limit;
mod metrics;
mod options;
mod outcome;
mod payload;
mod places;
mod queue;
mod range;
mod reports;
mod retry;
mod runtime;
mod scripted;
mod signal;
mod storage;
mod subscription;
mod testing;
mod tickets;
mod totals;

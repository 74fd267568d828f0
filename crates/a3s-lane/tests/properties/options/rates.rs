//! How many commands may start in a time, by the rates of lanes and by the limiters that they share.
//!
//! One thread on paused time: there a body begins in the moment of its start. What a change may have changed is left out.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::lanes::{LIMITERS, LimiterPlan, WINDOW_MS};
use super::limits::{Limits, OfLane};
use super::plan::{LANES, ms};
use super::play::Checked;
use super::record::{Book, lock};

/// A start, and what it was charged at least.
#[derive(Debug, Clone, Copy)]
struct Start {
    at: Instant,
    cost: u64,
}

/// What may be granted in any span of time.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Bucket { burst: u64, max: u64 },
    Window { max: u64 },
}

impl Bound {
    fn allows(self, cost: u64, span: Duration) -> bool {
        let window = ms(WINDOW_MS);
        let (window_ns, span_ns) = (window.as_nanos(), span.as_nanos());
        match self {
            Self::Bucket { burst, max } => {
                u128::from(cost) * window_ns
                    <= u128::from(burst) * window_ns + u128::from(max) * span_ns
            }
            Self::Window { max } => span >= window || cost <= max,
        }
    }
}

pub(crate) fn were_kept(limits: &Limits, book: &Book) -> Checked {
    for lane in 0..LANES {
        if let Some(bound) = of_lane(&limits.lanes[lane]) {
            keeps(bound, &starts(book, |other| other == lane, true))?;
        }
    }
    for limiter in 0..LIMITERS {
        let was = &limits.limiters[usize::from(limiter)];
        // A lane that did not use it once was charged nothing then.
        let uses = |lane: usize| {
            let lane = &limits.lanes[lane];
            !lane.ever(|lane| !lane.uses(limiter))
        };
        let counts_commands = was[0].counts_commands;
        if let Some(bound) = of_limiter(was) {
            keeps(bound, &starts(book, uses, counts_commands))?;
        }
    }
    Ok(())
}

/// In the order of their time.
fn starts(book: &Book, of_lane: impl Fn(usize) -> bool, counts_commands: bool) -> Vec<Start> {
    let mut starts = Vec::new();
    for record in book.records().iter().filter(|record| of_lane(record.lane)) {
        for run in lock(&record.runs).iter() {
            let least = record.plan.least_cost(run.attempt);
            let cost = if counts_commands { 1 } else { least };
            starts.push(Start {
                at: run.began,
                cost,
            });
        }
    }
    starts.sort_by_key(|start| start.at);
    starts
}

/// The rate of a lane, if it had one at all times. A new rate goes on with what the one before has left; that of a new
/// lane does not.
fn of_lane(lane: &OfLane) -> Option<Bound> {
    if lane.removed {
        return None;
    }
    let rates: Option<Vec<_>> = lane.was.iter().map(|lane| lane.rate.as_ref()).collect();
    let rates = rates?;
    Some(Bound::Bucket {
        burst: rates.iter().map(|rate| rate.burst()).max()?,
        max: rates.iter().map(|rate| rate.max).max()?,
    })
}

/// That of a limiter which was of one kind and counted the same at all times.
fn of_limiter(was: &[LimiterPlan]) -> Option<Bound> {
    let first = &was[0];
    let same = |plan: &LimiterPlan| {
        (plan.is_window, plan.counts_commands) == (first.is_window, first.counts_commands)
    };
    if !was.iter().all(same) {
        return None;
    }
    let max = was.iter().map(|plan| plan.max).max()?;
    let burst = was.iter().map(LimiterPlan::burst).max()?;
    Some(match first.is_window {
        true => Bound::Window { max },
        false => Bound::Bucket { burst, max },
    })
}

/// Between any two starts no more was granted than allowed.
fn keeps(bound: Bound, starts: &[Start]) -> Checked {
    for (from, first) in starts.iter().enumerate() {
        let mut cost = 0;
        for start in &starts[from..] {
            cost += start.cost;
            let span = start.at - first.at;
            prop_assert!(
                bound.allows(cost, span),
                "{} in {:?} of {:?}: {:?}",
                cost,
                span,
                bound,
                starts
            );
        }
    }
    Ok(())
}

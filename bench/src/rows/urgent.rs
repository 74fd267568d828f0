//! How long a `control` command waits for its start while the `prompt` lane is saturated: 99th percentile.
//!
//! The two slots of `prompt` are held while its backlog is submitted; then they are let go, and thousands of commands wait
//! behind two running ones until the last probe (checked). A thread outside of the runtime sleeps for half a millisecond,
//! submits one `control` command and reads from its result how long after the call it began. Two kinds of prompts: async
//! sleeps of 5 ms (the lane is busy, the workers are not) and 20 us of computation each (both workers are busy all the
//! time; a scheduler that stays too long on one lane shows here). The floor submits the probe with a bare spawn, beside
//! two semaphores of the same sizes that carry the same load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::contestants::jobs::{Probe, Spin};
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{Contestant, LaneSetup, Ours, Published, SemaphoreOfN, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::stats::quantile;

use super::drive::{Blockers, fresh_runtime};

const PROBES: usize = 400;
/// Fewer would not make a 99th percentile.
const LEAST_PROBES: usize = 100;
const PAUSE: Duration = Duration::from_micros(500);
const BUDGET_NANOS: f64 = 1e6;

/// What one prompt does, and how many are submitted before the first probe.
#[derive(Clone, Copy)]
struct Prompts {
    time: Duration,
    asleep: bool,
    backlog: usize,
}

const SLEEPING: Prompts = Prompts {
    time: Duration::from_millis(5),
    asleep: true,
    backlog: 10_000,
};

const COMPUTING: Prompts = Prompts {
    time: Duration::from_micros(20),
    asleep: false,
    backlog: 100_000,
};

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for (prompts, label) in [
        (SLEEPING, "5 ms async prompts"),
        (COMPUTING, "20 us computing prompts"),
    ] {
        let probes = options.scale(PROBES).max(LEAST_PROBES);
        let mut contest = Contest::new(format!("urgent: {label}"), options);
        contest.enter(OURS, probes, |n| sample::<Ours>(prompts, n));
        contest.enter(FLOOR, probes, |n| sample::<SemaphoreOfN>(prompts, n));
        contest.enter(PUBLISHED, probes, |n| sample::<Published>(prompts, n));
        let outcome = contest.run();
        for (index, name) in ["p50", "p99"].into_iter().enumerate() {
            lines.push(Line {
                row: "urgent",
                label: format!("{name} of a control start, {label}"),
                unit: Unit::Nanoseconds,
                ours: outcome.series(OURS, index),
                floor: Some(outcome.series(FLOOR, index)),
                peer: Some(outcome.series(PUBLISHED, index)),
                budget: if index == 1 {
                    Budget::AtMost(BUDGET_NANOS)
                } else {
                    Budget::None
                },
            });
        }
    }
    lines
}

fn sample<C: Contestant>(prompts: Prompts, probes: usize) -> Vec<f64> {
    // The numbers of the default lanes.
    let setup = Setup::new(vec![
        LaneSetup::new("control", 3, 1),
        LaneSetup::new("prompt", 2, 5),
    ]);
    let runtime = fresh_runtime();
    let done = Arc::new(AtomicUsize::new(0));
    let contestant = Arc::new(runtime.block_on(C::build(&setup)));

    let load = {
        let (contestant, done) = (Arc::clone(&contestant), Arc::clone(&done));
        async move {
            for _ in 0..prompts.backlog {
                let spin = Spin {
                    time: prompts.time,
                    asleep: prompts.asleep,
                    done: Arc::clone(&done),
                };
                drop(contestant.submit("prompt", spin).await);
            }
        }
    };
    runtime.block_on(async {
        let blockers = Blockers::occupy(&*contestant, "prompt", 2).await;
        tokio::spawn(load).await.expect("the load is submitted");
        blockers.release().await;
    });

    let mut waits = Vec::with_capacity(probes);
    let nearly_all = prompts.backlog - prompts.backlog / 10;
    while waits.len() < probes && done.load(Relaxed) < nearly_all {
        std::thread::sleep(PAUSE);
        let reply = runtime.block_on(async {
            let reply = contestant.submit("control", Probe(Instant::now())).await;
            reply.await.expect("the probe settles")
        });
        waits.push(
            reply
                .expect("the probe succeeds")
                .as_u64()
                .expect("the probe returns its wait") as f64,
        );
    }
    let done = done.load(Relaxed);
    assert!(
        done > 0 && done + 2 < prompts.backlog,
        "prompts ran and some still wait: {done} done"
    );
    assert!(
        waits.len() >= LEAST_PROBES,
        "{} probes while prompts were waiting",
        waits.len()
    );
    runtime.block_on(async { drop(contestant) });
    vec![quantile(&waits, 0.5), quantile(&waits, 0.99)]
}

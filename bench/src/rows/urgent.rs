//! How long a `control` command waits for its start while the `prompt` lane is saturated: 99th percentile.
//!
//! The two slots of `prompt` are held while its backlog is submitted; then they are let go, and thousands of commands wait
//! behind two running ones until the last probe (checked). A thread outside of the runtime sleeps for half a millisecond,
//! submits one `control` command and reads from its result how long after the call it began. Two kinds of prompts: async
//! sleeps of 5 ms (the lane is busy, the workers are not) and 20 us of computation each (both workers are busy all the
//! time; a scheduler that stays too long on one lane shows here). The floor submits the probe with a bare spawn, beside
//! two semaphores of the same sizes that carry the same load.
//!
//! Ours runs once more with a total of 3 that either lane alone could fill and of which 1 is reserved for `control`:
//! the same two prompts run, now because of the reservation.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a3s_lane::LaneConfig;

use crate::contestants::jobs::Probe;
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{Contestant, LaneSetup, Ours, Published, SemaphoreOfN, Setup, builder};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::stats::quantile;

use super::drive::fresh_runtime;
use super::load::{Backlog, COMPUTING, Load, SLEEPING};

const PROBES: usize = 400;
/// Fewer would not make a 99th percentile.
const LEAST_PROBES: usize = 100;
const PAUSE: Duration = Duration::from_micros(500);
const BUDGET_NANOS: f64 = 1e6;

const OURS_WITH_TOTAL: &str = "ours with a total";

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for (prompts, label) in [
        (SLEEPING, "5 ms async prompts"),
        (COMPUTING, "20 us computing prompts"),
    ] {
        let probes = options.scale(PROBES).max(LEAST_PROBES);
        let mut contest = Contest::new(format!("urgent: {label}"), options);
        contest.enter(OURS, probes, |n| {
            sample(default_lanes::<Ours>(), prompts, n)
        });
        contest.enter(OURS_WITH_TOTAL, probes, |n| {
            sample(lanes_of_a_total(), prompts, n)
        });
        contest.enter(FLOOR, probes, |n| {
            sample(default_lanes::<SemaphoreOfN>(), prompts, n)
        });
        contest.enter(PUBLISHED, probes, |n| {
            sample(default_lanes::<Published>(), prompts, n)
        });
        let outcome = contest.run();
        for (who, where_to) in [(OURS, ""), (OURS_WITH_TOTAL, ", total of 3, 1 reserved")] {
            for (index, name) in ["p50", "p99"].into_iter().enumerate() {
                lines.push(Line {
                    row: "urgent",
                    label: format!("{name} of a control start, {label}{where_to}"),
                    unit: Unit::Nanoseconds,
                    ours: outcome.series(who, index),
                    floor: Some(outcome.series(FLOOR, index)),
                    peer: (who == OURS).then(|| outcome.series(PUBLISHED, index)),
                    budget: if index == 1 {
                        Budget::AtMost(BUDGET_NANOS)
                    } else {
                        Budget::None
                    },
                });
            }
        }
    }
    lines
}

/// The numbers of the default lanes.
async fn default_lanes<C: Contestant>() -> C {
    let setup = Setup::new(vec![
        LaneSetup::new("control", 3, 1),
        LaneSetup::new("prompt", 2, 5),
    ]);
    C::build(&setup).await
}

/// Either lane alone could fill the total; `prompt` gets two slots of it because one is kept for `control`.
async fn lanes_of_a_total() -> Ours {
    let builder = builder()
        .with_lane("control", LaneConfig::new(1, 3), 1)
        .with_lane("prompt", LaneConfig::new(0, 3), 5)
        .with_max_concurrency(3);
    Ours::start(builder).await
}

fn sample<C: Contestant>(
    contestant: impl Future<Output = C>,
    prompts: Backlog,
    probes: usize,
) -> Vec<f64> {
    let runtime = fresh_runtime();
    let contestant = Arc::new(runtime.block_on(contestant));
    let load = runtime.block_on(Load::start(&contestant, "prompt", 2, prompts));

    let mut waits = Vec::with_capacity(probes);
    while waits.len() < probes && !load.nearly_over() {
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
    load.check();
    assert!(
        waits.len() >= LEAST_PROBES,
        "{} probes while prompts were waiting",
        waits.len()
    );
    runtime.block_on(async { drop(contestant) });
    vec![quantile(&waits, 0.5), quantile(&waits, 0.99)]
}

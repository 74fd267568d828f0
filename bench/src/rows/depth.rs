//! Does a full lane get slow? Ten blockers hold the ten slots while the lane is filled to the depth, then they let go and
//! it empties. Filling and emptying are timed separately and together.
//!
//! Every sample of a depth handles the same number of commands (a shallow lane is filled and emptied more often), after
//! one round that is not timed. All depths of a contestant are in one contest, because they are compared with each other.
//! The floor spawns as many tasks at once and awaits them; nothing holds them back, so it has a total only.

use std::time::{Duration, Instant};

use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{BareSpawn, Contestant, Ours, Published, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::{Blockers, check_sum, flood, on_a_worker, per_second, submit_noops, sum_of};

const SLOTS: usize = 10;
const DEPTHS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Commands per sample at most, except where one filling needs more.
const COMMANDS: usize = 200_000;
/// The published crate needs about ten times as long: it gets fewer fillings and not the greatest depth.
const PUBLISHED_COMMANDS: usize = 20_000;
const PUBLISHED_DEPTH: usize = 100_000;

const PHASES: [&str; 3] = ["fill and empty", "fill", "empty"];

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let depths: Vec<usize> = DEPTHS
        .into_iter()
        .filter(|depth| !options.quick || *depth < 1_000_000)
        .collect();
    let mut contest = Contest::new("depth", options);
    for &depth in &depths {
        let cycles = (options.scale(COMMANDS) / depth).max(1);
        contest.enter(name(OURS, depth), cycles * depth, move |n| {
            held::<Ours>(depth, n / depth)
        });
        contest.enter(name(FLOOR, depth), cycles * depth, move |n| {
            vec![spawned(depth, n / depth)]
        });
        if depth <= PUBLISHED_DEPTH {
            let cycles = (options.scale(PUBLISHED_COMMANDS) / depth).max(1);
            let entrant = name(PUBLISHED, depth);
            contest.enter(entrant, cycles * depth, move |n| {
                held::<Published>(depth, n / depth)
            });
        }
    }
    let outcome = contest.run();

    let mut lines = Vec::new();
    for (phase, phase_name) in PHASES.into_iter().enumerate() {
        for &depth in &depths {
            let shallow = outcome.series(&name(OURS, DEPTHS[0]), phase);
            lines.push(Line {
                row: "depth",
                label: format!("{phase_name}, {} pending", short(depth)),
                unit: Unit::PerSecond,
                ours: outcome.series(&name(OURS, depth), phase),
                floor: (phase == 0).then(|| outcome.series(&name(FLOOR, depth), 0)),
                peer: (depth <= PUBLISHED_DEPTH)
                    .then(|| outcome.series(&name(PUBLISHED, depth), phase)),
                budget: if depth > DEPTHS[0] {
                    Budget::ShareOf {
                        ours: shallow,
                        floor: (phase == 0).then(|| outcome.series(&name(FLOOR, DEPTHS[0]), 0)),
                        least: 0.8,
                    }
                } else {
                    Budget::None
                },
            });
        }
    }
    lines
}

fn name(who: &str, depth: usize) -> String {
    format!("{who} at {}", short(depth))
}

fn short(depth: usize) -> String {
    if depth >= 1_000_000 {
        format!("{}M", depth / 1_000_000)
    } else {
        format!("{}k", depth / 1_000)
    }
}

/// Commands per second: in all, while filling, while emptying.
fn held<C: Contestant>(depth: usize, cycles: usize) -> Vec<f64> {
    on_a_worker(async move {
        let setup = Setup::one_lane(SLOTS);
        let contestant = C::build(&setup).await;
        let ids = setup.ids();
        let mut replies = Vec::with_capacity(depth);
        let (mut filling, mut emptying) = (Duration::ZERO, Duration::ZERO);
        for cycle in 0..=cycles {
            let blockers = Blockers::occupy(&contestant, &ids[0], SLOTS).await;
            let begin = Instant::now();
            submit_noops(&contestant, &ids, depth, &mut replies).await;
            let full = Instant::now();
            blockers.release().await;
            let sum = sum_of(&mut replies).await;
            if cycle > 0 {
                filling += full - begin;
                emptying += full.elapsed();
            }
            check_sum(sum, depth);
        }
        let commands = depth * cycles;
        vec![
            per_second(commands, filling + emptying),
            per_second(commands, filling),
            per_second(commands, emptying),
        ]
    })
}

/// Commands per second when the runtime's own queue holds them.
fn spawned(depth: usize, cycles: usize) -> f64 {
    on_a_worker(async move {
        let setup = Setup::one_lane(SLOTS);
        let floor = BareSpawn::build(&setup).await;
        let ids = setup.ids();
        let mut elapsed = Duration::ZERO;
        for cycle in 0..=cycles {
            let time = flood(&floor, &ids, depth).await;
            if cycle > 0 {
                elapsed += time;
            }
        }
        per_second(depth * cycles, elapsed)
    })
}

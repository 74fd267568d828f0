//! Submit to result when the queue has nothing else to do, one command at a time: median and 99th percentile.
//!
//! Three places to wait: a task on a worker, a thread outside of the runtime (`block_on`: every result then crosses
//! threads), and a task that first sleeps for 1 ms, so that the workers are parked before each trip. The floor is a bare
//! spawn and its `oneshot`, awaited the same way.

use std::time::{Duration, Instant};

use crate::contestants::jobs::Noop;
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{BareSpawn, Contestant, Ours, Published, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::stats::quantile;

use super::drive::{fresh_runtime, on_a_worker};

const WARM_UP: usize = 200;

#[derive(Clone, Copy)]
enum From {
    Task,
    BlockOn,
    RestedTask,
}

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for (from, trips, label) in [
        (From::Task, 50_000, "from a task"),
        (From::BlockOn, 10_000, "from block_on"),
        (From::RestedTask, 500, "from a task, after 1 ms of rest"),
    ] {
        let trips = options.scale(trips).max(100);
        let mut contest = Contest::new(format!("round-trip: {label}"), options);
        contest.enter(OURS, trips, |n| sample::<Ours>(from, n));
        contest.enter(FLOOR, trips, |n| sample::<BareSpawn>(from, n));
        contest.enter_slow(PUBLISHED, trips, 100, |n| sample::<Published>(from, n));
        let outcome = contest.run();
        for (index, name) in ["p50", "p99"].into_iter().enumerate() {
            lines.push(Line {
                row: "round-trip",
                label: format!("{name} {label}"),
                unit: Unit::Nanoseconds,
                ours: outcome.series(OURS, index),
                floor: Some(outcome.series(FLOOR, index)),
                peer: Some(outcome.series(PUBLISHED, index)),
                budget: Budget::FloorAtMost(1.3),
            });
        }
    }
    lines
}

fn sample<C: Contestant>(from: From, trips: usize) -> Vec<f64> {
    let driver = async move {
        let setup = Setup::one_lane(10);
        let contestant = C::build(&setup).await;
        let lane = &setup.lanes[0].id;
        let mut times = Vec::with_capacity(trips);
        for number in 0..trips + WARM_UP {
            if matches!(from, From::RestedTask) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let begin = Instant::now();
            let reply = contestant.submit(lane, Noop(number as u64)).await;
            let value = reply
                .await
                .expect("the command settles")
                .expect("the command succeeds");
            let time = begin.elapsed();
            assert_eq!(
                value.as_u64(),
                Some(number as u64),
                "each trip returns its own result"
            );
            if number >= WARM_UP {
                times.push(time.as_nanos() as f64);
            }
        }
        vec![quantile(&times, 0.5), quantile(&times, 0.99)]
    };
    match from {
        From::BlockOn => fresh_runtime().block_on(driver),
        From::Task | From::RestedTask => on_a_worker(driver),
    }
}

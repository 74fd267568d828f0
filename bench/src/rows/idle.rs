//! What a queue of 1000 lanes costs while it has nothing to do.
//!
//! Processor time and voluntary context switches (each is followed by a wake-up) of the whole process over two seconds,
//! after the workers had time to park. The floor is the same runtime without a queue: the measuring thread's own sleep is in
//! both. The second pair of lines has one command waiting for a retry in an hour (the floor: a task that sleeps for an hour):
//! a timer far away must not wake anybody now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::contestants::jobs::{Fail, SleepFor};
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{BareSpawn, Contestant, Ours, Published, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::usage::Usage;

use super::drive::fresh_runtime;

const LANES: usize = 1000;
const WINDOW: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for timer in [false, true] {
        let label = if timer {
            "1000 lanes, one retry in an hour"
        } else {
            "1000 lanes"
        };
        let mut contest = Contest::new(format!("idle: {label}"), options);
        contest.enter(OURS, 1, |_| sample::<Ours>(timer, false));
        contest.enter(FLOOR, 1, |_| sample::<BareSpawn>(timer, true));
        contest.enter(PUBLISHED, 1, |_| sample::<Published>(timer, false));
        let outcome = contest.run();
        for (index, name, unit, budget) in [
            // One wake-up more than the bare runtime's in two seconds is already too many.
            (
                0,
                "wake-ups",
                Unit::WakeupsPerSecond,
                Budget::ExtraBelow(0.5),
            ),
            (1, "processor time", Unit::CpuMillisPerSecond, Budget::None),
        ] {
            lines.push(Line {
                row: "idle",
                label: format!("{name}, {label}"),
                unit,
                ours: outcome.series(OURS, index),
                floor: Some(outcome.series(FLOOR, index)),
                peer: Some(outcome.series(PUBLISHED, index)),
                budget,
            });
        }
    }
    lines
}

/// Wake-ups per second and milliseconds of processor time per second.
fn sample<C: Contestant>(timer: bool, floor: bool) -> Vec<f64> {
    let mut setup = Setup::lanes_of_ten(LANES);
    if timer {
        setup.lanes[0].retry_after = Some(LONG);
    }
    let runtime = fresh_runtime();
    let contestant = runtime.block_on(C::build(&setup));
    let mut waiting = None;
    if timer {
        let lane = &setup.lanes[0].id;
        runtime.block_on(async {
            if floor {
                waiting = Some(contestant.submit(lane, SleepFor(LONG)).await);
            } else {
                let tried = Arc::new(Semaphore::new(0));
                waiting = Some(contestant.submit(lane, Fail(Arc::clone(&tried))).await);
                let once = tried.acquire().await;
                once.expect("the semaphore is never closed").forget();
            }
        });
    }
    std::thread::sleep(SETTLE);
    let before = Usage::now();
    std::thread::sleep(WINDOW);
    let used = Usage::now().since(before);
    if let Some(mut reply) = waiting {
        assert!(
            reply.try_recv().is_err(),
            "the command still waits for its retry"
        );
    }
    runtime.block_on(async { drop(contestant) });
    let seconds = WINDOW.as_secs_f64();
    vec![
        used.waits as f64 / seconds,
        used.cpu.as_secs_f64() * 1e3 / seconds,
    ]
}

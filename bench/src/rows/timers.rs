//! A hundred thousand commands with random delays of up to a second.
//!
//! All are submitted at once by a task; the clock runs from the first submission to the last command's run. Each notes how
//! late it ran after its own time, counted from its own submission; none may run early (checked). The processor time is
//! that of the whole process. The floor is a spawned task per command with a `tokio::time::sleep` of the same length, and the
//! delays are the same in each sample. The lane has ten slots; the commands do nothing.
//!
//! Memory is counted like in the `memory` row, for commands with a delay of an hour and their handles (16 bytes of handle
//! are the user's own and are added); the user's boxed command of 8 bytes is taken off.

use std::time::{Duration, Instant};

use a3s_lane::{CommandHandle, SubmitOptions};

use crate::contestants::jobs::{Arrivals, Job, Noop, Tick};
use crate::contestants::names::{FLOOR, OURS};
use crate::contestants::{Contestant, Ours, Setup};
use crate::harness::alloc::Counting;
use crate::harness::contest::{Contest, Outcome};
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::random::scrambled;
use crate::harness::stats::quantile;
use crate::harness::usage::Usage;

use super::drive::on_a_worker;

const COMMANDS: usize = 100_000;
const LONGEST_NANOS: u64 = 1_000_000_000;
const AN_HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let commands = options.scale(COMMANDS);
    let mut ticks = Contest::new("timers: random delays", options);
    ticks.enter(OURS, commands, ours);
    ticks.enter(FLOOR, commands, floor);
    let ticks = ticks.run();

    let mut memory = Contest::new("timers: memory", options);
    memory.enter(OURS, commands, |n| vec![memory_of_ours(n)]);
    memory.enter(FLOOR, commands, |n| vec![memory_of_floor(n)]);
    let memory = memory.run();

    let ticked = |index, label: &str| line(&ticks, index, label.into(), Unit::Nanoseconds);
    vec![
        ticked(0, "first submission to last run"),
        ticked(1, "p50 after its time"),
        ticked(2, "p99 after its time"),
        ticked(3, "processor time per delayed command"),
        line(&memory, 0, format!("{commands} delayed, each"), Unit::Bytes),
    ]
}

fn line(outcome: &Outcome, index: usize, label: String, unit: Unit) -> Line {
    Line {
        row: "timers",
        label,
        unit,
        ours: outcome.series(OURS, index),
        floor: Some(outcome.series(FLOOR, index)),
        peer: None,
        budget: Budget::None,
    }
}

fn delay(index: usize) -> Duration {
    Duration::from_nanos(scrambled(index as u64) % LONGEST_NANOS)
}

fn ours(commands: usize) -> Vec<f64> {
    on_a_worker(async move {
        let setup = Setup::one_lane(10);
        let ours = Ours::build(&setup).await;
        let arrivals = Arrivals::of(commands);
        let (begin, before) = (Instant::now(), Usage::now());
        for index in 0..commands {
            let delay = delay(index);
            let tick = Box::new(Tick {
                index,
                due: Instant::now() + delay,
                arrivals: arrivals.clone(),
            });
            let options = SubmitOptions::new().with_delay(delay);
            let lane = &setup.lanes[0].id;
            let handle = ours.manager().submit_with(lane, tick, options).await;
            drop(handle.expect("an open queue accepts a command"));
        }
        arrivals.complete().await;
        measures(begin, before, &arrivals, commands)
    })
}

fn floor(commands: usize) -> Vec<f64> {
    on_a_worker(async move {
        let arrivals = Arrivals::of(commands);
        let (begin, before) = (Instant::now(), Usage::now());
        for index in 0..commands {
            let due = Instant::now() + delay(index);
            let tick = Tick {
                index,
                due,
                arrivals: arrivals.clone(),
            };
            tokio::spawn(async move {
                tokio::time::sleep_until(due.into()).await;
                tick.run().await
            });
        }
        arrivals.complete().await;
        measures(begin, before, &arrivals, commands)
    })
}

fn measures(begin: Instant, before: Usage, arrivals: &Arrivals, commands: usize) -> Vec<f64> {
    let total = begin.elapsed();
    let cpu = Usage::now().since(before).cpu;
    let late = arrivals.late_nanos();
    vec![
        total.as_nanos() as f64,
        quantile(&late, 0.5),
        quantile(&late, 0.99),
        cpu.as_nanos() as f64 / commands as f64,
    ]
}

/// Bytes per command beyond the user's own.
fn memory_of_ours(commands: usize) -> f64 {
    let counting = Counting::start();
    on_a_worker(async move {
        let setup = Setup::one_lane(10);
        let ours = Ours::build(&setup).await;
        let mut handles = Vec::with_capacity(commands);
        let before = counting.now();
        for number in 0..commands {
            let options = SubmitOptions::new().with_delay(AN_HOUR);
            let command = Box::new(Noop(number as u64));
            let lane = &setup.lanes[0].id;
            let handle = ours.manager().submit_with(lane, command, options).await;
            handles.push(handle.expect("an open queue accepts a command"));
        }
        let after = counting.now();
        drop(counting);
        let heap = (after.live_bytes - before.live_bytes) as f64 / commands as f64;
        heap - size_of::<Noop>() as f64 + size_of::<CommandHandle>() as f64
    })
}

/// Bytes per sleeping task beyond the user's own.
fn memory_of_floor(commands: usize) -> f64 {
    let counting = Counting::start();
    on_a_worker(async move {
        let before = counting.now();
        for number in 0..commands {
            let command = Noop(number as u64);
            tokio::spawn(async move {
                tokio::time::sleep(AN_HOUR).await;
                command.run().await
            });
        }
        let after = counting.now();
        drop(counting);
        let heap = (after.live_bytes - before.live_bytes) as f64 / commands as f64;
        heap - size_of::<Noop>() as f64
    })
}

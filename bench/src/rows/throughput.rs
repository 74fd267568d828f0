//! No-op commands: submit all, await all; commands per second of wall time, everything included.
//!
//! The floor is one `tokio::spawn` and one `oneshot` per command. Every command returns its number and the driver checks
//! the sum. The driver is a task on a worker; one more line has it on a thread outside of the runtime, which costs both
//! sides more because every wake-up then crosses threads.
//!
//! Each line has a second one: the processor time of the whole process per command. Other programs on the machine slow
//! the wall clock, not this.

use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{BareSpawn, Contestant, Ours, Published, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::usage::Usage;

use super::drive::{flood, fresh_runtime, on_a_worker, per_second};

const COMMANDS: usize = 200_000;
/// Commands before the clock starts: every slot and worker has been used then.
const WARM_UP: usize = 5_000;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let cases = [
        (1, true, Budget::FloorAtLeast(1.2)),
        (1, false, Budget::None),
        (10, true, Budget::FloorAtLeast(0.9)),
        (100, true, Budget::FloorAtLeast(0.6)),
        (1000, true, Budget::FloorAtLeast(0.45)),
    ];
    let lines = cases
        .into_iter()
        .map(|(lanes, inside, budget)| case(options, lanes, inside, budget));
    let (rates, times): (Vec<Line>, Vec<Line>) = lines.map(|[rate, time]| (rate, time)).unzip();
    rates.into_iter().chain(times).collect()
}

fn case(options: &Options, lanes: usize, inside: bool, budget: Budget) -> [Line; 2] {
    let label = format!(
        "{lanes} lane{} of 10{}",
        if lanes == 1 { "" } else { "s" },
        if inside {
            ""
        } else {
            ", submitted from outside the runtime"
        },
    );
    let setup = Setup::lanes_of_ten(lanes);
    let commands = options.scale(COMMANDS);
    let mut contest = Contest::new(format!("throughput: {label}"), options);
    contest.enter(OURS, commands, |n| sample::<Ours>(&setup, n, inside));
    contest.enter(FLOOR, commands, |n| sample::<BareSpawn>(&setup, n, inside));
    contest.enter_slow(PUBLISHED, commands, 1000, |n| {
        sample::<Published>(&setup, n, inside)
    });
    let outcome = contest.run();
    let line = |index, label, unit, budget| Line {
        row: "throughput",
        label,
        unit,
        ours: outcome.series(OURS, index),
        floor: Some(outcome.series(FLOOR, index)),
        peer: Some(outcome.series(PUBLISHED, index)),
        budget,
    };
    [
        line(0, label.clone(), Unit::PerSecond, budget),
        line(
            1,
            format!("processor time per command, {label}"),
            Unit::Nanoseconds,
            Budget::None,
        ),
    ]
}

/// Commands per second and nanoseconds of processor time per command.
fn sample<C: Contestant>(setup: &Setup, commands: usize, inside: bool) -> Vec<f64> {
    let setup = setup.clone();
    let driver = async move {
        let contestant = C::build(&setup).await;
        let ids = setup.ids();
        flood(&contestant, &ids, WARM_UP.min(commands)).await;
        let before = Usage::now();
        let elapsed = flood(&contestant, &ids, commands).await;
        let used = Usage::now().since(before);
        vec![
            per_second(commands, elapsed),
            used.cpu.as_nanos() as f64 / commands as f64,
        ]
    };
    if inside {
        on_a_worker(driver)
    } else {
        fresh_runtime().block_on(driver)
    }
}

//! Processor time per no-op command, submit to result, on one core.
//!
//! A single-threaded runtime on a pinned thread; the clock is the processor time of the whole process, so threads of a
//! contestant and time lost to other programs do not hide or add cost (cold caches after a switch still do).

use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{BareSpawn, Contestant, Ours, Published, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::usage::{Pinned, Usage};

use super::drive::{flood, fresh_single_thread};

const COMMANDS: usize = 100_000;
const WARM_UP: usize = 5_000;
const BUDGET_NANOS: f64 = 1_000.0;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let commands = options.scale(COMMANDS);
    let mut contest = Contest::new("cpu", options);
    contest.enter(OURS, commands, |n| vec![sample::<Ours>(n)]);
    contest.enter(FLOOR, commands, |n| vec![sample::<BareSpawn>(n)]);
    contest.enter_slow(PUBLISHED, commands, 1000, |n| vec![sample::<Published>(n)]);
    let outcome = contest.run();
    vec![Line {
        row: "cpu",
        label: "processor time per command, one core, 1 lane of 10".into(),
        unit: Unit::Nanoseconds,
        ours: outcome.series(OURS, 0),
        floor: Some(outcome.series(FLOOR, 0)),
        peer: Some(outcome.series(PUBLISHED, 0)),
        budget: Budget::AtMost(BUDGET_NANOS),
    }]
}

fn sample<C: Contestant>(commands: usize) -> f64 {
    let _pinned = Pinned::to_last_core();
    fresh_single_thread().block_on(async {
        let setup = Setup::one_lane(10);
        let contestant = C::build(&setup).await;
        let ids = setup.ids();
        flood(&contestant, &ids, WARM_UP.min(commands)).await;
        let before = Usage::now();
        flood(&contestant, &ids, commands).await;
        let used = Usage::now().since(before);
        used.cpu.as_nanos() as f64 / commands as f64
    })
}

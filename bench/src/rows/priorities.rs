//! A lane of commands with random priorities at several depths: does an entry cost more when many wait?
//!
//! As the `depth` row: all slots are held while the lane is filled to the given depth by `submit_with`, then it runs empty.
//! Each command has a priority from the whole range of `i32`, the same ones in each sample. The floor is the same lane
//! filled by `submit_with` without priorities, at the same depth.

use a3s_lane::SubmitOptions;

use crate::contestants::names::{FLOOR, OURS};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::random::scrambled;

use super::submissions::{CPU, PHASES, Way, fill_and_empty};

const DEPTHS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Commands per sample at most, except where one filling needs more.
const COMMANDS: usize = 200_000;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let depths: Vec<usize> = DEPTHS
        .into_iter()
        .filter(|depth| !options.quick || *depth < 1_000_000)
        .collect();
    let mut contest = Contest::new("priorities", options);
    for &depth in &depths {
        let cycles = (options.scale(COMMANDS) / depth).max(1);
        for (who, way) in [
            (OURS, Way::With(random_priority)),
            (FLOOR, Way::With(|_| SubmitOptions::new())),
        ] {
            contest.enter(name(who, depth), cycles * depth, move |n| {
                fill_and_empty(way, depth, n / depth)
            });
        }
    }
    let outcome = contest.run();

    let line = |label: &str, index, unit, depth, budget| Line {
        row: "priorities",
        label: format!("{label}, {}k pending", depth / 1_000),
        unit,
        ours: outcome.series(&name(OURS, depth), index),
        floor: Some(outcome.series(&name(FLOOR, depth), index)),
        peer: None,
        budget,
    };
    let mut lines = Vec::new();
    for (phase, phase_name) in PHASES.into_iter().enumerate() {
        for &depth in &depths {
            let shallow = |who| outcome.series(&name(who, DEPTHS[0]), phase);
            let budget = if depth > DEPTHS[0] {
                Budget::ShareOf {
                    ours: shallow(OURS),
                    floor: Some(shallow(FLOOR)),
                    least: 0.8,
                }
            } else {
                Budget::None
            };
            lines.push(line(phase_name, phase, Unit::PerSecond, depth, budget));
        }
    }
    for &depth in &depths {
        let label = "processor time per command";
        lines.push(line(label, CPU, Unit::Nanoseconds, depth, Budget::None));
    }
    lines
}

fn name(who: &str, depth: usize) -> String {
    format!("{who} at {}k", depth / 1_000)
}

fn random_priority(number: usize) -> SubmitOptions {
    SubmitOptions::new().with_priority(scrambled(number as u64) as i32)
}

//! Ten thousand commands by one `submit_many`, by as many `submit_with` and by as many `submit`.
//!
//! The slots of the lane are held while it is filled; then it runs empty and all results are awaited. `submit_many` and
//! `submit_with` get default options; their handles are made and awaited, as `submit`'s receivers are. The list that
//! `submit_many` takes is made inside the clock. Each line names the way that stands in the column of the floor.

use a3s_lane::SubmitOptions;

use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::submissions::{CPU, PHASES, Way, fill_and_empty};

const BATCH: usize = 10_000;
const BATCHES: usize = 20;

const MANY: &str = "submit_many";
const WITH: &str = "submit_with";
const PLAIN: &str = "submit";

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let commands = options.scale(BATCHES) * BATCH;
    let mut contest = Contest::new("submit-many", options);
    for (name, way) in [
        (MANY, Way::Many),
        (WITH, Way::With(|_| SubmitOptions::new())),
        (PLAIN, Way::Submit),
    ] {
        contest.enter(name, commands, move |n| {
            fill_and_empty(way, BATCH, n / BATCH)
        });
    }
    let outcome = contest.run();

    let phases = PHASES.into_iter().enumerate();
    let measures = phases
        .map(|(index, phase)| (index, phase, Unit::PerSecond))
        .chain([(CPU, "processor time per command", Unit::Nanoseconds)]);
    let mut lines = Vec::new();
    for (index, measure, unit) in measures {
        for (ours, other) in [(MANY, WITH), (MANY, PLAIN), (WITH, PLAIN)] {
            lines.push(Line {
                row: "submit-many",
                label: format!("{measure}: {ours} against {other}"),
                unit,
                ours: outcome.series(ours, index),
                floor: Some(outcome.series(other, index)),
                peer: None,
                budget: Budget::None,
            });
        }
    }
    lines
}

//! No-op commands through a lane with two named limiters that never refuse: what does asking them cost?
//!
//! One limiter is a token bucket that counts commands, the other a sliding window that counts cost; both allow a thousand
//! million per second, so they count every start and never say no. Submit all, await all, as in the `throughput` row, with
//! its processor time per command too. The floor is the same lane without limiters.

use a3s_lane::{LaneConfig, LaneOptions, LimiterConfig, QueueManagerBuilder, RateLimitConfig};

use crate::contestants::names::{FLOOR, OURS};
use crate::contestants::{Ours, builder};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::usage::Usage;

use super::drive::{flood, on_a_worker, per_second};

const LANE: &str = "lane";
const COMMANDS: usize = 200_000;
const WARM_UP: usize = 5_000;
const PLENTY: u64 = 1_000_000_000;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let commands = options.scale(COMMANDS);
    let mut contest = Contest::new("limits", options);
    contest.enter(OURS, commands, |n| sample(limited, n));
    contest.enter(FLOOR, commands, |n| sample(unlimited, n));
    let outcome = contest.run();
    let line = |index, label: &str, unit| Line {
        row: "limits",
        label: label.into(),
        unit,
        ours: outcome.series(OURS, index),
        floor: Some(outcome.series(FLOOR, index)),
        peer: None,
        budget: Budget::None,
    };
    vec![
        line(0, "two limiters, against none", Unit::PerSecond),
        line(
            1,
            "processor time per command, two limiters",
            Unit::Nanoseconds,
        ),
    ]
}

fn unlimited() -> QueueManagerBuilder {
    builder().with_lane(LANE, LaneConfig::new(1, 10), 0)
}

fn limited() -> QueueManagerBuilder {
    let limit = RateLimitConfig::per_second(PLENTY);
    unlimited()
        .with_limiter(
            "calls",
            LimiterConfig::token_bucket(limit.clone()).counting_commands(),
        )
        .with_limiter("tokens", LimiterConfig::sliding_window(limit))
        .with_lane_options(
            LANE,
            LaneOptions::new()
                .with_limiter("calls")
                .with_limiter("tokens"),
        )
}

/// Commands per second and nanoseconds of processor time per command.
fn sample(lanes: fn() -> QueueManagerBuilder, commands: usize) -> Vec<f64> {
    on_a_worker(async move {
        let ours = Ours::start(lanes()).await;
        let ids = [LANE.to_owned()];
        flood(&ours, &ids, WARM_UP.min(commands)).await;
        let before = Usage::now();
        let elapsed = flood(&ours, &ids, commands).await;
        let used = Usage::now().since(before);
        vec![
            per_second(commands, elapsed),
            used.cpu.as_nanos() as f64 / commands as f64,
        ]
    })
}

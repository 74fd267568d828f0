//! Weighted fairness keys: does each get its share, and what do they cost?
//!
//! Ten thousand keys of weights 1 to 4 are submitted one after the other, each with 28 commands per unit of its weight, while
//! the ten slots of the lane are held; then the lane runs empty. One cycle is as many starts as the weights add up to. At
//! each quarter of the 26th cycle the starts of every key so far are compared with its share; the worst deviation counts
//! (a key of weight 1 that is one start off is off by 4 % there), and every key must still have commands waiting. The
//! commands note the order of their starts themselves, so two that start at once may be noted the other way round.
//!
//! The floor is the same lane and the same commands, `submit_with` too, without keys; the rate is that of filling and
//! emptying, the waits between them left out.

use std::sync::Arc;
use std::time::Instant;

use a3s_lane::{LaneConfig, LaneOptions, SubmitOptions};

use crate::contestants::jobs::{Recorded, StartLog};
use crate::contestants::names::{FLOOR, OURS};
use crate::contestants::{Ours, builder};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::{Blockers, on_a_worker, per_second};

const LANE: &str = "lane";
const SLOTS: usize = 10;
const KEYS: usize = 10_000;
/// Commands that each key gets per unit of its weight.
const CYCLES: usize = 28;
/// The cycle in which shares are looked at: before it every key has had 25 starts per unit of its weight.
const LOOK_AFTER: usize = 25;
const BUDGET_PERCENT: f64 = 5.0;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let keys = options.scale(KEYS).next_multiple_of(4);
    let commands = CYCLES * total_weight(keys);
    let mut contest = Contest::new("keys", options);
    contest.enter(OURS, commands, |_| sample(keys, true));
    contest.enter(FLOOR, commands, |_| sample(keys, false));
    let outcome = contest.run();
    vec![
        Line {
            row: "keys",
            label: format!("worst deviation from its share among {keys} keys"),
            unit: Unit::Percent,
            ours: outcome.series(OURS, 1),
            floor: None,
            peer: None,
            budget: Budget::AtMost(BUDGET_PERCENT),
        },
        Line {
            row: "keys",
            label: format!("fill and empty with {keys} keys, against none"),
            unit: Unit::PerSecond,
            ours: outcome.series(OURS, 0),
            floor: Some(outcome.series(FLOOR, 0)),
            peer: None,
            budget: Budget::None,
        },
    ]
}

fn weight(key: usize) -> usize {
    key % 4 + 1
}

fn total_weight(keys: usize) -> usize {
    (0..keys).map(weight).sum()
}

/// Commands per second and the worst deviation in percent.
fn sample(keys: usize, keyed: bool) -> Vec<f64> {
    on_a_worker(async move {
        let names: Vec<String> = (0..keys).map(|key| format!("key-{key}")).collect();
        let mut lane = LaneOptions::new();
        if keyed {
            for (key, name) in names.iter().enumerate() {
                lane = lane.with_key_weight(name.as_str(), weight(key) as u32);
            }
        }
        let builder = builder()
            .with_lane(LANE, LaneConfig::new(1, SLOTS), 0)
            .with_lane_options(LANE, lane);
        let ours = Ours::start(builder).await;

        let commands = CYCLES * total_weight(keys);
        let log = StartLog::new(commands);
        let blockers = Blockers::occupy(&ours, LANE, SLOTS).await;
        let begin = Instant::now();
        for (key, name) in names.iter().enumerate() {
            for _ in 0..CYCLES * weight(key) {
                let command = Box::new(Recorded {
                    key: key as u32,
                    log: Arc::clone(&log),
                });
                let mut options = SubmitOptions::new();
                if keyed {
                    options = options.with_key(name.as_str());
                }
                let handle = ours.manager().submit_with(LANE, command, options).await;
                drop(handle.expect("an open queue accepts a command"));
            }
        }
        let filling = begin.elapsed();
        let begin = Instant::now();
        blockers.release().await;
        log.full().await;
        let rate = per_second(commands, filling + begin.elapsed());
        let order: Vec<usize> = log.keys().map(|key| key as usize).collect();
        vec![
            rate,
            if keyed {
                worst_deviation(&order, keys)
            } else {
                0.0
            },
        ]
    })
}

/// How far, in percent, the worst of the keys is off its share at any quarter of the cycle that is looked at.
fn worst_deviation(order: &[usize], keys: usize) -> f64 {
    let cycle = total_weight(keys);
    let mut starts = vec![0usize; keys];
    let mut counted = 0;
    let mut worst: f64 = 0.0;
    for quarter in 0..=4 {
        let until = LOOK_AFTER * cycle + quarter * cycle / 4;
        for &key in &order[counted..until] {
            starts[key] += 1;
        }
        counted = until;
        for (key, &starts) in starts.iter().enumerate() {
            assert!(
                starts < CYCLES * weight(key),
                "key {key} still has commands waiting"
            );
            let share = until as f64 * weight(key) as f64 / cycle as f64;
            worst = worst.max((starts as f64 / share - 1.0).abs() * 100.0);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of one perfectly fair cycle, over and over.
    fn fair(keys: usize) -> Vec<usize> {
        let cycle: Vec<usize> = (0..keys)
            .flat_map(|key| std::iter::repeat_n(key, weight(key)))
            .collect();
        cycle.repeat(CYCLES)
    }

    #[test]
    fn whole_fair_cycles_deviate_by_one_start_at_most() {
        assert!(worst_deviation(&fair(4), 4) <= 100.0 / LOOK_AFTER as f64);
    }

    #[test]
    fn a_key_that_takes_the_turn_of_another_is_seen() {
        let mut order = fair(8);
        for turn in order.iter_mut().take(40).filter(|key| **key == 0) {
            *turn = 5;
        }
        assert!(worst_deviation(&order, 8) > BUDGET_PERCENT);
    }
}

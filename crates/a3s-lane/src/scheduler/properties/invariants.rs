//! The promises about outcomes, order and progress, one test each.

use std::collections::HashMap;

use proptest::prelude::*;

use super::operation::{Op, ops};
use super::rules::{LaneRules, lanes};
use super::world::{Mode, World, cases, run};

fn follow(lanes: Vec<LaneRules>, ops: &[Op]) -> Result<World, TestCaseError> {
    run(Mode::Follow, lanes, ops, |_| Ok(()))
}

fn opened(ops: &[Op]) -> Vec<Op> {
    [&[Op::Open], ops].concat()
}

proptest! {
    #![proptest_config(cases(80))]

    /// Every submitted command leaves exactly once, by its outcome, by being given up or by being taken out; and
    /// nothing keeps it from leaving.
    #[test]
    fn i1_settles_once(lanes in lanes(), ops in ops(50..200)) {
        let mut world = follow(lanes, &ops)?;
        world.finish()?;
        let mut left = world.left.clone();
        left.sort_unstable();
        prop_assert_eq!(left, (1..=world.submitted() as u64).collect::<Vec<_>>());
    }

    /// A start never takes a lane above its maximum, and the count that the scheduler gives is the true one.
    #[test]
    fn i2_slots_bounded(lanes in lanes(), ops in ops(50..200)) {
        let world = run(Mode::Follow, lanes, &opened(&ops), |world| {
            for (lane, key) in world.lane_keys() {
                prop_assert_eq!(world.scheduler.counts(key).active, world.model.active(lane));
            }
            Ok(())
        })?;
        for start in &world.started {
            prop_assert!(start.active_after <= start.max, "{:?}", start);
        }
    }

    /// No start while a lane with a lower effective priority number, or an equal one that was served longer ago, is
    /// eligible.
    #[test]
    fn i3_strict_priority(lanes in lanes(), ops in ops(50..200)) {
        for start in follow(lanes, &opened(&ops))?.started {
            prop_assert!(start.best.is_some_and(|best| start.rank <= best), "{:?}", start);
        }
    }

    /// Inside a lane first attempts are in the order of submission, and a retry comes after everything that was ready
    /// when it was queued.
    #[test]
    fn i4_fifo(lanes in lanes(), ops in ops(50..200)) {
        let mut last: HashMap<usize, u64> = HashMap::new();
        for start in follow(lanes, &opened(&ops))?.started {
            prop_assert_eq!(start.front, Some(start.serial), "{:?}", start);
            if start.attempt == 1 {
                let before = last.insert(start.lane, start.serial).unwrap_or_default();
                prop_assert!(before < start.serial, "{:?} after {}", start, before);
            }
        }
    }

    /// Without a total limit there is nothing to reserve from: a minimum changes no decision, and a lane with ready
    /// work waits for nothing but its own slots and its own rate limiter.
    #[test]
    fn i5_reservation(
        lanes in lanes(),
        ops in ops(50..200),
        minimums in prop::collection::vec(0usize..9, 8),
    ) {
        let ops = opened(&ops);
        let mut next_minimum = minimums.iter().cycle().copied();
        let mut with_other_minimum = |rules: &LaneRules| LaneRules {
            min: next_minimum.next().unwrap_or_default(),
            ..rules.clone()
        };
        let other_lanes = lanes.iter().map(&mut with_other_minimum).collect();
        let other_ops: Vec<Op> = ops
            .iter()
            .map(|op| match op {
                Op::SetPolicy { lane, rules } => Op::SetPolicy {
                    lane: *lane,
                    rules: with_other_minimum(rules),
                },
                Op::AddLane(rules) => Op::AddLane(with_other_minimum(rules)),
                op => op.clone(),
            })
            .collect();
        let alone = |world: &World| {
            for (lane, _) in world.lane_keys().filter(|_| world.at_rest) {
                prop_assert!(
                    !world.model.has_work_and_slot(lane) || world.model.grants_at(lane, world.now) > world.now,
                    "lane {} waits for another lane", lane
                );
            }
            Ok(())
        };
        let starts = |world: World| -> Vec<(u64, u64, u32)> {
            world.started.iter().map(|start| (start.at, start.serial, start.attempt)).collect()
        };
        let first = starts(run(Mode::Follow, lanes, &ops, alone)?);
        let second = starts(run(Mode::Follow, other_lanes, &other_ops, alone)?);
        prop_assert_eq!(first, second);
    }

    /// Something starts whenever something may; who asks how much could start is told so; and the next wake-up is
    /// never later than the first time at which something becomes possible.
    #[test]
    fn i6_no_lost_wakeup(lanes in lanes(), ops in ops(50..200), open_late in any::<bool>()) {
        let ops = if open_late { ops } else { opened(&ops) };
        run(Mode::Follow, lanes, &ops, |world| {
            prop_assert!(world.missed.is_empty(), "nothing started at {:?}", world.missed);
            let mut first_possible = world.model.commands.iter().filter_map(|command| command.timer).min();
            let (mut with_slot, mut limited) = (0, false);
            for (lane, _) in world.lane_keys().filter(|_| world.model.open) {
                if world.model.has_work_and_slot(lane) {
                    with_slot += 1;
                    let at = world.model.grants_at(lane, world.now);
                    // A lane that was refused says so only once its time has come.
                    let asked = world.at_rest || at > world.now;
                    first_possible = first_possible.into_iter().chain(asked.then_some(at)).min();
                    limited |= world.model.lanes[lane].bucket.is_some();
                }
            }
            let startable = world.scheduler.startable();
            prop_assert!(startable == 0 || with_slot > 0, "{} could start where none can", startable);
            prop_assert!(limited || with_slot == 0 || startable > 0, "{} lanes could start one", with_slot);
            if world.at_rest {
                prop_assert_eq!(startable, 0);
                let wake = world.scheduler.next_wake();
                prop_assert!(
                    first_possible.is_none_or(|at| wake.is_some_and(|wake| wake <= at)),
                    "wakes at {:?}, something is possible at {:?}", wake, first_possible
                );
            }
            Ok(())
        })?;
    }
}

//! The promises about slots: limits, reservations and preemption.

use proptest::prelude::*;

use super::LEAST;
use super::invariants::{follow, opened};
use super::operation::{Op, ops};
use super::rules::{LaneRules, Setup};
use super::strategies::setup;
use super::world::{Checked, Mode, World, run};
use crate::seeds::properties;

properties! {
    cases: 950, least: LEAST;

    /// A start never takes a lane, a key or the whole above its limit, and the counts that the scheduler gives are the
    /// true ones.
    #[test]
    fn i2_slots_bounded(setup in setup(), ops in ops(1..250)) {
        let world = run(Mode::Follow, setup, &opened(&ops), |world| {
            for (lane, key) in world.lane_keys() {
                prop_assert_eq!(world.scheduler.lane(key).counts.active, world.model.active(lane));
            }
            prop_assert_eq!(world.scheduler.shares, world.model.active_in_all());
            Ok(())
        })?;
        for start in &world.started {
            prop_assert!(start.active_after <= start.max, "{:?}", start);
            prop_assert!(start.key_max.is_none_or(|max| start.key_active_after <= max), "{:?}", start);
            prop_assert!(start.total.is_none_or(|total| start.all_active_after <= total), "{:?}", start);
        }
    }

    /// Where the minimums fit into the total, a free slot is there for every lane below its minimum, and a lane below its
    /// minimum that has ready work waits for nothing but its own pause, keys and limits.
    #[test]
    fn i5_reservation(setup in setup(), ops in ops(1..250), spare in 0usize..4) {
        let minimums: usize = setup.lanes.iter().map(LaneRules::min).sum();
        let setup = Setup { total: Some(minimums + spare), ..setup };
        let changes_total = |op: &&Op| matches!(op, Op::SetTotal(_) | Op::AddLane(_));
        let ops: Vec<Op> = ops.iter().filter(|op| !changes_total(op)).cloned().collect();
        run(Mode::Follow, setup, &opened(&ops), slots_are_kept)?;
    }

    /// Without a total there is nothing to reserve from: a minimum changes no decision.
    #[test]
    fn i5_reservation_needs_a_total(
        setup in setup(),
        ops in ops(1..250),
        minimums in prop::collection::vec(0usize..9, 8),
    ) {
        let mut next_minimum = minimums.iter().cycle().copied();
        let mut with_other_minimum = |rules: &LaneRules| LaneRules {
            configured_min: next_minimum.next().unwrap_or_default(),
            ..rules.clone()
        };
        let setup = Setup { total: None, ..setup };
        let ops: Vec<Op> = opened(&ops).into_iter().filter(|op| !matches!(op, Op::SetTotal(_))).collect();
        let other_setup = Setup {
            lanes: setup.lanes.iter().map(&mut with_other_minimum).collect(),
            ..setup.clone()
        };
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
        let starts = |world: World| -> Vec<(u64, u64, u32)> {
            world.started.iter().map(|start| (start.at, start.serial, start.run)).collect()
        };
        let first = starts(follow(setup, &ops)?);
        let second = starts(follow(other_setup, &other_ops)?);
        prop_assert_eq!(first, second);
    }

    /// A command is asked to make room only when a more urgent one waits for nothing but the total and no slot is about to
    /// be free for it; the youngest of the least urgent lane is asked, never one that its lane's minimum is for; and
    /// whenever one can help, one is asked.
    #[test]
    fn preemption_helps(setup in setup(), ops in ops(1..250)) {
        let world = follow(setup, &opened(&ops))?;
        prop_assert!(world.unhelped.is_empty(), "nobody was asked at {:?}", world.unhelped);
        for asked in &world.preempted {
            prop_assert!(asked.willing, "{:?}", asked);
            prop_assert!(asked.staying > asked.min, "{:?}", asked);
            prop_assert!(asked.waiting.iter().any(|&waiting| waiting < asked.priority), "{:?}", asked);
            prop_assert!(asked.stopping < asked.ready, "{:?}", asked);
            prop_assert_eq!(Some(&asked.priority), asked.priorities.iter().max(), "{:?}", asked);
            prop_assert_eq!(Some(&asked.started_at), asked.starts.iter().max(), "{:?}", asked);
        }
    }
}

fn slots_are_kept(world: &World) -> Checked {
    let model = &world.model;
    if !world.minimums_fit {
        return Ok(());
    }
    let (free, kept) = (model.free(), model.kept_for_all());
    prop_assert!(
        free.is_some_and(|free| free >= kept),
        "{:?} free, {} kept",
        free,
        kept
    );
    for lane in model.lane_numbers() {
        let waits = world.at_rest
            && model.kept_for(lane) > 0
            && model.takes_part(lane)
            && model.grants_at(lane, world.now) <= world.now;
        prop_assert!(!waits, "lane {} waits for another lane", lane);
    }
    Ok(())
}

//! The promises about outcomes, order and progress, one test each.

use std::collections::HashMap;

use proptest::prelude::*;

use super::LEAST;
use super::operation::{Op, ops};
use super::rules::Setup;
use super::strategies::setup;
use super::world::{Checked, Mode, World, run};
use crate::seeds::properties;

pub(super) fn follow(setup: Setup, ops: &[Op]) -> Result<World, TestCaseError> {
    run(Mode::Follow, setup, ops, |_| Ok(()))
}

pub(super) fn opened(ops: &[Op]) -> Vec<Op> {
    [&[Op::Open], ops].concat()
}

properties! {
    cases: 950, least: LEAST;

    /// Every accepted command leaves exactly once: by its outcome, by being given up, evicted, expired, cancelled or taken
    /// out; and nothing keeps it from leaving.
    #[test]
    fn i1_settles_once(setup in setup(), ops in ops(1..250)) {
        let mut world = follow(setup, &ops)?;
        world.finish()?;
        let mut left = world.left.clone();
        left.sort_unstable();
        prop_assert_eq!(left, world.accepted().collect::<Vec<_>>());
    }

    /// No start while a lane with a lower effective priority number, or an equal one that was served longer ago, is
    /// eligible.
    #[test]
    fn i3_strict_priority(setup in setup(), ops in ops(1..250)) {
        for start in follow(setup, &opened(&ops))?.started {
            prop_assert!(start.best.is_some_and(|best| start.rank <= best), "{:?}", start);
        }
    }

    /// Inside a lane the lowest priority number goes first, and commands of one key and priority start in the order in
    /// which they joined: for a first start when they became ready, for a retry behind those, for a preempted one before
    /// them. Only a command that has waited its lane's boost deadline may overtake.
    #[test]
    fn i4_fifo(setup in setup(), ops in ops(1..250)) {
        let mut last: HashMap<_, i64> = HashMap::new();
        for start in follow(setup, &opened(&ops))?.started {
            if start.overdue == Some(start.serial) {
                continue;
            }
            prop_assert_eq!(Some(start.priority), start.least_priority, "{:?}", start);
            let is_preempted = start.run > start.attempt;
            if !is_preempted {
                let flow = (start.incarnation, start.key, start.priority);
                let before = last.insert(flow, start.joined).unwrap_or(i64::MIN);
                prop_assert!(before < start.joined, "{:?} after {}", start, before);
            }
        }
    }

    /// Something starts whenever something may; who asks whether anything could start is told so; and nothing becomes
    /// possible before the next wake-up.
    #[test]
    fn i6_no_lost_wakeup(setup in setup(), ops in ops(1..250), open_late in any::<bool>()) {
        let ops = if open_late { ops } else { opened(&ops) };
        run(Mode::Follow, setup, &ops, nothing_lost)?;
    }

    /// Once the oldest command of a boosted lane has waited the boost's deadline, nothing of its lane overtakes it, and no
    /// lane is served before its lane, unless that has effective priority 0 too and was served longer ago.
    #[test]
    fn i12_starvation_bound(setup in setup(), ops in ops(1..250)) {
        for start in follow(setup, &opened(&ops))?.started {
            if let Some(overdue) = start.overdue {
                prop_assert_eq!(overdue, start.serial, "{:?}", start);
            }
            let (effective, last_served) = start.rank;
            for &served in &start.overdue_lanes {
                prop_assert!(effective == 0 && last_served <= served, "{:?}", start);
            }
        }
    }
}

fn nothing_lost(world: &World) -> Checked {
    let (scheduler, model) = (&world.scheduler, &world.model);
    prop_assert!(
        world.missed.is_empty(),
        "nothing started at {:?}",
        world.missed
    );
    let lanes = model.lane_numbers();
    let possible = |lane: &usize| model.takes_part(*lane) && model.admits(*lane);
    let rated = |lane: &usize| model.lane(*lane).rules.is_rated();
    let startable = scheduler.startable() > 0;
    prop_assert!(
        !startable || lanes.iter().any(possible),
        "nothing could start"
    );
    let sure = lanes.iter().any(|lane| possible(lane) && !rated(lane));
    prop_assert!(startable || !sure, "something could start");
    if !world.at_rest {
        return Ok(());
    }
    prop_assert!(!startable);
    let wake = scheduler.next_wake().unwrap_or(u64::MAX);
    let timer = model
        .commands
        .iter()
        .filter_map(|command| command.timer())
        .min();
    prop_assert!(
        timer.is_none_or(|at| wake <= at),
        "wakes at {}, {:?} is due",
        wake,
        timer
    );
    // Every nanosecond for a while, then every time at which anything might change.
    let changes = lanes
        .iter()
        .filter_map(|&lane| model.next_change(lane, world.now));
    let granted = lanes.iter().map(|&lane| model.grants_at(lane, world.now));
    let times = (world.now + 1..world.now + 20)
        .chain(changes)
        .chain(granted);
    for at in times.filter(|&at| at > world.now && at < wake) {
        for &lane in &lanes {
            prop_assert!(
                !model.is_eligible(lane, at),
                "wakes at {}, {} is eligible at {}",
                wake,
                lane,
                at
            );
        }
        prop_assert!(
            !model.is_help_needed(at),
            "wakes at {}, someone must make room at {}",
            wake,
            at
        );
    }
    Ok(())
}

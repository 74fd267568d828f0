//! The promises about memory and rates, one test each.

use std::collections::HashMap;

use proptest::prelude::*;

use super::operation::{Op, ops};
use super::rules::{LaneRules, lanes};
use super::world::{Checked, Mode, World, cases, run};
use crate::scheduler::{Ending, LaneKey, Released, Scheduler};

/// Every buffer holds exactly what lives, in room that the largest number alive at once explains.
fn bounded(world: &World) -> Checked {
    let (scheduler, live) = (&world.scheduler, world.model.commands.len());
    prop_assert_eq!(scheduler.entries.len(), live);
    prop_assert!(scheduler.entries.slots() <= world.peak);
    let timed = world
        .model
        .commands
        .iter()
        .filter(|command| command.timer.is_some())
        .count();
    prop_assert_eq!(scheduler.timers.len(), timed);
    prop_assert!(scheduler.timers.slots() <= world.peak);
    let lanes = world.model.lanes.len();
    prop_assert_eq!(scheduler.lanes.len(), lanes);
    for heap in [&scheduler.boosts, &scheduler.limiters] {
        prop_assert!(heap.slots() <= lanes);
    }
    prop_assert!(scheduler.ready.slots() <= lanes);
    let waiting = (0..lanes)
        .filter(|&lane| world.model.has_work_and_slot(lane))
        .count();
    prop_assert!(scheduler.ready.len() <= waiting);
    prop_assert!(scheduler.boosts.len() <= scheduler.ready.len());
    prop_assert!(scheduler.limiters.len() + scheduler.ready.len() <= waiting);
    Ok(())
}

proptest! {
    #![proptest_config(cases(80))]

    /// Buffers and heaps are bounded by the live commands and the lanes, whatever has come and gone.
    #[test]
    fn i10_bounded_memory(lanes in lanes(), ops in ops(50..200)) {
        let ops = [&[Op::Open], &ops[..]].concat();
        let mut world = run(Mode::Follow, lanes, &ops, bounded)?;
        world.finish()?;
        bounded(&world)?;
        let scheduler = &world.scheduler;
        prop_assert_eq!((scheduler.timers.len(), scheduler.limiters.len()), (0, 0));
        prop_assert_eq!((scheduler.ready.len(), scheduler.boosts.len()), (0, 0));
    }

    /// In any window a rate-limited lane starts at most `burst + rate * window` commands.
    #[test]
    fn i11_rate_bound(lanes in lanes(), ops in ops(50..250)) {
        let ops = [&[Op::Open], &ops[..]].concat();
        let world = run(Mode::Follow, lanes, &ops, |_| Ok(()))?;
        let mut of_policy: HashMap<usize, Vec<_>> = HashMap::new();
        for start in &world.started {
            of_policy.entry(start.policy).or_default().push(start);
        }
        for starts in of_policy.into_values() {
            let Some(rate) = starts[0].rate else { continue };
            for (index, first) in starts.iter().enumerate() {
                for (more, last) in starts[index..].iter().enumerate() {
                    let refill = u128::from(last.at - first.at) * u128::from(rate.max_commands)
                        / u128::from(rate.window_ns);
                    let granted = more as u128 + 1;
                    prop_assert!(
                        granted <= u128::from(rate.burst) + refill,
                        "{} starts from {} to {} under {:?}", granted, first.at, last.at, rate
                    );
                }
            }
        }
    }
}

/// A queue that runs for long with few commands alive stays as small as it was in the beginning.
#[test]
fn a_long_run_needs_the_memory_of_a_short_one() {
    let rules = LaneRules {
        priority: 0,
        min: 0,
        configured_max: 4,
        timeout_ns: Some(50),
        retries: 2,
        first_delay_ns: 3,
        max_delay_ns: 9,
        doubling: true,
        pressure: Some(3),
        rate: None,
        boost: None,
    };
    let mut scheduler = Scheduler::new();
    let lanes: [LaneKey; 3] = std::array::from_fn(|_| scheduler.add_lane(rules.policy(0)));
    scheduler.open();
    let mut settled = 0;
    for now in 0..15_000_u64 {
        while scheduler.tick(now).is_some() {}
        if scheduler.pending() + scheduler.active() < 8 {
            let serial = scheduler.reserve();
            scheduler.submit(lanes[serial as usize % 3], serial, (), now);
        }
        while let Some(start) = scheduler.next(now) {
            let serial = start.key.serial();
            let ending =
                [Ending::Completed, Ending::Failed, Ending::Unrecoverable][serial as usize % 3];
            let concluded = scheduler.conclude(start.key, start.attempt, ending);
            assert!(concluded.is_some());
            settled += u64::from(matches!(
                scheduler.release(start.key, now),
                Released::Settled(())
            ));
        }
    }
    assert!(settled > 4_000, "only {settled} commands settled");
    assert!(scheduler.entries.slots() <= 8);
    assert!(scheduler.timers.slots() <= 8);
    assert!(scheduler.timers.len() <= 8);
}

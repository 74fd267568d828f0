//! The promises about memory and rates, one test each.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::LEAST;
use super::invariants::{follow, opened};
use super::operation::ops;
use super::rules::{LaneRules, MeterRules, RetryRules};
use super::strategies::setup;
use super::world::{Checked, Mode, World, run};
use crate::scheduler::model::Meter;
use crate::scheduler::{Ending, LaneKey, Released, Scheduler};
use crate::seeds::properties;

/// Every buffer holds exactly what lives, in room that the largest number alive at once explains.
fn bounded(world: &World) -> Checked {
    let (scheduler, model) = (&world.scheduler, &world.model);
    prop_assert_eq!(scheduler.entries.len(), model.commands.len());
    prop_assert!(scheduler.entries.places() <= world.peak);
    let timers = model.commands.iter().filter_map(|command| command.timer());
    prop_assert_eq!(scheduler.timers.len(), timers.count());
    prop_assert!(scheduler.timers.capacity() <= world.peak);
    let lanes = model.lanes.len();
    prop_assert_eq!(scheduler.lanes.len(), lanes);
    for heap in [&scheduler.boosts, &scheduler.blocks] {
        prop_assert!(heap.capacity() <= lanes);
    }
    for heap in [&scheduler.ready.common, &scheduler.ready.reserved] {
        prop_assert!(heap.capacity() <= lanes);
    }
    let ready = scheduler.ready.common.len() + scheduler.ready.reserved.len();
    prop_assert!(scheduler.boosts.len() <= ready);
    prop_assert!(scheduler.blocks.len() + ready <= lanes);
    for (number, key) in world.lane_keys() {
        let keys: HashSet<_> = model
            .of_lane(number)
            .filter_map(|command| command.rules.key)
            .collect();
        let absent = model.absent_keys(number).len();
        prop_assert_eq!(
            scheduler.lanes[key.index()].keys(),
            (keys.len() + absent, absent)
        );
    }
    prop_assert!(scheduler.paused_keys.len() <= model.paused_keys.len());
    Ok(())
}

properties! {
    cases: 980, least: LEAST;

    /// Buffers and heaps are bounded by the live commands, their keys and the lanes, whatever has come and gone.
    #[test]
    fn i10_bounded_memory(setup in setup(), ops in ops(1..250)) {
        let mut world = run(Mode::Follow, setup, &opened(&ops), bounded)?;
        world.finish()?;
        bounded(&world)?;
        let scheduler = &world.scheduler;
        prop_assert_eq!((scheduler.timers.len(), scheduler.blocks.len()), (0, 0));
        prop_assert_eq!((scheduler.ready.common.len(), scheduler.ready.reserved.len()), (0, 0));
        prop_assert_eq!(scheduler.boosts.len(), 0);
    }

    /// In any window a rate-limited lane starts at most `burst + rate * window` commands.
    #[test]
    fn i11_rate_bound(setup in setup(), ops in ops(1..250)) {
        let world = follow(setup, &opened(&ops))?;
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

    /// In any window that ends with a start, what a named limiter has charged, counted at what is known of it by then,
    /// debts included, is at most what it allows.
    #[test]
    fn i11_rate_bound_of_named_limiters(setup in setup(), ops in ops(1..250)) {
        run(Mode::Follow, setup, &opened(&ops), |world| {
            for limiter in &world.model.limiters {
                within(&limiter.meter, world.now)?;
            }
            Ok(())
        })?;
    }
}

/// The charges of starts at `now`, which are the ones that were not looked at before.
fn within(meter: &Meter, now: u64) -> Checked {
    for (end, last) in meter.entries.iter().enumerate() {
        if last.debt || last.at != now || last.amount == 0 {
            continue;
        }
        let mut charged = 0;
        for first in meter.entries[..=end].iter().rev() {
            charged += u128::from(first.amount);
            let span = last.at - first.at;
            let allowed = match meter.rules {
                MeterRules::Bucket(rate) => {
                    let refill = u128::from(span) * u128::from(rate.max_commands);
                    u128::from(rate.burst) + refill / u128::from(rate.window_ns)
                }
                MeterRules::Window { max, window_ns } if span < window_ns => max.into(),
                MeterRules::Window { .. } => break,
            };
            prop_assert!(
                charged <= allowed,
                "{} charged from {} to {} under {:?}",
                charged,
                first.at,
                last.at,
                meter.rules
            );
        }
    }
    Ok(())
}

/// A queue that runs for long with few commands alive stays as small as it was in the beginning.
#[test]
fn a_long_run_needs_the_memory_of_a_short_one() {
    let rules = LaneRules {
        configured_max: 4,
        timeout_ns: Some(50),
        retry: RetryRules {
            retries: 2,
            first_delay_ns: 3,
            max_delay_ns: 9,
            doubling: true,
        },
        pressure: Some(3),
        ..LaneRules::default()
    };
    let mut scheduler = Scheduler::new(false);
    let lanes: [LaneKey; 3] = std::array::from_fn(|_| scheduler.add_lane(rules.policy(0)));
    scheduler.set_open(true);
    let mut settled = 0;
    for now in 0..15_000_u64 {
        while scheduler.tick(now).is_some() {}
        if scheduler.pending + scheduler.shares < 8 {
            let serial = scheduler.draw_serial();
            // Keys come and go: there are never the same ones for long.
            let terms = crate::scheduler::Terms {
                key: (serial % 4 > 0).then(|| format!("{}", serial / 5).into()),
                ..crate::scheduler::Terms::default()
            };
            let lane = lanes[serial as usize % 3];
            let submitted = scheduler.submit(lane, serial, (), Some(Box::new(terms)), now);
            assert!(submitted.is_ok());
        }
        while let Some(start) = scheduler.next(now) {
            let serial = start.key.serial();
            let ending =
                [Ending::Completed, Ending::Failed, Ending::Unrecoverable][serial as usize % 3];
            let concluded = scheduler.conclude(start.key, start.run, ending, 0);
            assert!(concluded.is_some());
            settled += u64::from(matches!(
                scheduler.release(start.key, now),
                Released::Left(())
            ));
        }
    }
    assert!(settled > 4_000, "only {settled} commands settled");
    assert!(scheduler.entries.places() <= 8);
    assert!(scheduler.timers.capacity() <= 8);
    assert!(scheduler.timers.len() <= 8);
    assert!(scheduler.lanes.iter().all(|lane| lane.keys().0 <= 8));
}

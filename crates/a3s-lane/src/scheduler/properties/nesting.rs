//! The promises about commands that submit children and wait for them.
//!
//! `agreement` compares the scheduler with the reference model, without limits on starts per time. The others state each promise
//! by itself, with a book of who waits for whom, and some of them with such limits.

mod agreement;
mod family;
mod found;
mod operation;
#[cfg(feature = "distributed")]
mod refused;
mod shares;
mod stopped;

use proptest::prelude::*;

use super::LEAST;
use super::rules::{CommandRules, LaneRules, Rate, RetryRules};
use super::world::Checked;
use crate::scheduler::{Ending, StopReason};
use crate::seeds::{count_operation, properties};
use family::Family;
use operation::{Op, Setup};

/// How many different keys there are.
const KEYS: u8 = 2;

fn run(setup: &Setup, ops: &[Op], forward: bool) -> Result<Family, TestCaseError> {
    let mut family = Family::new(setup.clone(), forward);
    for op in ops {
        count_operation();
        family.apply(op)?;
    }
    Ok(family)
}

properties! {
    cases: 2_900, least: LEAST;

    /// A lane and the whole have no more slots than they may, no more bodies move than there are slots, and what was
    /// promised to start is what starts.
    #[test]
    fn i2_slots_bounded_with_nesting(setup in setup(), ops in ops(true)) {
        run(&setup, &ops, false)?;
    }

    /// Where families do not wait for each other, because nobody goes back to an earlier lane, everything ends as long as
    /// the bodies that do not wait end.
    #[test]
    fn i6_no_deadlock_of_families(
        setup in setup(),
        ops in ops(false),
        picks in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let mut family = run(&setup, &ops, true)?;
        family.finish(&picks, KEYS)?;
        family.check_end()?;
    }

    /// Every accepted command leaves exactly once, whoever waits for whom, and nothing of it stays.
    #[test]
    fn i1_settles_once_with_nesting(setup in setup(), ops in ops(true)) {
        let mut family = run(&setup, &ops, false)?;
        end_all(&mut family)?;
        family.check_end()?;
    }

    /// Limits on starts per time keep families waiting, and neither for ever nor busy: every call ends, and a family stands
    /// only while each child that it waits for is kept back.
    #[test]
    #[cfg(feature = "distributed")]
    fn i6_no_deadlock_of_refused_families(
        setup in rated_setup(),
        ops in rated_ops(false),
        picks in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let mut family = run(&setup, &ops, true)?;
        family.finish(&picks, KEYS)?;
        family.check_end()?;
    }

    /// The same where bodies wait for each other and the total changes: what can be ended ends.
    #[test]
    #[cfg(feature = "distributed")]
    fn i1_settles_once_with_refusals(setup in rated_setup(), ops in rated_ops(true)) {
        let mut family = run(&setup, &ops, false)?;
        end_all(&mut family)?;
        family.check_end()?;
    }

    /// While a body of a lane of one waits, only its descendants start in that lane.
    #[test]
    fn nobody_else_gets_a_lent_slot(setup in setup(), ops in ops(true)) {
        let mut setup = setup;
        for lane in &mut setup.lanes {
            (lane.configured_min, lane.configured_max) = (0, 1);
        }
        run(&setup, &ops, false)?;
    }
}

/// Ends whatever runs, also bodies that wait.
fn end_all(family: &mut Family) -> Checked {
    family.apply(&Op::SetTotal(None))?;
    for lane in 0..4 {
        family.apply(&Op::PauseLane {
            lane,
            paused: false,
        })?;
    }
    for key in 0..KEYS {
        family.apply(&Op::PauseKey { key, paused: false })?;
    }
    while !family.members.is_empty() {
        let before = family.left.len();
        family.apply(&Op::Settle)?;
        let end = Op::Conclude {
            pick: 0,
            waiting: true,
            ending: Ending::Unrecoverable,
            release: true,
        };
        family.apply(&end)?;
        family.apply(&Op::Release { pick: 0 })?;
        if family.left.len() == before {
            family.apply(&Op::Advance(100))?;
        }
        prop_assert!(family.now < 1_000_000, "{:#?}", family.members);
    }
    Ok(())
}

fn setup() -> impl Strategy<Value = Setup> {
    let total = prop_oneof![1 => Just(None), 3 => (1usize..4).prop_map(Some)];
    (prop::collection::vec(lane_rules(), 1..=4), total).prop_map(|(lanes, spare)| {
        let minimums: usize = lanes.iter().map(LaneRules::min).sum();
        let total = spare.map(|spare| minimums + spare);
        Setup { lanes, total }
    })
}

fn lane_rules() -> impl Strategy<Value = LaneRules> {
    (
        0u8..3,
        prop_oneof![3 => Just(0usize), 1 => Just(1)],
        prop_oneof![2 => Just(1usize), 1 => Just(2)],
        prop::option::weighted(0.3, Just(1usize)),
        any::<bool>(),
        prop_oneof![Just(0u64), Just(10)],
        retry(),
    )
        .prop_map(
            |(priority, configured_min, configured_max, key_max, preemptible, grace_ns, retry)| {
                LaneRules {
                    priority,
                    configured_min,
                    configured_max,
                    key_max,
                    preemptible,
                    grace_ns,
                    retry,
                    ..LaneRules::default()
                }
            },
        )
}

/// As [`setup`], and limits on starts per time, of lanes and over lanes.
fn rated_setup() -> impl Strategy<Value = Setup> {
    let limits = (rate(), prop::bool::weighted(0.3));
    (setup(), prop::collection::vec(limits, 4)).prop_map(|(mut setup, limits)| {
        for (lane, (rate, is_shared)) in setup.lanes.iter_mut().zip(limits) {
            lane.rate = rate;
            lane.limiters = if is_shared { vec![0] } else { Vec::new() };
        }
        setup
    })
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    let rate = (1u64..3, 1u64..60, 1u64..3).prop_map(|(max_commands, window_ns, burst)| Rate {
        max_commands,
        window_ns,
        burst,
    });
    prop::option::weighted(0.6, rate)
}

/// As [`ops`], and the limits on starts per time change.
fn rated_ops(total: bool) -> impl Strategy<Value = Vec<Op>> {
    let rate = (any::<u8>(), rate()).prop_map(|(lane, rate)| Op::SetRate { lane, rate });
    prop::collection::vec(prop_oneof![20 => op(total), 1 => rate], 1..80)
}

fn retry() -> impl Strategy<Value = RetryRules> {
    let some = prop_oneof![Just(0u64), Just(10)].prop_map(|first_delay_ns| RetryRules {
        retries: 1,
        first_delay_ns,
        max_delay_ns: 10,
        doubling: false,
    });
    prop_oneof![1 => Just(RetryRules::NONE), 1 => some]
}

fn command_rules() -> impl Strategy<Value = CommandRules> {
    let keyed = prop::option::weighted(0.3, 0..KEYS);
    let delay = prop::option::weighted(0.1, 1u64..20);
    let ttl = prop::option::weighted(0.1, 1u64..20);
    let timeout = prop::option::weighted(0.1, (1u64..20).prop_map(Some));
    let cost = prop_oneof![3 => Just(1u64), 1 => 2u64..4];
    (keyed, delay, ttl, timeout, prop::bool::weighted(0.8), cost).prop_map(
        |(key, delay_ns, ttl_ns, timeout_ns, preemptible, cost)| CommandRules {
            cost,
            key,
            delay_ns,
            ttl_ns,
            timeout_ns,
            preemptible,
            ..CommandRules::default()
        },
    )
}

/// With `total` the total changes in between.
fn ops(total: bool) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(total), 1..80)
}

fn op(total: bool) -> impl Strategy<Value = Op> {
    let pick = any::<u8>;
    prop_oneof![
        8 => (pick(), command_rules()).prop_map(|(lane, rules)| Op::Submit { lane, rules }),
        16 => (pick(), pick(), command_rules(), prop::bool::weighted(0.7))
            .prop_map(|(pick, lane, rules, waits)| Op::Spawn { pick, lane, rules, waits }),
        6 => pick().prop_map(|pick| Op::Await { pick }),
        5 => pick().prop_map(|pick| Op::Leave { pick }),
        1 => (pick(), pick()).prop_map(|(pick, other)| Op::LeaveOther { pick, other }),
        6 => (1u8..4).prop_map(Op::Next),
        12 => Just(Op::Settle),
        10 => conclude(),
        3 => pick().prop_map(|pick| Op::Release { pick }),
        1 => pick().prop_map(|pick| Op::Abandon { pick }),
        3 => (pick(), prop_oneof![Just(StopReason::Cancel), Just(StopReason::Shutdown)])
            .prop_map(|(pick, reason)| Op::Stop { pick, reason }),
        4 => (0u64..20).prop_map(Op::Advance),
        1 => (pick(), any::<bool>()).prop_map(|(lane, paused)| Op::PauseLane { lane, paused }),
        1 => (0..KEYS, any::<bool>()).prop_map(|(key, paused)| Op::PauseKey { key, paused }),
        1 => prop::option::of(1usize..5)
            .prop_map(move |to| if total { Op::SetTotal(to) } else { Op::Settle }),
        1 => Just(if total { Op::TakeWaiting } else { Op::Settle }),
    ]
}

fn conclude() -> impl Strategy<Value = Op> {
    let ending = prop_oneof![3 => Just(Ending::Completed), 2 => Just(Ending::Failed)];
    (
        any::<u8>(),
        prop::bool::weighted(0.2),
        ending,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(pick, waiting, ending, release)| Op::Conclude {
            pick,
            waiting,
            ending,
            release,
        })
}

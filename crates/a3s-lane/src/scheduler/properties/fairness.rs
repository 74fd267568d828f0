//! The promise that keys share a lane by their weights.

use proptest::prelude::*;

use super::LEAST;
use super::operation::{Jump, Op};
use super::rules::{CommandRules, LaneRules, MOST_ABSENT, RetryRules, Setup};
use super::world::{Checked, Mode, World};
use crate::scheduler::Ending;
use crate::scheduler::model::Command;
use crate::seeds::{count_operation, properties};

/// What happens between two questions.
#[derive(Debug, Clone)]
enum Step {
    /// One more key comes, if there is another.
    Comes,
    Pauses {
        pick: u8,
        paused: bool,
    },
    /// A more or less urgent command of a key.
    Priority {
        pick: u8,
        priority: i32,
    },
    Starts(u8),
    Ends {
        pick: u8,
        ending: Ending,
    },
    /// One more command of a key that has enough already.
    Extra(u8),
    /// So many commands of a key, which may have none.
    Brings {
        pick: u8,
        count: u8,
    },
    Passes(u64),
}

/// Steps with keys that often have no command in the lane.
fn sparse_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u8>().prop_map(|pick| Step::Brings { pick, count: 1 }),
        1 => any::<u8>().prop_map(|pick| Step::Brings { pick, count: 4 }),
        12 => step(),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, paused)| Step::Pauses { pick, paused }),
    ]
}

/// Steps after which not every key has taken part all the time.
fn uneven_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => step(),
        1 => Just(Step::Comes),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, paused)| Step::Pauses { pick, paused }),
        1 => (any::<u8>(), -2i32..2).prop_map(|(pick, priority)| Step::Priority { pick, priority }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![Just(Ending::Completed), Just(Ending::Failed)];
    prop_oneof![
        4 => (1u8..4).prop_map(Step::Starts),
        6 => (any::<u8>(), ending).prop_map(|(pick, ending)| Step::Ends { pick, ending }),
        1 => any::<u8>().prop_map(Step::Extra),
        1 => (0u64..30).prop_map(Step::Passes),
    ]
}

properties! {
    cases: 120, least: LEAST / 5;

    /// With work of every key always ready, no key is more than one turn ahead of another: starts divided by weight differ
    /// by less than one start of the key that is ahead.
    #[test]
    fn fairness(
        weights in prop::collection::vec(1u32..=16, 1..6),
        with_no_key in any::<bool>(),
        slots in 1usize..6,
        steps in prop::collection::vec(step(), 100..300),
    ) {
        let mut keys = keys_of(&weights);
        if with_no_key {
            keys.push((None, 1));
        }
        let mut world = lane_of(&weights, slots)?;
        for step in steps {
            count_operation();
            supply(&mut world, &keys)?;
            let op = match step {
                Step::Starts(count) => Op::Next(count),
                Step::Ends { pick, ending } => Op::Conclude { pick, count: 1, ending, random: 0, release: true },
                Step::Passes(ns) => Op::Advance(Jump::Ns(ns)),
                Step::Extra(pick) => submit(keys[usize::from(pick) % keys.len()].0, 0),
                _ => continue,
            };
            world.apply(&op)?;
            let starts = |key| world.started.iter().filter(|start| start.key == key).count() as u64;
            for &(ahead, its_weight) in &keys {
                for &(behind, other_weight) in &keys {
                    prop_assert!(
                        starts(ahead) * other_weight <= (starts(behind) * its_weight) + other_weight,
                        "{:?} had {} starts, {:?} had {}, of {:?}",
                        ahead, starts(ahead), behind, starts(behind), keys
                    );
                }
            }
        }
    }

    /// The same from the moment on at which two keys take part with commands of the same priority, whatever one of them
    /// missed before. Each may have a turn behind it then that the other had not.
    #[test]
    fn fairness_from_now_on(
        weights in prop::collection::vec(1u32..=16, 2..6),
        slots in 1usize..4,
        steps in prop::collection::vec(uneven_step(), 100..300),
    ) {
        let all = keys_of(&weights);
        let mut present = 2;
        let mut world = lane_of(&weights, slots)?;
        // Where each key takes part, and the starts of both of a pair since they do at the same priority.
        let mut levels = vec![None; all.len()];
        let mut since = vec![vec![(0, 0); all.len()]; all.len()];
        for step in steps {
            count_operation();
            let keys = &all[..present];
            supply(&mut world, keys)?;
            let picked = |pick: u8| keys[usize::from(pick) % keys.len()].0;
            let mut ops = Vec::new();
            match step {
                Step::Starts(count) => ops.resize(usize::from(count), Op::Next(1)),
                Step::Ends { pick, ending } => ops.push(Op::Conclude { pick, count: 1, ending, random: 0, release: true }),
                Step::Passes(ns) => ops.extend([Op::Advance(Jump::Ns(ns)), Op::Tick]),
                Step::Extra(pick) => ops.push(submit(picked(pick), 0)),
                Step::Priority { pick, priority } => ops.push(submit(picked(pick), priority)),
                Step::Brings { .. } => continue,
                Step::Comes => present = (present + 1).min(all.len()),
                Step::Pauses { pick, paused } => {
                    ops.extend(picked(pick).map(|key| Op::PauseKey { key, paused }));
                }
            }
            for op in ops {
                let before = world.started.len();
                world.apply(&op)?;
                let started = world.started[before..].iter().map(|start| start.key);
                let started: Vec<_> = started.collect();
                let levels_before = levels.clone();
                for (level, (key, _)) in levels.iter_mut().zip(&all) {
                    let candidates = world.model.candidates(0);
                    let of_key = candidates.filter(|command| command.rules.key == *key);
                    *level = of_key.map(|command| command.rules.priority).min();
                }
                for (one, (key, its_weight)) in all.iter().enumerate() {
                    for (two, (other, other_weight)) in all.iter().enumerate() {
                        let both = [one, two].map(|key| (levels_before[key], levels[key]));
                        let stay = both.iter().all(|level| *level == both[0] && level.0 == level.1);
                        let (starts, others) = &mut since[one][two];
                        if !stay || levels[one].is_none() {
                            (*starts, *others) = (0, 0);
                            continue;
                        }
                        *starts += started.iter().filter(|started| *started == key).count() as u64;
                        *others += started.iter().filter(|started| *started == other).count() as u64;
                        prop_assert!(
                            *starts * other_weight <= *others * its_weight + its_weight + other_weight,
                            "{:?} had {} starts, {:?} had {}, of {:?}", key, starts, other, others, all
                        );
                    }
                }
            }
        }
    }

    /// As long as a key has a command that may start, no other one gets more than its share beside it, one turn of each
    /// aside, however it comes and goes: with many commands or one at a time. So the key has at least its share, one turn
    /// of each aside.
    #[test]
    fn fairness_of_who_waits(
        weights in prop::collection::vec(1u32..=16, 2..=MOST_ABSENT + 1),
        with_no_key in any::<bool>(),
        slots in 1usize..3,
        steps in prop::collection::vec(sparse_step(), 100..300),
    ) {
        let mut all = keys_of(&weights);
        // Besides the one that waits there are no more with a name than are remembered.
        if with_no_key && weights.len() <= MOST_ABSENT {
            all.push((None, 1));
        }
        let mut world = lane_of(&weights, slots)?;
        // The starts of both of a pair since the first of it waits.
        let mut since = vec![vec![(0, 0); all.len()]; all.len()];
        let waiting = |world: &World| -> Vec<bool> {
            let of = |key| move |one: &Command| one.rules.key == key;
            all.iter().map(|(key, _)| world.model.candidates(0).any(of(*key))).collect()
        };
        // One waits from the beginning on.
        for _ in 0..30 {
            world.apply(&submit(all[0].0, 0))?;
        }
        for step in steps {
            count_operation();
            let picked = |pick: u8| all[usize::from(pick) % all.len()].0;
            let mut ops = Vec::new();
            match step {
                Step::Starts(count) => ops.resize(usize::from(count), Op::Next(1)),
                Step::Ends { pick, ending } => ops.push(Op::Conclude { pick, count: 1, ending, random: 0, release: true }),
                Step::Passes(ns) => ops.extend([Op::Advance(Jump::Ns(ns)), Op::Tick]),
                Step::Brings { pick, count } => ops.resize(usize::from(count), submit(picked(pick), 0)),
                Step::Pauses { pick, paused } => {
                    ops.extend(picked(pick).map(|key| Op::PauseKey { key, paused }));
                }
                _ => continue,
            }
            for op in ops {
                let (before, waited) = (world.started.len(), waiting(&world));
                world.apply(&op)?;
                let waits = waiting(&world);
                let started = |key| world.started[before..].iter().filter(|start| start.key == key).count() as u64;
                for (one, &(key, its_weight)) in all.iter().enumerate() {
                    for (two, &(other, other_weight)) in all.iter().enumerate() {
                        let (starts, others) = &mut since[one][two];
                        if one == two || !waited[one] || !waits[one] {
                            (*starts, *others) = (0, 0);
                            continue;
                        }
                        *starts += started(key);
                        *others += started(other);
                        prop_assert!(
                            *others * its_weight <= *starts * other_weight + its_weight + other_weight,
                            "{:?} waited and had {} starts, {:?} had {}, of {:?}", key, starts, other, others, all
                        );
                    }
                }
            }
        }
    }
}

fn keys_of(weights: &[u32]) -> Vec<(Option<u8>, u64)> {
    let keyed = weights.iter().zip(0u8..);
    keyed
        .map(|(&weight, key)| (Some(key), weight.into()))
        .collect()
}

/// An open lane with keys of these weights.
fn lane_of(weights: &[u32], slots: usize) -> Result<World, TestCaseError> {
    let keyed = weights.iter().zip(0u8..);
    let rules = LaneRules {
        configured_max: slots,
        retry: RetryRules {
            retries: 1,
            first_delay_ns: 3,
            max_delay_ns: 3,
            doubling: false,
        },
        key_weights: keyed.map(|(&weight, key)| (key, weight)).collect(),
        ..LaneRules::default()
    };
    let setup = Setup {
        lanes: vec![rules],
        limiters: Vec::new(),
        total: None,
    };
    let mut world = World::new(Mode::Follow, setup);
    world.apply(&Op::Open)?;
    Ok(world)
}

/// More than one operation starts, so that no key ever lacks work in between.
fn supply(world: &mut World, keys: &[(Option<u8>, u64)]) -> Checked {
    for &(key, _) in keys {
        let ready = |world: &World| {
            let of_key = |one: &&Command| one.rules.key == key && one.rules.priority == 0;
            world.model.ready(0).filter(of_key).count()
        };
        while ready(world) < 4 {
            world.apply(&submit(key, 0))?;
        }
    }
    Ok(())
}

fn submit(key: Option<u8>, priority: i32) -> Op {
    Op::Submit {
        lane: 0,
        count: 1,
        rules: CommandRules {
            key,
            priority,
            ..CommandRules::default()
        },
        backwards: false,
    }
}

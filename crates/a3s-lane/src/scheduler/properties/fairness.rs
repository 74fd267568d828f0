//! The promise that keys share a lane by their weights.

use proptest::prelude::*;

use super::LEAST;
use super::operation::{Jump, Op};
use super::rules::{CommandRules, LaneRules, Setup};
use super::world::{Mode, World};
use crate::scheduler::Ending;
use crate::seeds::{count_operation, properties};

/// What happens between two questions.
#[derive(Debug, Clone)]
enum Step {
    Starts(u8),
    Ends {
        pick: u8,
        ending: Ending,
    },
    /// One more command of a key that has enough already.
    Extra(u8),
    Passes(u64),
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
    cases: 120, least: LEAST;

    /// With work of every key always ready, no key is more than one turn ahead of another: starts divided by weight differ
    /// by less than one start of the key that is ahead.
    #[test]
    fn fairness(
        weights in prop::collection::vec(1u32..=16, 1..6),
        with_no_key in any::<bool>(),
        slots in 1usize..6,
        steps in prop::collection::vec(step(), 100..300),
    ) {
        let keyed = weights.iter().zip(0u8..).map(|(&weight, key)| (key, weight));
        let rules = LaneRules {
            configured_max: slots,
            retry: super::rules::RetryRules { retries: 1, first_delay_ns: 3, max_delay_ns: 3, doubling: false },
            key_weights: keyed.clone().collect(),
            ..LaneRules::default()
        };
        let mut keys: Vec<(Option<u8>, u64)> = keyed.map(|(key, weight)| (Some(key), weight.into())).collect();
        if with_no_key {
            keys.push((None, 1));
        }
        let setup = Setup { lanes: vec![rules], limiters: Vec::new(), total: None };
        let mut world = World::new(Mode::Follow, setup);
        world.apply(&Op::Open)?;
        for step in steps {
            count_operation();
            // More than one operation starts, so that no key ever lacks work in between.
            for &(key, _) in &keys {
                while world.model.ready(0).filter(|command| command.rules.key == key).count() < 4 {
                    submit(&mut world, key)?;
                }
            }
            let op = match step {
                Step::Starts(count) => Op::Next(count),
                Step::Ends { pick, ending } => Op::Conclude { pick, count: 1, ending, random: 0, release: true },
                Step::Passes(ns) => Op::Advance(Jump::Ns(ns)),
                Step::Extra(pick) => {
                    submit(&mut world, keys[usize::from(pick) % keys.len()].0)?;
                    continue;
                }
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
}

fn submit(world: &mut World, key: Option<u8>) -> super::world::Checked {
    world.apply(&Op::Submit {
        lane: 0,
        count: 1,
        rules: CommandRules {
            key,
            ..CommandRules::default()
        },
        backwards: false,
    })
}

//! The scheduler favours and starts the children that the model does.
//!
//! Here families meet totals, reservations, priorities, keys, boosts, retries, time limits, pauses, preemption, changes of policy and
//! every way out. Limits on starts per time are left out: which child a refusal was for is remembered, and no rule of few words.
//! So are delays of a command's own, which would let several become ready at the same time.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::operation::{Jump, Op};
use super::super::rules::{CommandRules, LaneRules, Setup};
use super::super::strategies::{command_rules, lane_rules};
use super::super::world::{Mode, World};
use crate::scheduler::{Ending, StopReason};
use crate::seeds::{count_operation, properties};

/// How many random operations are played at least.
const MANY: usize = 100_000;

properties! {
    cases: 1_200, least: MANY;

    /// Who is favoured, in which order and in whose slot, which command starts next, or that none does, and who must make
    /// room: after every operation, without limits on starts per time.
    #[test]
    fn every_answer_is_the_models_with_nesting(setup in setup(), ops in ops()) {
        let mut world = play(setup, &ops)?;
        world.finish()?;
    }
}

fn play(setup: Setup, ops: &[Op]) -> Result<World, TestCaseError> {
    let mut world = World::new(Mode::Agree, setup);
    world.nests = true;
    world.apply(&Op::Open)?;
    for op in ops {
        count_operation();
        world.apply(op)?;
    }
    Ok(world)
}

/// Lanes with so many slots, and a number of commands that run in the first.
fn plain(slots: &[usize], total: Option<usize>, running: u8) -> (Setup, Vec<Op>) {
    let lane = |&configured_max| LaneRules {
        configured_max,
        ..LaneRules::default()
    };
    let setup = Setup {
        lanes: slots.iter().map(lane).collect(),
        limiters: Vec::new(),
        total,
    };
    let submit = Op::Submit {
        lane: 0,
        count: running,
        rules: CommandRules::default(),
        backwards: false,
    };
    (setup, vec![submit, Op::Next(running)])
}

fn spawn(pick: u8, lane: u8, waits: bool) -> Op {
    Op::Spawn {
        pick,
        lane,
        rules: CommandRules::default(),
        waits,
    }
}

/// A slot comes back, and by the same call a share: what is urged is lent the slot, after the share went to a sibling of the child
/// that could start in its stead. The other way round that child would have got the share; neither is promised.
#[test]
fn a_slot_and_a_share_that_come_back_are_lent_in_any_order() {
    let (setup, mut ops) = plain(&[2, 1], Some(2), 1);
    let (pick, any, run) = (0, false, 0);
    ops.extend([
        spawn(0, 1, false),
        Op::Next(1),
        Op::Await { pick, any, run },
        // In the slot of the first.
        spawn(1, 0, true),
        Op::Next(1),
        Op::Leave { pick, any, run },
        spawn(0, 0, true),
        spawn(1, 0, true),
        spawn(1, 1, true),
        Op::EndLeaf {
            pick,
            ending: Ending::Completed,
        },
    ]);
    let world = play(setup, &ops).expect("the scheduler answers as the model does");
    assert_eq!(world.scheduler.all_favoured(), [(4, Some(1)), (6, Some(2))]);
}

/// As soon as there is a total three parents set their shares aside. What the second can do depends on the first, and what the third
/// can do on the second: not the order in which their children stand in the lanes.
#[test]
fn shares_are_set_aside_in_any_order_when_there_is_a_total() {
    let (setup, mut ops) = plain(&[3, 1, 1], None, 3);
    ops.extend([
        spawn(0, 2, true),
        spawn(1, 2, true),
        spawn(1, 1, true),
        spawn(2, 1, true),
        Op::SetTotal(Some(3)),
    ]);
    let world = play(setup, &ops).expect("the scheduler answers as the model does");
    let favoured = world.scheduler.all_favoured();
    assert_eq!(favoured, [(6, None), (7, None), (4, None)]);
}

/// How often each rule must be reached, and the most runs this may take.
const OFTEN: usize = 6;
const RUNS: usize = 2_000;

/// The random operations reach every rule of nested work. Always the same operations.
#[test]
fn the_operations_reach_every_rule_of_nesting() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut sums: Vec<(&str, usize)> = Vec::new();
    for done in 1..=RUNS {
        let inputs = (setup(), ops()).new_tree(&mut runner).expect("no filters");
        let (setup, ops) = inputs.current();
        let world = play(setup, &ops).unwrap_or_else(|_| panic!("{ops:?}"));
        let counts = world.model.nesting.counts();
        match sums.is_empty() {
            true => sums = counts.to_vec(),
            false => {
                for ((_, sum), (_, count)) in sums.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
        }
        if sums.iter().all(|(_, sum)| *sum >= OFTEN) {
            println!(
                "every rule of nested work was reached {OFTEN} times in {done} runs: {sums:?}"
            );
            return;
        }
    }
    panic!("in {RUNS} runs some of these happened less than {OFTEN} times: {sums:?}");
}

fn setup() -> impl Strategy<Value = Setup> {
    let total = prop_oneof![6 => Just(None), 1 => Just(Some(0)), 17 => (1usize..4).prop_map(Some)];
    let lanes = prop::collection::vec(lane(), 1..=3);
    (lanes, total, prop::bool::weighted(0.5)).prop_map(|(mut lanes, spare, is_contended)| {
        if is_contended {
            contend(&mut lanes);
        }
        let minimums: usize = lanes.iter().map(LaneRules::min).sum();
        Setup {
            total: spare.map(|spare| minimums + spare),
            limiters: Vec::new(),
            lanes,
        }
    })
}

/// Each lane gives way to those before it.
fn contend(lanes: &mut [LaneRules]) {
    for (lane, number) in lanes.iter_mut().zip(0..) {
        lane.priority = number;
        lane.configured_max = 3;
        lane.preemptible = true;
    }
}

/// Few slots, seldom a time limit, no limits on starts per time.
fn lane() -> impl Strategy<Value = LaneRules> {
    let slots = prop_oneof![6 => Just(1usize), 2 => Just(2), 1 => Just(3)];
    let often = prop::bool::weighted(0.2);
    let some = (slots, often, often, often);
    (lane_rules(), some).prop_map(|(rules, (max, has_min, is_timed, is_bounded))| LaneRules {
        configured_max: max,
        configured_min: usize::from(has_min),
        timeout_ns: rules.timeout_ns.filter(|_| is_timed),
        progress_ns: rules.progress_ns.filter(|_| is_timed),
        max_pending: rules.max_pending.filter(|_| is_bounded),
        rate: None,
        limiters: Vec::new(),
        ..rules
    })
}

fn command() -> impl Strategy<Value = CommandRules> {
    let plain = command_rules().prop_map(|rules| CommandRules {
        delay_ns: None,
        ..rules
    });
    prop_oneof![4 => Just(CommandRules::default()), 1 => plain]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..200)
}

fn op() -> impl Strategy<Value = Op> {
    let pick = any::<u8>;
    let any = prop::bool::weighted(0.1);
    let run = prop_oneof![12 => Just(0u32), 1 => Just(1)];
    prop_oneof![
        6 => (pick(), 1u8..3, command()).prop_map(|(lane, count, rules)| Op::Submit { lane, count, rules, backwards: false }),
        40 => (pick(), pick(), command(), prop::bool::weighted(0.7))
            .prop_map(|(pick, lane, rules, waits)| Op::Spawn { pick, lane, rules, waits }),
        8 => (pick(), any, run.clone()).prop_map(|(pick, any, run)| Op::Await { pick, any, run }),
        8 => (pick(), any, run).prop_map(|(pick, any, run)| Op::Leave { pick, any, run }),
        6 => (1u8..4).prop_map(Op::Next),
        36 => Just(Op::Settle),
        18 => (pick(), ending()).prop_map(|(pick, ending)| Op::EndLeaf { pick, ending }),
        4 => (pick(), ending(), prop::bool::weighted(0.7)).prop_map(|(pick, ending, release)| Op::Conclude {
            pick,
            count: 1,
            ending,
            random: 0,
            release,
        }),
        4 => pick().prop_map(|pick| Op::Release { pick }),
        1 => (pick(), prop::bool::weighted(0.3)).prop_map(|(pick, concluded)| Op::Abandon { pick, concluded }),
        4 => (pick(), reason()).prop_map(|(pick, reason)| Op::Stop { pick, reason }),
        1 => pick().prop_map(|pick| Op::Beat { pick }),
        3 => Just(Op::Tick),
        8 => jump().prop_map(Op::Advance),
        3 => (pick(), prop::bool::weighted(0.3)).prop_map(|(lane, paused)| Op::PauseLane { lane, paused }),
        1 => (0u8..4, prop::bool::weighted(0.3)).prop_map(|(key, paused)| Op::PauseKey { key, paused }),
        1 => (pick(), lane()).prop_map(|(lane, rules)| Op::SetPolicy { lane, rules }),
        1 => prop_oneof![3 => Just(None), 1 => Just(Some(0)), 12 => (1usize..6).prop_map(Some)].prop_map(Op::SetTotal),
        1 => lane().prop_map(Op::AddLane),
        1 => pick().prop_map(|lane| Op::RemoveLane { lane }),
        1 => prop_oneof![20 => Just(Op::Open), 1 => Just(Op::Close), 2 => Just(Op::TakeWaiting)],
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![4 => Just(Ending::Completed), 3 => Just(Ending::Failed), 1 => Just(Ending::Unrecoverable)]
}

fn reason() -> impl Strategy<Value = StopReason> {
    prop_oneof![2 => Just(StopReason::Cancel), 1 => Just(StopReason::Shutdown)]
}

fn jump() -> impl Strategy<Value = Jump> {
    prop_oneof![2 => (0u64..20).prop_map(Jump::Ns), 3 => (-1i8..=1).prop_map(Jump::Wake)]
}

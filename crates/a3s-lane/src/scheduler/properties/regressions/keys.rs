//! Fairness keys.

use super::{agree, submit};
use crate::scheduler::Ending;
use crate::scheduler::properties::operation::{Jump, Op};
use crate::scheduler::properties::rules::{CommandRules, LaneRules, RetryRules};
use crate::scheduler::properties::world::World;

fn of_key(key: u8, priority: i32) -> CommandRules {
    CommandRules {
        key: Some(key),
        priority,
        ..CommandRules::default()
    }
}

fn complete() -> Op {
    Op::Conclude {
        pick: 0,
        count: 1,
        ending: Ending::Completed,
        random: 0,
        release: true,
    }
}

fn last_started(world: &World) -> Option<u64> {
    let running = world.model.commands.iter().filter(|one| one.holds_slot());
    let last = running.max_by_key(|command| command.start);
    last.map(|command| command.serial)
}

/// It had all its slots when time went on. That its less urgent command goes first for a moment, until the other one is
/// back, changes nothing.
#[test]
fn a_key_that_retries_comes_back_at_the_present_time() {
    let lane = LaneRules {
        configured_max: 2,
        key_max: Some(1),
        key_weights: vec![(2, 2)],
        ..LaneRules::default()
    };
    let retried = CommandRules {
        retry: Some(RetryRules {
            retries: 1,
            ..RetryRules::NONE
        }),
        ..of_key(2, 0)
    };
    let ops = |last: Option<Op>| {
        let first = [
            Op::Open,
            submit(0, of_key(0, 0)),
            submit(0, of_key(0, 0)),
            submit(0, of_key(1, 0)),
            submit(0, of_key(1, 0)),
            submit(0, retried.clone()),
        ];
        let runs = [
            Op::Next(1),
            complete(),
            Op::Next(1),
            complete(),
            // The heavy one, which keeps its slot, and the first one again.
            Op::Next(2),
            Op::Conclude {
                pick: 1,
                count: 1,
                ending: Ending::Failed,
                random: 0,
                release: true,
            },
            Op::Next(1),
        ];
        first
            .into_iter()
            .chain(last)
            .chain(runs)
            .collect::<Vec<_>>()
    };
    for last in [Some(submit(0, of_key(2, 1))), None] {
        let world = agree(std::slice::from_ref(&lane), &[], &ops(last));
        assert_eq!(last_started(&world), Some(4));
    }
}

/// Whatever its priority.
#[test]
fn a_delayed_key_comes_at_the_present_time() {
    for priority in [-1, 0, 1] {
        let delayed = CommandRules {
            delay_ns: Some(10),
            ..of_key(2, priority)
        };
        let ops = [
            Op::Open,
            submit(0, of_key(0, priority)),
            submit(0, of_key(0, priority)),
            submit(0, of_key(1, priority)),
            submit(0, of_key(1, priority)),
            Op::Next(1),
            complete(),
            Op::Next(1),
            complete(),
            submit(0, delayed),
            Op::Next(1),
            complete(),
            Op::Advance(Jump::Ns(10)),
            Op::Tick,
            Op::Next(1),
        ];
        let world = agree(&[LaneRules::default()], &[], &ops);
        assert_eq!(last_started(&world), Some(4));
    }
}

/// Commands of one key wait all the time. Those of the other come one at a time, so that it has none between its starts.
#[test]
fn a_key_that_leaves_between_its_starts_does_not_go_first_again() {
    for (waits, comes_and_goes) in [(Some(0), Some(1)), (Some(0), None), (None, Some(1))] {
        let submit = |key| {
            let rules = CommandRules {
                key,
                ..CommandRules::default()
            };
            submit(0, rules)
        };
        let first = [
            Op::Open,
            submit(Some(2)),
            Op::Next(1),
            submit(waits),
            submit(waits),
            submit(waits),
            complete(),
        ];
        let turns = [
            [Op::Next(1), complete(), submit(comes_and_goes)],
            [Op::Next(1), complete(), submit(comes_and_goes)],
        ];
        let last = [Op::Next(1)];
        let ops = first.into_iter().chain(turns.into_iter().flatten());
        let ops: Vec<_> = ops.chain(last).collect();
        let world = agree(&[LaneRules::default()], &[], &ops);
        assert_eq!(last_started(&world), Some(3), "{waits:?} starves");
    }
}

/// The key has had its turn for the run that was stopped. The other one has twice its weight.
#[test]
fn the_next_run_of_a_preempted_command_costs_no_turn() {
    let keyed = LaneRules {
        priority: 1,
        preemptible: true,
        key_weights: vec![(1, 2)],
        ..LaneRules::default()
    };
    let submit_to = |lane, key| {
        let rules = CommandRules {
            key,
            ..CommandRules::default()
        };
        submit(lane, rules)
    };
    let first = [
        Op::Open,
        Op::SetTotal(Some(1)),
        submit_to(0, Some(0)),
        submit_to(0, Some(0)),
        submit_to(0, Some(1)),
        submit_to(0, Some(1)),
        submit_to(0, Some(1)),
        submit_to(0, Some(1)),
        Op::Settle,
        // It is asked to stop, gives up, and the urgent one runs.
        submit_to(1, None),
        Op::Settle,
        super::fail(true),
        Op::Settle,
        complete(),
    ];
    let mut world = agree(&[keyed, LaneRules::default()], &[], &first);
    assert_eq!(world.tally.preempted, 1);
    let mut order = Vec::new();
    for _ in 0..6 {
        world.apply(&Op::Settle).expect("agreement");
        order.extend(last_started(&world));
        world.apply(&complete()).expect("agreement");
    }
    // Two turns of the heavy key, the stopped command, one turn, and the next one of the light key.
    assert_eq!(order, [3, 4, 1, 5, 2, 6]);
}

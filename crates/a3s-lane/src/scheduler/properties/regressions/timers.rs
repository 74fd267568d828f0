//! Delays, times to live, time limits, grace.

use super::{agree, fail, submit};
use crate::scheduler::properties::operation::{Jump, Op};
use crate::scheduler::properties::rules::{CommandRules, LaneRules, RetryRules};
use crate::scheduler::{Obstacle, StopReason};

#[test]
fn a_command_expires_in_time_while_it_is_delayed() {
    let rules = CommandRules {
        delay_ns: Some(50),
        ttl_ns: Some(40),
        ..CommandRules::default()
    };
    let until_it_expires = Op::Advance(Jump::Ns(40));
    let ops = [submit(0, rules), until_it_expires, Op::Tick];
    let world = agree(&[LaneRules::default()], &[], &ops);
    assert_eq!(world.left, [1]);
}

#[test]
fn a_delayed_command_is_explained_by_its_delay_also_when_it_expires_before() {
    let rules = CommandRules {
        delay_ns: Some(50),
        ttl_ns: Some(40),
        ..CommandRules::default()
    };
    let world = agree(&[LaneRules::default()], &[], &[Op::Open, submit(0, rules)]);
    let keys: Vec<_> = world
        .scheduler
        .commands()
        .map(|command| command.key)
        .collect();
    let explained = world.scheduler.explain(&keys, world.now);
    assert_eq!(explained[0].obstacles, [Obstacle::Delayed(world.now + 50)]);
}

#[test]
fn a_retry_is_explained_by_its_own_delay() {
    let lane = LaneRules {
        retry: RetryRules {
            retries: 1,
            first_delay_ns: 20,
            max_delay_ns: 20,
            doubling: false,
        },
        ..LaneRules::default()
    };
    let rules = CommandRules {
        delay_ns: Some(50),
        ..CommandRules::default()
    };
    let ops = [
        Op::Open,
        submit(0, rules),
        Op::Advance(Jump::Ns(50)),
        Op::Tick,
        Op::Next(1),
        fail(true),
    ];
    let world = agree(&[lane], &[], &ops);
    let keys: Vec<_> = world
        .scheduler
        .commands()
        .map(|command| command.key)
        .collect();
    let explained = world.scheduler.explain(&keys, world.now);
    assert_eq!(explained[0].obstacles, [Obstacle::Delayed(world.now + 20)]);
}

#[test]
fn a_retry_has_the_progress_limit_of_the_lane_as_it_is_then() {
    let lane = |progress_ns| LaneRules {
        progress_ns: Some(progress_ns),
        retry: RetryRules {
            retries: 1,
            ..RetryRules::NONE
        },
        ..LaneRules::default()
    };
    let ops = [
        Op::Open,
        submit(0, CommandRules::default()),
        Op::Next(1),
        Op::SetPolicy {
            lane: 0,
            rules: lane(30),
        },
        fail(true),
        Op::Next(1),
        Op::Advance(Jump::Ns(10)),
        Op::Tick,
    ];
    let world = agree(&[lane(10)], &[], &ops);
    assert_eq!(world.scheduler.next_wake(), Some(world.now + 20));
}

#[test]
fn a_grace_does_not_outlast_the_time_limit() {
    for progress_ns in [None, Some(1_000)] {
        let lane = LaneRules {
            timeout_ns: Some(50),
            progress_ns,
            grace_ns: 100,
            ..LaneRules::default()
        };
        let ops = [
            Op::Open,
            submit(0, CommandRules::default()),
            Op::Next(1),
            Op::Advance(Jump::Ns(20)),
            Op::StopHolding {
                pick: 0,
                reason: StopReason::Cancel,
                concluded: false,
            },
            Op::Advance(Jump::Ns(30)),
            Op::Tick,
        ];
        let world = agree(&[lane], &[], &ops);
        assert_eq!(world.tally.drops, 1);
    }
}

#[test]
fn a_run_keeps_the_time_limit_that_it_started_with() {
    let lane = |timeout_ns| LaneRules {
        timeout_ns,
        ..LaneRules::default()
    };
    let ops = [
        Op::Open,
        submit(0, CommandRules::default()),
        Op::Next(1),
        Op::Advance(Jump::Ns(5)),
        Op::SetPolicy {
            lane: 0,
            rules: lane(Some(10)),
        },
    ];
    for limit in [None, Some(50)] {
        let world = agree(&[lane(limit)], &[], &ops);
        let running = world.scheduler.running_attempt(world.key(1), 1);
        assert_eq!(running.map(|running| running.timeout_ns), Some(limit));
    }
}

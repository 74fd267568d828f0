//! Limits on starts per time.

use super::{agree, submit};
use crate::scheduler::Ending;
use crate::scheduler::properties::operation::{Jump, Op};
use crate::scheduler::properties::rules::{
    Boost, CommandRules, LaneRules, LimiterRules, MeterRules,
};

/// The front of the lane changes when the other command becomes overdue: long before the limit grants the first one.
#[test]
fn a_refused_lane_is_asked_when_another_command_becomes_overdue() {
    let lane = LaneRules {
        boost: Some(Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        limiters: vec![0],
        ..LaneRules::default()
    };
    let limiter = LimiterRules {
        meter: MeterRules::Window {
            max: 5,
            window_ns: 10_000,
        },
        counts_cost: true,
        urgent: 0,
        kept: 0,
    };
    let command = |cost, priority, key| CommandRules {
        cost,
        priority,
        key,
        ..CommandRules::default()
    };
    let ops = [
        Op::Open,
        submit(0, command(3, 0, None)),
        Op::Settle,
        Op::Conclude {
            pick: 0,
            count: 1,
            ending: Ending::Completed,
            random: 0,
            release: true,
        },
        Op::PauseKey {
            key: 1,
            paused: true,
        },
        submit(0, command(1, 1, Some(1))),
        Op::Advance(Jump::Ns(50)),
        submit(0, command(5, 0, None)),
        Op::Settle,
        Op::PauseKey {
            key: 1,
            paused: false,
        },
    ];
    let mut world = agree(&[lane], &[limiter], &ops);
    assert_eq!(world.scheduler.next_wake(), Some(world.now + 50));
    for op in [Op::Advance(Jump::Wake(0)), Op::Settle] {
        world.apply(&op).expect("agreement");
    }
    assert_eq!(world.scheduler.shares, 1);
}

fn window_of_three() -> (LaneRules, LimiterRules) {
    let lane = LaneRules {
        configured_max: 2,
        limiters: vec![0],
        ..LaneRules::default()
    };
    let limiter = LimiterRules {
        meter: MeterRules::Window {
            max: 3,
            window_ns: 100,
        },
        counts_cost: true,
        urgent: 0,
        kept: 0,
    };
    (lane, limiter)
}

/// Whoever asks for a start at the time when the limits grant gets it, with or without a tick before.
#[test]
fn a_refused_lane_is_asked_again_in_time() {
    let (lane, limiter) = window_of_three();
    let cost = |cost| CommandRules {
        cost,
        ..CommandRules::default()
    };
    let ops = [
        Op::Open,
        submit(0, cost(3)),
        submit(0, cost(2)),
        Op::Next(2),
        Op::Advance(Jump::Ns(100)),
        Op::Next(1),
    ];
    let world = agree(&[lane], &[limiter], &ops);
    assert_eq!(world.scheduler.shares, 2);
}

/// A debt makes nothing possible.
#[test]
fn a_higher_cost_wakes_nobody() {
    let (lane, limiter) = window_of_three();
    let cost = |cost| CommandRules {
        cost,
        ..CommandRules::default()
    };
    let ops = [
        Op::Open,
        submit(0, cost(3)),
        submit(0, cost(2)),
        Op::Next(2),
        Op::SettleCost { pick: 0, actual: 5 },
    ];
    let mut world = agree(&[lane], &[limiter], &ops);
    assert_eq!(world.scheduler.startable(), 0);
    let refund = Op::SettleCost { pick: 0, actual: 1 };
    world.apply(&refund).expect("agreement");
    assert_eq!(world.scheduler.startable(), 1);
}

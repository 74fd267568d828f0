//! The order between lanes, the total limit, age.

use super::{agree, fail, submit};
use crate::scheduler::Obstacle;
use crate::scheduler::properties::operation::{Jump, Op};
use crate::scheduler::properties::rules::{Boost, CommandRules, LaneRules, RetryRules};
use crate::scheduler::properties::world::lane_key;

/// What is kept for a lane does not keep it waiting.
#[test]
fn only_what_is_kept_for_other_lanes_is_an_obstacle() {
    let lane = |configured_min| LaneRules {
        configured_min,
        configured_max: 2,
        ..LaneRules::default()
    };
    let ops = [
        Op::Open,
        Op::SetTotal(Some(5)),
        submit(0, CommandRules::default()),
        submit(0, CommandRules::default()),
        Op::Settle,
        Op::SetTotal(Some(3)),
        submit(1, CommandRules::default()),
    ];
    let world = agree(&[lane(0), lane(1), lane(2)], &[], &ops);
    let explained = world.scheduler.explain(&[world.key(3)], world.now);
    assert_eq!(explained[0].obstacles, [Obstacle::Reserved(2)]);
}

/// A command that asked to wait has not waited for others meanwhile. A retry has waited since its first time.
#[test]
#[cfg(feature = "distributed")]
fn a_delay_is_not_a_wait() {
    let lane = LaneRules {
        priority: 9,
        boost: Some(Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        retry: RetryRules {
            retries: 1,
            first_delay_ns: 30,
            max_delay_ns: 30,
            doubling: false,
        },
        ..LaneRules::default()
    };
    let rules = CommandRules {
        delay_ns: Some(200),
        ..CommandRules::default()
    };
    let ops = [submit(0, rules), Op::Advance(Jump::Ns(200)), Op::Tick];
    let mut world = agree(&[lane], &[], &ops);
    let key = lane_key(0);
    assert_eq!(world.scheduler.lane(key).effective_priority(world.now), 9);
    for op in [
        Op::Open,
        Op::Advance(Jump::Ns(80)),
        Op::Next(1),
        fail(true),
        Op::Advance(Jump::Ns(30)),
        Op::Tick,
    ] {
        world.apply(&op).expect("agreement");
    }
    assert_eq!(world.scheduler.lane(key).effective_priority(world.now), 0);
}

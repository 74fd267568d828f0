//! Who is stopped for whom.

use super::{agree, submit};
use crate::scheduler::properties::operation::{Jump, Op};
use crate::scheduler::properties::rules::{Boost, CommandRules, LaneRules};
use crate::scheduler::{Ending, StopReason};

#[test]
#[cfg(feature = "distributed")]
fn a_closed_queue_does_not_wake_up_for_a_boost() {
    let lane = LaneRules {
        preemptible: true,
        boost: Some(Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        ..LaneRules::default()
    };
    let ops = [
        Op::SetTotal(Some(1)),
        submit(0, CommandRules::default()),
        Op::Settle,
    ];
    let mut world = agree(&[lane], &[], &ops);
    assert_eq!(world.scheduler.next_wake(), None);
    world.apply(&Op::Open).expect("agreement");
    assert_eq!(world.scheduler.next_wake(), Some(world.now + 100));
}

/// The boost is the oldest command's: those behind it are no more urgent than what runs.
#[test]
#[cfg(feature = "distributed")]
fn a_boosted_lane_takes_one_slot_at_a_time() {
    let running = LaneRules {
        priority: 1,
        configured_max: 2,
        preemptible: true,
        grace_ns: 10,
        ..LaneRules::default()
    };
    let boosted = LaneRules {
        boost: Some(Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        preemptible: false,
        ..running.clone()
    };
    let ops = [
        Op::Open,
        Op::SetTotal(Some(2)),
        submit(0, CommandRules::default()),
        submit(0, CommandRules::default()),
        Op::Settle,
        submit(1, CommandRules::default()),
        submit(1, CommandRules::default()),
        Op::Advance(Jump::Ns(100)),
        Op::Settle,
    ];
    let world = agree(&[running, boosted], &[], &ops);
    assert_eq!(world.tally.preempted, 1);
}

/// A body that is stopped goes back to its lane with the age it has by then: here as urgent as can be.
#[test]
#[cfg(feature = "distributed")]
fn nobody_is_stopped_who_would_go_first_again() {
    let old = LaneRules {
        priority: 5,
        preemptible: true,
        boost: Some(Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        ..LaneRules::default()
    };
    let urgent = LaneRules {
        priority: 1,
        ..LaneRules::default()
    };
    for (waits, grace_ns, expected) in [(200, 0, 0), (50, 60, 0), (50, 0, 1)] {
        let old = LaneRules {
            grace_ns,
            ..old.clone()
        };
        let ops = [
            Op::Open,
            Op::SetTotal(Some(1)),
            submit(0, CommandRules::default()),
            Op::Settle,
            Op::Advance(Jump::Ns(waits)),
            submit(1, CommandRules::default()),
            Op::Settle,
        ];
        let world = agree(&[old, urgent.clone()], &[], &ops);
        assert_eq!(
            world.tally.preempted, expected,
            "{waits} ns old, {grace_ns} ns of grace"
        );
    }
}

/// The least urgent lane has become the most urgent one: it gives nothing, and another lane gives to it.
#[test]
#[cfg(feature = "distributed")]
fn a_boosted_lane_is_given_a_slot_although_its_own_priority_is_the_least_urgent() {
    let boosted = LaneRules {
        priority: 9,
        configured_max: 2,
        preemptible: true,
        boost: Some(Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        ..LaneRules::default()
    };
    let giver = LaneRules {
        priority: 5,
        preemptible: true,
        ..LaneRules::default()
    };
    let ops = [
        Op::Open,
        Op::SetTotal(Some(2)),
        submit(1, CommandRules::default()),
        submit(0, CommandRules::default()),
        submit(0, CommandRules::default()),
        Op::Settle,
        Op::Advance(Jump::Ns(100)),
        Op::Settle,
    ];
    let world = agree(&[boosted, giver], &[], &ops);
    let asked = world.model.commands.iter().find(|one| one.stop.is_some());
    assert_eq!(asked.map(|one| one.serial), Some(1));
}

/// What a lane has no more than its minimum of is kept for it again: its end leaves nothing to others.
#[test]
fn the_end_of_a_command_that_a_minimum_covers_does_not_put_a_preemption_off() {
    let kept = LaneRules {
        configured_min: 1,
        grace_ns: 10,
        ..LaneRules::default()
    };
    let gives = LaneRules {
        priority: 9,
        preemptible: true,
        ..LaneRules::default()
    };
    let ops = [
        Op::Open,
        Op::SetTotal(Some(2)),
        submit(0, CommandRules::default()),
        submit(1, CommandRules::default()),
        Op::Settle,
        Op::StopHolding {
            pick: 0,
            reason: StopReason::Cancel,
            concluded: false,
        },
        submit(2, CommandRules::default()),
        Op::Settle,
    ];
    let world = agree(&[kept, gives, LaneRules::default()], &[], &ops);
    assert_eq!(world.tally.preempted, 1);
}

/// A lane that an old command makes urgent would take the slot again with the one that was stopped, for ever.
#[test]
#[cfg(feature = "distributed")]
fn a_lane_that_would_go_first_again_is_not_preempted() {
    let boosted = LaneRules {
        priority: 3,
        preemptible: true,
        boost: Some(Boost {
            deadline_ns: 100,
            steps: vec![(50, 2)],
        }),
        ..LaneRules::default()
    };
    let waiting = LaneRules {
        priority: 2,
        ..LaneRules::default()
    };
    let of_priority = |priority| CommandRules {
        priority,
        ..CommandRules::default()
    };
    let ops = [
        Op::SetTotal(Some(1)),
        submit(0, of_priority(1)),
        Op::Advance(Jump::Ns(60)),
        submit(0, of_priority(0)),
        Op::Open,
        Op::Settle,
        submit(1, of_priority(0)),
        Op::Settle,
    ];
    let mut world = agree(&[boosted.clone(), waiting.clone()], &[], &ops);
    assert_eq!((world.tally.starts, world.tally.preempted), (1, 0));

    // One that is more urgent all the same gets the slot.
    let urgent = LaneRules {
        priority: 0,
        ..waiting
    };
    world = agree(&[boosted, urgent], &[], &ops);
    assert_eq!((world.tally.starts, world.tally.preempted), (1, 1));
}

/// Of commands that started at the same time the last one is stopped, whatever places they have in memory.
#[test]
#[cfg(feature = "distributed")]
fn of_equals_the_last_started_is_stopped() {
    let boosted = LaneRules {
        priority: 3,
        configured_max: 4,
        preemptible: true,
        boost: Some(Boost {
            deadline_ns: 100,
            steps: vec![(100, 1)],
        }),
        ..LaneRules::default()
    };
    let ops = [
        Op::Open,
        Op::SetTotal(Some(2)),
        submit(0, CommandRules::default()),
        submit(0, CommandRules::default()),
        // The first one runs and leaves its place to the third.
        Op::Next(1),
        Op::Conclude {
            pick: 0,
            count: 1,
            ending: Ending::Completed,
            random: 0,
            release: true,
        },
        Op::Next(1),
        submit(0, CommandRules::default()),
        Op::Next(1),
        submit(1, CommandRules::default()),
        Op::Settle,
    ];
    let world = agree(&[boosted, LaneRules::default()], &[], &ops);
    let asked = world.model.commands.iter().find(|one| one.stop.is_some());
    assert_eq!(asked.map(|one| one.serial), Some(3));
}

/// Whoever asks need not have called `tick` before.
#[test]
fn nobody_is_stopped_for_one_who_has_expired() {
    let lane = |preemptible| LaneRules {
        priority: 1,
        preemptible,
        grace_ns: 10,
        ..LaneRules::default()
    };
    let expires = CommandRules {
        ttl_ns: Some(10),
        ..CommandRules::default()
    };
    let ops = [
        Op::Open,
        Op::SetTotal(Some(1)),
        submit(0, CommandRules::default()),
        Op::Next(1),
        submit(1, expires),
        Op::Advance(Jump::Ns(11)),
        Op::SetPolicy {
            lane: 0,
            rules: lane(true),
        },
        Op::Next(1),
        Op::Preempt(1),
    ];
    let world = agree(&[lane(false), LaneRules::default()], &[], &ops);
    assert_eq!(world.tally.preempted, 0);
}

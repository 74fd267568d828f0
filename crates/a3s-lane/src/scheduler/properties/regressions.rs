//! Counterexamples that were found, each with a name.

use super::operation::{Jump, Op};
use super::rules::{Boost, CommandRules, LaneRules, LimiterRules, MeterRules, Setup};
use super::world::{Mode, World, run};
use crate::scheduler::{Ending, Obstacle, StopReason};

fn agree(lanes: &[LaneRules], limiters: &[LimiterRules], ops: &[Op]) -> World {
    let setup = Setup {
        lanes: lanes.to_vec(),
        limiters: limiters.to_vec(),
        total: None,
    };
    run(Mode::Agree, setup, ops, |_| Ok(())).expect("the scheduler answers as the model does")
}

fn submit(lane: u8, rules: CommandRules) -> Op {
    Op::Submit {
        lane,
        count: 1,
        rules,
        backwards: false,
    }
}

fn fail(release: bool) -> Op {
    Op::Conclude {
        pick: 0,
        count: 1,
        ending: Ending::Failed,
        random: 0,
        release,
    }
}

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
fn a_retry_has_the_progress_limit_of_the_lane_as_it_is_then() {
    let lane = |progress_ns| LaneRules {
        progress_ns: Some(progress_ns),
        retry: super::rules::RetryRules {
            retries: 1,
            ..super::rules::RetryRules::NONE
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

/// The front of the lane changes when the other command becomes overdue: long before the limit grants the first one.
#[test]
#[cfg(feature = "distributed")]
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
    assert_eq!(world.scheduler.active(), 1);
}

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

#[cfg(feature = "distributed")]
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
#[cfg(feature = "distributed")]
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
    assert_eq!(world.scheduler.active(), 2);
}

/// A debt makes nothing possible.
#[test]
#[cfg(feature = "distributed")]
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
    let explained = world.scheduler.explain(world.key(3), world.now);
    let obstacles = explained.map(|explained| explained.obstacles);
    assert_eq!(obstacles, Some(vec![Obstacle::Reserved(2)]));
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
        retry: super::rules::RetryRules {
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
    let key = super::world::lane_key(0);
    assert_eq!(world.scheduler.effective_priority(key, world.now), 9);
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
    assert_eq!(world.scheduler.effective_priority(key, world.now), 0);
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
        retry: Some(super::rules::RetryRules {
            retries: 1,
            ..super::rules::RetryRules::NONE
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

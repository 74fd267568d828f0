//! Counterexamples that were found, each with a name, by the rule that they are about.

mod keys;
#[cfg(feature = "distributed")]
mod limits;
mod order;
mod preemption;
mod timers;

use super::operation::Op;
use super::rules::{CommandRules, LaneRules, LimiterRules, Setup};
use super::world::{Mode, World, run};
use crate::scheduler::{Ending, Scheduler};

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
#[cfg(debug_assertions)]
#[should_panic(expected = "the lane is there")]
fn a_removed_lane_gets_no_policy() {
    let mut scheduler: Scheduler<()> = Scheduler::new(false);
    let lane = scheduler.add_lane(LaneRules::default().policy(0));
    assert!(scheduler.remove_lane(lane));
    scheduler.set_policy(lane, LaneRules::default().policy(0), 0);
}

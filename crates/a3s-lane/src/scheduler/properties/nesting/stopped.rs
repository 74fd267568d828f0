//! Families and runs that were stopped or have ended: counterexamples that were found.

use super::super::rules::{CommandRules, LaneRules, RetryRules};
use super::family::Family;
use super::operation::Setup;
use crate::scheduler::Ending;

/// What the handle of an earlier run says is about that run.
#[test]
fn an_earlier_run_does_not_end_the_wait_of_this_one() {
    let lane = LaneRules {
        retry: RetryRules {
            retries: 1,
            ..RetryRules::NONE
        },
        ..LaneRules::default()
    };
    let setup = Setup {
        lanes: vec![lane],
        total: None,
    };
    let mut family = Family::new(setup, false);
    let parent = family.submits(0);
    family.starts();
    let less_urgent = CommandRules {
        priority: 1,
        ..CommandRules::default()
    };
    let child = family.submit(0, Some(parent), &less_urgent);
    let child = child.expect("there is room");
    family.ends_with(parent, Ending::Failed);
    assert_eq!(family.starts(), Some(parent));
    family.wait(parent, child);
    let [above, below] = [parent, child].map(|serial| family.members[&serial].key);
    family.scheduler.leave_child(above, 1, below, family.now);
    assert_eq!(family.starts(), Some(child));
}

//! Families and runs that were stopped or have ended: counterexamples that were found.

#[cfg(feature = "distributed")]
use super::super::rules::Boost;
use super::super::rules::{CommandRules, LaneRules, RetryRules};
use super::family::{Family, Member};
use super::operation::Setup;
use crate::scheduler::Ending;

/// Lane 0 is preemptible, the others are more urgent; all have these slots and, of a key, at most so many.
fn preemptible(total: usize, configured_max: usize, key_max: Option<usize>) -> Family {
    let lane = |priority, preemptible| LaneRules {
        priority,
        preemptible,
        configured_max,
        key_max,
        ..LaneRules::default()
    };
    let lanes = vec![lane(2, true), lane(1, false), lane(0, false)];
    let total = Some(total);
    Family::new(Setup { lanes, total }, false)
}

impl Family {
    fn of_key(&mut self, lane: usize, parent: Option<u64>, key: u8) -> u64 {
        let rules = CommandRules {
            key: Some(key),
            ..CommandRules::default()
        };
        self.submit(lane, parent, &rules).expect("there is room")
    }

    /// Whether it was submitted by `top`, or below it by commands that are not gone.
    pub(super) fn is_known_below(&self, member: &Member, top: u64) -> bool {
        let parent = |serial: &u64| self.members.get(serial)?.parent;
        std::iter::successors(member.parent, parent).any(|above| above == top)
    }

    fn preempts(&mut self) -> Option<u64> {
        let asked = self.scheduler.preempt(self.now);
        asked.map(|(key, _)| key.serial())
    }
}

/// Its first run was in a slot for which the key of its parent had its turn.
#[test]
fn who_inherits_a_slot_and_is_preempted_has_had_a_turn_of_its_key() {
    let mut family = preemptible(1, 1, None);
    let parent = family.of_key(0, None, 0);
    assert_eq!(family.starts(), Some(parent));
    let child = family.of_key(0, Some(parent), 1);
    family.wait(parent, child);
    assert_eq!(family.starts(), Some(child));
    family.ends(parent);
    let urgent = family.submits(1);
    assert_eq!(family.starts(), None);
    assert_eq!(family.preempts(), Some(child));
    family.ends_with(child, Ending::Failed);
    assert_eq!(family.starts(), Some(urgent));
    let own = family.of_key(0, None, 1);
    let others = [2, 2].map(|key| family.of_key(0, None, key));
    family.ends(urgent);
    for expected in [others[0], child, others[1], own] {
        assert_eq!(family.starts(), Some(expected));
        family.ends(expected);
    }
}

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

/// Else a body that submits urgent work and goes on would be stopped for it in every run.
#[test]
fn nobody_is_stopped_for_a_child_of_its_own() {
    for keys in [None, Some(1)] {
        let mut family = preemptible(1, 2, keys);
        let parent = family.submits(0);
        family.starts();
        let child = match keys {
            None => family.spawns(parent, 1),
            Some(_) => family.of_key(1, Some(parent), 0),
        };
        assert_eq!(family.starts(), None);
        assert_eq!(family.preempts(), None);
        // Nor for the next one, but for a command of somebody else.
        family.spawns(parent, 1);
        assert_eq!(family.preempts(), None);
        family.submits(1);
        assert_eq!(family.preempts(), Some(parent));
        family.ends_with(parent, Ending::Failed);
        assert_eq!(family.starts(), Some(child));
    }
}

/// That is there for no other reason, and comes again with each run.
#[test]
fn nobody_is_stopped_for_a_grandchild() {
    for keys in [None, Some(1)] {
        let mut family = preemptible(2, 2, keys);
        let parent = family.submits(0);
        family.starts();
        let child = family.spawns(parent, 1);
        assert_eq!(family.starts(), Some(child));
        match keys {
            None => family.spawns(child, 2),
            Some(_) => family.of_key(2, Some(child), 0),
        };
        assert_eq!(family.starts(), None);
        assert_eq!(family.preempts(), None);
        family.submits(2);
        assert_eq!(family.preempts(), Some(parent));
    }
}

/// The most urgent command of its lane is the grandchild; those behind it are less urgent.
#[test]
#[cfg(feature = "distributed")]
fn nobody_is_stopped_for_a_grandchild_that_is_boosted() {
    let boosted = LaneRules {
        priority: 3,
        boost: Some(Boost {
            deadline_ns: 10,
            steps: Vec::new(),
        }),
        ..LaneRules::default()
    };
    let batch = LaneRules {
        priority: 2,
        preemptible: true,
        ..LaneRules::default()
    };
    let lanes = vec![batch, LaneRules::default(), boosted];
    let mut family = Family::new(
        Setup {
            lanes,
            total: Some(2),
        },
        false,
    );
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns(parent, 1);
    assert_eq!(family.starts(), Some(child));
    family.spawns(child, 2);
    family.now += 10;
    assert_eq!(family.preempts(), None);
}

#[test]
fn another_one_is_stopped_for_a_child() {
    let mut family = preemptible(2, 2, None);
    let other = family.submits(0);
    let parent = family.submits(0);
    family.starts();
    family.starts();
    family.spawns(parent, 1);
    assert_eq!(family.preempts(), Some(other));
    assert_eq!(family.preempts(), None);
}

/// A command that its key keeps waiting could not use the share.
#[test]
fn nobody_is_stopped_for_a_child_beside_one_that_cannot_start() {
    let mut family = preemptible(2, 3, Some(1));
    let busy = family.of_key(1, None, 1);
    assert_eq!(family.starts(), Some(busy));
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    family.of_key(1, None, 1);
    family.of_key(1, Some(parent), 0);
    assert_eq!(family.preempts(), None);
    family.of_key(1, None, 2);
    assert_eq!(family.preempts(), Some(parent));
}

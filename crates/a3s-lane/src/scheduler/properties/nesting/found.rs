//! Counterexamples that were found, each with a name.

use super::super::rules::{CommandRules, LaneRules, RetryRules};
use super::family::Family;
use super::operation::{Op, Setup};
use crate::scheduler::collections::TAKEN;
use crate::scheduler::{Ending, Obstacle, Scheduler, Start, StopReason, Terms};

/// Lanes of one slot.
pub(super) fn family<const LANES: usize>(total: Option<usize>) -> Family {
    let lanes = vec![LaneRules::default(); LANES];
    Family::new(Setup { lanes, total }, false)
}

impl Family {
    pub(super) fn submits(&mut self, lane: usize) -> u64 {
        let rules = CommandRules::default();
        self.submit(lane, None, &rules).expect("there is room")
    }

    pub(super) fn spawns(&mut self, parent: u64, lane: usize) -> u64 {
        let rules = CommandRules::default();
        self.submit(lane, Some(parent), &rules)
            .expect("there is room")
    }

    pub(super) fn spawns_awaited(&mut self, parent: u64, lane: usize) -> u64 {
        let child = self.spawns(parent, lane);
        self.wait(parent, child);
        child
    }

    pub(super) fn starts(&mut self) -> Option<u64> {
        self.next().expect("the promises hold")
    }

    pub(super) fn ends(&mut self, serial: u64) {
        self.ends_with(serial, Ending::Completed);
    }

    pub(super) fn ends_with(&mut self, serial: u64, ending: Ending) {
        self.conclude(serial, ending).expect("it runs");
        self.release(serial).expect("it is concluded");
    }
}

#[test]
fn a_body_that_has_waited_can_be_preempted_again() {
    let low = LaneRules {
        priority: 1,
        preemptible: true,
        ..LaneRules::default()
    };
    let mut family = Family::new(
        Setup {
            lanes: vec![low, LaneRules::default()],
            total: Some(1),
        },
        false,
    );
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    let child = family.spawns_awaited(parent, 0);
    assert_eq!(family.starts(), Some(child));
    family.ends(child);
    family.submits(1);
    assert_eq!(family.starts(), None);
    let asked = family.scheduler.preempt(family.now);
    assert_eq!(asked.map(|(key, _)| key.serial()), Some(parent));
}

#[test]
fn a_sibling_is_lent_the_slot_when_the_first_child_is_left() {
    let mut family = family::<1>(None);
    let parent = family.submits(0);
    family.starts();
    let first = family.spawns_awaited(parent, 0);
    let second = family.spawns_awaited(parent, 0);
    family.leave(parent, first);
    assert_eq!(family.starts(), Some(second));
    assert_eq!(family.starts(), None);
}

#[test]
fn a_wait_ends_for_the_one_who_waits_only() {
    let mut family = family::<2>(None);
    let parent = family.submits(0);
    let other = family.submits(1);
    family.starts();
    family.starts();
    let child = family.spawns_awaited(parent, 0);
    family.leave(other, child);
    assert_eq!(family.starts(), Some(child));
}

#[test]
fn a_grandchild_does_not_start_in_the_slot_of_a_body_that_moves() {
    let mut family = family::<2>(None);
    let grandparent = family.submits(0);
    family.starts();
    let parent = family.spawns_awaited(grandparent, 1);
    assert_eq!(family.starts(), Some(parent));
    family.spawns_awaited(parent, 0);
    family.leave(grandparent, parent);
    assert_eq!(family.starts(), None);
}

#[test]
fn a_slot_comes_back_past_a_parent_that_is_gone() {
    let mut family = family::<2>(None);
    let grandparent = family.submits(0);
    family.starts();
    let parent = family.spawns_awaited(grandparent, 1);
    family.starts();
    let grandchild = family.spawns_awaited(parent, 0);
    assert_eq!(family.starts(), Some(grandchild));
    family.abandon(parent).expect("it runs");
    let second = family.spawns_awaited(grandparent, 0);
    assert_eq!(family.starts(), None);
    family.ends(grandchild);
    assert_eq!(family.starts(), Some(second));
}

#[test]
fn a_slot_comes_back_although_the_grandparent_is_gone() {
    let mut family = family::<2>(None);
    let grandparent = family.submits(0);
    family.starts();
    let parent = family.spawns_awaited(grandparent, 1);
    family.starts();
    let first = family.spawns_awaited(parent, 1);
    let second = family.spawns_awaited(parent, 1);
    family.abandon(grandparent).expect("it runs");
    assert_eq!(family.starts(), Some(first));
    assert_eq!(family.starts(), None);
    family.ends(first);
    assert_eq!(family.starts(), Some(second));
}

#[test]
fn a_child_still_has_its_parents_share_when_the_lender_of_its_slot_ends() {
    let mut family = family::<2>(Some(1));
    let grandparent = family.submits(0);
    family.starts();
    let parent = family.spawns_awaited(grandparent, 1);
    assert_eq!(family.starts(), Some(parent));
    let grandchild = family.spawns_awaited(parent, 0);
    family.abandon(grandparent).expect("it runs");
    assert_eq!(family.starts(), Some(grandchild));
}

#[test]
fn a_child_that_waits_for_a_slot_is_lent_the_one_that_comes_back() {
    let mut family = family::<2>(Some(2));
    let grandparent = family.submits(0);
    family.starts();
    let parent = family.spawns(grandparent, 1);
    assert_eq!(family.starts(), Some(parent));
    family.wait(grandparent, parent);
    let grandchild = family.spawns_awaited(parent, 0);
    assert_eq!(family.starts(), Some(grandchild));
    let second = family.spawns_awaited(grandparent, 0);
    assert_eq!(family.starts(), None);
    family.ends(grandchild);
    assert_eq!(family.starts(), Some(second));
}

#[test]
fn a_total_that_is_set_during_a_wait_does_not_stop_the_child() {
    let mut family = family::<2>(None);
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns_awaited(parent, 1);
    family
        .apply(&Op::SetTotal(Some(1)))
        .expect("it is possible");
    assert_eq!(family.starts(), Some(child));
}

#[test]
fn the_first_key_comes_while_a_child_runs_in_a_lent_slot() {
    let mut family = family::<1>(None);
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns_awaited(parent, 0);
    family.starts();
    let keyed = CommandRules {
        key: Some(1),
        ..CommandRules::default()
    };
    let keyed = family.submit(0, None, &keyed);
    family.ends(child);
    family.ends(parent);
    assert_eq!(family.starts(), keyed);
}

/// It runs on its parent's share: what was kept for its lane is still there for others.
#[test]
fn a_child_on_a_lent_share_does_not_use_up_a_minimum() {
    let roomy = LaneRules {
        configured_min: 1,
        configured_max: 2,
        ..LaneRules::default()
    };
    let lanes = vec![LaneRules::default(), roomy, LaneRules::default()];
    let total = Some(2);
    let mut family = Family::new(Setup { lanes, total }, false);
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns_awaited(parent, 1);
    family.submits(2);
    assert_eq!(family.scheduler.startable(), 1);
    assert_eq!(family.starts(), Some(child));
    assert_eq!(family.starts(), None);
    let kept = family.submits(1);
    assert_eq!(family.starts(), Some(kept));
}

#[test]
fn no_more_starts_are_promised_than_minimums_leave() {
    let lane = |configured_min| LaneRules {
        configured_min,
        configured_max: 2,
        ..LaneRules::default()
    };
    let lanes = vec![lane(0), lane(2), lane(2)];
    let mut family = Family::new(Setup { lanes, total: None }, false);
    family.submits(0);
    family.starts();
    let first = family.submits(1);
    family.submits(1);
    family
        .apply(&Op::SetTotal(Some(4)))
        .expect("it is possible");
    assert_eq!(family.scheduler.startable(), 1);
    assert_eq!(family.starts(), Some(first));
    assert_eq!(family.starts(), None);
}

#[test]
fn a_cancelled_parent_leaves_its_slot_to_the_child_that_runs_in_it() {
    let mut family = family::<1>(Some(1));
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns_awaited(parent, 0);
    family.starts();
    let other = family.submits(0);
    family.stop(parent, StopReason::Cancel).expect("it runs");
    family.ends(parent);
    assert_eq!(family.starts(), None);
    family.ends(child);
    assert_eq!(family.starts(), Some(other));
}

#[test]
fn a_slot_is_not_lent_past_an_ancestor_that_is_gone() {
    let mut family = family::<4>(None);
    let first = family.submits(0);
    family.starts();
    let second = family.spawns_awaited(first, 1);
    family.starts();
    let third = family.spawns_awaited(second, 2);
    family.starts();
    family.spawns_awaited(third, 0);
    family.abandon(second).expect("it runs");
    assert_eq!(family.starts(), None);
}

#[test]
fn an_awaited_child_counts_for_its_key_before_it_starts() {
    let keyed_lane = LaneRules {
        configured_max: 2,
        key_max: Some(1),
        ..LaneRules::default()
    };
    let lanes = vec![LaneRules::default(), keyed_lane];
    let total = Some(2);
    let mut family = Family::new(Setup { lanes, total }, false);
    let keyed = CommandRules {
        key: Some(1),
        ..CommandRules::default()
    };
    let parent = family.submits(0);
    family.starts();
    let child = family.submit(1, Some(parent), &keyed);
    family.wait(parent, child.expect("there is room"));
    family.submit(1, None, &keyed);
    assert_eq!(family.scheduler.startable(), 1);
    assert_eq!(family.starts(), child);
    assert_eq!(family.starts(), None);
}

/// It goes back to where it was submitted: before it, nobody; behind it, who came later.
#[test]
fn children_that_nobody_waits_for_any_more_have_their_places_again() {
    let retried = LaneRules {
        retry: RetryRules {
            retries: 1,
            ..RetryRules::NONE
        },
        ..LaneRules::default()
    };
    let lanes = vec![LaneRules::default(), retried];
    let total = Some(2);
    let mut family = Family::new(Setup { lanes, total }, false);
    let parent = family.submits(0);
    family.starts();
    let again = family.submits(1);
    assert_eq!(family.starts(), Some(again));
    let before = family.submits(1);
    let children = [family.spawns(parent, 1), family.spawns(parent, 1)];
    let behind = family.submits(1);
    family.conclude(again, Ending::Failed).expect("it runs");
    family.release(again).expect("it is concluded");
    for child in [1, 0].map(|child| children[child]) {
        family.wait(parent, child);
        family.leave(parent, child);
    }
    for expected in [before, children[0], children[1], behind, again] {
        assert_eq!(family.starts(), Some(expected));
        family.ends(expected);
    }
}

/// Each waits for the next: neither the end of the last nor that of one in the middle may take a stack frame per command.
#[test]
fn a_deep_family_needs_no_deep_stack() {
    const DEPTH: usize = 50_000;
    let lane = |number: usize| [0, 1][number % 2];
    let deep = move || {
        let mut scheduler: Scheduler<()> = Scheduler::new(false);
        scheduler.set_open(true);
        let lanes = [0, 1].map(|_| scheduler.add_lane(LaneRules::default().policy(0)));
        let mut above: Option<Start> = None;
        let mut chain = Vec::new();
        for number in 0..DEPTH {
            let serial = scheduler.draw_serial();
            let terms = Terms {
                parent: above.map(|above| above.key),
                ..Terms::default()
            };
            let terms = Some(Box::new(terms));
            let submitted = scheduler.submit(lanes[lane(number)], serial, (), terms, 0);
            let key = submitted.expect("there is room").key;
            if let Some(above) = above {
                scheduler.await_child(above.key, above.run, key, 0);
            }
            if number < 2 || number + 1 < DEPTH {
                above = scheduler.next(0);
                chain.extend(above);
            }
        }
        for end in [DEPTH - 2, DEPTH / 2, 1] {
            let Start { key, run, .. } = chain[end];
            scheduler.conclude(key, run, Ending::Completed, 0);
            scheduler.release(key, 0);
        }
        chain.len()
    };
    let thread = std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(deep);
    let depth = thread.expect("a thread").join().expect("no overflow");
    assert_eq!(depth, DEPTH - 1);
}

/// A step costs no walk through all of them: else this would not end.
#[test]
fn a_body_may_wait_for_very_many_children() {
    for total in [None, Some(2)] {
        let mut scheduler: Scheduler<()> = Scheduler::new(false);
        scheduler.set_open(true);
        let lanes = [0, 1].map(|_| scheduler.add_lane(LaneRules::default().policy(0)));
        scheduler.set_total(total, 0);
        let submit = |scheduler: &mut Scheduler<()>, lane: usize, parent| {
            let serial = scheduler.draw_serial();
            let terms = Terms {
                parent,
                ..Terms::default()
            };
            let submitted = scheduler.submit(lanes[lane], serial, (), Some(Box::new(terms)), 0);
            submitted.expect("there is room").key
        };
        submit(&mut scheduler, 0, None);
        let parent = scheduler.next(0).expect("there is a slot");
        for number in 0..20_000 {
            let child = submit(&mut scheduler, number % 2, Some(parent.key));
            scheduler.await_child(parent.key, parent.run, child, 0);
        }
        let mut ended = 0;
        while let Some(start) = scheduler.next(0) {
            scheduler.conclude(start.key, start.run, Ending::Completed, 0);
            scheduler.release(start.key, 0);
            ended += 1;
        }
        assert_eq!(ended, 20_000);
    }
}

/// What its parent lends is for the children that can use it.
#[test]
fn a_child_that_cannot_start_does_not_keep_its_sibling_from_it() {
    let pause = |paused| Op::PauseLane { lane: 1, paused };
    for paused_first in [true, false] {
        let mut family = family::<2>(Some(1));
        let parent = family.submits(0);
        family.starts();
        if paused_first {
            family.apply(&pause(true)).expect("it is possible");
        }
        let kept = family.spawns_awaited(parent, 1);
        let child = family.spawns_awaited(parent, 0);
        if !paused_first {
            family.apply(&pause(true)).expect("it is possible");
        }
        assert_eq!(family.starts(), Some(child), "{paused_first}");
        family.ends(child);
        assert_eq!(family.starts(), None);
        family.apply(&pause(false)).expect("it is possible");
        assert_eq!(family.starts(), Some(kept), "{paused_first}");
    }
}

#[test]
fn a_full_lane_does_not_keep_a_sibling_from_its_parents_share() {
    let mut family = family::<3>(Some(3));
    let parents = [family.submits(0), family.submits(2)];
    family.starts();
    family.starts();
    let holds = family.spawns(parents[1], 1);
    assert_eq!(family.starts(), Some(holds));
    family.spawns_awaited(parents[0], 1);
    let child = family.spawns_awaited(parents[0], 0);
    assert_eq!(family.starts(), Some(child));
}

/// Neither the end of one that runs in a lent slot nor that of one whose child runs on its share leaves a slot to others.
#[test]
fn who_stops_and_frees_nothing_does_not_put_a_preemption_off() {
    let nests = LaneRules {
        priority: 5,
        grace_ns: 10,
        ..LaneRules::default()
    };
    let gives = LaneRules {
        priority: 9,
        preemptible: true,
        ..LaneRules::default()
    };
    for stops in [0, 1] {
        let lanes = vec![nests.clone(), gives.clone(), LaneRules::default()];
        let total = Some(2);
        let mut family = Family::new(Setup { lanes, total }, false);
        let parent = family.submits(0);
        family.starts();
        let child = family.spawns_awaited(parent, 0);
        family.starts();
        let gives = family.submits(1);
        family.starts();
        let stopped = [parent, child][stops];
        family.stop(stopped, StopReason::Cancel).expect("it runs");
        family.submits(2);
        assert_eq!(family.starts(), None);
        let asked = family.scheduler.preempt(family.now);
        assert_eq!(asked.map(|(key, _)| key.serial()), Some(gives), "{stops}");
    }
}

/// A parent and the child that runs on its share free it together.
#[test]
fn a_pair_that_is_stopping_frees_one_share() {
    let lane = |priority, preemptible| LaneRules {
        priority,
        preemptible,
        grace_ns: 10,
        ..LaneRules::default()
    };
    let lanes = vec![lane(5, false), lane(9, true), lane(0, false)];
    let total = Some(2);
    let mut family = Family::new(Setup { lanes, total }, false);
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns_awaited(parent, 0);
    family.starts();
    family.submits(1);
    family.starts();
    for stopped in [parent, child] {
        family.stop(stopped, StopReason::Cancel).expect("it runs");
    }
    let urgent = family.submits(2);
    assert_eq!(family.starts(), None);
    assert!(family.scheduler.preempt(family.now).is_none());
    for stopped in [parent, child] {
        family.ends(stopped);
    }
    assert_eq!(family.starts(), Some(urgent));
}

/// Its lane is below its minimum until then: what was kept for it is free.
#[test]
fn a_share_that_passes_to_a_child_frees_what_was_kept_for_it() {
    let lane = |priority, configured_min| LaneRules {
        priority,
        configured_min,
        preemptible: priority == 9,
        grace_ns: 10,
        ..LaneRules::default()
    };
    let lanes = vec![lane(5, 0), lane(9, 0), lane(0, 0), lane(5, 1)];
    let total = Some(3);
    let mut family = Family::new(Setup { lanes, total }, false);
    let parent = family.submits(0);
    family.starts();
    let child = family.spawns_awaited(parent, 3);
    assert_eq!(family.starts(), Some(child));
    family.submits(1);
    family.starts();
    let urgent = family.submits(2);
    assert_eq!(family.starts(), None);
    family.stop(parent, StopReason::Cancel).expect("it runs");
    assert!(family.scheduler.preempt(family.now).is_none());
    family.ends(parent);
    assert_eq!(family.starts(), Some(urgent));
}

/// A full lane has a free slot whenever one of them ends: nobody is looked for who waits for it, since all can start.
#[test]
fn many_parents_whose_children_run_cost_nothing() {
    const PARENTS: usize = 200;
    let wide = LaneRules {
        configured_max: PARENTS,
        ..LaneRules::default()
    };
    let lanes = vec![wide.clone(), wide];
    let total = Some(PARENTS);
    let mut family = Family::new(Setup { lanes, total }, false);
    let parents: Vec<u64> = (0..PARENTS).map(|_| family.submits(0)).collect();
    while family.starts().is_some() {}
    let spawn = |family: &mut Family, parent| {
        let child = family.spawns_awaited(parent, 1);
        assert_eq!(family.starts(), Some(child));
        child
    };
    let children: Vec<u64> = parents
        .iter()
        .map(|parent| spawn(&mut family, *parent))
        .collect();
    let before = TAKEN.get();
    for (parent, child) in parents.into_iter().zip(children) {
        family.ends(child);
        spawn(&mut family, parent);
    }
    let steps = TAKEN.get() - before;
    assert!(steps <= 10 * PARENTS, "{steps}");
}

/// It uses what it is lent: neither a full lane, nor the total, nor its key keeps it waiting.
#[test]
fn what_a_child_is_lent_is_no_obstacle_to_it() {
    for lane in [0, 1] {
        let mut family = family::<2>(Some(1));
        let parent = family.submits(0);
        family.starts();
        let pause = Op::PauseLane {
            lane: lane as u8,
            paused: true,
        };
        family.apply(&pause).expect("it is possible");
        let child = family.spawns_awaited(parent, lane);
        let key = family.members[&child].key;
        let explained = family.scheduler.explain(&[key], family.now);
        assert_eq!(explained[0].obstacles, [Obstacle::LanePaused], "{lane}");
    }
}

//! Families whose children a limit on starts per time refuses.

use super::super::rules::{CommandRules, LaneRules, Rate};
use super::family::Family;
use super::operation::{Op, Setup};

const WINDOW: u64 = 1_000;

/// A lane of one start per window.
fn rated(window_ns: u64) -> LaneRules {
    LaneRules {
        rate: Some(Rate {
            max_commands: 1,
            window_ns,
            burst: 1,
        }),
        ..LaneRules::default()
    }
}

/// A lane of one for parents, then a lane of one per window for each of these.
fn family(total: Option<usize>, windows: &[u64]) -> Family {
    let windows_of = windows.iter().map(|window_ns| rated(*window_ns));
    let lanes = std::iter::once(LaneRules::default()).chain(windows_of);
    let lanes: Vec<LaneRules> = lanes.collect();
    let mut family = Family::new(Setup { lanes, total }, false);
    for lane in 1..=windows.len() {
        let serial = family.submits(lane);
        assert_eq!(family.starts(), Some(serial));
        family.ends(serial);
    }
    family
}

/// Neither child is to be asked for ever whether it may start now.
#[test]
fn children_that_are_all_refused_wait() {
    for others in [false, true] {
        let mut family = family(Some(1), &[WINDOW, WINDOW]);
        let parent = family.submits(0);
        assert_eq!(family.starts(), Some(parent));
        if others {
            // Each lane has another front whenever the child is not before the others.
            family.submits(1);
            family.submits(2);
        }
        let first = family.spawns_awaited(parent, 1);
        let second = family.spawns_awaited(parent, 2);
        assert_eq!(family.starts(), None);
        assert_eq!(family.scheduler.next_wake(), Some(family.now + WINDOW));
        family.apply(&Op::Advance(WINDOW)).expect("it is possible");
        family.tick().expect("nothing is due");
        let started = family.starts().expect("the limits grant");
        assert!([first, second].contains(&started), "{others}");
        family.ends(started);
        let other = family.starts().expect("the limits grant");
        assert!([first, second].contains(&other), "{others}");
    }
}

/// Without a total limit a parent sets its share aside all the same for a child that is lent a slot.
#[test]
fn children_that_are_lent_slots_and_refused_wait() {
    let mut family = family(None, &[WINDOW, WINDOW]);
    family.apply(&Op::Advance(WINDOW)).expect("it is possible");
    let grandparent = family.submits(2);
    assert_eq!(family.starts(), Some(grandparent));
    let parent = family.spawns_awaited(grandparent, 1);
    assert_eq!(family.starts(), Some(parent));
    let children = [
        family.spawns_awaited(parent, 1),
        family.spawns_awaited(parent, 2),
    ];
    assert_eq!(family.starts(), None);
    family.apply(&Op::Advance(WINDOW)).expect("it is possible");
    family.tick().expect("nothing is due");
    let started = family.starts().expect("the limits grant");
    assert!(children.contains(&started));
}

/// They were refused before anybody waited for them.
#[test]
fn children_that_were_refused_in_their_turn_wait() {
    let mut family = family(Some(2), &[WINDOW, WINDOW]);
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    let children = [family.spawns(parent, 1), family.spawns(parent, 2)];
    assert_eq!(family.starts(), None);
    for child in children {
        family.wait(parent, child);
    }
    assert_eq!(family.starts(), None);
    family.apply(&Op::Advance(WINDOW)).expect("it is possible");
    family.tick().expect("nothing is due");
    assert!(children.contains(&family.starts().expect("the limits grant")));
}

/// The one that waits for the shorter time does so behind another command of its lane.
#[test]
fn the_share_goes_to_the_child_that_is_granted_first() {
    let mut family = family(Some(1), &[WINDOW, 10 * WINDOW]);
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    family.submits(1);
    let soon = family.spawns_awaited(parent, 1);
    family.spawns_awaited(parent, 2);
    assert_eq!(family.starts(), None);
    assert_eq!(family.scheduler.next_wake(), Some(family.now + WINDOW));
    family.apply(&Op::Advance(WINDOW)).expect("it is possible");
    family.tick().expect("nothing is due");
    assert_eq!(family.starts(), Some(soon));
}

/// A lane that was paused in between still refuses its front. Else each of the two would take the share from the other, for ever.
#[test]
fn children_that_are_the_fronts_of_refused_lanes_wait() {
    let wide = LaneRules {
        configured_max: 2,
        ..rated(WINDOW)
    };
    let lanes = vec![rated(WINDOW), wide];
    let total = Some(2);
    let mut family = Family::new(Setup { lanes, total }, false);
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    let first = family.spawns_awaited(parent, 0);
    assert_eq!(family.starts(), None);
    let second = family.spawns_awaited(parent, 1);
    let third = family.spawns_awaited(parent, 1);
    assert_eq!(family.starts(), Some(second));
    assert_eq!(family.starts(), None);
    for lane in [0, 1] {
        for paused in [true, false] {
            let pause = Op::PauseLane { lane, paused };
            family.apply(&pause).expect("it is possible");
        }
    }
    family.ends(second);
    family.apply(&Op::Advance(WINDOW)).expect("it is possible");
    family.tick().expect("nothing is due");
    for _ in 0..2 {
        let started = family.starts().expect("the limits grant");
        assert!([first, third].contains(&started));
        family.ends(started);
    }
}

/// A pause changes nothing about what limits have said: a child that they refused is not taken for one that could start.
#[test]
fn a_child_is_refused_although_its_lane_was_paused_in_between() {
    let lane = LaneRules {
        limiters: vec![0],
        ..LaneRules::default()
    };
    let lanes = vec![lane.clone(), lane];
    let total = Some(2);
    let mut family = Family::new(Setup { lanes, total }, false);
    let all_of_it = CommandRules {
        cost: 3,
        ..CommandRules::default()
    };
    let parent = family.submit(0, None, &all_of_it).expect("there is room");
    // It will be the front of its lane.
    let later = CommandRules {
        key: Some(0),
        delay_ns: Some(1),
        ..CommandRules::default()
    };
    family.submit(1, None, &later).expect("there is room");
    assert_eq!(family.starts(), Some(parent));
    family.spawns_awaited(parent, 1);
    assert_eq!(family.starts(), None);
    family.spawns_awaited(parent, 0);
    let resume = Op::PauseLane {
        lane: 1,
        paused: false,
    };
    family.apply(&resume).expect("it is possible");
    assert_eq!(family.starts(), None);
    family.apply(&Op::Advance(1)).expect("it is possible");
    family.settle().expect("neither could start");
}

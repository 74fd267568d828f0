//! A parent has one share, and sets it aside for a child that can start.

use super::super::rules::LaneRules;
use super::super::world::lane_key;
use super::family::Family;
use super::found::family;
use super::operation::Op;

fn pause(family: &mut Family, lane: u8, paused: bool) {
    let op = Op::PauseLane { lane, paused };
    family.apply(&op).expect("it is possible");
}

#[test]
fn a_share_goes_to_the_sibling_whose_lane_is_resumed() {
    let mut family = family::<3>(Some(1));
    pause(&mut family, 1, true);
    pause(&mut family, 2, true);
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    family.spawns_awaited(parent, 1);
    let second = family.spawns_awaited(parent, 2);
    assert_eq!(family.starts(), None);
    pause(&mut family, 2, false);
    assert_eq!(family.starts(), Some(second));
}

/// A parent, its first child in a paused lane, and the second in a lane that another command has filled.
fn behind_a_holder() -> (Family, u64, u64) {
    let mut family = family::<3>(Some(2));
    pause(&mut family, 1, true);
    let parent = family.submits(0);
    assert_eq!(family.starts(), Some(parent));
    let holder = family.submits(2);
    assert_eq!(family.starts(), Some(holder));
    family.spawns_awaited(parent, 1);
    let second = family.spawns_awaited(parent, 2);
    assert_eq!(family.starts(), None);
    (family, holder, second)
}

#[test]
fn a_share_goes_to_the_sibling_whose_lane_gets_a_free_slot() {
    let (mut family, holder, second) = behind_a_holder();
    // The total is used up: the child does not start in its turn.
    family
        .apply(&Op::SetTotal(Some(1)))
        .expect("it is possible");
    family.ends(holder);
    assert_eq!(family.starts(), Some(second));
    let (mut family, holder, second) = behind_a_holder();
    family
        .apply(&Op::SetTotal(Some(1)))
        .expect("it is possible");
    family.abandon(holder).expect("it runs");
    assert_eq!(family.starts(), Some(second));
}

#[test]
fn a_share_goes_to_the_sibling_whose_lane_gets_more_slots() {
    let (mut family, _, second) = behind_a_holder();
    let wider = LaneRules {
        configured_max: 2,
        ..LaneRules::default()
    };
    family.lanes[2] = wider.clone();
    let now = family.now;
    family
        .scheduler
        .set_policy(lane_key(2), wider.policy(now), now);
    assert_eq!(family.starts(), Some(second));
}

/// One who goes before the others counts on a slot, and leaves without it.
#[test]
fn a_share_goes_to_the_sibling_for_whom_another_makes_room() {
    let mut family = family::<4>(Some(2));
    let parents = [family.submits(0), family.submits(3)];
    assert_eq!([family.starts(), family.starts()], parents.map(Some));
    pause(&mut family, 1, true);
    let other = family.spawns_awaited(parents[1], 2);
    family.spawns_awaited(parents[0], 1);
    let second = family.spawns_awaited(parents[0], 2);
    family.leave(parents[1], other);
    assert_eq!(family.starts(), Some(second));
}

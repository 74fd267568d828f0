//! Turns that were missed are not made up for: counterexamples to the promise that keys share a lane from now on.

use super::operation::{Jump, Op};
use super::rules::{CommandRules, LaneRules, MOST_ABSENT, Setup};
use super::world::{Mode, World};
use crate::scheduler::Ending;

/// A lane, and the keys of its starts.
struct Turns(World);

impl Turns {
    fn of(rules: LaneRules) -> Self {
        let setup = Setup {
            lanes: vec![rules],
            limiters: Vec::new(),
            total: None,
        };
        let mut turns = Self(World::new(Mode::Follow, setup));
        turns.apply(&Op::Open);
        turns
    }

    fn apply(&mut self, op: &Op) {
        self.0.apply(op).expect("it is possible");
    }

    fn submit(&mut self, key: u8, priority: i32, count: u8) {
        let rules = CommandRules {
            key: Some(key),
            priority,
            ..CommandRules::default()
        };
        self.apply(&Op::Submit {
            lane: 0,
            count,
            rules,
            backwards: false,
        });
    }

    fn pause(&mut self, key: u8, paused: bool) {
        self.apply(&Op::PauseKey { key, paused });
    }

    /// Starts what may start, then ends the runs from the one with this number on.
    fn round(&mut self, pick: u8, count: u8) {
        self.apply(&Op::Settle);
        self.apply(&Op::Conclude {
            pick,
            count,
            ending: Ending::Completed,
            random: 0,
            release: true,
        });
    }

    /// The keys of so many more starts in a lane of one.
    fn next(&mut self, count: usize) -> Vec<u8> {
        let before = self.0.started.len();
        for _ in 0..count {
            self.round(0, 1);
        }
        self.keys_from(before)
    }

    fn keys_from(&self, before: usize) -> Vec<u8> {
        let started = self.0.started[before..].iter();
        started.filter_map(|start| start.key).collect()
    }
}

#[test]
fn a_key_that_was_paused_has_missed_its_turns() {
    let mut turns = Turns::of(LaneRules::default());
    turns.submit(0, 0, 20);
    turns.submit(1, 0, 20);
    turns.pause(1, true);
    assert_eq!(turns.next(8), [0; 8]);
    turns.pause(1, false);
    assert_eq!(turns.next(6), [1, 0, 1, 0, 1, 0]);
}

/// Neither waiting behind more urgent commands of another key, nor their starts, count among the less urgent ones.
#[test]
fn the_keys_of_one_priority_take_turns_among_themselves() {
    let mut turns = Turns::of(LaneRules::default());
    turns.submit(1, 0, 20);
    turns.submit(0, -1, 10);
    turns.submit(0, 0, 20);
    assert_eq!(turns.next(10), [0; 10]);
    turns.submit(2, 0, 20);
    assert_eq!(turns.next(9), [1, 2, 0, 1, 2, 0, 1, 2, 0]);
}

/// The last start counts, whatever its priority: nobody gets more turns by an urgent command in between.
#[test]
fn an_urgent_command_is_a_turn_too() {
    let mut turns = Turns::of(LaneRules::default());
    turns.submit(0, 0, 40);
    turns.submit(1, 0, 40);
    let mut starts = [0, 0];
    for round in 0..30 {
        if round % 2 == 1 {
            turns.submit(0, -1, 1);
        }
        for key in turns.next(1) {
            starts[usize::from(key)] += 1;
        }
    }
    assert_eq!(starts, [16, 14]);
}

#[test]
fn a_key_that_had_all_its_slots_has_missed_its_turns() {
    let mut turns = Turns::of(LaneRules {
        configured_max: 2,
        key_max: Some(1),
        ..LaneRules::default()
    });
    for key in 0..3 {
        turns.submit(key, 0, 40);
    }
    for _ in 0..20 {
        turns.round(1, 1);
    }
    // The one command of the first key that has run all the time ends now.
    turns.round(0, 2);
    let before = turns.0.started.len();
    for _ in 0..6 {
        turns.round(0, 2);
    }
    let keys = turns.keys_from(before);
    let of = |key: u8| keys.iter().filter(|other| **other == key).count();
    assert_eq!([of(0), of(1), of(2)], [4, 4, 4]);
}

/// More keys come than are remembered, each with one command, and one of them always waits.
#[test]
fn a_flood_of_keys_does_not_starve_one_that_waits() {
    let mut turns = Turns::of(LaneRules::default());
    turns.submit(0, 0, 20);
    turns.submit(1, 0, 2);
    let mut starts = Vec::new();
    for key in 2..60 {
        let started = turns.next(1);
        if started != [0] {
            turns.submit(key, 0, 1);
        }
        starts.extend(started);
    }
    let between = starts.split(|key| *key == 0).map(<[u8]>::len);
    // As many as are remembered, the one too many, and the one that waited already.
    assert_eq!(between.max(), Some(MOST_ABSENT + 2));
}

/// Each of these keys had its only command at a priority that nobody has any more. A key whose commands come one at a time
/// still has only its share beside one that always waits.
#[test]
fn keys_of_dead_priorities_leave_room_for_others() {
    let mut turns = Turns::of(LaneRules {
        key_weights: vec![(0, 4)],
        ..LaneRules::default()
    });
    turns.submit(0, 0, 60);
    let dead = 2..2 + MOST_ABSENT as u8;
    for (key, priority) in dead.zip((-9..0).rev()) {
        turns.submit(key, priority, 1);
        assert_eq!(turns.next(1), [key]);
    }
    turns.submit(1, 0, 1);
    let mut starts = Vec::new();
    for _ in 0..40 {
        let started = turns.next(1);
        if started == [1] {
            turns.submit(1, 0, 1);
        }
        starts.extend(started);
    }
    let of = |key: u8| starts.iter().filter(|other| **other == key).count();
    assert_eq!([of(0), of(1)], [31, 9]);
}

/// Starts out of turn do not make those look late that are in turn.
#[test]
#[cfg(feature = "distributed")]
fn overdue_starts_do_not_put_off_a_new_key() {
    let mut turns = Turns::of(LaneRules {
        boost: Some(super::rules::Boost {
            deadline_ns: 100,
            steps: Vec::new(),
        }),
        ..LaneRules::default()
    });
    turns.submit(0, 0, 8);
    turns.apply(&Op::Advance(Jump::Ns(100)));
    turns.submit(1, 0, 20);
    assert_eq!(turns.next(8), [0; 8]);
    turns.submit(2, 0, 20);
    assert_eq!(turns.next(6), [1, 2, 1, 2, 1, 2]);
}

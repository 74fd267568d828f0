//! The example of the module's documentation, played.

use std::sync::Arc;

use super::turns::STRIDE;
use crate::config::{LaneConfig, LaneOptions};
use crate::scheduler::{Ending, LaneKey, LanePolicy, Scheduler, Terms};

const KEYS: [&str; 3] = ["gold", "silver", "tin"];

/// The rows of the table, by their words, without remarks.
fn documented() -> Vec<Vec<&'static str>> {
    let text = include_str!("turns.rs");
    let table = text
        .split("```text")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let rows = table.expect("a table").lines().skip(2);
    let words = rows.map(|row| {
        row.trim_start_matches("//!")
            .split_whitespace()
            .take(6)
            .collect()
    });
    words.filter(|row: &Vec<_>| !row.is_empty()).collect()
}

fn submit(scheduler: &mut Scheduler<usize>, lane: LaneKey, key: usize, priority: i32) {
    let serial = scheduler.draw_serial();
    let terms = Terms {
        key: Some(KEYS[key].into()),
        priority,
        ..Terms::default()
    };
    let submitted = scheduler.submit(lane, serial, key, Some(Box::new(terms)), 0);
    assert!(submitted.is_ok());
}

/// One command starts and ends: its key and its level.
fn run(scheduler: &mut Scheduler<usize>) -> (String, String) {
    let start = scheduler.next(0).expect("the slot is free");
    let command = scheduler.command(start.key).expect("it runs");
    let key = KEYS[*command.job].to_owned();
    let level = command.terms.map_or(0, |terms| terms.priority).to_string();
    let concluded = scheduler.conclude(start.key, start.run, Ending::Completed, 0);
    assert!(concluded.is_some());
    scheduler.release(start.key, 0);
    (key, level)
}

/// In strides.
fn strides(pass: u64) -> String {
    match pass * 2 / STRIDE {
        halves if halves % 2 == 0 => (halves / 2).to_string(),
        halves => format!("{halves}/2"),
    }
}

/// The time of level 0 and the passes of all keys, which are on that level.
fn passes(scheduler: &mut Scheduler<usize>, lane: LaneKey) -> Vec<String> {
    let keys = scheduler.lanes[lane.index()]
        .keys_mut()
        .expect("it has keys");
    let mut row = vec![strides(keys.turns.time(0))];
    for name in KEYS {
        let state = keys
            .names
            .get(&Arc::<str>::from(name))
            .map(|key| &keys.states[*key as usize]);
        row.push(state.map_or("-".to_owned(), |state| {
            assert_eq!(state.turn.level, 0);
            strides(state.turn.pass)
        }));
    }
    row
}

#[test]
fn the_example_of_gold_silver_and_tin() {
    let mut scheduler = Scheduler::new(false);
    let options = LaneOptions::new().with_key_weight("gold", 2);
    let lane = scheduler.add_lane(LanePolicy::new(&LaneConfig::new(0, 1), &options, 0, 0));
    scheduler.set_open(true);
    for (key, count) in [(0, 5), (1, 5), (2, 1)] {
        for _ in 0..count {
            submit(&mut scheduler, lane, key, 0);
        }
    }
    let mut played = vec![vec!["-".to_owned(), "-".to_owned()]];
    played[0].extend(passes(&mut scheduler, lane));
    for round in 1..10 {
        match round {
            5 => submit(&mut scheduler, lane, 2, 0),
            6 => submit(&mut scheduler, lane, 0, -1),
            _ => {}
        }
        let (key, level) = run(&mut scheduler);
        let mut row = vec![key, level];
        row.extend(passes(&mut scheduler, lane));
        played.push(row);
    }
    assert_eq!(played, documented());
}

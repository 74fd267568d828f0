//! What a command's place in its lane costs.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Flow, Level};
use crate::command::StopReason;
use crate::config::{LaneConfig, LaneOptions};
use crate::scheduler::{CommandKey, LaneKey, LanePolicy, Scheduler, Stopped, Terms};

thread_local! {
    static COMPARISONS: Cell<usize> = const { Cell::new(0) };
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where the commands of each priority are kept.
fn chains(flow: &Flow) -> impl Iterator<Item = (i32, usize)> + '_ {
    let rest = flow.rest.iter();
    rest.map(|(level, chain)| (level.0, std::ptr::from_ref(chain).addr()))
}

fn scheduler() -> (Scheduler<()>, LaneKey) {
    let mut scheduler = Scheduler::new(false);
    let policy = LanePolicy::new(&LaneConfig::new(0, 1), &LaneOptions::new(), 0, 0);
    let lane = scheduler.add_lane(policy);
    scheduler.set_open(true);
    (scheduler, lane)
}

fn submit(scheduler: &mut Scheduler<()>, lane: LaneKey, priority: i32) -> CommandKey {
    let serial = scheduler.draw_serial();
    let terms = Terms {
        priority,
        ..Terms::default()
    };
    let submitted = scheduler.submit(lane, serial, (), Some(Box::new(terms)), 0);
    submitted.expect("it is let in").key
}

fn comparisons(work: impl FnOnce()) -> usize {
    COMPARISONS.set(0);
    work();
    COMPARISONS.get()
}

/// sindresorhus/p-queue and others keep a sorted list, in which a command that goes before others costs as many
/// steps as there are others. Here it is a walk from the root of a tree, whatever the order in which they come.
#[test]
fn l08_a_command_finds_its_place_without_a_look_at_the_others() {
    // A node has at least 6 children and at most 11 keys, which are looked at one by one: 6^7 is more than 100,000.
    const MOST: usize = 7 * 11 + 3;
    let orders: [fn(i32) -> i32; 3] = [|n| -n, |n| n, |n| n.wrapping_mul(0x5E37_79B1)];
    for order in orders {
        let (mut scheduler, lane) = scheduler();
        let mut keys = Vec::new();
        for number in 0..100_000 {
            let cost = comparisons(|| keys.push(submit(&mut scheduler, lane, order(number))));
            assert!(cost <= MOST, "{cost} comparisons for command {number}");
        }
        let cost = comparisons(|| {
            let stopped = scheduler.stop(keys[50_000], StopReason::Cancel, 0);
            assert!(matches!(stopped, Stopped::Left(..)));
        });
        assert!(cost <= MOST, "{cost} comparisons for a cancel");
        let cost = comparisons(|| assert!(scheduler.next(0).is_some()));
        assert!(cost <= MOST, "{cost} comparisons for a start");
    }
}

/// Nor does anyone else have to move for it.
#[test]
fn l08_a_command_takes_its_place_without_a_move_of_the_others() {
    let (mut scheduler, lane) = scheduler();
    for number in 0..10_000 {
        submit(&mut scheduler, lane, 2 * number);
    }
    for priority in [-1, 1, 9_999, 19_999] {
        let before: HashMap<i32, usize> = chains(scheduler.lanes[lane.index()].flow(0)).collect();
        submit(&mut scheduler, lane, priority);
        let after = chains(scheduler.lanes[lane.index()].flow(0));
        let moved = after.filter(|(priority, place)| before.get(priority) != Some(place));
        // Those of its node, and one of each node above when all of them are split.
        let moved = moved.count();
        assert!(moved <= 7 * 11, "{moved} moved for priority {priority}");
    }
}

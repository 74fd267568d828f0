//! How long the commands of a lane wait.

use crate::config::{LaneConfig, LaneOptions};
use crate::scheduler::{CommandKey, Ending, LaneKey, LanePolicy, Scheduler, Terms};

fn submit(scheduler: &mut Scheduler<()>, lane: LaneKey, priority: i32, now: u64) -> CommandKey {
    let serial = scheduler.draw_serial();
    let terms = Terms {
        priority,
        ..Terms::default()
    };
    let submitted = scheduler.submit(lane, serial, (), Some(Box::new(terms)), now);
    submitted.expect("it is let in").key
}

/// However many go before it. What is noted is bounded by what waits (I10).
#[test]
fn the_longest_wait_is_the_one_of_who_starves() {
    let mut scheduler = Scheduler::new(true);
    let policy = LanePolicy::new(&LaneConfig::new(0, 1), &LaneOptions::new(), 0, 0);
    let lane = scheduler.add_lane(policy);
    scheduler.set_open(true);
    assert_eq!(scheduler.lane(lane).longest_wait(5), 0);
    let starves = submit(&mut scheduler, lane, 1, 10);
    for now in 11..5_000 {
        submit(&mut scheduler, lane, 0, now);
        let start = scheduler.next(now).expect("the slot is free");
        assert_ne!(start.key, starves);
        assert_eq!(scheduler.lane(lane).longest_wait(now), now - 10);
        assert!(
            scheduler.lanes[lane.index()]
                .waits
                .as_ref()
                .map_or(0, |waits| waits.len())
                <= 2 * 2 + 65
        );
        let verdict = scheduler.conclude(start.key, start.run, Ending::Completed, 0);
        verdict.expect("it runs");
        scheduler.release(start.key, now);
    }
    assert_eq!(scheduler.next(5_000).map(|start| start.key), Some(starves));
    assert_eq!(scheduler.lane(lane).longest_wait(6_000), 0);
}

/// A body that looks for its child again and again, as with a time limit, moves it from queue to queue.
#[test]
fn what_is_noted_of_a_child_that_is_awaited_often_is_bounded() {
    let mut scheduler = Scheduler::new(true);
    let policy = LanePolicy::new(&LaneConfig::new(0, 1), &LaneOptions::new(), 0, 0);
    let lane = scheduler.add_lane(policy);
    scheduler.set_open(true);
    let parent = submit(&mut scheduler, lane, 0, 1);
    let start = scheduler.next(1).expect("the slot is free");
    let serial = scheduler.draw_serial();
    let terms = Terms {
        parent: Some(parent),
        ..Terms::default()
    };
    let child = scheduler.submit(lane, serial, (), Some(Box::new(terms)), 1);
    let child = child.expect("it is let in").key;
    scheduler.pause_lane(lane, true, 1);
    for _ in 0..1_000 {
        scheduler.await_child(parent, start.run, child, 2);
        scheduler.leave_child(parent, start.run, child, 2);
    }
    let noted = scheduler.lanes[lane.index()].waits.as_ref();
    assert!(noted.map_or(0, |waits| waits.len()) <= 2 + 65);
    assert_eq!(scheduler.lane(lane).longest_wait(11), 10);
}

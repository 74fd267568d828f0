//! The example of the module's documentation, played.

use super::Demand;
use crate::config::{LaneConfig, LaneOptions};
use crate::scheduler::{Ending, LaneKey, LanePolicy, Scheduler, Start};

/// Lanes vip, mail and bulk, as urgent as they are named first, with what runs and what is ready; and one that runs in bulk.
fn example(total: usize) -> (Scheduler<()>, [LaneKey; 3], Start) {
    let mut scheduler = Scheduler::new(false);
    scheduler.set_open(true);
    let limits = [(3, 4), (1, 2), (0, 9)];
    let mut priority = 0;
    let lanes = limits.map(|(min, max)| {
        priority += 1;
        let config = LaneConfig::new(min, max);
        scheduler.add_lane(LanePolicy::new(&config, &LaneOptions::new(), priority, 0))
    });
    let submit = |scheduler: &mut Scheduler<()>, lane: usize, count: usize| {
        for _ in 0..count {
            let serial = scheduler.draw_serial();
            assert!(scheduler.submit(lanes[lane], serial, (), None, 0).is_ok());
        }
    };
    submit(&mut scheduler, 0, 1);
    submit(&mut scheduler, 2, 2);
    let mut started = None;
    while let Some(start) = scheduler.next(0) {
        started = Some(start);
    }
    submit(&mut scheduler, 0, 5);
    submit(&mut scheduler, 1, 1);
    submit(&mut scheduler, 2, 9);
    scheduler.set_total(Some(total), 0);
    (scheduler, lanes, started.expect("they run"))
}

/// How many of each lane start.
fn starts(scheduler: &mut Scheduler<()>) -> [usize; 3] {
    let (mut counts, promised) = ([0; 3], scheduler.startable());
    while let Some(start) = scheduler.next(0) {
        counts[start.lane.index()] += 1;
    }
    assert_eq!(promised, counts.iter().sum::<usize>());
    counts
}

#[test]
fn the_example_of_vip_mail_and_bulk() {
    let (mut scheduler, lanes, in_bulk) = example(6);
    let demand = |kept, on_kept, on_common| Demand {
        kept,
        exempt: 0,
        on_kept,
        on_common,
    };
    let table = [demand(2, 2, 1), demand(1, 1, 0), demand(0, 0, 7)];
    assert_eq!(
        lanes.map(|lane| scheduler.lanes[lane.index()].demand),
        table
    );
    assert_eq!(scheduler.ready.demand, demand(3, 3, 8));
    assert_eq!(starts(&mut scheduler), [2, 1, 0]);
    let Start { key, run, .. } = in_bulk;
    assert!(scheduler.conclude(key, run, Ending::Completed, 0).is_some());
    scheduler.release(key, 0);
    assert_eq!(starts(&mut scheduler), [1, 0, 0]);
    // Of these 3 free shares too, one is missing with a total of 5.
    let (mut scheduler, ..) = example(5);
    assert_eq!(starts(&mut scheduler), [1, 0, 0]);
}

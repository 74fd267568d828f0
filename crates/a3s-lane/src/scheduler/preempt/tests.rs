//! The example of the module's documentation, played.

use crate::config::{LaneConfig, LaneOptions};
use crate::scheduler::collections::TAKEN;
use crate::scheduler::{CommandKey, LanePolicy, Scheduler, Terms};

#[test]
fn the_example_of_urgent_normal_and_batch() {
    let mut scheduler = Scheduler::new(false);
    scheduler.set_open(true);
    let lanes = [(0, 0, false), (3, 1, true), (9, 1, true)];
    let lanes = lanes.map(|(priority, min, preemptible)| {
        let options = LaneOptions::new().with_preemption(preemptible);
        let config = LaneConfig::new(min, 9);
        scheduler.add_lane(LanePolicy::new(&config, &options, priority, 0))
    });
    scheduler.set_total(Some(5), 0);
    let submit = |scheduler: &mut Scheduler<()>, lane: usize| {
        let serial = scheduler.draw_serial();
        let submitted = scheduler.submit(lanes[lane], serial, (), None, 0);
        submitted.expect("there is room").key
    };
    submit(&mut scheduler, 1);
    let batch: [CommandKey; 4] = std::array::from_fn(|_| submit(&mut scheduler, 2));
    while scheduler.next(0).is_some() {}
    for _ in 0..2 {
        submit(&mut scheduler, 0);
    }
    assert!(scheduler.next(0).is_none());
    let mut asked = Vec::new();
    while let Some((key, _)) = scheduler.preempt(0) {
        asked.push(key);
    }
    assert_eq!(asked, [batch[3], batch[2]]);
    scheduler.note_staying();
    assert_eq!(scheduler.demand_above(9, None, 0), 2);
    assert!(scheduler.is_spare(2) && !scheduler.is_spare(3));
    // The total is lowered: what is missing is asked for at once.
    scheduler.set_total(Some(4), 0);
    assert_eq!(scheduler.preempt(0).map(|(key, _)| key), Some(batch[1]));
    assert!(scheduler.preempt(0).is_none());
    scheduler.note_staying();
    assert!(scheduler.is_spare(2) && !scheduler.is_spare(3));
}

/// Else each step would walk through them for as long as the timer task is late.
#[test]
fn commands_whose_time_has_not_come_cost_nothing_beside_one_that_is_too_old() {
    let mut scheduler: Scheduler<()> = Scheduler::new(false);
    scheduler.set_open(true);
    let lanes = [(0, false), (9, true)].map(|(priority, preemptible)| {
        let options = LaneOptions::new().with_preemption(preemptible);
        scheduler.add_lane(LanePolicy::new(
            &LaneConfig::new(0, 9),
            &options,
            priority,
            0,
        ))
    });
    scheduler.set_total(Some(1), 0);
    let submit = |scheduler: &mut Scheduler<()>, lane: usize, terms| {
        let serial = scheduler.draw_serial();
        let submitted = scheduler.submit(lanes[lane], serial, (), Some(Box::new(terms)), 0);
        submitted.expect("there is room").key
    };
    submit(&mut scheduler, 1, Terms::default());
    assert!(scheduler.next(0).is_some());
    for _ in 0..1_000 {
        let delay_until = 1_000;
        submit(
            &mut scheduler,
            0,
            Terms {
                delay_until,
                ..Terms::default()
            },
        );
    }
    let expires_at = Some(10);
    submit(
        &mut scheduler,
        0,
        Terms {
            expires_at,
            ..Terms::default()
        },
    );
    let before = TAKEN.get();
    assert!(scheduler.preempt(10).is_none(), "it does not wait any more");
    let steps = TAKEN.get() - before;
    assert!((1..10).contains(&steps), "{steps}");
}

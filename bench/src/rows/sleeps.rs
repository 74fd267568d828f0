//! A lane of n kept full of d-ms async sleeps: does every freed slot get its next command at once?
//!
//! The floor is what people write by hand: a task per command that waits for a permit of a semaphore of n. The runtime's
//! timer has a resolution of 1 ms, so a sleep of 1 ms takes between one and two: for both alike.

use std::time::{Duration, Instant};

use crate::contestants::jobs::SleepFor;
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{Contestant, Ours, Published, SemaphoreOfN, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::{on_a_worker, per_second};

const SLOTS: [usize; 4] = [1, 10, 50, 200];
const MILLIS: [u64; 3] = [1, 10, 100];
/// How often every slot is used in one sample, by the length of the sleep.
const WAVES: [usize; 3] = [150, 30, 5];

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for slots in SLOTS {
        for (millis, waves) in MILLIS.into_iter().zip(WAVES) {
            lines.push(line(options, slots, millis, options.scale(waves).max(3)));
        }
    }
    lines
}

fn line(options: &Options, slots: usize, millis: u64, waves: usize) -> Line {
    let label = format!("lane of {slots}, {millis} ms sleeps");
    let commands = slots * waves;
    // Fewer than two waves would measure how the lane fills, not how it stays full.
    let least = slots * 2;
    let mut contest = Contest::new(format!("sleeps: {label}"), options)
        .with_sample_limit(Duration::from_millis(600));
    contest.enter(OURS, commands, |n| vec![sample::<Ours>(slots, millis, n)]);
    contest.enter(FLOOR, commands, |n| {
        vec![sample::<SemaphoreOfN>(slots, millis, n)]
    });
    contest.enter_slow(PUBLISHED, commands, least, |n| {
        vec![sample::<Published>(slots, millis, n)]
    });
    let outcome = contest.run();
    Line {
        row: "sleeps",
        label,
        unit: Unit::PerSecond,
        ours: outcome.series(OURS, 0),
        floor: Some(outcome.series(FLOOR, 0)),
        peer: Some(outcome.series(PUBLISHED, 0)),
        budget: Budget::FloorAtLeast(0.95),
    }
}

fn sample<C: Contestant>(slots: usize, millis: u64, commands: usize) -> f64 {
    on_a_worker(async move {
        let setup = Setup::one_lane(slots);
        let contestant = C::build(&setup).await;
        let lane = &setup.lanes[0].id;
        let sleep = Duration::from_millis(millis);
        let mut replies = Vec::with_capacity(commands);
        let begin = Instant::now();
        for _ in 0..commands {
            replies.push(contestant.submit(lane, SleepFor(sleep)).await);
        }
        for reply in replies {
            reply
                .await
                .expect("the command settles")
                .expect("the command succeeds");
        }
        let elapsed = begin.elapsed();
        let shortest = sleep * commands.div_ceil(slots) as u32;
        assert!(elapsed >= shortest, "no more than {slots} sleeps at once");
        per_second(commands, elapsed)
    })
}

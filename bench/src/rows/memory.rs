//! Memory per pending command beyond the user's own.
//!
//! All slots of a lane are held by blockers; then live heap bytes are counted before and after that many no-op commands
//! are submitted. From the difference per command the user's boxed command is taken off (8 bytes), and the receiver's handle
//! in the user's hands is added (8 bytes; what it points to is on the heap and counted already). Counted are requested
//! bytes, as the allocator sees them: no rounding, no fragmentation. The second line is the worst moment, one command
//! past a doubling, when half of every growing table is still empty. The floor is a spawned task that waits for a
//! semaphore's permit.

use crate::contestants::jobs::Noop;
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{Contestant, Ours, Published, Reply, SemaphoreOfN, Setup};
use crate::harness::alloc::Counting;
use crate::harness::contest::{Contest, Outcome};
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::{Blockers, on_a_worker, submit_noops};

const SLOTS: usize = 10;
const BUDGET_BYTES: f64 = 256.0;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let million = options.scale(1_000_000);
    let past_doubling = million.next_power_of_two() + 1;
    let at_million = contest(options, million);
    let at_worst = contest(options, past_doubling);
    vec![
        line(
            &at_million,
            format!("{million} pending"),
            Budget::AtMost(BUDGET_BYTES),
        ),
        line(
            &at_worst,
            format!("{past_doubling} pending, the worst moment"),
            Budget::None,
        ),
    ]
}

fn contest(options: &Options, pending: usize) -> Outcome {
    let mut contest = Contest::new(format!("memory: {pending} pending"), options);
    contest.enter(OURS, pending, sample::<Ours>);
    contest.enter(FLOOR, pending, sample::<SemaphoreOfN>);
    contest.enter(PUBLISHED, pending, sample::<Published>);
    contest.run()
}

fn line(outcome: &Outcome, label: String, budget: Budget) -> Line {
    Line {
        row: "memory",
        label,
        unit: Unit::Bytes,
        ours: outcome.series(OURS, 0),
        floor: Some(outcome.series(FLOOR, 0)),
        peer: Some(outcome.series(PUBLISHED, 0)),
        budget,
    }
}

fn sample<C: Contestant>(pending: usize) -> Vec<f64> {
    let counting = Counting::start();
    on_a_worker(async move {
        let setup = Setup::one_lane(SLOTS);
        let contestant = C::build(&setup).await;
        let ids = setup.ids();
        let blockers = Blockers::occupy(&contestant, &ids[0], SLOTS).await;
        let mut replies: Vec<Reply<C::Failure>> = Vec::with_capacity(pending);

        let before = counting.now();
        submit_noops(&contestant, &ids, pending, &mut replies).await;
        let after = counting.now();
        drop(counting);

        let handle = size_of::<Reply<C::Failure>>() as f64;
        let users_own = size_of::<Noop>() as f64;
        let heap = (after.live_bytes - before.live_bytes) as f64 / pending as f64;
        drop(replies);
        blockers.release().await;
        vec![heap - users_own + handle]
    })
}

//! What the drivers of all contestants share.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::contestants::jobs::{Hold, Noop};
use crate::contestants::{Contestant, Reply};
use crate::harness::machine::cores;

/// A multi-threaded runtime that nobody has used, with one worker per core.
pub(crate) fn fresh_runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(cores())
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A single-threaded runtime that nobody has used.
pub(crate) fn fresh_single_thread() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs the driver as a task on a worker of a fresh runtime, as most code that submits work runs.
pub(crate) fn on_a_worker<T: Send + 'static>(
    driver: impl Future<Output = T> + Send + 'static,
) -> T {
    let runtime = fresh_runtime();
    runtime.block_on(async {
        tokio::spawn(driver)
            .await
            .expect("the driver does not panic")
    })
}

/// Submits `commands` no-ops round-robin over the lanes, awaits all results and checks that each ran once.
pub(crate) async fn flood<C: Contestant>(
    contestant: &C,
    ids: &[String],
    commands: usize,
) -> Duration {
    let mut replies = Vec::with_capacity(commands);
    let begin = Instant::now();
    submit_noops(contestant, ids, commands, &mut replies).await;
    let sum = sum_of(&mut replies).await;
    let elapsed = begin.elapsed();
    check_sum(sum, commands);
    elapsed
}

/// Submits no-ops numbered from 0, round-robin over the lanes.
pub(crate) async fn submit_noops<C: Contestant>(
    contestant: &C,
    ids: &[String],
    commands: usize,
    replies: &mut Vec<Reply<C::Failure>>,
) {
    let mut lanes = ids.iter().cycle();
    for number in 0..commands {
        let lane = lanes.next().expect("at least one lane");
        replies.push(contestant.submit(lane, Noop(number as u64)).await);
    }
}

/// Awaits all results in the order of submission and adds them up.
pub(crate) async fn sum_of<F: std::fmt::Debug>(replies: &mut Vec<Reply<F>>) -> u64 {
    let mut sum = 0;
    for reply in replies.drain(..) {
        let value = reply
            .await
            .expect("the command settles")
            .expect("the command succeeds");
        sum += value.as_u64().expect("a no-op returns its number");
    }
    sum
}

/// Panics unless `sum` is that of the numbers below `commands`.
pub(crate) fn check_sum(sum: u64, commands: usize) {
    let count = commands as u64;
    assert_eq!(
        sum,
        count * (count - 1) / 2,
        "every command runs exactly once"
    );
}

/// Commands that keep every slot of a lane until they are told to stop.
pub(crate) struct Blockers<F> {
    gate: Arc<Semaphore>,
    replies: Vec<Reply<F>>,
}

impl<F: std::fmt::Debug> Blockers<F> {
    /// Fills `slots` slots of the lane and waits until all of them run.
    pub(crate) async fn occupy<C: Contestant<Failure = F>>(
        contestant: &C,
        lane: &str,
        slots: usize,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let running = Arc::new(Semaphore::new(0));
        let mut replies = Vec::with_capacity(slots);
        for _ in 0..slots {
            let hold = Hold {
                running: Arc::clone(&running),
                gate: Arc::clone(&gate),
            };
            replies.push(contestant.submit(lane, hold).await);
        }
        let all = running
            .acquire_many(slots as u32)
            .await
            .expect("the semaphore is never closed");
        all.forget();
        Self { gate, replies }
    }

    /// Lets them end and waits for it.
    pub(crate) async fn release(self) {
        self.gate.add_permits(self.replies.len());
        for reply in self.replies {
            reply
                .await
                .expect("the blocker settles")
                .expect("the blocker succeeds");
        }
    }
}

/// `count` things in `time`, per second.
pub(crate) fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

//! Runners: tasks that run one command after another.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::attempt::{self, Abort, AttemptCell, Ended};
use super::observer::Sample;
use super::settle::Finished;
use super::sync::yield_now;
use super::taken::{Stage, Taken};
use super::trace::ExecuteSpan;
use super::{Engine, State};
use crate::error::LaneError;
use crate::scheduler::CommandKey;

/// A runner gives way to other tasks after this many commands that never suspended it.
const STREAK: u32 = 64;

/// A runner gives way to other tasks after this many nanoseconds of commands that never suspended it.
const STREAK_NS: u64 = 100_000;

/// A runner that waits to be armed again. At most one per queue; whoever takes it out of the state has armed it.
#[derive(Debug)]
pub(super) struct RestingRunner {
    rest: u64,
    waker: Waker,
}

impl RestingRunner {
    pub(super) fn into_waker(self) -> Waker {
        self.waker
    }
}

impl State {
    /// Sends the resting runner, if any, to its end. Wake the result without the lock.
    pub(super) fn dismiss(&mut self) -> Option<Waker> {
        let resting = self.resting.take()?;
        self.armed += 1;
        Some(resting.into_waker())
    }
}

/// A runner's task. Dropping it before its end, as a runtime does when it shuts down, settles its command and closes
/// the engine.
struct Runner {
    engine: Arc<Engine>,
    stage: Stage,
}

impl Engine {
    /// Spawns runners that [`State::arm`] has counted. Called without the lock: a runtime that was shut down drops
    /// the task at once.
    pub(super) fn spawn_runners(self: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let runner = Runner {
                engine: Arc::clone(self),
                stage: Stage::Armed,
            };
            self.spawn(runner.run(None));
        }
    }

    /// Ends an attempt that blocks its thread past its time limit.
    pub(super) fn finish_overrun(self: &Arc<Self>, finished: Finished) {
        let runner = Runner {
            engine: Arc::clone(self),
            stage: Stage::Busy(finished.key, finished.attempt),
        };
        self.spawn(runner.run(Some(Box::new(finished))));
    }

    /// Makes a suspended attempt reachable, or says why it must stop at once.
    fn attach(&self, key: CommandKey, attempt: u32, cell: Arc<AttemptCell>) -> Option<Abort> {
        let mut state = self.lock();
        let Some(running) = state.scheduler.running_attempt(key, attempt) else {
            return Some(Abort::Lost);
        };
        if state.closed.is_some() {
            return Some(Abort::Closed);
        }
        if running.overdue {
            return Some(Abort::Deadline);
        }
        if let Some(job) = state.scheduler.job_mut(key) {
            job.cell = Some(cell);
        }
        None
    }
}

impl Runner {
    /// Runs commands until nothing can start. An `overrun` attempt comes first: it blocks another thread, and ends
    /// here without its help.
    async fn run(mut self, overrun: Option<Box<Finished>>) {
        let engine = Arc::clone(&self.engine);
        let mut next = match overrun {
            None => self.first_take(),
            Some(finished) => {
                Box::pin(engine.finish_awaited(&mut self.stage, *finished, true)).await
            }
        };
        loop {
            let mut streak = 0;
            let mut streak_since = next.as_ref().map_or(0, |taken| taken.started_at);
            while let Some(taken) = next {
                let (finished, suspended) = execute(&engine, taken).await;
                if suspended {
                    streak = 0;
                    streak_since = finished.ended_at;
                }
                streak += 1;
                let lasted = finished.ended_at.saturating_sub(streak_since);
                let give_way = streak >= STREAK || lasted >= STREAK_NS || !has_budget();
                next = if finished.lane.must_await() {
                    Box::pin(engine.finish_awaited(&mut self.stage, finished, !give_way)).await
                } else {
                    engine.finish(&mut self.stage, finished, !give_way)
                };
                if give_way {
                    yield_now().await;
                    next = self.first_take();
                    streak = 0;
                    streak_since = next.as_ref().map_or(0, |taken| taken.started_at);
                }
            }
            if !poll_fn(|cx| self.poll_rest(cx)).await {
                return;
            }
            next = self.first_take();
        }
    }

    /// Waits to be armed again; false when this runner must end instead.
    fn poll_rest(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.engine.lock();
        if let Stage::Resting(rest) = self.stage {
            return match &mut state.resting {
                Some(resting) if resting.rest == rest => {
                    resting.waker.clone_from(cx.waker());
                    Poll::Pending
                }
                _ => {
                    self.stage = Stage::Armed;
                    Poll::Ready(true)
                }
            };
        }
        if state.resting.is_some() || state.closed.is_some() || state.announced {
            return Poll::Ready(false);
        }
        state.rests += 1;
        let rest = state.rests;
        let waker = cx.waker().clone();
        state.resting = Some(RestingRunner { rest, waker });
        self.stage = Stage::Resting(rest);
        Poll::Pending
    }

    /// Ends being armed.
    fn first_take(&mut self) -> Option<Taken> {
        let now = self.engine.now();
        let mut state = self.engine.lock();
        self.stage = Stage::Done;
        state.armed -= 1;
        let mut taken = self.engine.take(&mut state, now);
        let follow_up = self.engine.follow_up(&mut state);
        if let Some(taken) = &mut taken {
            self.stage = Stage::Busy(taken.key, taken.attempt);
            taken.timer_first = follow_up.concerns_timer();
        }
        drop(state);
        self.engine.act(follow_up);
        taken
    }
}

/// Runs one attempt; also says whether it gave up the thread.
async fn execute(engine: &Arc<Engine>, taken: Taken) -> (Finished, bool) {
    let Taken {
        key,
        lane_key,
        lane,
        attempt,
        work,
        started_at,
        timeout_ns,
        wait_ns,
        submitted,
        timer_first,
    } = taken;
    if timer_first {
        yield_now().await;
    }
    lane.observer
        .watch_depth_of(|| engine.lock().counts(lane_key).pending, &lane.id);
    if lane.must_await() {
        // Boxed, as all that few lanes need: the size of a runner is what spawning it costs.
        Box::pin(engine.record_awaited(&lane, lane_key, Sample::Started { wait_ns })).await;
    }
    let span = ExecuteSpan::new(&lane.id, engine.name(key), &*work, attempt, submitted);
    let run = span
        .around(attempt::run(&*work, |cell| {
            engine.attach(key, attempt, cell)
        }))
        .await;
    let (result, abandoned) = match run.ended {
        Ended::Returned(result) => (result, false),
        Ended::Aborted(Abort::Deadline) => {
            let limit = Duration::from_nanos(timeout_ns.unwrap_or_default());
            (Err(LaneError::Timeout(limit)), false)
        }
        Ended::Aborted(Abort::Closed | Abort::Lost) => {
            let reason = "the queue was closed while the command ran";
            (Err(LaneError::QueueError(reason.to_owned())), true)
        }
    };
    span.end(result.is_ok());
    let finished = Finished {
        key,
        lane_key,
        lane,
        attempt,
        work,
        started_at,
        ended_at: engine.now(),
        result,
        abandoned,
    };
    (finished, run.suspended)
}

/// Whether a command's first await is likely to get its turn: commands of one runner share its cooperative budget.
fn has_budget() -> bool {
    tokio::task::coop::has_budget_remaining()
}

impl Drop for Runner {
    fn drop(&mut self) {
        let gone = "the runtime was shut down";
        let panicked = std::thread::panicking();
        match self.stage {
            Stage::Done => return,
            Stage::Armed => self.engine.lock().armed -= 1,
            Stage::Resting(rest) => {
                let mut state = self.engine.lock();
                let own = state.resting.take_if(|resting| resting.rest == rest);
                if own.is_none() {
                    state.armed -= 1;
                }
            }
            Stage::Busy(key, attempt) => {
                let error = if panicked {
                    let text = "the command's destructor or an observer panicked";
                    LaneError::Panicked(text.to_owned())
                } else {
                    LaneError::QueueError(gone.to_owned())
                };
                self.engine.give_up(key, attempt, error);
            }
        }
        // An armed runner runs none of the user's code: another task of a runtime that ends may be what panics.
        if panicked && matches!(self.stage, Stage::Busy(..)) {
            let follow_up = self.engine.follow_up(&mut self.engine.lock());
            self.engine.act(follow_up);
        } else {
            self.engine.close(gone);
        }
        // Also after a close by another runner, which left this one's command to it.
        self.engine.check_quiet();
    }
}

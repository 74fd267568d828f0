//! Runners: tasks that run one command after another.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::Value;

use super::attempt::{self, Abort, Ended, Run};
use super::locked::Locked;
use super::observer::Sample;
use super::settle::Finished;
use super::sync::{Runtime, yield_now};
use super::taken::{Hand, Stage, Taken};
use super::trace::{ExecuteSpan, wants_spans};
use super::{Engine, LaneInfo, State};
use crate::command::StopReason;
use crate::context::Attempt;
use crate::error::{LaneError, Result};
use crate::executor;
use crate::hint::{likely, unlikely};
use crate::scheduler::{CommandKey, LaneKey, OVERRUN_GRACE_NS};

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
    /// Runs on an executor of a handler instead of the runtime of the queue.
    hosted: bool,
}

/// What a runner begins with.
enum First {
    /// What it takes itself: it was armed.
    Armed,
    /// A command that somebody else has taken for it.
    Taken(Box<Taken>),
    /// An attempt that blocks another thread, and ends here without its help.
    Overrun(Box<Finished>),
}

impl Engine {
    /// Spawns runners that [`State::arm`] has counted. Called without the lock: a runtime that was shut down drops
    /// the task at once.
    pub(super) fn spawn_runners(self: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let runner = Runner {
                engine: Arc::clone(self),
                stage: Stage::Armed,
                hosted: false,
            };
            self.spawn(runner.run(First::Armed));
        }
    }

    /// Ends an attempt that blocks its thread past its time limit.
    pub(super) fn finish_overrun(self: &Arc<Self>, finished: Finished) {
        let runner = Runner {
            engine: Arc::clone(self),
            stage: Stage::Busy(finished.key, finished.run),
            hosted: false,
        };
        self.spawn(runner.run(First::Overrun(Box::new(finished))));
    }

    /// Has a command that was taken run where it must. Called without the lock.
    pub(super) fn hand_over(self: &Arc<Self>, mut taken: Taken) {
        let executor = taken.held.executor.take();
        let runner = Runner {
            engine: Arc::clone(self),
            stage: Stage::of(&taken.attempt),
            hosted: executor.is_some(),
        };
        let run = runner.run(First::Taken(Box::new(taken)));
        match executor {
            None => self.spawn(run),
            Some(executor) => {
                let runtime = self.runtime.get().and_then(Runtime::handle);
                executor::spawn(executor, run, runtime);
            }
        }
    }

    /// Ends a runner's being armed: it takes a command, if one can start.
    fn end_armed(
        self: &Arc<Self>,
        stage: &mut Stage,
        mut state: Locked<'_>,
        now: u64,
        hand: &mut Hand,
    ) {
        *stage = Stage::Done;
        state.armed -= 1;
        self.carry_on(stage, state, true, now, hand);
    }

    /// Tells of a start whoever watches how deep its lane is.
    #[inline]
    fn watch_start(&self, lane: &LaneInfo, key: LaneKey) {
        let depth = || self.lock().counts(key).pending;
        lane.observer.watch_depth_of(depth, &lane.id);
    }

    /// Makes a running attempt reachable. One that was told to stop before that is told again.
    pub(crate) fn attach(&self, attempt: &Attempt) {
        let cell = attempt.cell();
        if !cell.attach() {
            return;
        }
        let mut state = self.lock();
        let running = state.scheduler.running_attempt(attempt.key, attempt.run);
        let (abort, stop) = match running {
            None => (Some(Abort::Lost), None),
            Some(_) if state.closed.is_some() => (Some(Abort::Closed), None),
            Some(running) => (
                running.stop.filter(|_| running.drop).map(Abort::Stop),
                running.stop,
            ),
        };
        if abort.is_none()
            && let Some(job) = state.scheduler.job_mut(attempt.key)
        {
            job.cell = Some(Arc::clone(cell));
        }
        drop(state);
        if let Some(abort) = abort {
            cell.abort(abort);
        } else if let Some(reason) = stop {
            cell.ask(reason);
        }
    }
}

impl Runner {
    /// Runs commands until nothing can start.
    async fn run(mut self, first: First) {
        let engine = Arc::clone(&self.engine);
        // The runtime's tasks have one waker all their life. An executor drops a task when its last waker goes.
        let waker = match self.hosted {
            true => Waker::noop().clone(),
            false => poll_fn(|cx| Poll::Ready(cx.waker().clone())).await,
        };
        let mut hand = Hand::new(Arc::clone(&engine));
        match first {
            First::Armed => self.first_take(&mut hand),
            First::Taken(taken) => hand.put(*taken),
            First::Overrun(finished) => {
                let stage = &mut self.stage;
                let alone = engine.finish_in_group(stage, *finished, true, &mut hand);
                if let Some(alone) = alone {
                    Box::pin(engine.finish_awaited(stage, alone, true, &mut hand)).await;
                }
            }
        }
        loop {
            let mut streak = 0;
            let mut streak_since = hand.started_at();
            while !hand.is_empty() {
                let lane = &hand.context.current().lane;
                let must_await = lane.must_await();
                let is_plain =
                    !must_await && !self.hosted && !wants_spans() && !hand.held().timer_first;
                let run = if likely(is_plain) {
                    engine.watch_start(lane, hand.held().lane_key);
                    match attempt::begin(&*hand.held().work, &hand.context, &waker) {
                        Ok(result) => Run {
                            ended: Ended::Returned(result),
                            suspended: false,
                        },
                        Err(body) => attempt::go_on(body, &hand.context, &waker).await,
                    }
                } else {
                    execute(&engine, &mut hand, self.hosted).await
                };
                let now = engine.now();
                if unlikely(run.suspended) {
                    streak = 0;
                    streak_since = now;
                }
                streak += 1;
                let lasted = now.saturating_sub(streak_since);
                let has_budget = self.hosted || has_budget();
                let give_way = streak >= STREAK || lasted >= STREAK_NS || !has_budget;
                let (stage, take) = (&mut self.stage, !give_way);
                match run.ended {
                    Ended::Returned(Ok(value)) if likely(!must_await) => {
                        engine.finish_completed(stage, value, take, now, &mut hand);
                    }
                    ended if !must_await => {
                        let finished = ended_attempt(&mut hand, ended, now);
                        engine.finish(stage, finished, take, &mut hand);
                    }
                    ended => {
                        let finished = ended_attempt(&mut hand, ended, now);
                        let alone = engine.finish_in_group(stage, finished, take, &mut hand);
                        if let Some(alone) = alone {
                            Box::pin(engine.finish_awaited(stage, alone, take, &mut hand)).await;
                        }
                    }
                }
                if unlikely(give_way) {
                    if self.hosted {
                        queue_up().await;
                    } else {
                        yield_now().await;
                    }
                    self.first_take(&mut hand);
                    streak = 0;
                    streak_since = hand.started_at();
                }
            }
            if poll_fn(|cx| self.poll_rest(cx, &mut hand)).await.is_break() {
                return;
            }
        }
    }

    /// Waits to be armed again, and ends being armed; breaks when this runner must end instead.
    fn poll_rest(&mut self, cx: &Context<'_>, hand: &mut Hand) -> Poll<ControlFlow<()>> {
        if let Stage::Resting(rest) = self.stage {
            let now = self.engine.now();
            let mut state = self.engine.lock();
            return match &mut state.resting {
                Some(resting) if resting.rest == rest => {
                    resting.waker.clone_from(cx.waker());
                    Poll::Pending
                }
                _ => {
                    self.engine.end_armed(&mut self.stage, state, now, hand);
                    Poll::Ready(ControlFlow::Continue(()))
                }
            };
        }
        let mut state = self.engine.lock();
        if self.hosted || state.resting.is_some() || state.closed.is_some() || state.announced {
            return Poll::Ready(ControlFlow::Break(()));
        }
        state.rests += 1;
        let rest = state.rests;
        let waker = cx.waker().clone();
        state.resting = Some(RestingRunner { rest, waker });
        self.stage = Stage::Resting(rest);
        Poll::Pending
    }

    /// Ends being armed.
    fn first_take(&mut self, hand: &mut Hand) {
        let now = self.engine.now();
        self.engine
            .end_armed(&mut self.stage, self.engine.lock(), now, hand);
    }
}

/// Runs one attempt that somebody has to be told of before its body begins, or that may begin late.
async fn execute(engine: &Arc<Engine>, hand: &mut Hand, hosted: bool) -> Run {
    let submitted = hand.held_mut().map(|held| held.submitted.take());
    let held = hand.held();
    if held.timer_first {
        yield_now().await;
    }
    let attempt = hand.context.current();
    let (lane, extras) = (&attempt.lane, attempt.extras.as_deref());
    engine.watch_start(lane, held.lane_key);
    let must_await = lane.must_await();
    if must_await {
        let wait_ns = held.wait_ns;
        let sample = Sample::Started { wait_ns };
        engine.record_awaited(lane, held.lane_key, sample).await;
        engine
            .note_start(lane, attempt.key, extras, attempt.number)
            .await;
    }
    // Sooner nobody concludes a command without its body.
    let late = (hosted || held.timer_first || must_await)
        && engine.now().saturating_sub(attempt.started_at) >= OVERRUN_GRACE_NS;
    let name = || engine.name(attempt.key, extras);
    let work = &*held.work;
    let span = ExecuteSpan::new(&lane.id, name, work, attempt.number, submitted);
    let run = span
        .around(|| attempt::run(work, &hand.context, late))
        .await;
    span.end(matches!(run.ended, Ended::Returned(Ok(_))));
    run
}

/// Takes a command out of the hand whose attempt has ended.
#[inline(never)]
fn ended_attempt(hand: &mut Hand, ended: Ended, ended_at: u64) -> Finished {
    let Taken { attempt, held } = hand.pick().expect("a command is in hand");
    let (result, abandoned) = match ended {
        Ended::Returned(result) => (result, false),
        Ended::Aborted(abort) => abort_error(abort, &attempt),
    };
    Finished {
        key: attempt.key,
        lane_key: held.lane_key,
        lane: attempt.lane,
        run: attempt.run,
        attempt: attempt.number,
        work: Some(held.work),
        extras: attempt.extras,
        started_at: attempt.started_at,
        ended_at,
        result,
        abandoned,
    }
}

/// How an attempt ends whose body was dropped, and whether it does because the queue is gone.
fn abort_error(abort: Abort, attempt: &Attempt) -> (Result<Value>, bool) {
    match abort {
        Abort::Stop(reason) => {
            let limits = (attempt.timeout_ns, attempt.progress_ns);
            (Err(stop_error(reason, limits)), false)
        }
        Abort::Closed | Abort::Lost => {
            let reason = "the queue was closed while the command ran";
            (Err(LaneError::QueueError(reason.to_owned())), true)
        }
    }
}

/// The error of an attempt whose body was dropped. `limits` are its time limit and its longest time without a sign of
/// life.
pub(super) fn stop_error(reason: StopReason, limits: (Option<u64>, Option<u64>)) -> LaneError {
    let limit = |ns: Option<u64>| Duration::from_nanos(ns.unwrap_or_default());
    match reason {
        StopReason::Deadline => LaneError::Timeout(limit(limits.0)),
        StopReason::Stall => LaneError::Stalled(limit(limits.1)),
        StopReason::Cancel => LaneError::Cancelled("while it ran".to_owned()),
        StopReason::Preempt => {
            LaneError::Cancelled("to make room for a more urgent lane".to_owned())
        }
        StopReason::Shutdown => {
            LaneError::QueueError("the queue was shut down before the command ended".to_owned())
        }
    }
}

/// Goes to the end of the executor's queue. The runtime's own yield would wait for one of its workers where the executor's
/// thread is one.
async fn queue_up() {
    let mut queued = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether a command's first await is likely to get its turn: commands of one runner share its cooperative budget.
fn has_budget() -> bool {
    tokio::task::coop::has_budget_remaining()
}

impl Runner {
    /// Settles what an executor has dropped, not on this thread: an executor drops its tasks anywhere, also under a lock of the
    /// queue.
    fn leave_orphan(&self, command: Option<(CommandKey, u32)>) {
        let engine = Arc::clone(&self.engine);
        let orphan = Orphan { engine, command };
        self.engine.spawn(async move { drop(orphan) });
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let gone = "the runtime was shut down";
        let panicked = std::thread::panicking();
        match self.stage {
            Stage::Done => return,
            Stage::Armed if self.hosted => return self.leave_orphan(None),
            Stage::Armed => self.engine.lock().armed -= 1,
            Stage::Resting(rest) => {
                let mut state = self.engine.lock();
                let own = state.resting.take_if(|resting| resting.rest == rest);
                if own.is_none() {
                    state.armed -= 1;
                }
            }
            Stage::Busy(key, run) if self.hosted => return self.leave_orphan(Some((key, run))),
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

/// What the runner of an executor leaves that has dropped it: its command, or its being armed. Dropping this sees to that.
struct Orphan {
    engine: Arc<Engine>,
    command: Option<(CommandKey, u32)>,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        match self.command {
            Some((key, run)) => {
                let gone = "the executor of the command's handler is gone";
                let error = LaneError::QueueError(gone.to_owned());
                self.engine.give_up(key, run, error);
            }
            None => self.engine.lock().armed -= 1,
        }
        self.engine.release_lock(self.engine.lock());
        self.engine.check_quiet();
    }
}

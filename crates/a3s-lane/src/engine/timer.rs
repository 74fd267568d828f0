//! The task that waits for back-offs, time limits and rate limits. It exists only while there is something to wait for.

use std::sync::Arc;
use std::task::Waker;

use super::attempt::{Abort, AttemptCell};
use super::leave::{Departure, Leaving};
use super::runner::{RestingRunner, stop_error};
use super::settle::Finished;
use super::taken::Taken;
use super::{Engine, State};
use crate::command::StopReason;
use crate::scheduler::{CommandKey, Due};

/// Whether the timer task runs, and what it waits for.
#[derive(Debug, Default)]
pub(super) struct TimerState {
    running: bool,
    target: u64,
}

/// What must be done about the timer after the lock is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimerChange {
    None,
    Spawn,
    /// It waits for too late a time.
    Move,
}

/// What must be done after the lock is released.
#[must_use]
pub(super) struct FollowUp {
    /// Runners to spawn.
    runners: usize,
    /// The resting runner, which is armed now.
    wake: Option<Waker>,
    timer: TimerChange,
    /// Boxed, as all that few changes call for: it is made and handed on by every change.
    others: Option<Box<Others>>,
}

/// Commands that concern others than the runtime's runners.
#[derive(Default)]
struct Others {
    /// Running commands that must make room for more urgent ones.
    preempted: Vec<Asked>,
    /// Commands that were taken and must be handed to where they run.
    elsewhere: Vec<Taken>,
}

/// A running command that is to be told to stop, without the lock.
#[must_use]
pub(super) struct Asked {
    /// Absent before the body has suspended: it is told when it does.
    cell: Option<Arc<AttemptCell>>,
    reason: StopReason,
    drop: bool,
}

impl Asked {
    pub(super) fn tell(self) {
        let Some(cell) = self.cell else {
            return;
        };
        if self.drop {
            cell.abort(Abort::Stop(self.reason));
        } else {
            cell.ask(self.reason);
        }
    }
}

impl Others {
    fn boxed(self) -> Option<Box<Self>> {
        let is_nothing = self.preempted.is_empty() && self.elsewhere.is_empty();
        (!is_nothing).then(|| Box::new(self))
    }
}

impl FollowUp {
    const NOTHING: Self = Self {
        runners: 0,
        wake: None,
        timer: TimerChange::None,
        others: None,
    };

    fn is_nothing(&self) -> bool {
        self.runners == 0
            && self.wake.is_none()
            && self.timer == TimerChange::None
            && self.others.is_none()
    }

    /// Whether the timer task is about to learn of an earlier time.
    pub(super) fn concerns_timer(&self) -> bool {
        self.timer != TimerChange::None
    }

    /// Adds what a later count has found.
    fn add(&mut self, later: Self) {
        self.runners += later.runners;
        self.wake = self.wake.take().or(later.wake);
        if self.timer == TimerChange::None {
            self.timer = later.timer;
        }
        if let Some(later) = later.others {
            let others = self.others.get_or_insert_default();
            others.preempted.extend(later.preempted);
            others.elsewhere.extend(later.elsewhere);
        }
    }

    /// Adds commands that were taken before it was made.
    #[inline(always)]
    pub(super) fn hand_over_first(&mut self, elsewhere: Vec<Taken>) {
        if !elsewhere.is_empty() {
            let others = self.others.get_or_insert_default();
            others.elsewhere.splice(..0, elsewhere);
        }
    }
}

impl Engine {
    /// Counts the tasks that the present state calls for.
    #[inline(always)]
    pub(super) fn follow_up(self: &Arc<Self>, state: &mut State) -> FollowUp {
        let mut follow_up = self.count(state);
        if self.review_doors(state) {
            follow_up.add(self.count(state));
        }
        follow_up
    }

    /// Whether the present state calls for nothing, seen in a glance: mostly so, as what runs already takes what there is.
    #[inline]
    pub(super) fn calls_for_nothing(&self, state: &State) -> bool {
        state.wanted() == 0 && self.calls_for_runners_only(state)
    }

    /// Whether the present state calls for runners of the runtime at most.
    #[inline]
    pub(super) fn calls_for_runners_only(&self, state: &State) -> bool {
        state.needs_runners_only() && !self.handlers.has_executors() && self.has_doors_right(state)
    }

    #[inline(always)]
    fn count(self: &Arc<Self>, state: &mut State) -> FollowUp {
        // One that runs at an executor may be stuck behind a body that blocks its thread: with executors nothing is left to
        // those.
        if self.handlers.has_executors() || !state.needs_runners_only() {
            return self.count_tasks(state);
        }
        // Mostly none: what runs already takes what there is.
        if state.wanted() == 0 {
            return FollowUp::NOTHING;
        }
        state.count_runners()
    }

    #[inline(never)]
    fn count_tasks(self: &Arc<Self>, state: &mut State) -> FollowUp {
        let elsewhere = self.take_all(state);
        let preempted = if state.scheduler.may_preempt() && state.scheduler.startable() == 0 {
            state.preempt(self.now())
        } else {
            Vec::new()
        };
        let timer = match state.scheduler.next_wake() {
            Some(wake) if !state.timer.running && state.workers > 0 => {
                state.timer.running = true;
                state.timer.target = wake;
                TimerChange::Spawn
            }
            Some(wake) if state.timer.running && wake < state.timer.target => {
                state.timer.target = wake;
                TimerChange::Move
            }
            _ => TimerChange::None,
        };
        let others = Others {
            preempted,
            elsewhere,
        };
        FollowUp {
            timer,
            others: others.boxed(),
            ..state.count_runners()
        }
    }

    /// Does what [`follow_up`](Self::follow_up) found. Called without the lock.
    #[inline(always)]
    pub(super) fn act(self: &Arc<Self>, follow_up: FollowUp) {
        if !follow_up.is_nothing() {
            self.call_tasks(follow_up);
        }
    }

    #[inline(never)]
    fn call_tasks(self: &Arc<Self>, follow_up: FollowUp) {
        if let Some(runner) = follow_up.wake {
            runner.wake();
        }
        self.spawn_runners(follow_up.runners);
        if let Some(others) = follow_up.others {
            for taken in others.elsewhere {
                self.hand_over(taken);
            }
            for asked in others.preempted {
                asked.tell();
            }
        }
        match follow_up.timer {
            TimerChange::None => {}
            TimerChange::Move => self.timer_moved.notify_one(),
            TimerChange::Spawn => {
                let timer = Timer {
                    engine: Arc::clone(self),
                    done: false,
                };
                self.spawn(timer.run());
            }
        }
    }

    /// Handles everything that is due. Returns when the timer must call again, or `None` after which it must end.
    pub(super) fn tick(self: &Arc<Self>, now: u64) -> Option<u64> {
        let mut stop = Vec::new();
        let mut overrun = Vec::new();
        let mut expired: Vec<Leaving> = Vec::new();
        let mut state = self.lock();
        while let Some(due) = state.scheduler.tick(now) {
            match due {
                Due::Deadline(key) => stop.push(state.asked(key, StopReason::Deadline, true)),
                Due::Stalled(key) => stop.push(state.asked(key, StopReason::Stall, true)),
                Due::Drop(key, reason) => stop.push(state.asked(key, reason, true)),
                Due::Overrun(key, run) => overrun.extend(state.overrun(key, run, now)),
                Due::Expired(key, lane, job) => {
                    expired.push(state.leave(self, key, lane, job, Departure::Expired));
                }
            }
        }
        let elsewhere = self.take_all(&mut state);
        if state.scheduler.may_preempt() && state.scheduler.startable() == 0 {
            stop.extend(state.preempt(now));
        }
        let wake = state.scheduler.next_wake();
        state.timer.running = wake.is_some();
        state.timer.target = wake.unwrap_or_default();
        let mut follow_up = state.count_runners();
        follow_up.hand_over_first(elsewhere);
        drop(state);
        self.act(follow_up);
        for asked in stop {
            asked.tell();
        }
        if !expired.is_empty() {
            self.dismiss(expired);
        }
        for finished in overrun {
            self.finish_overrun(finished);
        }
        wake
    }
}

impl State {
    /// Whether no task but runners can be called for: nothing is due at any time, and nothing may be preempted.
    #[inline]
    fn needs_runners_only(&self) -> bool {
        !self.scheduler.may_preempt() && self.scheduler.next_wake().is_none()
    }

    /// Arms the runners that are wanted, the resting one first.
    #[inline(never)]
    fn count_runners(&mut self) -> FollowUp {
        let (wake, runners) = self.take_runners();
        FollowUp {
            runners,
            wake,
            ..FollowUp::NOTHING
        }
    }

    /// Arms the runners that are wanted: the resting one, which is to be woken, and so many that are to be spawned.
    #[inline]
    pub(super) fn take_runners(&mut self) -> (Option<Waker>, usize) {
        let wanted = self.arm();
        let resting = self.resting.take_if(|_| wanted > 0);
        let others = wanted - usize::from(resting.is_some());
        (resting.map(RestingRunner::into_waker), others)
    }

    /// Asks running commands to make room for more urgent ones that wait for nothing else.
    fn preempt(&mut self, now: u64) -> Vec<Asked> {
        let mut asked = Vec::new();
        while let Some((key, drop)) = self.scheduler.preempt(now) {
            asked.push(self.asked(key, StopReason::Preempt, drop));
        }
        asked
    }

    /// How to tell a running command that the scheduler has asked to stop.
    pub(super) fn asked(&mut self, key: CommandKey, reason: StopReason, drop: bool) -> Asked {
        let job = self.scheduler.job_mut(key);
        Asked {
            cell: job.and_then(|job| job.cell.clone()),
            reason,
            drop,
        }
    }

    /// An attempt that blocks its thread past its time limit: it ends without its help.
    fn overrun(&mut self, key: CommandKey, run: u32, now: u64) -> Option<Finished> {
        let running = self.scheduler.running_attempt(key, run)?;
        let job = self.scheduler.job_mut(key)?;
        let work = job.take_work(true);
        let extras = job.reply.extras().cloned();
        let reason = running.stop.unwrap_or(StopReason::Deadline);
        // It began before its lane was made preemptible, and only its body has the command: without the body's help it
        // could not run again.
        if work.is_none() && reason == StopReason::Preempt {
            return None;
        }
        let error = stop_error(reason, (running.timeout_ns, running.progress_ns));
        Some(Finished {
            key,
            lane_key: running.lane,
            lane: Arc::clone(&self.lanes[running.lane.index()]),
            run,
            attempt: running.attempt,
            work,
            extras,
            started_at: running.started_at,
            ended_at: now,
            result: Err(error),
            abandoned: false,
        })
    }
}

struct Timer {
    engine: Arc<Engine>,
    done: bool,
}

impl Timer {
    async fn run(mut self) {
        while let Some(wake) = self.engine.tick(self.engine.now()) {
            let moved = self.engine.timer_moved.notified();
            tokio::select! {
                biased;
                () = moved => {}
                () = self.engine.clock.sleep_until(wake) => {}
            }
        }
        self.done = true;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if !self.done {
            self.engine.lock().timer.running = false;
            self.engine.close("the runtime was shut down");
        }
    }
}

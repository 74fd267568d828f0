//! The task that waits for back-offs, time limits and rate limits. It exists only while there is something to wait for.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::attempt::Abort;
use super::runner::RestingRunner;
use super::settle::Finished;
use super::{Engine, State};
use crate::error::LaneError;
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
}

impl FollowUp {
    /// Whether the timer task is about to learn of an earlier time.
    pub(super) fn concerns_timer(&self) -> bool {
        self.timer != TimerChange::None
    }
}

impl Engine {
    /// Counts the tasks that the present state calls for.
    pub(super) fn follow_up(&self, state: &mut State) -> FollowUp {
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
        state.follow_up(timer)
    }

    /// Does what [`follow_up`](Self::follow_up) found. Called without the lock.
    pub(super) fn act(self: &Arc<Self>, follow_up: FollowUp) {
        if let Some(runner) = follow_up.wake {
            runner.wake();
        }
        self.spawn_runners(follow_up.runners);
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
        let mut state = self.lock();
        while let Some(due) = state.scheduler.tick(now) {
            match due {
                Due::Deadline(key) => {
                    stop.extend(
                        state
                            .scheduler
                            .job_mut(key)
                            .and_then(|job| job.cell.clone()),
                    );
                }
                Due::Overrun(key, attempt) => overrun.extend(state.overrun(key, attempt, now)),
            }
        }
        let wake = state.scheduler.next_wake();
        state.timer.running = wake.is_some();
        state.timer.target = wake.unwrap_or_default();
        let follow_up = state.follow_up(TimerChange::None);
        drop(state);
        self.act(follow_up);
        for cell in stop {
            cell.abort(Abort::Deadline);
        }
        for finished in overrun {
            self.finish_overrun(finished);
        }
        wake
    }
}

impl State {
    fn follow_up(&mut self, timer: TimerChange) -> FollowUp {
        let wanted = self.arm();
        let resting = self.resting.take_if(|_| wanted > 0);
        FollowUp {
            runners: wanted - usize::from(resting.is_some()),
            wake: resting.map(RestingRunner::into_waker),
            timer,
        }
    }

    /// An attempt that blocks its thread past its time limit: it ends without its help.
    fn overrun(&mut self, key: CommandKey, attempt: u32, now: u64) -> Option<Finished> {
        let running = self.scheduler.running_attempt(key, attempt)?;
        let work = self.scheduler.job_mut(key)?.take_work(true)?;
        let limit = running.timeout_ns.unwrap_or_default();
        Some(Finished {
            key,
            lane_key: running.lane,
            lane: Arc::clone(&self.lanes[running.lane.index()]),
            attempt,
            work,
            started_at: now.saturating_sub(limit),
            ended_at: now,
            result: Err(LaneError::Timeout(Duration::from_nanos(limit))),
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

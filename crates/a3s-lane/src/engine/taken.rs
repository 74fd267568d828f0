//! A command in a runner's hands, and what the runner owes.

use std::sync::{Arc, OnceLock};

use super::attempt;
use super::job::Work;
use super::observer::Sample;
use super::trace::SubmitSpan;
use super::{Engine, State};
use crate::context::Attempt;
use crate::event::What;
use crate::executor::{self, Executor};
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, LaneKey};

/// A command that a runner has taken and must run: it holds a slot.
pub(super) struct Taken {
    pub(super) attempt: Attempt,
    pub(super) lane_key: LaneKey,
    pub(super) work: Work,
    pub(super) wait_ns: u64,
    pub(super) submitted: SubmitSpan,
    /// The timer task was woken from this runner's thread, where tokio may run it only after this runner: let it
    /// run before the body, which may block the thread.
    pub(super) timer_first: bool,
    /// Where it must run, if not on the runtime of the queue.
    pub(super) executor: Option<Arc<dyn Executor>>,
}

impl Engine {
    /// Takes the most urgent command that may start now into `next`, where it stays: to move it costs more than to take
    /// it.
    #[inline(always)]
    pub(super) fn take(&self, state: &mut State, now: u64, next: &mut Option<Taken>) {
        while let Some(start) = state.scheduler.next(now)
            && let Some(job) = state.scheduler.job_mut(start.key)
        {
            // A handler at an executor may block its thread, as threads are there for: what it runs is shared, so that it can
            // be named and run again without the handler's help.
            let share = start.may_overlap || (self.handlers.has_executors() && job.needs_handler());
            let work = job.take_work(share);
            let submitted = job.span.take();
            let extras = job.reply.extras().cloned();
            if let Some(extras) = &extras {
                extras.handle.set_status(CommandStatus::Running);
            }
            let Some(work) = work else {
                debug_assert!(false, "a waiting job has its command");
                state.scheduler.abandon(start.key, start.run, now);
                continue;
            };
            let executor = self.executor_of(&work);
            let lane = &state.lanes[start.lane.index()];
            lane.room.freed();
            let wait_ns = start.wait_ns;
            let counts = || state.scheduler.lane(start.lane).counts;
            lane.observer.record(Sample::Started { wait_ns }, counts);
            self.emitter.report(|| {
                let kind = lane.kind(command_type(&work));
                let name = self.name(start.key, extras.as_deref());
                What::Started(Arc::clone(&lane.told), name, kind)
            });
            if start.relieved {
                self.emitter.report(|| What::Idle(Arc::clone(&lane.id)));
            }
            *next = Some(Taken {
                attempt: Attempt {
                    key: start.key,
                    run: start.run,
                    number: start.attempt,
                    lane: Arc::clone(lane),
                    started_at: now,
                    timeout_ns: start.timeout_ns,
                    progress_ns: start.progress_ns,
                    extras,
                    cell: OnceLock::new(),
                },
                lane_key: start.lane,
                work,
                wait_ns,
                submitted,
                timer_first: false,
                executor,
            });
            return;
        }
    }

    fn executor_of(&self, work: &Work) -> Option<Arc<dyn Executor>> {
        if !self.handlers.has_executors() || !work.needs_handler() {
            return None;
        }
        self.handlers.executor(command_type(work))
    }

    /// As [`take`](Self::take), for the executor of this thread; what others must run goes to `elsewhere`.
    pub(super) fn take_here(
        &self,
        state: &mut State,
        now: u64,
        next: &mut Option<Taken>,
        elsewhere: &mut Vec<Taken>,
    ) {
        self.take(state, now, next);
        if self.handlers.has_executors() {
            while let Some(taken) =
                next.take_if(|taken| !executor::is_current(taken.executor.as_ref()))
            {
                elsewhere.push(taken);
                self.take(state, now, next);
            }
        }
    }

    /// With executors: takes everything that can start, to hand it to them once the lock is released.
    pub(super) fn take_all(&self, state: &mut State) -> Vec<Taken> {
        let mut all = Vec::new();
        if self.handlers.has_executors() && state.scheduler.startable() > 0 {
            let now = self.now();
            all.extend(std::iter::from_fn(|| {
                let mut next = None;
                self.take(state, now, &mut next);
                next
            }));
        }
        all
    }
}

/// What a runner has to put right when its task is dropped or panics.
pub(super) enum Stage {
    /// Spawned, and has not taken a start.
    Armed,
    /// Runs a command.
    Busy(CommandKey, u32),
    /// Waits to be armed again; the number tells its rest from those of other runners.
    Resting(u64),
    /// Has left nothing undone.
    Done,
}

impl Stage {
    /// That of a runner that has this command.
    pub(super) fn of(taken: &Taken) -> Self {
        Self::Busy(taken.attempt.key, taken.attempt.run)
    }
}

/// The user's word for the kind of a command; empty when asking for it panics.
pub(super) fn command_type(work: &Work) -> &str {
    attempt::guarded(|| work.command_type()).unwrap_or_default()
}

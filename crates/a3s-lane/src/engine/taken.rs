//! A command in a runner's hands, and what the runner owes.

use std::sync::{Arc, OnceLock};

use super::attempt;
use super::job::Work;
use super::observer::Sample;
use super::trace::SubmitSpan;
use super::{Engine, State};
use crate::context::{Attempt, CommandContext};
use crate::event::What;
use crate::executor::{self, Executor};
use crate::handle::CommandStatus;
use crate::hint::unlikely;
use crate::scheduler::{CommandKey, LaneKey};

/// A command that was taken and must run: it holds a slot.
pub(super) struct Taken {
    pub(super) attempt: Attempt,
    pub(super) held: Held,
}

/// What a runner needs of a command beside its attempt.
pub(super) struct Held {
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

/// What a runner has in hand: the command that it runs. There it stays from when it is taken until it has ended, as to move it
/// would cost more than to take it.
pub(super) struct Hand {
    pub(super) context: CommandContext,
    held: Option<Held>,
}

impl Hand {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            context: CommandContext::new(engine),
            held: None,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    /// What belongs to its attempt. Only a hand that is not empty has it.
    #[inline]
    pub(super) fn held(&self) -> &Held {
        self.held.as_ref().expect("a command is in hand")
    }

    pub(super) fn held_mut(&mut self) -> Option<&mut Held> {
        self.held.as_mut()
    }

    /// Whether its command must run elsewhere.
    #[inline]
    pub(super) fn is_foreign(&self) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.executor.is_some())
    }

    /// When its command was taken; 0 without one.
    pub(super) fn started_at(&self) -> u64 {
        match self.is_empty() {
            true => 0,
            false => self.context.current().started_at,
        }
    }

    #[inline]
    fn fill(&mut self, attempt: Attempt, held: Held) {
        self.context.begin(attempt);
        self.held = Some(held);
    }

    pub(super) fn put(&mut self, taken: Taken) {
        self.fill(taken.attempt, taken.held);
    }

    /// Empties it.
    #[inline]
    pub(super) fn pick(&mut self) -> Option<Taken> {
        let (attempt, held) = (self.context.end()?, self.held.take()?);
        Some(Taken { attempt, held })
    }
}

impl Engine {
    /// Takes the most urgent command that may start now into an empty hand.
    #[inline(never)]
    pub(super) fn take(&self, state: &mut State, now: u64, hand: &mut Hand) {
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
            let executor = match unlikely(self.handlers.has_executors()) {
                true => self.executor_of(&work),
                false => None,
            };
            let lane = &state.lanes[start.lane.index()];
            state.to_wake.extend(lane.room.first());
            let wait_ns = start.wait_ns;
            let counts = || state.scheduler.lane(start.lane).counts;
            lane.observer.record(Sample::Started { wait_ns }, counts);
            self.emitter.report(|| {
                let kind = lane.kind(command_type(&work));
                let name = self.name(start.key, extras.as_deref());
                What::Started(Arc::clone(&lane.told), name, kind)
            });
            if unlikely(start.relieved) {
                self.emitter.report(|| What::Idle(Arc::clone(&lane.id)));
            }
            let attempt = Attempt {
                key: start.key,
                run: start.run,
                number: start.attempt,
                lane: Arc::clone(lane),
                started_at: now,
                timeout_ns: start.timeout_ns,
                progress_ns: start.progress_ns,
                extras,
                cell: OnceLock::new(),
            };
            let held = Held {
                lane_key: start.lane,
                work,
                wait_ns,
                submitted,
                timer_first: false,
                executor,
            };
            hand.fill(attempt, held);
            return;
        }
    }

    #[inline(never)]
    fn executor_of(&self, work: &Work) -> Option<Arc<dyn Executor>> {
        if !work.needs_handler() {
            return None;
        }
        self.handlers.executor(command_type(work))
    }

    /// As [`take`](Self::take), for the executor of this thread; what others must run goes to `elsewhere`.
    pub(super) fn take_here(
        &self,
        state: &mut State,
        now: u64,
        hand: &mut Hand,
        elsewhere: &mut Vec<Taken>,
    ) {
        self.take(state, now, hand);
        while !hand.is_empty() && !executor::is_current(hand.held().executor.as_ref()) {
            elsewhere.extend(hand.pick());
            self.take(state, now, hand);
        }
    }

    /// With executors: takes everything that can start, to hand it to them once the lock is released.
    pub(super) fn take_all(self: &Arc<Self>, state: &mut State) -> Vec<Taken> {
        let mut all = Vec::new();
        if self.handlers.has_executors() && state.scheduler.startable() > 0 {
            let now = self.now();
            let mut hand = Hand::new(Arc::clone(self));
            all.extend(std::iter::from_fn(|| {
                self.take(state, now, &mut hand);
                hand.pick()
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
    /// That of a runner that has ended a command: it has taken the next one, if any, or did not try and is armed again.
    #[inline]
    pub(super) fn go_on(&mut self, state: &mut State, tried: bool, hand: &Hand) {
        *self = if !hand.is_empty() {
            Self::of(hand.context.current())
        } else if tried {
            Self::Done
        } else {
            state.armed += 1;
            Self::Armed
        };
    }

    /// That of a runner that has this in hand.
    pub(super) fn of(attempt: &Attempt) -> Self {
        Self::Busy(attempt.key, attempt.run)
    }
}

/// The user's word for the kind of a command; empty when asking for it panics.
pub(super) fn command_type(work: &Work) -> &str {
    attempt::guarded(|| work.command_type()).unwrap_or_default()
}

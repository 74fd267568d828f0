//! What happens when an attempt has ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::attempt::drop_command;
use super::ends::Group;
use super::job::{Extras, Reply, Work};
use super::leave::Leaving;
use super::locked::Locked;
use super::observer::Sample;
use super::record;
use super::runner::stop_error;
use super::taken::{Hand, Stage, Taken, command_type};
use super::trace;
use super::{Engine, LaneInfo, State};
use crate::command::StopReason;
use crate::error::{LaneError, Result};
use crate::event::What;
use crate::executor::locks::Lock;
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, Ending, LaneKey, Released, Verdict};
use crate::shutdown::Leftover;
use crate::storage::{DeadLetterRecord, FailedAttempt};

/// An attempt that has ended.
pub(super) struct Finished {
    pub(super) key: CommandKey,
    pub(super) lane_key: LaneKey,
    pub(super) lane: Arc<LaneInfo>,
    pub(super) run: u32,
    pub(super) attempt: u32,
    /// Absent when the body still blocks its thread and nobody shares it.
    pub(super) work: Option<Work>,
    pub(super) extras: Option<Arc<Extras>>,
    pub(super) started_at: u64,
    pub(super) ended_at: u64,
    pub(super) result: Result<Value>,
    /// Stopped because the queue is gone: no retry, no dead letter, and a storage keeps the command.
    pub(super) abandoned: bool,
}

impl State {
    fn conclude(&mut self, finished: &Finished) -> Option<Verdict> {
        let ending = finished.ending(self);
        let random = self.draw();
        self.scheduler
            .conclude(finished.key, finished.run, ending, random)
    }

    /// Whether this attempt was asked to make room for a more urgent command.
    fn makes_room(&self, finished: &Finished) -> bool {
        let running = self.scheduler.running_attempt(finished.key, finished.run);
        running.is_some_and(|running| running.stop == Some(StopReason::Preempt))
    }
}

impl Finished {
    fn ending(&self, state: &State) -> Ending {
        match &self.result {
            Ok(_) => Ending::Completed,
            Err(_) if self.abandoned => Ending::Unrecoverable,
            // What made room for another has not failed: it would have run again.
            Err(_) if state.closed.is_some() && !state.makes_room(self) => Ending::Unrecoverable,
            Err(error) if error.is_unrecoverable_job() => Ending::Unrecoverable,
            Err(_) => Ending::Failed,
        }
    }

    fn run_ns(&self) -> u64 {
        self.ended_at.saturating_sub(self.started_at)
    }

    fn sample(&self, verdict: Verdict) -> Sample {
        let run_ns = self.run_ns();
        match (verdict, &self.result) {
            (Verdict::Retry { .. }, _) => Sample::Retried,
            (Verdict::Preempted, _) => Sample::Preempted,
            (Verdict::Cancelled, _) => Sample::Cancelled,
            (Verdict::Settle, Ok(_)) => Sample::Completed { run_ns },
            (Verdict::Settle, Err(error)) if error.is_timeout() => Sample::TimedOut { run_ns },
            (Verdict::Settle | Verdict::Withdrawn, _) => Sample::Failed { run_ns },
        }
    }

    /// The status of a command that leaves with this verdict.
    fn status(&self, verdict: Verdict) -> CommandStatus {
        match (verdict, &self.result) {
            (Verdict::Cancelled, _) => CommandStatus::Cancelled,
            (Verdict::Settle, Ok(_)) => CommandStatus::Completed,
            (Verdict::Settle, Err(error)) if error.is_timeout() => CommandStatus::TimedOut,
            _ => CommandStatus::Failed,
        }
    }

    /// What the submitter is told, where that is not the attempt's own result.
    fn overrule(&mut self, verdict: Verdict) {
        let reason = match verdict {
            Verdict::Cancelled => StopReason::Cancel,
            Verdict::Withdrawn => StopReason::Shutdown,
            Verdict::Settle | Verdict::Retry { .. } | Verdict::Preempted => return,
        };
        self.result = Err(stop_error(reason, (None, None)));
        self.abandoned |= verdict == Verdict::Withdrawn;
    }

    /// The record of a failed attempt.
    pub(super) fn failed_attempt(&self) -> Option<FailedAttempt> {
        let error = self.result.as_ref().err().filter(|_| !self.abandoned)?;
        Some(record::failure(self.attempt, error, self.run_ns()))
    }
}

/// An attempt that has ended, and what follows.
pub(super) struct Concluded {
    finished: Finished,
    verdict: Verdict,
}

/// What follows an attempt.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) letter: Option<Box<DeadLetterRecord>>,
}

/// A result on its way to its receiver. Dropping it sends it.
struct Answer {
    reply: Option<Reply>,
    result: Option<Result<Value>>,
    status: CommandStatus,
}

impl Answer {
    fn new(reply: Reply, result: Result<Value>, status: CommandStatus) -> Self {
        Self {
            reply: Some(reply),
            result: Some(result),
            status,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let (Some(reply), Some(result)) = (self.reply.take(), self.result.take()) {
            reply.send(result, self.status);
        }
    }
}

/// What is left to do after the slot is free.
pub(super) struct Settled<'a> {
    answer: Option<Answer>,
    lane: Arc<LaneInfo>,
    extras: Option<Arc<Extras>>,
    run_ns: u64,
    completed: bool,
    ended: Option<Sample>,
    work: Option<Work>,
    guard: Settling<'a>,
}

/// A command whose attempt has ended and whose receiver, if it has left the scheduler, is not resolved yet.
struct Settling<'a> {
    engine: &'a Engine,
    /// It has left.
    left: bool,
    /// Nothing follows in this runner: look whether the queue is empty, or idle, now.
    last: bool,
}

impl<'a> Settling<'a> {
    /// Of a command that is about to leave.
    fn not_yet(engine: &'a Engine) -> Self {
        Self {
            engine,
            left: false,
            last: false,
        }
    }

    /// It leaves. Called under the lock.
    fn begin(&mut self) {
        self.engine.settling.fetch_add(1, Ordering::SeqCst);
        self.left = true;
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        if self.left {
            self.engine.settling.fetch_sub(1, Ordering::SeqCst);
        }
        if self.last {
            self.engine.check_quiet();
        }
    }
}

impl Settled<'_> {
    /// Tells the telemetry of a command that has settled.
    #[inline(always)]
    pub(super) fn trace(&self) {
        trace::settled(&self.lane.id, self.completed, self.run_ns);
    }

    /// Resolves the receiver.
    #[inline(always)]
    pub(super) fn resolve(mut self) {
        if self.completed {
            self.lane.observer.watch_latency(&self.lane.id, self.run_ns);
        }
        drop(self.answer.take());
        drop_command(self.work.take(), &self.lane.id);
        drop(self.guard);
    }
}

impl Engine {
    /// Ends the attempt in hand, which has completed, in a lane that has nobody to wait for: what most attempts come to. As
    /// [`finish`](Self::finish) otherwise.
    #[inline(always)]
    pub(super) fn finish_completed(
        self: &Arc<Self>,
        stage: &mut Stage,
        value: Value,
        take: bool,
        now: u64,
        hand: &mut Hand,
    ) {
        let Some(Taken { attempt, held }) = hand.pick() else {
            debug_assert!(false, "a command is in hand");
            return;
        };
        let (key, lane) = (attempt.key, attempt.lane);
        let run_ns = now.saturating_sub(attempt.started_at);
        // What else is dropped waits until the receiver is told: it may wait for that.
        let _lock = Lock::taken();
        // Should anything panic, these are dropped after the lock: the receiver is the user's, and is told all the same.
        let mut settling = Settling::not_yet(self);
        let answer;
        let mut state = self.lock();
        let Some(job) = state.scheduler.complete(key, attempt.run, now) else {
            return self.finish_gone(stage, state, (held.work, lane), take, hand);
        };
        settling.begin();
        let reply = job.into_waiter();
        state.forget(key, reply.extras());
        answer = Answer::new(reply, Ok(value), CommandStatus::Completed);
        self.emitter.report(|| {
            let name = self.name(key, attempt.extras.as_deref());
            What::Completed(Arc::clone(&lane.told), name)
        });
        let sample = Sample::Completed { run_ns };
        lane.observer.record(sample, || state.counts(held.lane_key));
        self.carry_on(stage, state, take, now, hand);
        settling.last = hand.is_empty();
        trace::settled(&lane.id, true, run_ns);
        lane.observer.watch_latency(&lane.id, run_ns);
        drop(answer);
        drop_command(held.work, &lane.id);
        drop(settling);
    }

    /// Ends an attempt that somebody else has concluded.
    #[cold]
    fn finish_gone(
        self: &Arc<Self>,
        stage: &mut Stage,
        state: Locked<'_>,
        (work, lane): (impl Sized, Arc<LaneInfo>),
        take: bool,
        hand: &mut Hand,
    ) {
        drop(state);
        drop_command(work, &lane.id);
        let now = self.now();
        self.carry_on(stage, self.lock(), take, now, hand);
    }

    /// Ends an attempt of a lane that has nobody to wait for. With `take` the next command for this runner comes into its hand;
    /// without it the runner counts as armed again. `stage` says so from the moment when the slot is free.
    #[inline(never)]
    pub(super) fn finish(
        self: &Arc<Self>,
        stage: &mut Stage,
        mut finished: Finished,
        take: bool,
        hand: &mut Hand,
    ) {
        let now = finished.ended_at;
        let mut state = self.lock();
        let Some(verdict) = state.conclude(&finished) else {
            let body = (finished.work, finished.lane);
            return self.finish_gone(stage, state, body, take, hand);
        };
        finished.overrule(verdict);
        let mut letter = None;
        if finished.result.is_err() && self.dlq.is_some() {
            drop(state);
            letter = self.dead_letter(&finished, verdict);
            state = self.lock();
        }
        let outcome = Outcome { verdict, letter };
        self.release(stage, state, finished, outcome, take, now, hand)
            .resolve();
    }

    /// As [`finish`](Self::finish), for a lane that has somebody to wait for. A command that has completed, and has only its
    /// storage to wait for, goes to a group. Another comes back, for [`finish_awaited`](Self::finish_awaited).
    pub(super) fn finish_in_group(
        self: &Arc<Self>,
        stage: &mut Stage,
        mut finished: Finished,
        take: bool,
        hand: &mut Hand,
    ) -> Option<Box<Concluded>> {
        let mut state = self.lock();
        let Some(verdict) = state.conclude(&finished) else {
            let body = (finished.work, finished.lane);
            self.finish_gone(stage, state, body, take, hand);
            return None;
        };
        let lane = &finished.lane;
        // With one command that runs, none completes at about the same time: a task for both would be a detour.
        let is_alone = lane.storage.is_none()
            || lane.observer.must_await()
            || state.scheduler.overview().active == 1;
        if is_alone || verdict != Verdict::Settle || finished.result.is_err() {
            drop(state);
            finished.overrule(verdict);
            return Some(Box::new(Concluded { finished, verdict }));
        }
        state.depart_ended(&finished);
        let now = finished.ended_at;
        // Made at once: should what follows panic, its drop sees to them.
        let group = self.ends.add(finished).then(|| Group::of(self));
        self.carry_on(stage, state, take, now, hand);
        if let Some(group) = group {
            self.spawn(group.run());
        }
        None
    }

    /// Ends an attempt that its verdict is known of: tells the storage before the slot is free, and the observers before the
    /// receiver.
    pub(super) async fn finish_awaited(
        self: &Arc<Self>,
        stage: &mut Stage,
        concluded: Box<Concluded>,
        take: bool,
        hand: &mut Hand,
    ) {
        let Concluded { finished, verdict } = *concluded;
        let told = self.note_end(&finished, verdict).await;
        if told.settled && self.has_untold.load(Ordering::Relaxed) {
            self.tell_untold_soon();
        }
        let (letter, removed) = (told.letter, told.removed);
        let buried = letter.is_some();
        let name = self.name(finished.key, finished.extras.as_deref());
        let kind = match verdict {
            // It may be cancelled before it is back in its lane.
            Verdict::Retry { .. } | Verdict::Preempted => {
                finished.work.as_ref().map_or("", command_type).to_owned()
            }
            _ => String::new(),
        };
        let (lane, key, sample) = (
            Arc::clone(&finished.lane),
            finished.lane_key,
            finished.sample(verdict),
        );
        let settled = self.release(
            stage,
            self.lock(),
            finished,
            Outcome { verdict, letter },
            take,
            self.now(),
            hand,
        );
        self.end_told(removed);
        if matches!(settled.ended, Some(Sample::Cancelled)) {
            Box::pin(self.note_cancelled(&lane, name, &kind)).await;
        }
        self.record_awaited(&lane, key, sample).await;
        if let Some(ended) = settled.ended {
            self.record_awaited(&lane, key, ended).await;
        }
        if buried {
            self.record_awaited(&lane, key, Sample::DeadLettered).await;
        }
        settled.resolve();
    }

    /// Sends the event of an attempt's end. Called under the lock: events come in the order of what they tell.
    fn tell(&self, finished: &Finished, verdict: Verdict) {
        let lane = || Arc::clone(&finished.lane.told);
        let name = || self.name(finished.key, finished.extras.as_deref());
        self.emitter.report(|| match (verdict, &finished.result) {
            (Verdict::Retry { attempt }, _) => What::Retry(lane(), name(), attempt),
            (Verdict::Preempted, _) => What::Preempted(lane(), name()),
            (Verdict::Cancelled, _) => What::Cancelled(lane(), name(), "while it ran".into()),
            (_, Ok(_)) => What::Completed(lane(), name()),
            (_, Err(error)) if error.is_timeout() => {
                What::Timeout(lane(), name(), error.to_string().into())
            }
            (_, Err(error)) => What::Failed(lane(), name(), error.to_string().into()),
        });
    }

    /// Settles a command whose runner is gone, if the runner has not done so.
    pub(super) fn give_up(self: &Arc<Self>, key: CommandKey, run: u32, error: LaneError) {
        let now = self.now();
        let mut state = self.lock();
        let Some((lane_key, mut job)) = state.scheduler.abandon(key, run, now) else {
            return;
        };
        state.forget(key, job.reply.extras());
        let lane = Arc::clone(&state.lanes[lane_key.index()]);
        state.depart(self, &lane, key, &mut job);
        lane.observer
            .record(Sample::Failed { run_ns: 0 }, || state.counts(lane_key));
        let failed = Leaving::failed(self, key, (lane_key, &lane), job, error);
        failed.report(self);
        self.settling.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.dismiss_failed([failed]);
    }

    /// Frees the slot, carries out the verdict and takes the next command.
    #[expect(
        clippy::too_many_arguments,
        reason = "one part of an end, with two callers"
    )]
    #[inline(always)]
    fn release<'a>(
        self: &'a Arc<Self>,
        stage: &mut Stage,
        mut state: Locked<'_>,
        finished: Finished,
        outcome: Outcome,
        take: bool,
        now: u64,
        hand: &mut Hand,
    ) -> Settled<'a> {
        let verdict = outcome.verdict;
        let key = finished.key;
        let mut settled = self.free(&mut state, finished, outcome, now);
        self.carry_on(stage, state, take, now, hand);
        settled.guard.last = hand.is_empty();
        if !settled.guard.left && settled.guard.last {
            // A queue that ends waits for what runs, and this one does not run any more.
            self.check_quiet();
        }
        match verdict {
            Verdict::Retry { attempt } => {
                let name = self.name(key, settled.extras.as_deref());
                trace::retried(&settled.lane.id, &name, attempt);
            }
            Verdict::Preempted | Verdict::Cancelled => {}
            Verdict::Settle | Verdict::Withdrawn => settled.trace(),
        }
        if let Some(Sample::Failed { run_ns }) = settled.ended {
            trace::settled(&settled.lane.id, false, run_ns);
        }
        settled
    }

    /// Frees the slot and carries out the verdict. Called under the lock.
    #[inline(always)]
    pub(super) fn free<'a>(
        self: &'a Arc<Self>,
        state: &mut State,
        finished: Finished,
        Outcome { verdict, letter }: Outcome,
        now: u64,
    ) -> Settled<'a> {
        let sample = finished.sample(verdict);
        let status = finished.status(verdict);
        let run_ns = finished.run_ns();
        let buried = letter.is_some();
        if let Some(letter) = letter {
            let name = || self.name(finished.key, finished.extras.as_deref());
            self.bury(&finished.lane, name, letter);
        }
        self.tell(&finished, verdict);
        let Finished {
            key,
            lane_key,
            lane,
            run,
            attempt,
            work,
            extras,
            result,
            ..
        } = finished;
        if verdict == Verdict::Withdrawn
            && let Some(withdrawn) = &mut state.withdrawn
        {
            withdrawn.push(Leftover {
                command_id: self.name(key, extras.as_deref()).to_string(),
                command_type: work.as_ref().map_or("", command_type).to_owned(),
                lane_id: lane.id.to_string(),
                attempts: attempt.saturating_sub(1),
            });
        }
        let completed = result.is_ok();
        let mut work = work;
        if verdict.requeues()
            && let Some(job) = state.scheduler.job_mut(key)
        {
            job.return_work(work.take());
        }
        // A queue that was closed since the verdict keeps nothing for a retry.
        let closed = state.closed.filter(|_| verdict.requeues());
        // How a command ends all the same that would have run again.
        let mut ended = closed.map(|_| Sample::Failed { run_ns });
        let answer = match closed {
            Some(reason) => {
                let job = state.scheduler.abandon(key, run, now);
                let error = LaneError::QueueError(reason.to_owned());
                self.emitter.report(|| {
                    let error = error.to_string().into();
                    What::Failed(
                        Arc::clone(&lane.id),
                        self.name(key, extras.as_deref()),
                        error,
                    )
                });
                job.map(|(_, job)| {
                    let reply = job.into_reply(&mut work);
                    Answer::new(reply, Err(error), CommandStatus::Failed)
                })
            }
            None => match state.scheduler.release(key, now) {
                Released::Left(job) => Some(Answer::new(job.into_waiter(), result, status)),
                Released::CancelledLate(mut job) => {
                    ended = Some(Sample::Cancelled);
                    state.depart(self, &lane, key, &mut job);
                    self.emitter.report(|| {
                        let name = self.name(key, extras.as_deref());
                        What::Cancelled(
                            Arc::clone(&lane.id),
                            name,
                            "before its next attempt".into(),
                        )
                    });
                    let error = LaneError::Cancelled("before its next attempt".to_owned());
                    let reply = job.into_reply(&mut work);
                    Some(Answer::new(reply, Err(error), CommandStatus::Cancelled))
                }
                Released::Requeued => {
                    // Somebody may have asked for a handle since the attempt began.
                    let command = state.scheduler.command(key);
                    if let Some(command) = command
                        && let Some(extras) = command.job.reply.extras()
                    {
                        extras.handle.set_status(if command.delayed {
                            CommandStatus::Delayed
                        } else {
                            CommandStatus::Pending
                        });
                    }
                    None
                }
            },
        };
        let counts = state.counts(lane_key);
        lane.observer.record(sample, || counts);
        if let Some(ended) = ended {
            lane.observer.record(ended, || counts);
        }
        if buried {
            lane.observer.record(Sample::DeadLettered, || counts);
        }
        let mut guard = Settling::not_yet(self);
        if let Some(answer) = &answer {
            state.forget(key, answer.reply.as_ref().and_then(Reply::extras));
            guard.begin();
        }
        Settled {
            answer,
            lane,
            extras,
            run_ns,
            completed,
            ended,
            work,
            guard,
        }
    }
}

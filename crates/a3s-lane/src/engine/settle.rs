//! What happens when an attempt has ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Utc;
use serde_json::Value;

use super::attempt;
use super::job::{Reply, Work};
use super::observer::Sample;
use super::sync::MutexGuard;
use super::taken::{Stage, Taken, command_type};
use super::trace;
use super::{Engine, LaneInfo, State};
use crate::dlq::DeadLetter;
use crate::error::{LaneError, Result};
use crate::event::What;
use crate::scheduler::{CommandKey, Ending, LaneKey, Released, Verdict};
use crate::storage::{Storage, StoredDeadLetter};

/// An attempt that has ended.
pub(super) struct Finished {
    pub(super) key: CommandKey,
    pub(super) lane_key: LaneKey,
    pub(super) lane: Arc<LaneInfo>,
    pub(super) attempt: u32,
    pub(super) work: Work,
    pub(super) started_at: u64,
    pub(super) ended_at: u64,
    pub(super) result: Result<Value>,
    /// Stopped because the queue is gone: no retry, no dead letter, and a storage keeps the command.
    pub(super) abandoned: bool,
}

impl Finished {
    fn ending(&self, state: &State) -> Ending {
        match &self.result {
            Ok(_) => Ending::Completed,
            Err(error) if error.is_unrecoverable_job() => Ending::Unrecoverable,
            Err(_) if self.abandoned || state.closed.is_some() => Ending::Unrecoverable,
            Err(_) => Ending::Failed,
        }
    }

    fn run_ns(&self) -> u64 {
        self.ended_at.saturating_sub(self.started_at)
    }

    /// Drops an attempt that somebody else has concluded.
    fn discard(self) {
        drop_command(self.work, &self.lane.id);
    }

    fn sample(&self, verdict: Verdict) -> Sample {
        let run_ns = self.run_ns();
        match (&self.result, verdict) {
            (_, Verdict::Retry { .. }) => Sample::Retried,
            (Ok(_), _) => Sample::Completed { run_ns },
            (Err(LaneError::Timeout(_)), _) => Sample::TimedOut { run_ns },
            (Err(_), _) => Sample::Failed { run_ns },
        }
    }

    /// The error of a command that failed for good.
    fn failure(&self, verdict: Verdict) -> Option<&LaneError> {
        match (verdict, &self.result) {
            (Verdict::Settle, Err(error)) => Some(error),
            _ => None,
        }
    }
}

/// What follows an attempt.
struct Outcome {
    verdict: Verdict,
    letter: Option<DeadLetter>,
}

/// Drops a command, or whatever holds one. Its destructor is the user's code: a panic there is logged.
pub(super) fn drop_command<T>(command: T, lane: &str) {
    if let Err(panic) = attempt::guarded(|| drop(command)) {
        tracing::error!(lane_id = lane, %panic, "a command's destructor panicked");
    }
}

/// A result on its way to its receiver. Dropping it sends it.
struct Answer {
    reply: Option<Reply>,
    result: Option<Result<Value>>,
}

impl Answer {
    fn new(reply: Reply, result: Result<Value>) -> Self {
        Self {
            reply: Some(reply),
            result: Some(result),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let (Some(reply), Some(result)) = (self.reply.take(), self.result.take()) {
            reply.send(result);
        }
    }
}

/// What is left to do after the slot is free.
pub(super) struct Settled<'a> {
    answer: Option<Answer>,
    lane: Arc<LaneInfo>,
    run_ns: u64,
    completed: bool,
    work: Option<Work>,
    /// The next command for this runner.
    pub(super) next: Option<Taken>,
    guard: Option<Settling<'a>>,
}

/// A command that has left the scheduler and whose receiver is not resolved yet.
struct Settling<'a> {
    engine: &'a Engine,
    /// Nothing follows in this runner: look whether the queue is empty now.
    last: bool,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.engine.settling.fetch_sub(1, Ordering::SeqCst);
        if self.last {
            self.engine.check_quiet();
        }
    }
}

impl Settled<'_> {
    /// Resolves the receiver and hands over the next command.
    fn resolve(mut self) -> Option<Taken> {
        if self.completed {
            self.lane.observer.watch_latency(&self.lane.id, self.run_ns);
        }
        drop(self.answer.take());
        drop_command(self.work.take(), &self.lane.id);
        drop(self.guard);
        self.next
    }
}

impl Engine {
    /// Ends an attempt of a lane that has nobody to wait for. With `take` the next command for this runner comes back;
    /// without it the runner counts as armed again. `stage` says so from the moment when the slot is free.
    pub(super) fn finish(
        self: &Arc<Self>,
        stage: &mut Stage,
        finished: Finished,
        take: bool,
    ) -> Option<Taken> {
        let now = finished.ended_at;
        let mut state = self.lock();
        let ending = finished.ending(&state);
        let Some(verdict) = state
            .scheduler
            .conclude(finished.key, finished.attempt, ending)
        else {
            drop(state);
            finished.discard();
            return self.carry_on(stage, self.lock(), take, now);
        };
        let mut letter = None;
        if finished.failure(verdict).is_some() && self.dlq.is_some() {
            drop(state);
            letter = self.dead_letter(&finished, verdict);
            state = self.lock();
        }
        self.release(
            stage,
            state,
            finished,
            Outcome { verdict, letter },
            take,
            now,
        )
        .resolve()
    }

    /// As [`finish`](Self::finish), for a lane that has somebody to wait for: the storage before the slot is free, the
    /// observers before the receiver.
    pub(super) async fn finish_awaited(
        self: &Arc<Self>,
        stage: &mut Stage,
        finished: Finished,
        take: bool,
    ) -> Option<Taken> {
        let concluded = {
            let mut state = self.lock();
            let ending = finished.ending(&state);
            state
                .scheduler
                .conclude(finished.key, finished.attempt, ending)
        };
        let Some(verdict) = concluded else {
            finished.discard();
            return self.carry_on(stage, self.lock(), take, self.now());
        };
        let letter = self.dead_letter(&finished, verdict);
        let buried = letter.is_some();
        if let (Some(storage), Verdict::Settle, false) =
            (&finished.lane.storage, verdict, finished.abandoned)
        {
            self.unstore(&**storage, &finished, letter.as_ref()).await;
        }
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
        );
        self.record_awaited(&lane, key, sample).await;
        if buried {
            self.record_awaited(&lane, key, Sample::DeadLettered).await;
        }
        settled.resolve()
    }

    /// The dead letter of a command that failed for good, when the queue keeps them.
    fn dead_letter(&self, finished: &Finished, verdict: Verdict) -> Option<DeadLetter> {
        let error = finished.failure(verdict)?;
        self.dlq.as_ref().filter(|_| !finished.abandoned)?;
        Some(DeadLetter {
            command_id: self.name(finished.key).to_string(),
            command_type: command_type(&finished.work).to_owned(),
            lane_id: finished.lane.id.to_string(),
            error: error.to_string(),
            attempts: finished.attempt,
            failed_at: Utc::now(),
        })
    }

    /// Keeps a dead letter.
    fn bury(&self, finished: &Finished, letter: DeadLetter) {
        self.emitter.report(|| {
            let kind = letter.command_type.as_str().into();
            What::DeadLettered(Arc::clone(&finished.lane.id), self.name(finished.key), kind)
        });
        if let Some(dlq) = &self.dlq {
            dlq.push_now(letter);
        }
    }

    /// Sends the event of an attempt's end. Called under the lock: events come in the order of what they tell.
    fn tell(&self, finished: &Finished, verdict: Verdict) {
        let lane = || Arc::clone(&finished.lane.id);
        let name = self.name(finished.key);
        self.emitter.report(|| match (verdict, &finished.result) {
            (Verdict::Retry { attempt }, _) => What::Retry(lane(), name, attempt),
            (Verdict::Settle, Ok(_)) => What::Completed(lane(), name),
            (Verdict::Settle, Err(error @ LaneError::Timeout(_))) => {
                What::Timeout(lane(), name, error.to_string().into())
            }
            (Verdict::Settle, Err(error)) => What::Failed(lane(), name, error.to_string().into()),
        });
    }

    /// Takes a settled command out of its lane's storage. The result goes to the submitter whatever the storage
    /// says: a command that stays stored runs once more after a restart.
    async fn unstore(
        &self,
        storage: &dyn Storage,
        finished: &Finished,
        letter: Option<&DeadLetter>,
    ) {
        let id = self.name(finished.key).to_string();
        if let Some(letter) = letter {
            let letter = StoredDeadLetter {
                command_id: letter.command_id.clone(),
                command_type: letter.command_type.clone(),
                lane_id: letter.lane_id.clone(),
                error: letter.error.clone(),
                attempts: letter.attempts,
                failed_at: letter.failed_at,
            };
            if let Err(error) = storage.save_dead_letter(letter).await {
                tracing::error!(command_id = %id, %error, "failed to store a dead letter");
            }
        }
        if let Err(error) = storage.remove_command(&id).await {
            tracing::error!(command_id = %id, %error, "failed to remove a settled command from storage");
        }
    }

    /// Settles a command whose runner is gone, if the runner has not done so.
    pub(super) fn give_up(&self, key: CommandKey, attempt: u32, error: LaneError) {
        let now = self.now();
        let mut state = self.lock();
        let Some((lane_key, job)) = state.scheduler.abandon(key, attempt, now) else {
            return;
        };
        let lane = Arc::clone(&state.lanes[lane_key.index()]);
        lane.observer
            .record(Sample::Failed { run_ns: 0 }, state.counts(lane_key));
        self.emitter.report(|| {
            What::Failed(
                Arc::clone(&lane.id),
                self.name(key),
                error.to_string().into(),
            )
        });
        self.settling.fetch_add(1, Ordering::SeqCst);
        drop(state);
        let mut work = None;
        job.into_reply(&mut work).send(Err(error));
        drop_command(work, &lane.id);
        self.settling.fetch_sub(1, Ordering::SeqCst);
    }

    /// Frees the slot, carries out the verdict and takes the next command.
    fn release<'a>(
        self: &'a Arc<Self>,
        stage: &mut Stage,
        mut state: MutexGuard<'_, State>,
        finished: Finished,
        Outcome { verdict, letter }: Outcome,
        take: bool,
        now: u64,
    ) -> Settled<'a> {
        let sample = finished.sample(verdict);
        let run_ns = finished.run_ns();
        let buried = letter.is_some();
        if let Some(letter) = letter {
            self.bury(&finished, letter);
        }
        self.tell(&finished, verdict);
        let Finished {
            key,
            lane_key,
            lane,
            attempt,
            work,
            result,
            ..
        } = finished;
        let completed = result.is_ok();
        let mut work = Some(work);
        if let (Verdict::Retry { .. }, Some(job)) = (verdict, state.scheduler.job_mut(key)) {
            job.return_work(work.take());
        }
        // A queue that was closed since the verdict keeps nothing for a retry.
        let closed = state.closed.filter(|_| verdict != Verdict::Settle);
        let answer = match closed {
            Some(reason) => {
                let job = state.scheduler.abandon(key, attempt, now);
                let error = LaneError::QueueError(reason.to_owned());
                self.emitter.report(|| {
                    let error = error.to_string().into();
                    What::Failed(Arc::clone(&lane.id), self.name(key), error)
                });
                job.map(|(_, job)| Answer::new(job.into_reply(&mut work), Err(error)))
            }
            None => match state.scheduler.release(key, now) {
                Released::Settled(job) => Some(Answer::new(job.reply, result)),
                Released::Requeued => None,
            },
        };
        let counts = state.counts(lane_key);
        lane.observer.record(sample, counts);
        if buried {
            lane.observer.record(Sample::DeadLettered, counts);
        }
        if answer.is_some() {
            self.settling.fetch_add(1, Ordering::SeqCst);
        }
        let next = self.carry_on(stage, state, take, now);
        match verdict {
            Verdict::Retry { attempt } => trace::retried(&lane.id, self.name(key), attempt),
            Verdict::Settle => trace::settled(&lane.id, completed, run_ns),
        }
        let guard = answer.is_some().then(|| Settling {
            engine: self,
            last: next.is_none(),
        });
        Settled {
            answer,
            lane,
            run_ns,
            completed,
            work,
            next,
            guard,
        }
    }

    /// Takes the next command for a runner, or arms the runner again, and releases the lock.
    fn carry_on(
        self: &Arc<Self>,
        stage: &mut Stage,
        mut state: MutexGuard<'_, State>,
        take: bool,
        now: u64,
    ) -> Option<Taken> {
        let mut next = if take {
            self.take(&mut state, now)
        } else {
            None
        };
        *stage = match &next {
            Some(next) => Stage::Busy(next.key, next.attempt),
            None if take => Stage::Done,
            None => {
                state.armed += 1;
                Stage::Armed
            }
        };
        let follow_up = self.follow_up(&mut state);
        if let Some(next) = &mut next {
            next.timer_first = follow_up.concerns_timer();
        }
        drop(state);
        self.act(follow_up);
        next
    }
}

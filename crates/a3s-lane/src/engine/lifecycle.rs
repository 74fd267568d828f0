//! Start, shutdown, drain, and the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempt::Abort;
use super::leave::Leaving;
use super::observer::Sample;
use super::sync::{self, Runtime};
use super::{Engine, State};
use crate::command::StopReason;
use crate::error::{LaneError, Result};
use crate::event::What;
use crate::scheduler::{CommandKey, Overview, Stopped};
use crate::shutdown::{Leftover, ShutdownReport};

impl State {
    /// Every command that holds a slot.
    fn running(&self) -> Vec<CommandKey> {
        let running = self.scheduler.commands();
        let running = running.filter(|command| command.holds_slot);
        running.map(|command| command.key).collect()
    }

    /// Nothing runs, and nobody waits for a result, or for a submission, that is on its way.
    fn is_idle(&self, engine: &Engine) -> bool {
        self.scheduler.overview().active == 0
            && self.admitting == 0
            && engine.settling.load(Ordering::SeqCst) == 0
    }

    fn is_quiet(&self, engine: &Engine) -> bool {
        let Overview {
            pending, active, ..
        } = self.scheduler.overview();
        pending + active == 0
            && self.admitting == 0
            && !self.announcing
            && engine.settling.load(Ordering::SeqCst) == 0
    }
}

/// Makes those that may have emptied the queue look whether they did. Made before the own look: either that look sees
/// what they have done, or they see this.
struct QuietWait<'a>(&'a Engine);

impl<'a> QuietWait<'a> {
    fn new(engine: &'a Engine) -> Self {
        engine.quiet_waits.fetch_add(1, Ordering::SeqCst);
        Self(engine)
    }

    /// Keeps them looking for ever: the queue ends.
    fn forever(self) {
        std::mem::forget(self);
    }
}

impl Drop for QuietWait<'_> {
    fn drop(&mut self) {
        self.0.quiet_waits.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine {
    /// Lets commands run, on the current runtime. Calls after the first, or after the end, change nothing.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(self: &Arc<Self>) {
        let runtime = Runtime::current();
        let mut state = self.lock();
        // What was closed, or is about to be by an orderly shutdown, starts nothing again.
        if state.scheduler.overview().open || state.closed.is_some() || state.withdrawn.is_some() {
            return;
        }
        state.workers = self.runtime.get_or_init(|| runtime).workers;
        if state.kept.restored {
            // What was stored came before what was submitted since.
            let now = self.now();
            state.scheduler.put_behind(|job| !job.is_restored(), now);
        }
        state.scheduler.set_open(true);
        let follow_up = self.follow_up(&mut state);
        drop(state);
        self.act(follow_up);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.lock().scheduler.overview().open
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.lock().shutting_down
    }

    /// Stops admission. Work that was accepted still runs. Calls after the first change nothing.
    pub(crate) fn shutdown(&self) {
        {
            let mut state = self.lock();
            self.shut_doors(&mut state);
            if std::mem::replace(&mut state.shutting_down, true) {
                return;
            }
            QuietWait::new(self).forever();
            // Holds back `queue.shutdown.complete` until the event below is out.
            state.announcing = true;
        }
        self.emitter.report(|| What::ShutdownStarted);
        let rooms: Vec<_> = {
            let mut state = self.lock();
            state.announcing = false;
            state
                .lanes
                .iter()
                .map(|lane| Arc::clone(&lane.room))
                .collect()
        };
        // Whoever waits for room gets an answer.
        for room in rooms {
            room.freed();
        }
        self.check_quiet();
    }

    /// Ends the queue: nothing more starts, what runs may end within `limit` and is stopped then. Returns what was left.
    pub(crate) async fn shutdown_within(self: &Arc<Self>, limit: Duration) -> ShutdownReport {
        self.shutdown();
        {
            let mut state = self.lock();
            state.scheduler.set_open(false);
            state.withdrawn.get_or_insert_default();
        }
        self.drive_held().forever();
        let idle = self.until(State::is_idle);
        if sync::timeout(limit, idle).await.is_none() {
            self.stop_running();
            // Also for submissions: each is on its way, whether or not somebody goes on with it.
            self.until(State::is_idle).await;
        }
        self.tell_untold().await;
        let report = {
            let mut state = self.lock();
            let stopped = std::mem::take(state.withdrawn.get_or_insert_default());
            let mut pending: Vec<_> = state.scheduler.commands().collect();
            pending.sort_by_key(|command| command.key.serial());
            let pending = pending.into_iter();
            let pending = pending.map(|command| Leftover {
                command_id: self
                    .name(
                        command.key,
                        command.job.reply.extras().map(|extras| &**extras),
                    )
                    .to_string(),
                command_type: command.job.command_type().to_owned(),
                lane_id: state.lanes[command.lane.index()].id.to_string(),
                attempts: command.attempts,
            });
            ShutdownReport {
                pending: pending.collect(),
                stopped,
            }
        };
        self.close("the queue was shut down before the command started");
        // Observers that have to be awaited are told before it is over.
        self.until(State::is_idle).await;
        report
    }

    /// Waits until nothing can run any more without time going on.
    pub(crate) async fn rest(&self) {
        self.until(|state, engine| state.is_idle(engine) && state.scheduler.startable() == 0)
            .await;
    }

    /// Runs everything, going from one due time to the next; returns how many commands nothing can start.
    pub(crate) async fn run_out(self: &Arc<Self>) -> usize {
        loop {
            self.rest().await;
            let wake = self.lock().scheduler.next_wake();
            let Some(wake) = wake else {
                return self.lock().scheduler.overview().pending;
            };
            self.clock.reach(wake).await;
            self.tick(self.now());
        }
    }

    /// Asks everything that runs to stop.
    fn stop_running(self: &Arc<Self>) {
        let now = self.now();
        let mut state = self.lock();
        let running = state.running();
        let mut asked = Vec::new();
        for key in running {
            if let Stopped::Asked { drop } = state.scheduler.stop(key, StopReason::Shutdown, now) {
                asked.push(state.asked(key, StopReason::Shutdown, drop));
            }
        }
        self.release_lock(state);
        for asked in asked {
            asked.tell();
        }
    }

    /// Waits until this holds, which may be so when something has ended.
    async fn until(&self, holds: impl Fn(&State, &Self) -> bool) {
        let _wait = QuietWait::new(self);
        loop {
            let mut changed = std::pin::pin!(self.quiet.notified());
            // Registered before the look: no change in between is missed.
            changed.as_mut().enable();
            let held = holds(&self.lock(), self);
            if held {
                return;
            }
            changed.await;
        }
    }

    /// Waits until no command is pending, delayed, running or being settled.
    ///
    /// Cancel safe.
    pub(crate) async fn drain(&self, timeout: Duration) -> Result<()> {
        let _driving = self.drive_held();
        sync::timeout(timeout, self.until(State::is_quiet))
            .await
            .ok_or(LaneError::Timeout(timeout))
    }

    /// Sends the last event and wakes those who wait, if the queue is empty. Called after everything that may have
    /// emptied it.
    pub(super) fn check_quiet(&self) {
        if self.quiet_waits.load(Ordering::SeqCst) == 0 {
            return;
        }
        let announce = {
            let mut state = self.lock();
            if !state.is_quiet(self) {
                if state.is_idle(self) {
                    drop(state);
                    self.quiet.notify_waiters();
                }
                return;
            }
            let over = state.shutting_down || state.closed.is_some();
            let announce = over && !state.announced;
            state.announced |= announce;
            state.announcing = announce;
            announce.then(|| (state.shutting_down, state.dismiss()))
        };
        if let Some((complete, resting)) = announce {
            if let Some(resting) = resting {
                resting.wake();
            }
            // Nothing is due any more: the timer task ends too.
            self.timer_moved.notify_one();
            if complete {
                self.emitter.report(|| What::ShutdownComplete);
            }
            self.ended.cancel();
            self.lock().announcing = false;
        }
        self.quiet.notify_waiters();
    }

    /// Ends the queue at once: what has not started settles with an error, what runs is stopped and does the same.
    /// Calls after the first change nothing.
    pub(crate) fn close(self: &Arc<Self>, reason: &'static str) {
        let now = self.now();
        let (waiting, cells, lanes, resting) = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            self.shut_doors(&mut state);
            state.closed = Some(reason);
            QuietWait::new(self).forever();
            let resting = state.dismiss();
            let waiting = state.scheduler.take_waiting(now);
            self.settling.fetch_add(waiting.len(), Ordering::SeqCst);
            for (_, lane, _) in &waiting {
                let observer = &state.lanes[lane.index()].observer;
                observer.record(Sample::Failed { run_ns: 0 }, || state.counts(*lane));
            }
            let running = state.running();
            let cells: Vec<_> = running
                .iter()
                .filter_map(|key| state.scheduler.job_mut(*key)?.cell.take())
                .collect();
            let (pending, running) = (waiting.len(), running.len());
            for (key, _, job) in &waiting {
                state.forget(*key, job.reply.extras());
            }
            let lanes = state.lanes.clone();
            drop(state);
            if pending + running > 0 {
                tracing::warn!(pending, running, reason, "queue ended with work left");
            }
            (waiting, cells, lanes, resting)
        };
        if let Some(resting) = resting {
            resting.wake();
        }
        for cell in cells {
            cell.abort(Abort::Closed);
        }
        self.dismiss_failed(waiting.into_iter().map(|(key, lane_key, job)| {
            let lane = (lane_key, &lanes[lane_key.index()]);
            let error = LaneError::QueueError(reason.to_owned());
            let failed = Leaving::failed(self, key, lane, job, error);
            failed.report(self);
            failed
        }));
        for lane in &lanes {
            lane.room.freed();
        }
        self.timer_moved.notify_one();
        self.check_quiet();
    }
}

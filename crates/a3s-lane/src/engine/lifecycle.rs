//! Start, shutdown, drain, and the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempt::Abort;
use super::observer::Sample;
use super::settle::drop_command;
use super::sync::{self, Runtime};
use super::{Engine, State};
use crate::error::{LaneError, Result};
use crate::event::What;

impl State {
    fn is_quiet(&self, engine: &Engine) -> bool {
        self.scheduler.pending() == 0
            && self.scheduler.active() == 0
            && self.admitting == 0
            && !self.announcing
            && engine.settling.load(Ordering::SeqCst) == 0
    }
}

impl Engine {
    /// Lets commands run, on the current runtime. Calls after the first change nothing.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(self: &Arc<Self>) {
        let runtime = Runtime::current();
        let mut state = self.lock();
        if state.scheduler.is_open() {
            return;
        }
        state.workers = self.runtime.get_or_init(|| runtime).workers;
        state.scheduler.open();
        let follow_up = self.follow_up(&mut state);
        drop(state);
        self.act(follow_up);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.lock().scheduler.is_open()
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.lock().shutting_down
    }

    /// Stops admission. Work that was accepted still runs. Calls after the first change nothing.
    pub(crate) fn shutdown(&self) {
        {
            let mut state = self.lock();
            if std::mem::replace(&mut state.shutting_down, true) {
                return;
            }
            // Holds back `queue.shutdown.complete` until the event below is out.
            state.announcing = true;
        }
        self.emitter.report(|| What::ShutdownStarted);
        self.lock().announcing = false;
        self.check_quiet();
    }

    /// Waits until no command is pending, delayed, running or being settled.
    ///
    /// Cancel safe.
    pub(crate) async fn drain(&self, timeout: Duration) -> Result<()> {
        let empty = async {
            loop {
                let mut changed = std::pin::pin!(self.quiet.notified());
                // Registered before the look: no change in between is missed.
                changed.as_mut().enable();
                let quiet = self.lock().is_quiet(self);
                if quiet {
                    return;
                }
                changed.await;
            }
        };
        sync::timeout(timeout, empty)
            .await
            .ok_or(LaneError::Timeout(timeout))
    }

    /// Sends the last event and wakes those who wait, if the queue is empty. Called after everything that may have
    /// emptied it.
    pub(super) fn check_quiet(&self) {
        let announce = {
            let mut state = self.lock();
            if !state.is_quiet(self) {
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
    pub(crate) fn close(&self, reason: &'static str) {
        let now = self.now();
        let (waiting, cells, lanes, resting) = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(reason);
            let resting = state.dismiss();
            let waiting = state.scheduler.take_waiting(now);
            self.settling.fetch_add(waiting.len(), Ordering::SeqCst);
            for (_, lane, _) in &waiting {
                let observer = &state.lanes[lane.index()].observer;
                observer.record(Sample::Failed { run_ns: 0 }, state.counts(*lane));
            }
            let running: Vec<_> = state.scheduler.running().collect();
            let cells: Vec<_> = running
                .iter()
                .filter_map(|key| state.scheduler.job_mut(*key)?.cell.take())
                .collect();
            let (pending, running) = (waiting.len(), running.len());
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
        for (key, lane_key, job) in waiting {
            let error = LaneError::QueueError(reason.to_owned());
            let lane = Arc::clone(&lanes[lane_key.index()].id);
            self.emitter
                .report(|| What::Failed(lane, self.name(key), error.to_string().into()));
            let mut work = None;
            job.into_reply(&mut work).send(Err(error));
            drop_command(work, &lanes[lane_key.index()].id);
            self.settling.fetch_sub(1, Ordering::SeqCst);
        }
        self.timer_moved.notify_one();
        self.check_quiet();
    }
}

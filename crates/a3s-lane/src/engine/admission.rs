//! How commands come in.

use std::sync::Arc;

use chrono::Utc;
use serde_json::Value;
use tokio::sync::oneshot;

use super::job::{Job, Reply};
use super::observer::Sample;
use super::sync::MutexGuard;
use super::trace::{self, SubmitSpan};
use super::{Engine, LaneInfo, State};
use crate::command::Command;
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::scheduler::LaneKey;
use crate::storage::StoredCommand;

/// The lane that a command goes to.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) id: &'a str,
    /// Known to whoever holds the lane; looked up by `id` otherwise.
    pub(crate) key: Option<LaneKey>,
}

impl State {
    fn admit(&self, target: Target<'_>) -> Result<LaneKey> {
        if let Some(reason) = self.closed {
            return Err(LaneError::QueueError(reason.to_owned()));
        }
        if self.shutting_down {
            return Err(LaneError::ShutdownInProgress);
        }
        target
            .key
            .or_else(|| self.names.get(target.id).copied())
            .ok_or_else(|| LaneError::LaneNotFound(target.id.to_owned()))
    }
}

/// Why a command was not accepted, and who has to be told.
type Refusal = (LaneError, Reply);

/// A command that was accepted and is on its way into its lane.
struct Admitted {
    info: Arc<LaneInfo>,
    key: LaneKey,
    serial: u64,
    command: Box<dyn Command>,
    reply: Reply,
    span: SubmitSpan,
}

/// An accepted submit that has not entered its lane. Dropping it gives up the place.
struct Admission<'a> {
    engine: &'a Engine,
    entered: bool,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.entered {
            self.engine.lock().admitting -= 1;
            self.engine.check_quiet();
        }
    }
}

impl Engine {
    /// Puts a command into a lane, after the lane's storage has it.
    ///
    /// With a storage: when this future is dropped before it ends, the command does not run, but may stay stored.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
    ) -> Result<oneshot::Receiver<Result<Value>>> {
        let (reply, receiver) = oneshot::channel();
        match self.place(target, command, Reply::new(reply)).await {
            Ok(()) => Ok(receiver),
            Err((error, reply)) => {
                reply.forget();
                Err(error)
            }
        }
    }

    /// As [`submit`](Self::submit); a refusal is sent as the reply.
    pub(crate) async fn submit_with_reply(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
        reply: oneshot::Sender<Result<Value>>,
    ) {
        if let Err((error, reply)) = self.place(target, command, Reply::new(reply)).await {
            reply.send(Err(error));
        }
    }

    async fn place(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
        reply: Reply,
    ) -> std::result::Result<(), Refusal> {
        match self.place_at_once(target, command, reply)? {
            None => Ok(()),
            // Boxed, as all that few lanes need: most submits never wait.
            Some(admitted) => Box::pin(self.place_awaited(admitted)).await,
        }
    }

    /// Puts an admitted command into a lane that has somebody to wait for.
    async fn place_awaited(
        self: &Arc<Self>,
        admitted: Admitted,
    ) -> std::result::Result<(), Refusal> {
        let mut admission = Admission {
            engine: self,
            entered: false,
        };
        let info = Arc::clone(&admitted.info);
        if let Some(storage) = &info.storage {
            let name = CommandName::new(self.id_space, admitted.serial);
            let stored = stored(&info, name, &*admitted.command);
            if let Err(error) = storage.save_command(stored).await {
                return Err((error, admitted.reply));
            }
        }
        let key = admitted.key;
        self.enter_admitted(&mut admission, admitted)?;
        self.record_awaited(&info, key, Sample::Submitted).await;
        Ok(())
    }

    /// Admits a command, and puts it into its lane if nobody has to be told or waited for before that.
    fn place_at_once(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
        reply: Reply,
    ) -> std::result::Result<Option<Admitted>, Refusal> {
        // The user's code is called before the lock is taken, never under it.
        let span = SubmitSpan::new(target.id, &*command);
        let now = self.now();
        let mut state = self.lock();
        let key = match state.admit(target) {
            Ok(key) => key,
            Err(error) => return Err((error, reply)),
        };
        let serial = state.scheduler.reserve();
        let info = &state.lanes[key.index()];
        if info.must_await() {
            let info = Arc::clone(info);
            state.admitting += 1;
            return Ok(Some(Admitted {
                info,
                key,
                serial,
                command,
                reply,
                span,
            }));
        }
        self.enter(state, key, serial, Job::new(command, reply, span), now);
        trace::submitted(target.id);
        Ok(None)
    }

    fn enter_admitted(
        self: &Arc<Self>,
        admission: &mut Admission<'_>,
        admitted: Admitted,
    ) -> std::result::Result<(), Refusal> {
        let Admitted {
            info,
            key,
            serial,
            command,
            reply,
            span,
        } = admitted;
        let now = self.now();
        let mut state = self.lock();
        if let Some(reason) = state.closed {
            drop(state);
            return Err((LaneError::QueueError(reason.to_owned()), reply));
        }
        state.admitting -= 1;
        admission.entered = true;
        self.enter(state, key, serial, Job::new(command, reply, span), now);
        trace::submitted(&info.id);
        Ok(())
    }

    /// Puts an admitted command into its lane and starts what can start.
    fn enter(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        key: LaneKey,
        serial: u64,
        job: Job,
        now: u64,
    ) {
        let submitted = state.scheduler.submit(key, serial, job, now);
        let counts = state.counts(key);
        let follow_up = self.follow_up(&mut state);
        let info = &state.lanes[key.index()];
        info.observer.record(Sample::Submitted, counts);
        self.emitter
            .report(|| What::Submitted(Arc::clone(&info.id)));
        if submitted.pressure {
            self.emitter.report(|| What::Pressure(Arc::clone(&info.id)));
        }
        let watching = info.observer.watches_depth().then(|| Arc::clone(info));
        drop(state);
        self.act(follow_up);
        if let Some(info) = watching {
            info.observer.watch_depth(&info.id, counts.pending);
        }
    }

    /// Tells the observers that have to be awaited. The counts are read when it is their turn, so that gauges end on
    /// the true value.
    pub(super) async fn record_awaited(&self, info: &LaneInfo, key: LaneKey, sample: Sample) {
        if info.observer.must_await() {
            info.observer
                .record_awaited(&info.id, sample, || self.lock().counts(key))
                .await;
        }
    }
}

fn stored(info: &LaneInfo, name: CommandName, command: &dyn Command) -> StoredCommand {
    StoredCommand {
        id: name.to_string(),
        command_type: command.command_type().to_owned(),
        lane_id: info.id.to_string(),
        payload: command.payload().unwrap_or_else(|| serde_json::json!({})),
        retry_count: 0,
        created_at: Utc::now(),
        last_attempt_at: None,
    }
}

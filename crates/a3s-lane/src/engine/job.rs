//! What the engine keeps with each command.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::Engine;
use super::admission::Incoming;
use super::attempt::{self, AttemptCell};
use super::trace::SubmitSpan;
use crate::command::Command;
use crate::error::{LaneError, Result};
use crate::event::CommandName;
use crate::handle::{self, CommandStatus};
use crate::submission::{OnConflict, ResultSink};

/// What is kept with a command that was submitted with options.
pub(crate) struct Extras {
    /// The id that the submitter chose.
    pub(crate) id: Option<Arc<str>>,
    pub(crate) handle: Arc<handle::Shared>,
    pub(crate) metadata: Map<String, Value>,
    /// The unique key that it holds, and until when it does so after it has settled.
    pub(crate) unique: Option<(Arc<str>, u64)>,
    /// What its submission did about another holder of that key.
    pub(crate) on_conflict: OnConflict,
    /// It was stored by an earlier process.
    pub(crate) restored: bool,
    /// The type of the command, when its entry takes it out of the dead letters.
    pub(crate) revives: Option<Arc<str>>,
}

impl Extras {
    /// Those of a command that was submitted without options, made when its handle is needed.
    pub(super) fn of_receiver(engine: &Arc<Engine>, lane_id: &Arc<str>, serial: u64) -> Arc<Self> {
        Self::late(engine, Arc::downgrade(engine), lane_id, serial)
    }

    /// As [`of_receiver`](Self::of_receiver), for a command that has left: nothing can be asked of it but its outcome.
    pub(super) fn of_departed(engine: &Engine, lane_id: &Arc<str>, serial: u64) -> Arc<Self> {
        Self::late(engine, Weak::new(), lane_id, serial)
    }

    fn late(engine: &Engine, remote: Weak<Engine>, lane_id: &Arc<str>, serial: u64) -> Arc<Self> {
        let name = CommandName::new(engine.id_space, serial).to_text();
        let lane_id = Arc::clone(lane_id);
        let handle = handle::Shared::new(name, lane_id, serial, remote, CommandStatus::Pending);
        Arc::new(Self {
            id: None,
            handle,
            metadata: Map::new(),
            unique: None,
            on_conflict: OnConflict::default(),
            restored: false,
            revives: None,
        })
    }
}

/// Who waits for the result. It is told an error at the latest when this is dropped.
pub(crate) struct Reply(Waiter);

enum Waiter {
    Gone,
    Receiver(oneshot::Sender<Result<Value>>),
    Handle(Arc<Extras>),
    /// A receiver, since a handle was needed.
    Both(Box<(Arc<Extras>, oneshot::Sender<Result<Value>>)>),
    /// One place for the results of many, with the token of this one.
    Sink(Arc<ResultSink>, u32),
    /// As before, since somebody has asked for a handle.
    WatchedSink(Box<(Arc<Extras>, Arc<ResultSink>)>, u32),
}

impl Reply {
    pub(crate) fn new(sender: oneshot::Sender<Result<Value>>) -> Self {
        Self(Waiter::Receiver(sender))
    }

    pub(crate) fn to_handle(extras: Arc<Extras>) -> Self {
        Self(Waiter::Handle(extras))
    }

    pub(super) fn to_sink(sink: Arc<ResultSink>, token: u32) -> Self {
        Self(Waiter::Sink(sink, token))
    }

    pub(crate) fn extras(&self) -> Option<&Arc<Extras>> {
        match &self.0 {
            Waiter::Handle(extras) => Some(extras),
            Waiter::Both(both) => Some(&both.0),
            Waiter::WatchedSink(both, _) => Some(&both.0),
            Waiter::Gone | Waiter::Receiver(_) | Waiter::Sink(..) => None,
        }
    }

    /// Lets handles watch a command that has a receiver only, or a sink.
    pub(super) fn watch(&mut self, extras: impl FnOnce() -> Arc<Extras>) -> Option<&Arc<Extras>> {
        self.0 = match std::mem::replace(&mut self.0, Waiter::Gone) {
            Waiter::Receiver(sender) => Waiter::Both(Box::new((extras(), sender))),
            Waiter::Sink(sink, token) => Waiter::WatchedSink(Box::new((extras(), sink)), token),
            other => other,
        };
        self.extras()
    }

    pub(crate) fn send(mut self, result: Result<Value>, status: CommandStatus) {
        super::sync::interleave();
        self.deliver(result, status);
    }

    fn deliver(&mut self, result: Result<Value>, status: CommandStatus) {
        match std::mem::replace(&mut self.0, Waiter::Gone) {
            Waiter::Gone => {}
            Waiter::Receiver(sender) => {
                // Nobody waits any more: waiting is not running, so this is no error.
                let _ = sender.send(result);
            }
            Waiter::Handle(extras) => {
                extras.handle.settle(status, result);
            }
            Waiter::Both(both) => {
                let (extras, sender) = *both;
                extras.handle.settle(status, copy(&result));
                let _ = sender.send(result);
            }
            Waiter::Sink(sink, token) => tell(&sink, token, status, result),
            Waiter::WatchedSink(both, token) => {
                let (extras, sink) = *both;
                extras.handle.settle(status, copy(&result));
                tell(&sink, token, status, result);
            }
        }
    }

    /// Gives up without an answer: the submitter has another one.
    pub(crate) fn forget(mut self) {
        self.0 = Waiter::Gone;
    }
}

/// Tells a sink, which is the user's code: a panic there is logged.
fn tell(sink: &ResultSink, token: u32, status: CommandStatus, result: Result<Value>) {
    if let Err(panic) = attempt::guarded(|| sink.tell(token, status, result)) {
        tracing::error!(token, %panic, "a sink of results panicked");
    }
}

fn copy(result: &Result<Value>) -> Result<Value> {
    match result {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err(error.duplicate()),
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if matches!(self.0, Waiter::Gone) {
            return;
        }
        let error = LaneError::QueueError("the queue ended before the command did".to_owned());
        self.deliver(Err(error), CommandStatus::Failed);
    }
}

/// A command object. Only lanes with a time limit pay for sharing it: there a retry may start while the attempt
/// before it still blocks its thread.
pub(super) enum Work {
    Owned(Box<dyn Command>),
    Shared(Arc<dyn Command>),
}

impl Deref for Work {
    type Target = dyn Command;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Owned(command) => &**command,
            Self::Shared(command) => &**command,
        }
    }
}

/// A command, who waits for it, and how to reach its running attempt.
pub(super) struct Job {
    /// Absent while a runner has it.
    work: Option<Work>,
    /// How to signal the running attempt; absent before its first suspension.
    pub(super) cell: Option<Arc<AttemptCell>>,
    pub(super) reply: Reply,
    pub(super) span: SubmitSpan,
}

impl Job {
    pub(super) fn new(command: Box<dyn Command>, reply: Reply, span: SubmitSpan) -> Self {
        Self {
            work: Some(Work::Owned(command)),
            cell: None,
            reply,
            span,
        }
    }

    /// Hands the command to a runner; with `share` the job keeps a handle to it.
    pub(super) fn take_work(&mut self, share: bool) -> Option<Work> {
        self.cell = None;
        let work = self.work.take()?;
        if !share {
            return Some(work);
        }
        let shared = match work {
            Work::Owned(command) => Arc::from(command),
            Work::Shared(command) => command,
        };
        self.work = Some(Work::Shared(Arc::clone(&shared)));
        Some(Work::Shared(shared))
    }

    pub(super) fn is_restored(&self) -> bool {
        self.reply.extras().is_some_and(|extras| extras.restored)
    }

    /// Whether the handler of its type runs it.
    pub(super) fn needs_handler(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.needs_handler())
    }

    /// The user's word for the kind of the command; empty while a runner has it alone.
    pub(super) fn command_type(&self) -> &str {
        self.work.as_ref().map_or("", super::taken::command_type)
    }

    /// Gives back what was never let in.
    pub(super) fn into_incoming(mut self) -> Incoming {
        let Some(Work::Owned(command)) = self.work.take() else {
            unreachable!("a command that was not let in was never shared");
        };
        Incoming {
            command,
            reply: self.reply,
            terms: None,
            span: self.span,
        }
    }

    /// Who waits for the result. The job's own handle to the command goes, which must not be the last.
    #[inline]
    pub(super) fn into_waiter(self) -> Reply {
        self.reply
    }

    /// Takes the job apart. A command in it goes to `work`, to be dropped without the lock.
    pub(super) fn into_reply(mut self, work: &mut Option<Work>) -> Reply {
        if let Some(own) = self.work.take() {
            *work = Some(own);
        }
        self.reply
    }

    /// Takes the command back for its next attempt.
    pub(super) fn return_work(&mut self, work: Option<Work>) {
        self.work = work;
        self.cell = None;
    }
}

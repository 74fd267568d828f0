//! What the engine keeps with each command.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::attempt::AttemptCell;
use super::trace::SubmitSpan;
use crate::command::Command;
use crate::error::{LaneError, Result};

/// Resolves the receiver that the submitter holds, with an error at the latest when it is dropped.
pub(crate) struct Reply(Option<oneshot::Sender<Result<Value>>>);

impl Reply {
    pub(crate) fn new(sender: oneshot::Sender<Result<Value>>) -> Self {
        Self(Some(sender))
    }

    pub(crate) fn send(mut self, result: Result<Value>) {
        super::sync::interleave();
        if let Some(sender) = self.0.take() {
            // Nobody waits any more: waiting is not running, so this is no error.
            let _ = sender.send(result);
        }
    }

    /// Gives up without an answer: the submitter has another one.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(Err(LaneError::QueueError(
                "the queue ended before the command did".to_owned(),
            )));
        }
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

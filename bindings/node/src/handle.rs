//! What JavaScript holds of one command.

use std::sync::Arc;

use a3s_lane::CommandStatus;
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::admission::Ticket;
use crate::fault::{Code, Fault, guard};
use crate::outcome::promise;
use crate::queue::Queue;
use crate::reports::{NativeReports, Source};
use crate::runtime::runtime;

/// One submitted command. Keeps its queue, so that a result can be asked for as long as somebody holds it.
#[napi]
pub struct NativeHandle {
    queue: Arc<Queue>,
    ticket: Ticket,
}

impl NativeHandle {
    pub(crate) fn new(queue: &Arc<Queue>, ticket: Ticket) -> Self {
        Self {
            queue: Arc::clone(queue),
            ticket,
        }
    }

    fn reports(&self, source: Source) -> NativeReports {
        NativeReports::new(&self.queue, source)
    }
}

#[napi]
impl NativeHandle {
    /// The command's id.
    #[napi]
    pub fn id(&self) -> Result<String, Code> {
        guard(|| {
            Ok(match (&self.ticket, self.ticket.now()) {
                (_, Ok(handle)) => handle.id().to_owned(),
                (Ticket::Late(waiting), Err(_)) => waiting.id.clone(),
                (Ticket::In(handle), Err(_)) => handle.id().to_owned(),
            })
        })
    }

    /// The id of its lane.
    #[napi]
    pub fn lane_id(&self) -> Result<String, Code> {
        guard(|| {
            Ok(match (&self.ticket, self.ticket.now()) {
                (_, Ok(handle)) => handle.lane_id().to_owned(),
                (Ticket::Late(waiting), Err(_)) => waiting.lane_id.clone(),
                (Ticket::In(handle), Err(_)) => handle.lane_id().to_owned(),
            })
        })
    }

    /// Where the command is.
    #[napi]
    pub fn status(&self) -> Result<String, Code> {
        guard(|| {
            let status = match self.ticket.now() {
                Ok(handle) => handle.status(),
                Err(None) => CommandStatus::Pending,
                Err(Some(fault)) => refused(&fault),
            };
            Ok(status.to_string())
        })
    }

    /// A promise of the result as JSON text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn result<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, ticket) = (Arc::clone(&self.queue), self.ticket.clone());
            promise(env, runtime()?, async move {
                let text = ticket.text().await;
                // The queue lives at least as long as the command.
                drop(queue);
                text.map(Some)
            })
        })
    }

    /// A promise that resolves once the command is in its lane, and in its storage.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn accepted<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, ticket) = (Arc::clone(&self.queue), self.ticket.clone());
            promise(env, runtime()?, async move {
                let accepted = ticket.handle().await;
                drop(queue);
                accepted.map(|_| None)
            })
        })
    }

    /// Cancels the command; false when its outcome is already decided.
    #[napi]
    pub fn cancel(&self) -> Result<bool, Code> {
        guard(|| {
            let cancelled = self.queue.aside(|_| Ok(self.ticket.cancel()))?;
            self.queue.subscriptions.collect();
            Ok(cancelled)
        })
    }

    /// Where the command is and why it waits, as JSON text.
    #[napi]
    pub fn explain(&self) -> Result<Option<String>, Code> {
        guard(|| {
            let explanation = self.ticket.now().ok().and_then(|handle| handle.explain());
            Ok(explanation
                .map(|it| serde_json::to_string(&it))
                .transpose()?)
        })
    }

    /// How far the command is, from the newest value on.
    #[napi]
    pub fn progress(&self) -> Result<NativeReports, Code> {
        guard(|| Ok(self.reports(Source::progress(&self.ticket))))
    }

    /// The command's partial results, from the first one on.
    #[napi]
    pub fn chunks(&self) -> Result<NativeReports, Code> {
        guard(|| Ok(self.reports(Source::chunks(&self.ticket))))
    }
}

/// What became of one command of several: its handle, or why it was refused.
#[napi(object, object_from_js = false)]
pub struct NativeAnswer {
    /// When it was accepted.
    pub handle: Option<NativeHandle>,
    /// The error's kind, when it was refused.
    pub code: Option<String>,
    /// The error's text, when it was refused.
    pub message: Option<String>,
}

impl NativeAnswer {
    pub(crate) fn new(queue: &Arc<Queue>, answer: std::result::Result<Ticket, Fault>) -> Self {
        Self::of(answer.map(|ticket| Some(NativeHandle::new(queue, ticket))))
    }

    pub(crate) fn of(answer: std::result::Result<Option<NativeHandle>, Fault>) -> Self {
        match answer {
            Ok(handle) => Self {
                handle,
                code: None,
                message: None,
            },
            Err(fault) => Self {
                handle: None,
                code: Some(fault.code.to_owned()),
                message: Some(fault.message),
            },
        }
    }
}

/// The status of a command that never came into its lane.
fn refused(fault: &Fault) -> CommandStatus {
    match fault.code {
        "CANCELLED" => CommandStatus::Cancelled,
        _ => CommandStatus::Failed,
    }
}

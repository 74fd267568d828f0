//! A line of the input as a command of the library.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use a3s_lane::{Command, CommandContext, LaneError, QueueManager, Result, StopReason};
use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::exec;
use crate::payload::Payload;
use crate::progress::Progress;
use crate::request::Request;
use crate::resumed::Histories;

/// What every command of a run needs.
pub(crate) struct Shared {
    pub(crate) board: Board,
    pub(crate) progress: Progress,
    /// Cancelled when running processes must die at once.
    pub(crate) kill: CancellationToken,
    pub(crate) manager: Weak<QueueManager>,
    /// Commands are kept in a storage until they have ended.
    pub(crate) is_stored: bool,
    /// Of the commands that an earlier run left.
    pub(crate) histories: Histories,
}

impl Shared {
    /// A stored command whose process was killed at the end of the run has not failed: it waits until the lanes take it back.
    pub(crate) async fn await_end(&self, result: &Result<Value>, context: &CommandContext) {
        if self.is_stored && self.kill.is_cancelled() && result.is_err() {
            context.cancellation().cancelled().await;
        }
    }
}

/// What is known about a command beyond its result.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) attempts: u32,
    pub(crate) waited: Duration,
    pub(crate) ran: Duration,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<String>,
    /// The run was stopped before its next attempt.
    pub(crate) refused: bool,
    /// The end of the run stopped its last attempt.
    pub(crate) stopped: bool,
    /// What the process of the last attempt left behind.
    pub(crate) evidence: Option<Value>,
}

/// A request on its way through a lane.
pub(crate) struct Job {
    pub(crate) request: Request,
    /// Name of the lane.
    pub(crate) lane: String,
    pub(crate) description: String,
    /// The line that it came from, for people; of a stored command its type, for whoever goes on with it.
    label: String,
    /// Its id, once it is in its lane.
    id: OnceLock<String>,
    admitted: Instant,
    history: Mutex<History>,
    shared: Arc<Shared>,
}

impl Job {
    pub(crate) fn new(request: Request, lane: &str, shared: Arc<Shared>) -> Self {
        Self {
            lane: lane.to_owned(),
            description: request.payload.describe(),
            label: if shared.is_stored {
                request.kind.clone()
            } else {
                label(&request.kind, request.line)
            },
            request,
            id: OnceLock::new(),
            admitted: Instant::now(),
            history: Mutex::default(),
            shared,
        }
    }

    pub(crate) fn entered_as(&self, id: &str) {
        let _known = self.id.set(id.to_owned());
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.id.get().map(String::as_str)
    }

    /// Takes the history out.
    pub(crate) fn take_history(&self) -> History {
        std::mem::take(&mut *self.history())
    }

    /// Marks the command as one that the end of the run keeps from another attempt.
    pub(crate) fn refuse(&self) {
        self.history().refused = true;
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, context: &CommandContext) -> Result<Value> {
        match &self.request.payload {
            Payload::Echo(value) => Ok(value.clone()),
            Payload::Exec(spec) => {
                let leave = |evidence| self.history().evidence = Some(evidence);
                let result = exec::run(spec, context, &self.shared.kill, &leave).await;
                self.shared.await_end(&result, context).await;
                result
            }
        }
    }
}

fn label(kind: &str, line: u64) -> String {
    format!("{kind} (line {line})")
}

/// Keeps board and history right even when the attempt's future is dropped.
struct Attempt<'a> {
    job: &'a Job,
    context: &'a CommandContext,
    began: Instant,
    /// Absent for an attempt that was dropped.
    result: Option<std::result::Result<(), String>>,
}

impl<'a> Attempt<'a> {
    fn begin(job: &'a Job, context: &'a CommandContext) -> Option<Self> {
        let mut history = job.history();
        // A preempted attempt runs again under its number.
        let (lane, number, before) = (job.request.lane, context.attempt(), history.attempts);
        let is_retry = number > 1 && number > before;
        let board = &job.shared.board;
        if job.shared.is_stored {
            board.begin_stored(lane, is_retry, &job.description);
        } else if !board.begin(lane, is_retry, &job.description) {
            return None;
        }
        history.attempts = number;
        history.evidence = None;
        let cause = history.last_error.take().unwrap_or_default();
        if before == 0 {
            history.waited = job.admitted.elapsed();
        } else if is_retry {
            let what = format!("attempt {number} after: {cause}");
            job.shared.progress.command("retry", job, &what);
        } else {
            let what = format!("attempt {number} after: {cause}");
            job.shared.progress.command("again", job, &what);
        }
        Some(Self {
            job,
            context,
            began: Instant::now(),
            result: None,
        })
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let reason = self.context.stop_reason();
        let error = match (self.result.take(), reason) {
            (Some(Ok(())), _) => None,
            (_, Some(StopReason::Preempt)) => {
                Some("it made room for a more urgent lane".to_owned())
            }
            (Some(Err(error)), _) => Some(error),
            (None, Some(StopReason::Stall)) => Some("it gave no sign of life".to_owned()),
            (None, Some(StopReason::Cancel | StopReason::Shutdown)) => {
                Some("it was stopped".to_owned())
            }
            (None, _) => Some("the attempt was dropped at its time limit".to_owned()),
        };
        let mut history = self.job.history();
        let is_killed = self.job.shared.kill.is_cancelled() || reason == Some(StopReason::Shutdown);
        history.stopped = error.is_some() && is_killed;
        history.ran += self.began.elapsed();
        history.last_error = error;
        self.job.shared.board.end(self.job.request.lane);
    }
}

/// The library takes commands by value, the run loop keeps its own handle.
pub(crate) struct SharedJob(pub(crate) Arc<Job>);

#[async_trait]
impl Command for SharedJob {
    async fn execute(&self) -> Result<Value> {
        Err(LaneError::CommandError(
            "a command of a run needs its context".to_owned(),
        ))
    }

    async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
        let Some(mut attempt) = Attempt::begin(&self.0, context) else {
            self.0.refuse();
            // Cancelled it is neither tried again nor kept as a dead letter: it never ran.
            if let Some(manager) = self.0.shared.manager.upgrade() {
                manager.cancel(&context.id());
            }
            context.cancellation().cancelled().await;
            return Err(LaneError::Cancelled("the run was interrupted".to_owned()));
        };
        let result = self.0.attempt(context).await;
        attempt.result = Some(result.as_ref().map(drop).map_err(ToString::to_string));
        result
    }

    fn command_type(&self) -> &str {
        &self.0.label
    }

    fn payload(&self) -> Option<Value> {
        let job = &self.0;
        job.shared.is_stored.then(|| job.request.payload.to_value())
    }
}

//! A line of the input as a command of the library.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use a3s_lane::{Command, LaneError, Result};
use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::exec;
use crate::payload::Payload;
use crate::progress::Progress;
use crate::request::Request;

/// What every command of a run needs.
pub(crate) struct Shared {
    pub(crate) board: Board,
    pub(crate) progress: Progress,
    /// Cancelled when running processes must die at once.
    pub(crate) kill: CancellationToken,
}

/// What is known about a command beyond its result.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) attempts: u32,
    pub(crate) waited: Duration,
    pub(crate) ran: Duration,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<String>,
    /// The last error allows no retry, whatever the lane's policy.
    pub(crate) is_final: bool,
    /// The run was stopped before its next attempt.
    pub(crate) refused: bool,
    /// What the process of the last attempt left behind.
    pub(crate) evidence: Option<Value>,
}

/// A request on its way through a lane.
pub(crate) struct Job {
    pub(crate) request: Request,
    /// Name of the lane.
    pub(crate) lane: String,
    pub(crate) description: String,
    label: String,
    admitted: Instant,
    history: Mutex<History>,
    shared: Arc<Shared>,
}

impl Job {
    pub(crate) fn new(request: Request, lane: &str, shared: Arc<Shared>) -> Self {
        Self {
            lane: lane.to_owned(),
            description: request.payload.describe(),
            label: label(&request.kind, request.line),
            request,
            admitted: Instant::now(),
            history: Mutex::default(),
            shared,
        }
    }

    /// Its name in events and dead letters.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Takes the history out.
    pub(crate) fn take_history(&self) -> History {
        std::mem::take(&mut *self.history())
    }

    /// Marks the command as one that the end of the run keeps from another attempt.
    pub(crate) fn refuse(&self) {
        self.history().refused = true;
    }

    /// Whether its last attempt, which must have ended, was the last one allowed, so that a result is on its way.
    pub(crate) fn is_decided(&self, max_retries: u32) -> bool {
        let history = self.history();
        history.attempts > 0
            && !history.refused
            && (history.last_error.is_none() || history.is_final || history.attempts > max_retries)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self) -> Result<Value> {
        match &self.request.payload {
            Payload::Echo(value) => Ok(value.clone()),
            Payload::Exec(spec) => {
                let leave = |evidence| self.history().evidence = Some(evidence);
                exec::run(spec, &self.shared.kill, &leave).await
            }
        }
    }
}

fn label(kind: &str, line: u64) -> String {
    format!("{kind} (line {line})")
}

/// Keeps board and history right even when the attempt's future is dropped at the lane's timeout.
struct Attempt<'a> {
    job: &'a Job,
    began: Instant,
    error: Option<String>,
    is_final: bool,
}

impl<'a> Attempt<'a> {
    fn begin(job: &'a Job) -> Option<Self> {
        let mut history = job.history();
        let (lane, number) = (job.request.lane, history.attempts + 1);
        if !job.shared.board.begin(lane, number, &job.description) {
            return None;
        }
        history.attempts = number;
        history.evidence = None;
        if number == 1 {
            history.waited = job.admitted.elapsed();
        } else {
            let cause = history.last_error.take().unwrap_or_default();
            let what = format!("attempt {number} after: {cause}");
            job.shared.progress.command("retry", job, &what);
        }
        Some(Self {
            job,
            began: Instant::now(),
            error: Some("the attempt was dropped at the lane's timeout".to_owned()),
            is_final: false,
        })
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut history = self.job.history();
        history.ran += self.began.elapsed();
        history.last_error = self.error.take();
        history.is_final = self.is_final;
        self.job.shared.board.end(self.job.request.lane);
    }
}

/// The library takes commands by value, the run loop keeps its own handle.
pub(crate) struct SharedJob(pub(crate) Arc<Job>);

#[async_trait]
impl Command for SharedJob {
    async fn execute(&self) -> Result<Value> {
        let Some(mut attempt) = Attempt::begin(&self.0) else {
            self.0.refuse();
            // An error would make a dead letter of a command that never ran; the end of the run drops this future.
            return std::future::pending().await;
        };
        let result = self.0.attempt().await;
        attempt.error = result.as_ref().err().map(ToString::to_string);
        attempt.is_final = result.as_ref().is_err_and(LaneError::is_unrecoverable_job);
        result
    }

    fn command_type(&self) -> &str {
        &self.0.label
    }
}

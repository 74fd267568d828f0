//! What a command is, and the names that lanes and priorities go by.

use std::pin::Pin;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::CommandContext;
use crate::error::Result;

/// The name of a lane.
pub type LaneId = String;
/// The unique name of a command, in UUID form.
pub type CommandId = String;
/// How urgent a lane is: 0 is the most urgent, 255 the least.
pub type Priority = u8;

/// The priorities of the six default lanes.
pub mod priorities {
    use super::Priority;

    /// Priority of the `system` lane.
    pub const SYSTEM: Priority = 0;
    /// Priority of the `control` lane.
    pub const CONTROL: Priority = 1;
    /// Priority of the `query` lane.
    pub const QUERY: Priority = 2;
    /// Priority of the `session` lane.
    pub const SESSION: Priority = 3;
    /// Priority of the `skill` lane.
    pub const SKILL: Priority = 4;
    /// Priority of the `prompt` lane.
    pub const PROMPT: Priority = 5;
}

/// The ids of the six default lanes.
pub mod lane_ids {
    /// Work of the system itself.
    pub const SYSTEM: &str = "system";
    /// Pause, resume, cancel.
    pub const CONTROL: &str = "control";
    /// Reads without side effects.
    pub const QUERY: &str = "query";
    /// Session life cycle.
    pub const SESSION: &str = "session";
    /// Tools and skills.
    pub const SKILL: &str = "skill";
    /// Language model calls.
    pub const PROMPT: &str = "prompt";
}

/// Why a running command was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// Its time limit passed.
    Deadline,
    /// It gave no sign of life for longer than its progress timeout.
    Stall,
    /// It was cancelled.
    Cancel,
    /// A more urgent lane needs its slot: it will run again.
    Preempt,
    /// The queue ends.
    Shutdown,
}

/// One unit of work.
///
/// A lane runs `execute` once per attempt, never two attempts at the same time unless a timed-out attempt blocks its
/// thread (see [`LaneConfig::with_timeout`](crate::LaneConfig::with_timeout)).
///
/// # Examples
///
/// ```
/// use a3s_lane::{Command, Result};
/// use async_trait::async_trait;
///
/// struct Add(i64, i64);
///
/// #[async_trait]
/// impl Command for Add {
///     async fn execute(&self) -> Result<serde_json::Value> {
///         Ok((self.0 + self.1).into())
///     }
///     fn command_type(&self) -> &str {
///         "add"
///     }
/// }
/// ```
#[async_trait]
pub trait Command: Send + Sync {
    /// Does the work. Called again for each retry.
    ///
    /// # Errors
    ///
    /// Any error is a failed attempt: the lane's retry policy decides whether another follows.
    /// [`LaneError::unrecoverable_job`](crate::LaneError::unrecoverable_job) stops retries.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the lane's timeout passes and when the queue is dropped.
    async fn execute(&self) -> Result<Value>;

    /// As [`execute`](Self::execute), for a body that wants to know about its attempt: its id, its deadline, whether it
    /// is asked to stop. The queue calls this one.
    ///
    /// Default: calls `execute`.
    ///
    /// # Errors
    ///
    /// As `execute`.
    ///
    /// # Cancel safety
    ///
    /// As `execute`. A command that is cancelled or preempted is asked first where its lane has a grace period; see
    /// [`CommandContext::cancellation`].
    fn execute_with<'life0, 'life1, 'async_trait>(
        &'life0 self,
        context: &'life1 CommandContext,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        // Written as `#[async_trait]` would expand it, but without a second box around the body's own.
        let _ = context;
        self.execute()
    }

    /// What kind of work this is; appears in events, dead letters and storage.
    ///
    /// The queue may ask while it is locked: return what is there, and neither call the queue nor wait for a lock that somebody
    /// else may hold who calls it. A panic counts as an empty text there.
    fn command_type(&self) -> &str;

    /// The data that a [`Storage`](crate::Storage) keeps, so that the command can be rebuilt after a restart.
    ///
    /// Default: nothing is kept besides the type.
    ///
    /// With a [`SubmissionLog`](crate::testing::SubmissionLog) what is said of [`command_type`](Self::command_type) goes for this
    /// too.
    fn payload(&self) -> Option<Value> {
        None
    }

    /// Whether the handler of its type runs this command, on the handler's executor.
    #[doc(hidden)]
    fn needs_handler(&self) -> bool {
        false
    }
}

/// A command that is pure data: the handler of its type runs it.
///
/// Without a handler it returns its own payload.
pub struct JsonCommand {
    command_type: String,
    payload: Value,
}

impl JsonCommand {
    /// A command of the given type that returns `payload`.
    pub fn new(command_type: impl Into<String>, payload: Value) -> Self {
        Self {
            command_type: command_type.into(),
            payload,
        }
    }
}

#[async_trait]
impl Command for JsonCommand {
    async fn execute(&self) -> Result<Value> {
        Ok(self.payload.clone())
    }

    async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
        match context.handler(&self.command_type) {
            Some(handler) => handler.handle(self.payload.clone(), context.clone()).await,
            None => self.execute().await,
        }
    }

    fn command_type(&self) -> &str {
        &self.command_type
    }

    fn payload(&self) -> Option<Value> {
        Some(self.payload.clone())
    }

    fn needs_handler(&self) -> bool {
        true
    }
}

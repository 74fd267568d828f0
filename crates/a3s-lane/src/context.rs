//! What a command's body knows about its attempt, and what it can tell.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::command::{Command, CommandId, StopReason};
use crate::engine::{AttemptCell, Engine, Extras, LaneInfo};
use crate::handle::CommandHandle;
use crate::scheduler::CommandKey;
use crate::submission::{Refused, SubmitOptions};

/// One attempt of a command, as its body sees it.
///
/// Passed to [`Command::execute_with`] and to handlers. Clones mean the same attempt; after its end they do nothing.
///
/// # Examples
///
/// A body that reports progress and ends early when it is asked to:
///
/// ```
/// use a3s_lane::{Command, CommandContext, LaneError, Result};
/// use async_trait::async_trait;
/// use serde_json::{Value, json};
///
/// struct Pages(u32);
///
/// #[async_trait]
/// impl Command for Pages {
///     async fn execute(&self) -> Result<Value> {
///         Err(LaneError::CommandError("needs a context".into()))
///     }
///     async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
///         for page in 0..self.0 {
///             if context.is_cancelled() {
///                 return Err(LaneError::Cancelled("between two pages".into()));
///             }
///             context.progress(json!({"page": page}));
///             tokio::task::yield_now().await;
///         }
///         Ok(json!(self.0))
///     }
///     fn command_type(&self) -> &str {
///         "pages"
///     }
/// }
/// ```
pub struct CommandContext {
    engine: Arc<Engine>,
    attempt: Option<Attempt>,
}

/// The attempt that a context is about.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) key: CommandKey,
    pub(crate) run: u32,
    pub(crate) number: u32,
    pub(crate) lane: Arc<LaneInfo>,
    pub(crate) started_at: u64,
    pub(crate) timeout_ns: Option<u64>,
    pub(crate) extras: Option<Arc<Extras>>,
    /// How long it may show no sign of life.
    pub(crate) progress_ns: Option<u64>,
    /// How the engine reaches the body; made when the body first suspends or asks for its token.
    pub(crate) cell: OnceLock<Arc<AttemptCell>>,
}

impl Attempt {
    pub(crate) fn cell(&self) -> &Arc<AttemptCell> {
        self.cell.get_or_init(Arc::default)
    }
}

static NO_METADATA: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Makes what all contexts share.
pub(crate) fn prepare() {
    LazyLock::force(&NO_METADATA);
}

impl CommandContext {
    /// A context between two attempts.
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            attempt: None,
        }
    }

    /// A context of no attempt, for code that does not look at it.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        use crate::event::EventEmitter;
        Self::new(Engine::new(
            EventEmitter::new(1),
            None,
            Default::default(),
            Default::default(),
        ))
    }

    pub(crate) fn begin(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
    }

    pub(crate) fn end(&mut self) -> Option<Attempt> {
        self.attempt.take()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The attempt. Only a runner holds a context without one.
    pub(crate) fn current(&self) -> &Attempt {
        self.attempt.as_ref().expect("a body has an attempt")
    }

    fn extras(&self) -> Option<&Arc<Extras>> {
        self.current().extras.as_ref()
    }

    /// The command's id, as events, dead letters and the handle name it.
    pub fn id(&self) -> CommandId {
        let attempt = self.current();
        self.engine
            .name(attempt.key, attempt.extras.as_deref())
            .to_string()
    }

    /// The lane in which the command runs.
    pub fn lane_id(&self) -> &str {
        &self.current().lane.id
    }

    /// The number of this attempt, from 1. A preempted attempt is not counted.
    pub fn attempt(&self) -> u32 {
        self.current().number
    }

    /// How long this attempt may still take; `None` without a time limit, zero once it has passed.
    pub fn time_left(&self) -> Option<Duration> {
        let attempt = self.current();
        let end = attempt.started_at.saturating_add(attempt.timeout_ns?);
        Some(Duration::from_nanos(end.saturating_sub(self.engine.now())))
    }

    /// When this attempt must have ended; `None` without a time limit.
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        tokio::time::Instant::now().checked_add(self.time_left()?)
    }

    /// What was given with [`SubmitOptions::with_metadata`].
    pub fn metadata(&self) -> &Map<String, Value> {
        self.extras()
            .map_or(&NO_METADATA, |extras| &extras.metadata)
    }

    /// A token that is cancelled when this attempt is asked to stop: by a cancel, a preemption, a time limit, a stall or the end
    /// of the queue.
    ///
    /// Where the lane has a [grace period](crate::LaneOptions::with_grace) the body goes on for that long after a cancel
    /// or a preemption and may end by itself; in all other cases its future is dropped at once, and the token tells tasks that
    /// the body has started.
    pub fn cancellation(&self) -> CancellationToken {
        let attempt = self.current();
        self.engine.attach(attempt);
        attempt.cell().token()
    }

    /// Whether this attempt was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation().is_cancelled()
    }

    /// Why this attempt was asked to stop, if it was.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.current().cell.get()?.reason()
    }

    /// Shows that the work gets on: the [progress timeout](SubmitOptions::with_progress_timeout) counts from now.
    pub fn heartbeat(&self) {
        let attempt = self.current();
        if attempt.progress_ns.is_some() {
            self.engine.beat(attempt.key, attempt.run);
        }
    }

    /// Tells how far the work is: to [`CommandHandle::progress`] and as the event `queue.command.progress`. Is a
    /// [`heartbeat`](Self::heartbeat) too.
    pub fn progress(&self, progress: impl Into<Value>) {
        let attempt = self.current();
        self.engine.progress(attempt, progress.into());
    }

    /// Hands out a part of the result before the end: to [`CommandHandle::chunks`]. Is a
    /// [`heartbeat`](Self::heartbeat) too. Nobody sees it when the command was submitted without a handle.
    pub fn emit(&self, chunk: impl Into<Value>) {
        let late = match self.extras() {
            Some(_) => None,
            None => self.engine.late_extras(self.current().key),
        };
        if let Some(extras) = self.extras().or(late.as_ref()) {
            extras.handle.chunk(self.attempt(), chunk.into());
        }
        self.heartbeat();
    }

    /// Corrects what the lane's named limiters were charged to what the work really cost: less is given back, more is owed.
    ///
    /// May be called again; the last call counts. Does nothing after the attempt has ended.
    #[cfg(feature = "distributed")]
    pub fn settle_cost(&self, actual: u64) {
        let attempt = self.current();
        self.engine.settle_cost(attempt.key, attempt.run, actual);
    }

    /// Submits a command on behalf of this one, its *child*.
    ///
    /// While this body waits for the child's handle, it lends the child its slots: the child starts before the other
    /// commands of its lane, in this command's slot when it goes to the same lane, and on its share of a
    /// [total limit](crate::QueueManagerBuilder::with_max_concurrency) when it goes to another. So a lane of one that
    /// submits to itself and waits goes on. Nobody else gets the slot in the meantime. A body that stops waiting before
    /// the child has ended goes on at once, beside the child in the same slot.
    ///
    /// While it is awaited, a child starts also when its fairness key is paused or has as many slots as one key may.
    ///
    /// A child is not kept waiting for room in a lane whose overflow rule is [`Overflow::Wait`](crate::Overflow::Wait).
    ///
    /// # Errors
    ///
    /// As [`QueueManager::submit_with`](crate::QueueManager::submit_with).
    pub async fn submit_child(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
        options: SubmitOptions,
    ) -> Result<CommandHandle, Refused> {
        let attempt = self.current();
        let parent = (attempt.key, attempt.run);
        self.engine
            .submit_child(parent, lane_id, command, options)
            .await
    }

    /// The handler of a command type, if there is one.
    pub(crate) fn handler(&self, command_type: &str) -> Option<Arc<dyn crate::handler::Handler>> {
        self.engine.handlers().get(command_type)
    }
}

impl Clone for CommandContext {
    fn clone(&self) -> Self {
        if let Some(attempt) = &self.attempt {
            // Both must be reached through one cell.
            attempt.cell();
        }
        Self {
            engine: Arc::clone(&self.engine),
            attempt: self.attempt.clone(),
        }
    }
}

impl fmt::Debug for CommandContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.attempt.as_ref();
        f.debug_struct("CommandContext")
            .field("lane_id", &attempt.map(|attempt| &attempt.lane.id))
            .field("attempt", &attempt.map(|attempt| attempt.number))
            .finish_non_exhaustive()
    }
}

//! Lanes that share one scheduler.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::{Lane, LaneStatus};
use crate::command::{Command, LaneId};
use crate::dlq::{Claims, DeadLetterQueue};
use crate::engine::{Engine, Observers, Target};
use crate::error::Result;
use crate::event::{EventEmitter, EventStream, LaneEvent};
use crate::storage::Storage;
use crate::testing::Hooks;

/// Lanes and the scheduler that runs their commands, the most urgent lane first.
///
/// Order: among the lanes that have a pending command and a free slot, the lowest effective priority number goes
/// first; among equals the lane served longest ago. Inside a lane commands run in the order of submission; a retry goes
/// to the back. A lane never runs more than its `max_concurrency` commands at once.
///
/// Dropping the last handle ends the queue: pending commands settle with an error, running ones are stopped and
/// settle likewise. Use [`shutdown`](Self::shutdown) and [`drain`](Self::drain) first to let them finish.
pub struct CommandQueue {
    engine: Arc<Engine>,
    storage: Option<Arc<dyn Storage>>,
    claims: Claims,
}

impl CommandQueue {
    /// A queue without lanes, dead letters or storage.
    pub fn new(event_emitter: EventEmitter) -> Self {
        Self::with_parts(
            event_emitter,
            None,
            None,
            Observers::default(),
            Hooks::default(),
        )
    }

    /// A queue that keeps the last `dlq_size` commands that failed for good.
    pub fn with_dlq(event_emitter: EventEmitter, dlq_size: usize) -> Self {
        let dlq = DeadLetterQueue::new(dlq_size);
        Self::with_parts(
            event_emitter,
            Some(dlq),
            None,
            Observers::default(),
            Hooks::default(),
        )
    }

    /// A queue that knows a storage. Commands are stored by lanes that were made with
    /// [`Lane::with_storage`], not by the queue.
    pub fn with_storage(event_emitter: EventEmitter, storage: Arc<dyn Storage>) -> Self {
        Self::with_parts(
            event_emitter,
            None,
            Some(storage),
            Observers::default(),
            Hooks::default(),
        )
    }

    /// [`with_dlq`](Self::with_dlq) and [`with_storage`](Self::with_storage) together.
    pub fn with_dlq_and_storage(
        event_emitter: EventEmitter,
        dlq_size: usize,
        storage: Arc<dyn Storage>,
    ) -> Self {
        let dlq = DeadLetterQueue::new(dlq_size);
        Self::with_parts(
            event_emitter,
            Some(dlq),
            Some(storage),
            Observers::default(),
            Hooks::default(),
        )
    }

    pub(crate) fn with_parts(
        event_emitter: EventEmitter,
        dlq: Option<DeadLetterQueue>,
        storage: Option<Arc<dyn Storage>>,
        observers: Observers,
        hooks: Hooks,
    ) -> Self {
        Self {
            engine: Engine::new(event_emitter, dlq, observers, hooks),
            storage,
            claims: Claims::default(),
        }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The storage that this queue was made with.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.storage.as_ref()
    }

    /// The dead letters, when the queue keeps them.
    pub fn dlq(&self) -> Option<&DeadLetterQueue> {
        self.engine.dlq()
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    pub fn is_shutting_down(&self) -> bool {
        self.engine.is_shutting_down()
    }

    /// Whether [`start_scheduler`](Self::start_scheduler) was called.
    pub fn is_started(&self) -> bool {
        self.engine.is_started()
    }

    /// Stops admission: later submits are refused. Accepted work still runs.
    ///
    /// Sends `queue.shutdown.started`, and `queue.shutdown.complete` when the last work has settled. Calls after the
    /// first change nothing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn shutdown(&self) {
        self.engine.shutdown();
    }

    /// Waits until nothing is pending, delayed or running and all results are delivered.
    ///
    /// May be called without a shutdown; then new work prolongs the wait. Work goes on when the time runs out.
    ///
    /// # Errors
    ///
    /// [`LaneError::Timeout`](crate::LaneError::Timeout) with the given `timeout` when the queue is not empty by then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn drain(&self, timeout: Duration) -> Result<()> {
        self.engine.drain(timeout).await
    }

    /// Adds a lane with the commands that wait in it. When the id is taken, that lane gets the new configuration and
    /// priority, and its pending and running commands stay.
    ///
    /// A lane belongs to one queue: the queue that registers it last gets the commands enqueued from then on.
    ///
    /// # Cancel safety
    ///
    /// With a storage on the lane: commands that were not moved yet when the future is dropped do not run.
    pub async fn register_lane(&self, lane: Arc<Lane>) {
        lane.attach(&self.engine).await;
    }

    /// Puts a command at the back of a lane. The receiver resolves to the result of its last attempt.
    ///
    /// Before the scheduler starts, commands wait. Dropping the receiver does not cancel the command.
    ///
    /// # Errors
    ///
    /// [`LaneError::ShutdownInProgress`](crate::LaneError::ShutdownInProgress) after [`shutdown`](Self::shutdown), else
    /// [`LaneError::LaneNotFound`](crate::LaneError::LaneNotFound) for an unknown lane, or the error of the lane's
    /// storage; in each case the command was not accepted.
    ///
    /// # Cancel safety
    ///
    /// With a storage: when the future is dropped, the command does not run, but may stay stored, unless a drain or an end
    /// has gone on with it. One that has entered in this moment is cancelled, and may have begun. Cancel safe without.
    pub async fn submit(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
    ) -> Result<oneshot::Receiver<Result<Value>>> {
        let target = Target {
            id: lane_id,
            key: None,
        };
        self.engine.submit(target, command).await
    }

    /// Lets commands run, on the current tokio runtime. Calls after the first change nothing.
    ///
    /// No task waits for work: commands are started by the calls that make them runnable.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn start_scheduler(self: Arc<Self>) {
        self.engine.start();
    }

    /// The queue's events from now on; ends after `queue.shutdown.complete` or when the queue is dropped.
    pub fn subscribe_stream(&self) -> EventStream {
        EventStream::until(self.engine.emitter(), self.engine.ended(), None)
    }

    /// As [`subscribe_stream`](Self::subscribe_stream), with only the events that `filter` accepts.
    pub fn subscribe_filtered(
        &self,
        filter: impl Fn(&LaneEvent) -> bool + Send + Sync + 'static,
    ) -> EventStream {
        EventStream::until(
            self.engine.emitter(),
            self.engine.ended(),
            Some(Box::new(filter)),
        )
    }

    /// How full each lane is.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn status(&self) -> HashMap<LaneId, LaneStatus> {
        self.engine.counts()
    }
}

impl Drop for CommandQueue {
    fn drop(&mut self) {
        self.engine.close("the queue was dropped");
    }
}

impl fmt::Debug for CommandQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandQueue").finish_non_exhaustive()
    }
}

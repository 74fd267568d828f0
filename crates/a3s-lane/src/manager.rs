//! The object that users hold.

mod builder;
mod control;
mod dead_letters;
mod restore;
mod sink;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

pub use builder::QueueManagerBuilder;
pub use dead_letters::{DeadLetters, Retried};

use crate::QueueStats;
use crate::command::Command;
use crate::engine::Target;
use crate::error::Result;
use crate::event::{EventStream, LaneEvent};
use crate::queue::CommandQueue;

#[cfg(feature = "monitoring")]
use crate::alerts::AlertManager;
#[cfg(feature = "metrics")]
use crate::metrics::QueueMetrics;

/// Lanes, their scheduler and what observes them.
///
/// Made by [`QueueManagerBuilder`]. Dropping it (and every handle from [`queue`](Self::queue)) ends the queue: pending
/// commands settle with an error, running ones are stopped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use a3s_lane::{EventEmitter, JsonCommand, QueueManagerBuilder};
///
/// # #[tokio::main]
/// # async fn main() -> a3s_lane::Result<()> {
/// let manager = QueueManagerBuilder::new(EventEmitter::new(100))
///     .with_default_lanes()
///     .build()
///     .await?;
/// manager.start().await?;
/// let receiver = manager
///     .submit("query", Box::new(JsonCommand::new("greet", "hello".into())))
///     .await?;
/// assert_eq!(receiver.await.expect("the queue is alive")?, "hello");
/// manager.shutdown().await;
/// manager.drain(Duration::from_secs(30)).await?;
/// # Ok(())
/// # }
/// ```
pub struct QueueManager {
    queue: Arc<CommandQueue>,
    #[cfg(feature = "metrics")]
    metrics: Option<QueueMetrics>,
    #[cfg(feature = "monitoring")]
    alerts: Option<Arc<AlertManager>>,
}

impl QueueManager {
    /// Lets commands run, on the current tokio runtime. Calls after the first change nothing.
    ///
    /// With a storage, what earlier processes left there enters its lanes first, in its old order and before what was submitted
    /// to this manager; [`unclaimed`](Self::unclaimed) tells what could not. A lane may hold more than its `max_pending` then.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`](crate::LaneError::Storage) when the storage cannot be read, or another manager that has not ended
    /// was started on it. Nothing runs; the call may be repeated.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing runs, and the next call goes on.
    pub async fn start(&self) -> Result<()> {
        self.queue.engine().restore().await?;
        Arc::clone(&self.queue).start_scheduler().await;
        Ok(())
    }

    /// Puts a command at the back of a lane; see [`CommandQueue::submit`].
    ///
    /// # Errors
    ///
    /// As [`CommandQueue::submit`].
    ///
    /// # Cancel safety
    ///
    /// As [`CommandQueue::submit`].
    pub async fn submit(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
    ) -> Result<oneshot::Receiver<Result<Value>>> {
        let target = Target {
            id: lane_id,
            key: None,
        };
        self.queue.engine().submit(target, command).await
    }

    /// How full the lanes are, and how many dead letters are kept: in the storage or, without one, in memory.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`](crate::LaneError::Storage) when the storage cannot tell.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Waits only for a storage.
    pub async fn stats(&self) -> Result<QueueStats> {
        let mut stats = QueueStats::of(&self.queue).await;
        if let Some(storage) = self.queue.storage() {
            stats.dead_letter_count = storage.count_dead_letters().await?;
        }
        Ok(stats)
    }

    /// The queue itself.
    pub fn queue(&self) -> Arc<CommandQueue> {
        Arc::clone(&self.queue)
    }

    /// The queue's events from now on; see [`CommandQueue::subscribe_stream`].
    pub fn subscribe(&self) -> EventStream {
        self.queue.subscribe_stream()
    }

    /// The queue's events from now on that `filter` accepts.
    pub fn subscribe_filtered(
        &self,
        filter: impl Fn(&LaneEvent) -> bool + Send + Sync + 'static,
    ) -> EventStream {
        self.queue.subscribe_filtered(filter)
    }

    /// Stops admission; see [`CommandQueue::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn shutdown(&self) {
        self.queue.shutdown().await;
    }

    /// Waits until the queue is empty; see [`CommandQueue::drain`].
    ///
    /// # Errors
    ///
    /// [`LaneError::Timeout`](crate::LaneError::Timeout) with the given `timeout` when it is not empty by then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn drain(&self, timeout: Duration) -> Result<()> {
        self.queue.drain(timeout).await
    }

    /// Ends the queue at once, and the use of its storage: when this returns, another process can open the directory.
    ///
    /// As [`shutdown_within`](Self::shutdown_within) without time: what runs is stopped and stays stored, as does what waits.
    /// For an end that waits, call [`drain`](Self::drain) or `shutdown_within` before. What has to ask the storage is an error
    /// from then on: dead letters, results, unclaimed commands, the number of dead letters in [`stats`](Self::stats). Calls after
    /// the first change nothing.
    ///
    /// Closes the storage that the manager was built with: whoever uses the same object has to make another one. A manager that is
    /// dropped lets go of its storage too, but when the last handle and the last task have, and nobody learns when that is.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`](crate::LaneError::Storage) when the storage cannot tell that it is closed; [`LocalStorage`] always can.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has begun the end; another one waits for it.
    ///
    /// [`LocalStorage`]: crate::storage::LocalStorage
    pub async fn close(&self) -> Result<()> {
        self.shutdown_within(Duration::ZERO).await;
        match self.queue.storage() {
            Some(storage) => storage.close().await,
            None => Ok(()),
        }
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    pub fn is_shutting_down(&self) -> bool {
        self.queue.is_shutting_down()
    }

    /// Whether [`start`](Self::start) was called.
    pub fn is_started(&self) -> bool {
        self.queue.is_started()
    }

    /// The metrics that this manager was built with.
    #[cfg(feature = "metrics")]
    pub fn metrics(&self) -> Option<&QueueMetrics> {
        self.metrics.as_ref()
    }

    /// The alerts that this manager was built with.
    #[cfg(feature = "monitoring")]
    pub fn alerts(&self) -> Option<&Arc<AlertManager>> {
        self.alerts.as_ref()
    }
}

impl fmt::Debug for QueueManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueManager").finish_non_exhaustive()
    }
}

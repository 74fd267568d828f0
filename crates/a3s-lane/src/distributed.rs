//! Partitioned work: envelopes in, results out, a pool of workers in between.
//!
//! A [`DistributedQueue`] holds serialized commands in partitions; a [`WorkerPool`] runs one worker per partition.
//! [`LocalDistributedQueue`] is the implementation inside one process. The order inside a partition is the order of
//! enqueueing; partitions run side by side. Lanes and priorities have no influence here: the envelope's lane is only
//! carried along.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use a3s_lane::{JsonCommand, LocalDistributedQueue, PartitionConfig, WorkerPool};
//! use serde_json::json;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
//! let queue = Arc::new(LocalDistributedQueue::new(PartitionConfig::hash(4)));
//! let mut pool = WorkerPool::new(queue.clone());
//! pool.start(|envelope| async move { Ok(json!({ "echo": envelope.payload })) });
//!
//! let sent = queue.submit("skill", &JsonCommand::new("resize", json!({ "width": 80 }))).await?;
//! let results = queue.result_receiver();
//! let result = results.lock().await.recv().await.expect("the queue is alive");
//! assert_eq!(result.command_id, sent.id);
//! assert_eq!(result.result, Ok(json!({ "echo": { "width": 80 } })));
//! pool.shutdown().await;
//! # Ok::<(), a3s_lane::LaneError>(())
//! # }).expect("the partition exists");
//! ```

mod local;
mod worker_pool;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::partition::PartitionId;

pub use local::LocalDistributedQueue;
pub use worker_pool::WorkerPool;

/// The unique name of a worker.
pub type WorkerId = String;

/// How long [`DistributedQueue::wait_for_work`] pauses where a queue does not know better.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A command on its way to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CommandEnvelope {
    /// The command's unique id.
    pub id: String,
    /// What kind of work it is.
    pub command_type: String,
    /// The lane it was meant for; carried along, not acted on.
    pub lane_id: String,
    /// The partition it goes to.
    pub partition_id: PartitionId,
    /// The data the work needs.
    pub payload: Value,
    /// How often the command was tried before. Queue and pool only carry it.
    pub retry_count: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What became of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CommandResult {
    /// The id from the envelope.
    pub command_id: String,
    /// What the executor returned; `Err("panicked: ...")` if it panicked.
    pub result: std::result::Result<Value, String>,
    /// Who ran it.
    pub worker_id: WorkerId,
    /// How many milliseconds it ran.
    pub duration_ms: u64,
}

/// A queue of envelopes in partitions.
#[async_trait]
pub trait DistributedQueue: Send + Sync {
    /// Puts an envelope into its partition, waiting for room if need be.
    ///
    /// # Errors
    ///
    /// `Other("Invalid partition ID: N")` if there is no such partition, or whatever the queue's transport reports.
    async fn enqueue(&self, envelope: CommandEnvelope) -> Result<()>;

    /// Takes the oldest envelope of a partition, or `None` if there is none. Does not wait for one to arrive.
    ///
    /// # Errors
    ///
    /// As for [`enqueue`](Self::enqueue). A [`WorkerPool`] logs it and tries again.
    async fn dequeue(&self, partition_id: PartitionId) -> Result<Option<CommandEnvelope>>;

    /// Hands a result over.
    ///
    /// A worker runs nothing else until this returns, so it must not wait for ever.
    ///
    /// # Errors
    ///
    /// Whatever the queue's transport reports. A [`WorkerPool`] logs it; the result is lost.
    async fn complete(&self, result: CommandResult) -> Result<()>;

    /// How many partitions there are, numbered from 0.
    fn num_partitions(&self) -> usize;

    /// Who this process is.
    fn worker_id(&self) -> &WorkerId;

    /// Whether this process may enqueue.
    fn is_coordinator(&self) -> bool;

    /// Whether this process may dequeue.
    fn is_worker(&self) -> bool;

    /// Returns when a [`dequeue`](Self::dequeue) is worth a try. It may return early.
    ///
    /// Default: after 50 ms. A queue that learns of arrivals should override it, so that an idle worker sleeps.
    ///
    /// # Cancel safety
    ///
    /// An implementation must not lose an envelope or the news of one when the future is dropped.
    async fn wait_for_work(&self, partition_id: PartitionId) {
        let _ = partition_id;
        tokio::time::sleep(DEFAULT_POLL_INTERVAL).await;
    }
}

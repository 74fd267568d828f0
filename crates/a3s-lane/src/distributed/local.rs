//! Partitions inside one process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, Notify, mpsc};
use uuid::Uuid;

use super::{CommandEnvelope, CommandResult, DistributedQueue, WorkerId};
use crate::command::Command;
use crate::error::{LaneError, Result};
use crate::partition::{PartitionConfig, PartitionId, Partitioner};

/// How long a result waits for a reader that has fallen behind.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// A [`DistributedQueue`] inside one process: coordinator and worker at once.
///
/// # Bounds
///
/// Each partition holds at most [`CAPACITY`](Self::CAPACITY) envelopes; [`enqueue`](DistributedQueue::enqueue) waits
/// while it is full.
///
/// At most [`CAPACITY`](Self::CAPACITY) results wait to be read. When they do, a further one waits up to a second for a
/// reader, if anybody holds the [`result_receiver`](Self::result_receiver). If nobody does, or the second passes, the
/// oldest result is dropped (the new one, if the receiver is locked) and counted in
/// [`dropped_results`](Self::dropped_results): results that nobody reads never stop the work.
pub struct LocalDistributedQueue {
    worker_id: WorkerId,
    partition_config: PartitionConfig,
    partitioner: Arc<dyn Partitioner>,
    partitions: Vec<Partition>,
    result_sender: mpsc::Sender<CommandResult>,
    result_receiver: Arc<Mutex<mpsc::Receiver<CommandResult>>>,
    dropped_results: AtomicU64,
    /// A result waited for the reader in vain, and there was no room since.
    reader_stalled: AtomicBool,
}

struct Partition {
    sender: mpsc::Sender<CommandEnvelope>,
    receiver: Arc<Mutex<mpsc::Receiver<CommandEnvelope>>>,
    /// Only one caller of this type looks at a time, so that `receiver` is locked only when somebody outside has locked it.
    taking: std::sync::Mutex<()>,
    arrived: Notify,
}

impl Partition {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(LocalDistributedQueue::CAPACITY);
        Self {
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
            taking: std::sync::Mutex::new(()),
            arrived: Notify::new(),
        }
    }

    /// Uses the receiver, unless somebody outside has locked it.
    fn with_receiver<T>(
        &self,
        f: impl FnOnce(&mut mpsc::Receiver<CommandEnvelope>) -> T,
    ) -> Option<T> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut receiver = self.receiver.try_lock().ok()?;
        Some(f(&mut receiver))
    }
}

impl LocalDistributedQueue {
    /// How many envelopes a partition holds, and how many results wait to be read.
    pub const CAPACITY: usize = 1_000;

    /// A queue with the partitions and the partitioner of `partition_config`. 0 partitions count as 1.
    pub fn new(partition_config: PartitionConfig) -> Self {
        let partitioner = partition_config.create_partitioner();
        Self::with_partitioner(partition_config, partitioner)
    }

    /// A queue with one partition per processor, filled one after the other.
    pub fn auto() -> Self {
        Self::new(PartitionConfig::auto())
    }

    /// A queue that asks `partitioner` instead of the strategy of `partition_config`.
    pub fn with_partitioner(
        mut partition_config: PartitionConfig,
        partitioner: Arc<dyn Partitioner>,
    ) -> Self {
        partition_config.num_partitions = partition_config.num_partitions.max(1);
        let (result_sender, result_receiver) = mpsc::channel(Self::CAPACITY);
        Self {
            worker_id: format!("local-{}", Uuid::new_v4()),
            partitions: (0..partition_config.num_partitions)
                .map(|_| Partition::new())
                .collect(),
            partition_config,
            partitioner,
            result_sender,
            result_receiver: Arc::new(Mutex::new(result_receiver)),
            dropped_results: AtomicU64::new(0),
            reader_stalled: AtomicBool::new(false),
        }
    }

    /// Asks the partitioner, wraps the command and enqueues it, waiting while the partition is full.
    ///
    /// The envelope gets a new UUID and carries [`Command::payload`], or null where there is none. Returns a copy of it.
    ///
    /// # Errors
    ///
    /// `Other("Invalid partition ID: N")` if the partitioner chooses a partition that does not exist, `QueueError` if
    /// the partition's receiver was closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it completes enqueues nothing; the partitioner may have counted the command.
    pub async fn submit(
        &self,
        lane_id: impl Into<String>,
        command: &dyn Command,
    ) -> Result<CommandEnvelope> {
        let lane_id = lane_id.into();
        let partition_id = self
            .partitioner
            .partition(command, self.partitions.len())
            .await;
        let envelope = CommandEnvelope {
            id: Uuid::new_v4().to_string(),
            command_type: command.command_type().to_owned(),
            lane_id,
            partition_id,
            payload: command.payload().unwrap_or(Value::Null),
            retry_count: 0,
            created_at: Utc::now(),
        };
        self.enqueue(envelope.clone()).await?;
        Ok(envelope)
    }

    /// What [`submit`](Self::submit) asks for the partition.
    pub fn partitioner(&self) -> &Arc<dyn Partitioner> {
        &self.partitioner
    }

    /// The configuration, with at least one partition.
    pub fn partition_config(&self) -> &PartitionConfig {
        &self.partition_config
    }

    /// The receiving end of a partition, for code that runs its own worker; `None` if there is no such partition.
    ///
    /// While it is locked, [`dequeue`](DistributedQueue::dequeue) finds the partition empty.
    pub fn partition_receiver(
        &self,
        partition_id: PartitionId,
    ) -> Option<Arc<Mutex<mpsc::Receiver<CommandEnvelope>>>> {
        Some(Arc::clone(&self.partitions.get(partition_id)?.receiver))
    }

    /// The receiving end of the results. Drop it when nobody reads any more, so that results do not wait for a reader.
    pub fn result_receiver(&self) -> Arc<Mutex<mpsc::Receiver<CommandResult>>> {
        Arc::clone(&self.result_receiver)
    }

    /// The sending end of the results, for code that runs its own worker. Its `send` waits while they are full.
    pub fn result_sender(&self) -> mpsc::Sender<CommandResult> {
        self.result_sender.clone()
    }

    /// How many results were dropped because nobody read them.
    pub fn dropped_results(&self) -> u64 {
        self.dropped_results.load(Ordering::Relaxed)
    }

    fn partition(&self, partition_id: PartitionId) -> Result<&Partition> {
        self.partitions
            .get(partition_id)
            .ok_or_else(|| LaneError::Other(format!("Invalid partition ID: {partition_id}")))
    }

    fn has_reader(&self) -> bool {
        Arc::strong_count(&self.result_receiver) > 1
    }

    /// Makes room by dropping the oldest result, if the receiver is free.
    fn drop_oldest_result(&self) -> bool {
        let receiver = self.result_receiver.try_lock();
        receiver.is_ok_and(|mut receiver| receiver.try_recv().is_ok())
    }

    fn count_dropped_result(&self) {
        let before = self.dropped_results.fetch_add(1, Ordering::Relaxed);
        // Once per time the results were full would still be a line per result.
        if before == 0 {
            tracing::warn!(
                limit = Self::CAPACITY,
                "nobody reads the results, dropping the oldest ones"
            );
        }
    }
}

#[async_trait]
impl DistributedQueue for LocalDistributedQueue {
    /// # Cancel safety
    ///
    /// Dropping the future before it completes enqueues nothing, and the envelope is lost.
    async fn enqueue(&self, envelope: CommandEnvelope) -> Result<()> {
        let partition = self.partition(envelope.partition_id)?;
        let partition_id = envelope.partition_id;
        partition.sender.send(envelope).await.map_err(|_| {
            LaneError::QueueError(format!("receiver of partition {partition_id} was closed"))
        })?;
        // All waiters: one that is being shut down must not swallow the news for another pool.
        partition.arrived.notify_waiters();
        Ok(())
    }

    /// # Cancel safety
    ///
    /// Never waits: a future that was polled has completed.
    async fn dequeue(&self, partition_id: PartitionId) -> Result<Option<CommandEnvelope>> {
        let partition = self.partition(partition_id)?;
        Ok(partition
            .with_receiver(|receiver| receiver.try_recv().ok())
            .flatten())
    }

    /// # Cancel safety
    ///
    /// Dropping the future while it waits for a reader loses the result.
    async fn complete(&self, result: CommandResult) -> Result<()> {
        let mut result = match self.result_sender.try_send(result) {
            Ok(()) => {
                self.reader_stalled.store(false, Ordering::Relaxed);
                return Ok(());
            }
            // The receiver was closed by somebody who wants no more results.
            Err(TrySendError::Closed(_)) => return Ok(()),
            Err(TrySendError::Full(result)) => result,
        };
        if self.has_reader() && !self.reader_stalled.load(Ordering::Relaxed) {
            let room = tokio::time::timeout(READER_PATIENCE, self.result_sender.reserve()).await;
            if let Ok(room) = room {
                if let Ok(room) = room {
                    room.send(result);
                }
                return Ok(());
            }
            self.reader_stalled.store(true, Ordering::Relaxed);
        }
        // Other workers may fill the room that this one makes, so it may take several turns.
        loop {
            let made_room = self.drop_oldest_result();
            if made_room {
                self.count_dropped_result();
            }
            match self.result_sender.try_send(result) {
                Err(TrySendError::Full(back)) if made_room => result = back,
                Err(TrySendError::Full(_)) => {
                    self.count_dropped_result();
                    return Ok(());
                }
                Ok(()) | Err(TrySendError::Closed(_)) => return Ok(()),
            }
        }
    }

    fn num_partitions(&self) -> usize {
        self.partitions.len()
    }

    fn worker_id(&self) -> &WorkerId {
        &self.worker_id
    }

    fn is_coordinator(&self) -> bool {
        true
    }

    fn is_worker(&self) -> bool {
        true
    }

    /// Sleeps until something arrives; for ever if there is no such partition.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is taken from the partition.
    async fn wait_for_work(&self, partition_id: PartitionId) {
        let Some(partition) = self.partitions.get(partition_id) else {
            return std::future::pending().await;
        };
        loop {
            // Made before the look, so that an arrival after the look ends it.
            let arrived = partition.arrived.notified();
            match partition.with_receiver(|receiver| receiver.is_empty()) {
                Some(false) => return,
                Some(true) => arrived.await,
                // Whoever has the receiver gets the envelopes; to look again at once would be to spin.
                None => drop(partition.receiver.lock().await),
            }
        }
    }
}

#[cfg(test)]
mod tests;

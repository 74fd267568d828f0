//! One worker per partition.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{CommandEnvelope, CommandResult, DistributedQueue};
use crate::partition::PartitionId;

/// How long a worker pauses after its queue failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Runs the envelopes of a [`DistributedQueue`], one at a time per partition.
///
/// A failing or panicking executor gives a failed result and the next envelope is run; so does a result that the queue
/// refuses. An idle worker sleeps in [`DistributedQueue::wait_for_work`].
///
/// Dropping the pool stops it as [`shutdown`](Self::shutdown) does, without waiting for running work.
pub struct WorkerPool {
    distributed_queue: Arc<dyn DistributedQueue>,
    workers: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl WorkerPool {
    /// A pool for this queue. It runs nothing until [`start`](Self::start).
    pub fn new(distributed_queue: Arc<dyn DistributedQueue>) -> Self {
        Self {
            distributed_queue,
            workers: Vec::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Starts a worker per partition on the current tokio runtime.
    ///
    /// Does nothing if the pool is running. After a shutdown it can be started again.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start<F, Fut>(&mut self, command_executor: F)
    where
        F: Fn(CommandEnvelope) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Value, String>> + Send + 'static,
    {
        if self.is_running() {
            return;
        }
        // A cancelled shutdown may have left a token that its workers have yet to obey.
        self.stop = CancellationToken::new();
        self.workers = (0..self.distributed_queue.num_partitions())
            .map(|partition_id| {
                let queue = Arc::clone(&self.distributed_queue);
                let stop = self.stop.clone();
                tokio::spawn(work(queue, partition_id, stop, command_executor.clone()))
            })
            .collect();
    }

    /// Takes no more envelopes, waits for the running ones and hands their results over.
    ///
    /// Envelopes that were not started stay in the queue. There is no time limit: an executor that never returns keeps
    /// this waiting.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the pool stops even if the future is dropped; call it again to wait for the rest.
    pub async fn shutdown(&mut self) {
        self.stop.cancel();
        while let Some(worker) = self.workers.last_mut() {
            if let Err(error) = worker.await {
                tracing::error!(%error, "worker of a partition ended early");
            }
            self.workers.pop();
        }
    }

    /// Whether any worker is alive: `false` before the start, after a shutdown and when the runtime was shut down.
    pub fn is_running(&self) -> bool {
        self.workers.iter().any(|worker| !worker.is_finished())
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The life of one worker.
async fn work<F, Fut>(
    queue: Arc<dyn DistributedQueue>,
    partition_id: PartitionId,
    stop: CancellationToken,
    executor: F,
) where
    F: Fn(CommandEnvelope) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value, String>> + Send,
{
    while !stop.is_cancelled() {
        // Never cancelled, because a queue may not be able to take an envelope back.
        let taken = caught(|| queue.dequeue(partition_id)).await;
        let pause = match taken {
            Ok(Ok(Some(envelope))) => {
                execute(&*queue, envelope, &executor).await;
                continue;
            }
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!("panicked: {panic}")),
        };
        let waited = async {
            match pause {
                Some(error) => {
                    tracing::error!(partition_id, error, "taking an envelope failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
                None => {
                    let waited = caught(|| queue.wait_for_work(partition_id)).await;
                    if let Err(error) = waited {
                        tracing::error!(partition_id, error, "waiting for work panicked");
                        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = waited => {}
        }
    }
}

async fn execute<F, Fut>(queue: &dyn DistributedQueue, envelope: CommandEnvelope, executor: &F)
where
    F: Fn(CommandEnvelope) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value, String>> + Send,
{
    let command_id = envelope.id.clone();
    let started = Instant::now();
    let result = match caught(|| executor(envelope)).await {
        Ok(result) => result,
        Err(panic) => Err(format!("panicked: {panic}")),
    };
    let result = CommandResult {
        command_id: command_id.clone(),
        result,
        worker_id: queue.worker_id().clone(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let error = match caught(|| queue.complete(result)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("panicked: {panic}"),
    };
    tracing::error!(command_id, error, "handing a result over failed");
}

/// Makes a future and runs it, turning a panic in either, or in its destructor, into its message.
async fn caught<Fut: Future>(make: impl FnOnce() -> Fut) -> Result<Fut::Output, String> {
    let mut future = Box::pin(guarded(make)?);
    let output = poll_fn(|context| match guarded(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await;
    let dropped = guarded(move || drop(future));
    let output = output?;
    dropped?;
    Ok(output)
}

fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

#[cfg(test)]
mod tests;

//! Workers of queues that are not the local one.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::super::super::WorkerId;
use super::*;
use crate::error::{LaneError, Result};

/// A queue of somebody else that has only bad days, and the default `wait_for_work`.
#[derive(Default)]
struct Unreliable {
    envelopes: Mutex<VecDeque<CommandEnvelope>>,
    results: Mutex<Vec<CommandResult>>,
    dequeues: AtomicUsize,
    lost_one: AtomicBool,
    worker_id: WorkerId,
}

#[async_trait]
impl DistributedQueue for Unreliable {
    async fn enqueue(&self, envelope: CommandEnvelope) -> Result<()> {
        self.envelopes
            .lock()
            .expect("not poisoned")
            .push_back(envelope);
        Ok(())
    }
    async fn dequeue(&self, _: PartitionId) -> Result<Option<CommandEnvelope>> {
        match self.dequeues.fetch_add(1, Ordering::SeqCst) {
            0 => Err(LaneError::Other("connection lost".to_owned())),
            1 => panic!("dequeue broke"),
            _ => Ok(self.envelopes.lock().expect("not poisoned").pop_front()),
        }
    }
    async fn complete(&self, result: CommandResult) -> Result<()> {
        if !self.lost_one.swap(true, Ordering::SeqCst) {
            panic!("complete broke");
        }
        self.results.lock().expect("not poisoned").push(result);
        Ok(())
    }
    fn num_partitions(&self) -> usize {
        1
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
}

#[tokio::test(start_paused = true)]
async fn a_failing_queue_does_not_end_its_worker() {
    let queue = Arc::new(Unreliable::default());
    let mut pool = WorkerPool::new(Arc::clone(&queue) as Arc<dyn DistributedQueue>);
    pool.start(|envelope| async move { Ok(envelope.payload) });
    let local = LocalDistributedQueue::new(PartitionConfig::none());
    for number in 0..3 {
        let command = JsonCommand::new("a", json!(number));
        let envelope = local
            .submit("a", &command)
            .await
            .expect("the partition exists");
        queue.enqueue(envelope).await.expect("it never fails");
    }
    let handed_over = async {
        while queue.results.lock().expect("not poisoned").len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(handed_over).await;
    let results = std::mem::take(&mut *queue.results.lock().expect("not poisoned"));
    let results: Vec<_> = results.into_iter().map(|result| result.result).collect();
    assert_eq!(
        results,
        [Ok(json!(1)), Ok(json!(2))],
        "the first result was lost by the queue"
    );
    assert!(pool.is_running());
    soon(pool.shutdown()).await;
}

/// Counts how often a worker looks.
struct Counting(LocalDistributedQueue, AtomicUsize);

#[async_trait]
impl DistributedQueue for Counting {
    async fn enqueue(&self, envelope: CommandEnvelope) -> Result<()> {
        self.0.enqueue(envelope).await
    }
    async fn dequeue(&self, partition_id: PartitionId) -> Result<Option<CommandEnvelope>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.dequeue(partition_id).await
    }
    async fn complete(&self, result: CommandResult) -> Result<()> {
        self.0.complete(result).await
    }
    fn num_partitions(&self) -> usize {
        self.0.num_partitions()
    }
    fn worker_id(&self) -> &WorkerId {
        self.0.worker_id()
    }
    fn is_coordinator(&self) -> bool {
        self.0.is_coordinator()
    }
    fn is_worker(&self) -> bool {
        self.0.is_worker()
    }
    async fn wait_for_work(&self, partition_id: PartitionId) {
        self.0.wait_for_work(partition_id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_does_not_poll() {
    let queue = Arc::new(Counting(
        LocalDistributedQueue::new(PartitionConfig::none()),
        AtomicUsize::new(0),
    ));
    let mut pool = WorkerPool::new(Arc::clone(&queue) as Arc<dyn DistributedQueue>);
    pool.start(|_| async { Ok(Value::Null) });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        queue.1.load(Ordering::SeqCst),
        1,
        "one look in an idle hour"
    );
    submit(&queue.0, "a").await;
    next_result(&queue.0).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        queue.1.load(Ordering::SeqCst),
        3,
        "the envelope, and the look behind it"
    );
    soon(pool.shutdown()).await;
}

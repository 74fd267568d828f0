use std::pin::pin;

use futures::FutureExt;
use serde_json::json;

use super::*;
use crate::command::JsonCommand;
use crate::partition::{CustomPartitioner, PartitionStrategy};

fn envelope(id: &str, partition_id: PartitionId) -> CommandEnvelope {
    CommandEnvelope {
        id: id.to_owned(),
        command_type: "test".to_owned(),
        lane_id: "query".to_owned(),
        partition_id,
        payload: Value::Null,
        retry_count: 0,
        created_at: Utc::now(),
    }
}

fn result(id: usize) -> CommandResult {
    CommandResult {
        command_id: id.to_string(),
        result: Ok(Value::Null),
        worker_id: "w".to_owned(),
        duration_ms: 0,
    }
}

async fn take(queue: &LocalDistributedQueue, partition_id: PartitionId) -> Option<String> {
    let taken = queue
        .dequeue(partition_id)
        .await
        .expect("the partition exists");
    taken.map(|envelope| envelope.id)
}

#[tokio::test]
async fn partitions_keep_their_order_and_stay_apart() {
    let queue = LocalDistributedQueue::new(PartitionConfig::round_robin(2));
    for (id, partition_id) in [("a", 0), ("b", 1), ("c", 0)] {
        queue
            .enqueue(envelope(id, partition_id))
            .await
            .expect("the partition exists");
    }
    assert_eq!(take(&queue, 0).await.as_deref(), Some("a"));
    assert_eq!(take(&queue, 0).await.as_deref(), Some("c"));
    assert_eq!(take(&queue, 0).await, None);
    assert_eq!(take(&queue, 1).await.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_partition_that_does_not_exist_is_named() {
    let queue = LocalDistributedQueue::new(PartitionConfig::hash(2));
    let enqueued = queue
        .enqueue(envelope("a", 2))
        .await
        .expect_err("there are two");
    let dequeued = queue.dequeue(7).await.expect_err("there are two");
    assert!(matches!(&enqueued, LaneError::Other(text) if text == "Invalid partition ID: 2"));
    assert!(matches!(&dequeued, LaneError::Other(text) if text == "Invalid partition ID: 7"));
    assert!(queue.partition_receiver(2).is_none());
    assert!(queue.wait_for_work(2).now_or_never().is_none());
}

#[tokio::test]
async fn the_local_queue_is_everything_at_once() {
    let queue = LocalDistributedQueue::new(PartitionConfig::new(0, PartitionStrategy::Hash));
    assert_eq!(
        (
            queue.num_partitions(),
            queue.partition_config().num_partitions
        ),
        (1, 1)
    );
    assert!(queue.is_coordinator() && queue.is_worker());
    let uuid = queue
        .worker_id()
        .strip_prefix("local-")
        .expect("the prefix is fixed");
    assert!(Uuid::parse_str(uuid).is_ok(), "{uuid}");
    assert_eq!(
        LocalDistributedQueue::auto().num_partitions(),
        num_cpus::get()
    );
}

#[tokio::test]
async fn enqueue_waits_for_room_and_a_dropped_wait_enqueues_nothing() {
    let queue = LocalDistributedQueue::new(PartitionConfig::none());
    for number in 0..LocalDistributedQueue::CAPACITY {
        queue
            .enqueue(envelope(&number.to_string(), 0))
            .await
            .expect("there is room");
    }
    assert!(
        queue
            .enqueue(envelope("dropped", 0))
            .now_or_never()
            .is_none(),
        "it is full"
    );
    let mut waiting = pin!(queue.enqueue(envelope("last", 0)));
    assert!(waiting.as_mut().now_or_never().is_none(), "it is full");
    assert_eq!(take(&queue, 0).await.as_deref(), Some("0"));
    waiting.await.expect("there is room again");

    let mut taken = Vec::new();
    while let Some(id) = take(&queue, 0).await {
        taken.push(id);
    }
    assert_eq!(taken.len(), LocalDistributedQueue::CAPACITY);
    assert_eq!(taken.last().map(String::as_str), Some("last"));
}

#[tokio::test]
async fn a_closed_partition_is_reported() {
    let queue = LocalDistributedQueue::new(PartitionConfig::none());
    queue
        .partition_receiver(0)
        .expect("it exists")
        .lock()
        .await
        .close();
    let error = queue
        .enqueue(envelope("a", 0))
        .await
        .expect_err("it is closed");
    assert_eq!(
        error.to_string(),
        "Queue error: receiver of partition 0 was closed"
    );
}

#[tokio::test]
async fn dequeue_does_not_wait_for_a_locked_receiver() {
    let queue = LocalDistributedQueue::new(PartitionConfig::none());
    let receiver = queue.partition_receiver(0).expect("it exists");
    queue
        .enqueue(envelope("a", 0))
        .await
        .expect("there is room");
    let mut outside = receiver.lock().await;
    assert!(
        queue
            .dequeue(0)
            .now_or_never()
            .expect("it never waits")
            .expect("it exists")
            .is_none()
    );
    let mut waiting = pin!(queue.wait_for_work(0));
    assert!(
        waiting.as_mut().now_or_never().is_none(),
        "the envelope belongs to the receiver's user"
    );
    assert_eq!(outside.recv().await.expect("it was enqueued").id, "a");
    drop(outside);
    assert!(waiting.as_mut().now_or_never().is_none(), "it is empty");
    queue
        .enqueue(envelope("b", 0))
        .await
        .expect("there is room");
    waiting.await;
    assert_eq!(take(&queue, 0).await.as_deref(), Some("b"));
}

#[tokio::test]
async fn waiters_are_woken_by_an_arrival_in_their_partition() {
    let queue = LocalDistributedQueue::new(PartitionConfig::round_robin(2));
    let mut first = pin!(queue.wait_for_work(0));
    let mut second = pin!(queue.wait_for_work(0));
    let mut other = pin!(queue.wait_for_work(1));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    assert!(other.as_mut().now_or_never().is_none());
    queue
        .enqueue(envelope("a", 0))
        .await
        .expect("there is room");
    first.await;
    second.await;
    assert!(other.as_mut().now_or_never().is_none());
    queue.wait_for_work(0).await;
}

/// The old queue took the partition from the envelope and never asked the partitioner.
#[tokio::test]
async fn l36_submit_asks_the_partitioner() {
    let by_length = CustomPartitioner::new(|command_type: &str| command_type.len());
    let config = PartitionConfig::round_robin(3);
    let queue = LocalDistributedQueue::with_partitioner(config, Arc::new(by_length));
    for command_type in ["four", "five5", "six666"] {
        let command = JsonCommand::new(command_type, json!({ "n": 1 }));
        let sent = queue
            .submit("skill", &command)
            .await
            .expect("the partition exists");
        assert_eq!(sent.partition_id, command_type.len() % 3);
        let got = queue
            .dequeue(sent.partition_id)
            .await
            .expect("it exists")
            .expect("it was sent");
        assert_eq!((&got.id, &got.command_type), (&sent.id, &sent.command_type));
        assert_eq!(
            (got.lane_id.as_str(), got.command_type.as_str()),
            ("skill", command_type)
        );
        assert_eq!((got.payload, got.retry_count), (json!({ "n": 1 }), 0));
        assert!(Uuid::parse_str(&got.id).is_ok());
    }

    let hashed = LocalDistributedQueue::new(PartitionConfig::hash(8));
    let command = JsonCommand::new("email", Value::Null);
    assert_eq!(
        hashed
            .submit("a", &command)
            .await
            .expect("it exists")
            .partition_id,
        7
    );
}

/// Chooses a partition that never exists.
struct Wrong;

#[async_trait]
impl Partitioner for Wrong {
    async fn partition(&self, _command: &dyn Command, num_partitions: usize) -> PartitionId {
        num_partitions
    }
}

#[tokio::test]
async fn a_wrong_partitioner_is_an_error() {
    let queue = LocalDistributedQueue::with_partitioner(PartitionConfig::none(), Arc::new(Wrong));
    let command = JsonCommand::new("a", Value::Null);
    let error = queue
        .submit("a", &command)
        .await
        .expect_err("partition 1 does not exist");
    assert_eq!(error.to_string(), "Invalid partition ID: 1");
}

async fn read_all(queue: &LocalDistributedQueue) -> Vec<String> {
    let receiver = queue.result_receiver();
    let mut receiver = receiver.lock().await;
    std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|result| result.command_id)
        .collect()
}

/// The 1,001st result used to wait for a reader for ever.
#[tokio::test]
async fn l36_unread_results_are_dropped_oldest_first() {
    let queue = LocalDistributedQueue::new(PartitionConfig::none());
    let total = LocalDistributedQueue::CAPACITY + 500;
    for id in 0..total {
        let completed = queue.complete(result(id)).now_or_never();
        completed
            .expect("nobody reads, so it does not wait")
            .expect("it is accepted");
    }
    assert_eq!(queue.dropped_results(), 500);
    let kept = read_all(&queue).await;
    assert_eq!(kept.len(), LocalDistributedQueue::CAPACITY);
    assert_eq!((kept[0].as_str(), kept[999].as_str()), ("500", "1499"));
}

#[tokio::test(start_paused = true)]
async fn l36_a_slow_reader_loses_nothing() {
    let queue = Arc::new(LocalDistributedQueue::new(PartitionConfig::none()));
    let receiver = queue.result_receiver();
    let total = LocalDistributedQueue::CAPACITY + 200;
    let writer = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            for id in 0..total {
                queue.complete(result(id)).await.expect("it is accepted");
            }
        }
    });
    for id in 0..total {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let read = receiver
            .lock()
            .await
            .recv()
            .await
            .expect("the queue is alive");
        assert_eq!(read.command_id, id.to_string());
    }
    writer.await.expect("it does not panic");
    assert_eq!(queue.dropped_results(), 0);
}

#[tokio::test(start_paused = true)]
async fn l36_a_reader_that_never_reads_is_waited_for_once() {
    let queue = LocalDistributedQueue::new(PartitionConfig::none());
    let receiver = queue.result_receiver();
    let locked = receiver.lock().await;
    let started = tokio::time::Instant::now();
    for id in 0..LocalDistributedQueue::CAPACITY + 50 {
        queue.complete(result(id)).await.expect("it is accepted");
    }
    assert_eq!(
        started.elapsed(),
        READER_PATIENCE,
        "paused time: exactly one wait"
    );
    assert_eq!(queue.dropped_results(), 50);
    drop(locked);
    drop(receiver);
    let kept = read_all(&queue).await;
    assert_eq!(kept[999], "999", "a locked receiver keeps the old results");

    // It read after all, so it is waited for again.
    let _receiver = queue.result_receiver();
    for id in 0..=LocalDistributedQueue::CAPACITY {
        queue.complete(result(id)).await.expect("it is accepted");
    }
    assert_eq!(started.elapsed(), 2 * READER_PATIENCE);
}

#[tokio::test]
async fn closed_results_are_not_an_error() {
    let queue = LocalDistributedQueue::new(PartitionConfig::none());
    queue.result_receiver().lock().await.close();
    queue.complete(result(1)).await.expect("nobody wants it");
    assert_eq!(queue.dropped_results(), 0);
    assert!(queue.result_sender().is_closed());
}

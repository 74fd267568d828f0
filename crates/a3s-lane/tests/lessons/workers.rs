//! L36: a worker pool stops at 1,001 results, hangs at its end, and one panic kills a partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{
    CommandEnvelope, DistributedQueue, JsonCommand, LocalDistributedQueue, PartitionConfig,
    WorkerPool,
};
use serde_json::{Value, json};

use crate::support::{eventually, within};

fn envelope(id: usize, partition_id: usize) -> CommandEnvelope {
    CommandEnvelope {
        id: id.to_string(),
        command_type: "t".to_owned(),
        lane_id: "l".to_owned(),
        partition_id,
        payload: json!(id),
        retry_count: 0,
        created_at: chrono::Utc::now(),
    }
}

fn pool(queue: &Arc<LocalDistributedQueue>) -> WorkerPool {
    WorkerPool::new(Arc::clone(queue) as Arc<dyn DistributedQueue>)
}

#[tokio::test]
async fn l36_results_that_nobody_reads_do_not_stop_the_work() {
    let queue = Arc::new(LocalDistributedQueue::new(PartitionConfig::none()));
    let done = Arc::new(AtomicUsize::new(0));
    let mut pool = pool(&queue);
    let count = Arc::clone(&done);
    pool.start(move |_| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Value::Null)
        }
    });
    for id in 0..2_500 {
        within(queue.enqueue(envelope(id, 0)))
            .await
            .expect("there is room in time");
    }
    eventually("all are done", async || {
        done.load(Ordering::SeqCst) == 2_500
    })
    .await;
    within(pool.shutdown()).await;
    assert!(!pool.is_running());
    assert_eq!(queue.dropped_results(), 1_500, "what was lost is counted");
}

#[tokio::test]
async fn l36_a_panic_costs_one_command_not_a_partition() {
    let queue = Arc::new(LocalDistributedQueue::new(PartitionConfig::round_robin(2)));
    let mut pool = pool(&queue);
    pool.start(|envelope: CommandEnvelope| async move {
        assert_ne!(envelope.payload, 0, "the first one panics");
        Ok(envelope.payload)
    });
    for id in 0..3 {
        queue.enqueue(envelope(id, 1)).await.expect("there is room");
    }
    let results = queue.result_receiver();
    let mut results = results.lock().await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let result = within(results.recv()).await.expect("a result each");
        outcomes.push((result.command_id, result.result.ok()));
    }
    assert_eq!(
        outcomes,
        [
            ("0".to_owned(), None),
            ("1".to_owned(), Some(json!(1))),
            ("2".to_owned(), Some(json!(2)))
        ]
    );
    assert!(pool.is_running());
    drop(results);
    within(pool.shutdown()).await;
    assert!(!pool.is_running());
}

#[tokio::test]
async fn l36_shutdown_waits_for_what_runs_and_for_nothing_else() {
    let queue = Arc::new(LocalDistributedQueue::new(PartitionConfig::none()));
    let mut pool = pool(&queue);
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let gate = crate::support::Gate::new();
    let held = gate.clone();
    pool.start(move |envelope: CommandEnvelope| {
        let (started, held) = (started.clone(), held.clone());
        async move {
            started.send(envelope.id).expect("the test listens");
            held.pass().await;
            Ok(Value::Null)
        }
    });
    for id in 0..2 {
        queue.enqueue(envelope(id, 0)).await.expect("there is room");
    }
    assert_eq!(within(starts.recv()).await.as_deref(), Some("0"));
    let busy = tokio::time::timeout(Duration::from_millis(20), pool.shutdown()).await;
    assert!(busy.is_err(), "it waits for the running one");
    gate.open();
    within(pool.shutdown()).await;
    assert!(!pool.is_running());
    let left = queue.dequeue(0).await.expect("no error");
    assert_eq!(left.expect("not started").id, "1");
}

/// The partitioner was never consulted.
#[tokio::test]
async fn l36_submitting_a_command_asks_the_partitioner() {
    use a3s_lane::CustomPartitioner;

    let by_length = CustomPartitioner::new(|kind: &str| kind.len());
    let queue = LocalDistributedQueue::with_partitioner(
        PartitionConfig::round_robin(4),
        Arc::new(by_length),
    );
    for (kind, place) in [("a", 1), ("abc", 3), ("abcd", 0)] {
        let command = JsonCommand::new(kind, json!(kind));
        let sent = queue.submit("lane", &command).await.expect("there is room");
        assert_eq!(sent.partition_id, place);
        let got = queue.dequeue(place).await.expect("no error");
        let got = got.expect("it is in its partition");
        assert_eq!((got.id, got.payload), (sent.id, json!(kind)));
        assert_eq!((&*got.lane_id, &*got.command_type), ("lane", kind));
    }
}

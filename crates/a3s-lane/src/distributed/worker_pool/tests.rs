use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use serde_json::json;
use tokio::sync::Notify;

use super::super::LocalDistributedQueue;
use super::*;
use crate::command::JsonCommand;
use crate::partition::PartitionConfig;

mod other_queues;

/// A guard against hanging; no assertion depends on it.
const LIMIT: Duration = Duration::from_secs(60);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it must not hang")
}

async fn submit(queue: &LocalDistributedQueue, command_type: &str) -> String {
    let command = JsonCommand::new(command_type, Value::Null);
    queue
        .submit("lane", &command)
        .await
        .expect("the partition exists")
        .id
}

async fn next_result(queue: &LocalDistributedQueue) -> CommandResult {
    let receiver = queue.result_receiver();
    let mut receiver = receiver.lock().await;
    soon(receiver.recv()).await.expect("the queue is alive")
}

fn local(partitions: usize) -> (Arc<LocalDistributedQueue>, WorkerPool) {
    let queue = Arc::new(LocalDistributedQueue::new(PartitionConfig::round_robin(
        partitions,
    )));
    let pool = WorkerPool::new(Arc::clone(&queue) as Arc<dyn DistributedQueue>);
    (queue, pool)
}

#[tokio::test]
async fn envelopes_run_in_order_and_their_results_come_back() {
    let (queue, mut pool) = local(1);
    let sent = [submit(&queue, "good").await, submit(&queue, "bad").await];
    pool.start(|envelope| async move {
        if envelope.command_type == "bad" {
            Err("no luck".to_owned())
        } else {
            Ok(json!(1))
        }
    });
    let late = submit(&queue, "good").await;
    let expected = [
        (sent[0].clone(), Ok(json!(1))),
        (sent[1].clone(), Err("no luck".to_owned())),
        (late, Ok(json!(1))),
    ];
    for (id, outcome) in expected {
        let result = next_result(&queue).await;
        assert_eq!((result.command_id, result.result), (id, outcome));
        assert_eq!(&result.worker_id, queue.worker_id());
    }
    soon(pool.shutdown()).await;
}

#[tokio::test(start_paused = true)]
async fn the_duration_is_the_executors() {
    let (queue, mut pool) = local(1);
    pool.start(|_| async {
        tokio::time::sleep(Duration::from_millis(1234)).await;
        Ok(Value::Null)
    });
    submit(&queue, "slow").await;
    assert_eq!(next_result(&queue).await.duration_ms, 1234);
    soon(pool.shutdown()).await;
}

#[tokio::test]
async fn partitions_run_side_by_side_and_one_at_a_time() {
    let (queue, mut pool) = local(3);
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let running = Arc::new(Mutex::new(vec![0; 3]));
    pool.start({
        let barrier = Arc::clone(&barrier);
        let running = Arc::clone(&running);
        move |envelope| {
            let (barrier, running) = (Arc::clone(&barrier), Arc::clone(&running));
            async move {
                let change = |by: i32| {
                    let mut running = running.lock().expect("not poisoned");
                    running[envelope.partition_id] += by;
                    running[envelope.partition_id]
                };
                assert_eq!(change(1), 1, "two at once in a partition");
                // Passes only when all three partitions run.
                barrier.wait().await;
                change(-1);
                Ok(Value::Null)
            }
        }
    });
    for _ in 0..30 {
        submit(&queue, "a").await;
    }
    for _ in 0..30 {
        assert_eq!(next_result(&queue).await.result, Ok(Value::Null));
    }
    soon(pool.shutdown()).await;
}

/// One panic used to end the partition's worker, while `is_running` stayed true.
#[tokio::test]
async fn l36_a_panic_is_a_result_and_the_partition_goes_on() {
    let (queue, mut pool) = local(1);
    pool.start(|envelope| {
        assert!(envelope.command_type != "early", "before the future");
        async move {
            match envelope.command_type.as_str() {
                "late" => panic!("in the future: {}", 7),
                "value" => std::panic::panic_any(7),
                _ => Ok(json!("fine")),
            }
        }
    });
    for command_type in ["early", "late", "value", "good"] {
        submit(&queue, command_type).await;
    }
    let mut results = Vec::new();
    for _ in 0..4 {
        results.push(next_result(&queue).await.result);
    }
    assert_eq!(
        results,
        [
            Err("panicked: before the future".to_owned()),
            Err("panicked: in the future: 7".to_owned()),
            Err("panicked: no message".to_owned()),
            Ok(json!("fine")),
        ]
    );
    assert!(pool.is_running());
    soon(pool.shutdown()).await;
}

/// A future that is ready at once and panics when it is dropped.
struct PanicsOnDrop;

impl Future for PanicsOnDrop {
    type Output = Result<Value, String>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Value::Null))
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("in the destructor");
    }
}

#[tokio::test]
async fn l36_a_panicking_destructor_is_a_result() {
    let (queue, mut pool) = local(1);
    pool.start(|_| PanicsOnDrop);
    for _ in 0..2 {
        submit(&queue, "a").await;
        let result = next_result(&queue).await.result;
        assert_eq!(result, Err("panicked: in the destructor".to_owned()));
    }
    assert!(pool.is_running());
    soon(pool.shutdown()).await;
}

/// The pool used to stop after 1,001 results that nobody read, and its shutdown to hang.
#[tokio::test]
async fn l36_unread_results_stop_neither_work_nor_shutdown() {
    let (queue, mut pool) = local(2);
    let ran = Arc::new(AtomicUsize::new(0));
    let all_ran = Arc::new(Notify::new());
    pool.start({
        let (ran, all_ran) = (Arc::clone(&ran), Arc::clone(&all_ran));
        move |_| {
            if ran.fetch_add(1, Ordering::SeqCst) + 1 == 3_000 {
                all_ran.notify_one();
            }
            async { Ok(Value::Null) }
        }
    });
    for _ in 0..3_000 {
        soon(submit(&queue, "a")).await;
    }
    soon(all_ran.notified()).await;
    soon(pool.shutdown()).await;
    assert!(!pool.is_running());
    assert_eq!(queue.dropped_results(), 2_000);
}

#[tokio::test]
async fn l36_is_running_tells_the_truth() {
    let (_queue, mut pool) = local(2);
    assert!(!pool.is_running(), "not started");
    soon(pool.shutdown()).await;
    pool.start(|_| async { Ok(Value::Null) });
    assert!(pool.is_running());
    soon(pool.shutdown()).await;
    assert!(!pool.is_running(), "shut down");
    soon(pool.shutdown()).await;
}

#[test]
fn l36_is_running_knows_that_the_runtime_is_gone() {
    let (_queue, mut pool) = local(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { pool.start(|_| async { Ok(Value::Null) }) });
    assert!(pool.is_running());
    drop(runtime);
    assert!(!pool.is_running());
}

#[tokio::test]
async fn start_twice_is_start_once_and_a_stopped_pool_starts_again() {
    let (queue, mut pool) = local(1);
    pool.start(|_| async { Ok(json!("first")) });
    pool.start(|_| async { Ok(json!("second")) });
    for _ in 0..3 {
        submit(&queue, "a").await;
        assert_eq!(next_result(&queue).await.result, Ok(json!("first")));
    }
    soon(pool.shutdown()).await;
    pool.start(|_| async { Ok(json!("third")) });
    submit(&queue, "a").await;
    assert_eq!(next_result(&queue).await.result, Ok(json!("third")));
    soon(pool.shutdown()).await;
}

#[tokio::test]
async fn shutdown_finishes_running_work_and_leaves_the_rest() {
    let (queue, mut pool) = local(1);
    let started = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    pool.start({
        let (started, finish) = (Arc::clone(&started), Arc::clone(&finish));
        move |_| {
            let (started, finish) = (Arc::clone(&started), Arc::clone(&finish));
            async move {
                started.notify_one();
                finish.notified().await;
                Ok(json!("done"))
            }
        }
    });
    let running = submit(&queue, "a").await;
    let waiting = submit(&queue, "a").await;
    soon(started.notified()).await;
    {
        let mut shutdown = std::pin::pin!(pool.shutdown());
        let polled = futures::poll!(shutdown.as_mut());
        assert!(polled.is_pending(), "the work still runs");
        // A dropped shutdown has stopped the pool all the same.
    }
    assert!(pool.is_running());
    finish.notify_one();
    soon(pool.shutdown()).await;
    let result = next_result(&queue).await;
    assert_eq!(
        (result.command_id, result.result),
        (running, Ok(json!("done")))
    );
    let left = queue.dequeue(0).await.expect("the partition exists");
    assert_eq!(left.expect("it was not started").id, waiting);
}

/// Tells when it is dropped.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn dropping_the_pool_ends_its_workers() {
    let (queue, mut pool) = local(1);
    let ended = Arc::new(Notify::new());
    let held = Arc::new(OnDrop(Arc::clone(&ended)));
    pool.start(move |_| {
        let _held = &held;
        async { Ok(Value::Null) }
    });
    submit(&queue, "a").await;
    next_result(&queue).await;
    drop(pool);
    // The executor goes with the last worker.
    soon(ended.notified()).await;
    submit(&queue, "a").await;
    assert!(
        queue
            .dequeue(0)
            .await
            .expect("the partition exists")
            .is_some(),
        "nobody took it"
    );
}

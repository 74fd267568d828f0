use std::sync::{Arc, Mutex as StdMutex};

use a3s_lane::{
    CommandEnvelope, CommandResult, DistributedQueue, LaneError, LocalDistributedQueue,
    PartitionConfig, PartitionId, Partitioner, Result, WorkerId, WorkerPool,
};
use async_trait::async_trait;
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use crate::support::{eventually, within};

fn envelope(id: &str, partition_id: PartitionId) -> CommandEnvelope {
    CommandEnvelope {
        id: id.to_owned(),
        command_type: "t".to_owned(),
        lane_id: "l".to_owned(),
        partition_id,
        payload: json!({"id": id}),
        retry_count: 0,
        created_at: chrono::Utc::now(),
    }
}

/// As a user of 0.4 wrote one: one partition, results in a list.
#[derive(Default)]
struct Single {
    waiting: StdMutex<Vec<CommandEnvelope>>,
    done: StdMutex<Vec<CommandResult>>,
    id: WorkerId,
}

#[async_trait]
impl DistributedQueue for Single {
    async fn enqueue(&self, envelope: CommandEnvelope) -> Result<()> {
        self.waiting.lock().expect("not poisoned").push(envelope);
        Ok(())
    }
    async fn dequeue(&self, _partition_id: PartitionId) -> Result<Option<CommandEnvelope>> {
        Ok(self.waiting.lock().expect("not poisoned").pop())
    }
    async fn complete(&self, result: CommandResult) -> Result<()> {
        self.done.lock().expect("not poisoned").push(result);
        Ok(())
    }
    fn num_partitions(&self) -> usize {
        1
    }
    fn worker_id(&self) -> &WorkerId {
        &self.id
    }
    fn is_coordinator(&self) -> bool {
        true
    }
    fn is_worker(&self) -> bool {
        true
    }
}

#[test]
fn traits() {
    crate::is_value::<CommandEnvelope>();
    crate::is_serde::<CommandEnvelope>();
    crate::is_value::<CommandResult>();
    crate::is_serde::<CommandResult>();
    crate::is_shared::<LocalDistributedQueue>();
    let result = CommandResult {
        command_id: "a".to_owned(),
        result: Err("no".to_owned()),
        worker_id: "w".to_owned(),
        duration_ms: 5,
    };
    let json = serde_json::to_value(&result).expect("written");
    assert_eq!(
        json,
        json!({"command_id": "a", "result": {"Err": "no"}, "worker_id": "w", "duration_ms": 5})
    );
}

#[tokio::test]
async fn the_local_queue() {
    let queue = LocalDistributedQueue::new(PartitionConfig::round_robin(2));
    assert_eq!(queue.num_partitions(), 2);
    assert_eq!(queue.partition_config().num_partitions, 2);
    let partitioner: &Arc<dyn Partitioner> = queue.partitioner();
    assert_eq!(Arc::strong_count(partitioner), 1);
    assert!(queue.is_coordinator() && queue.is_worker());
    let worker: &WorkerId = queue.worker_id();
    let uuid = worker.strip_prefix("local-").expect("the prefix");
    uuid::Uuid::parse_str(uuid).expect("a UUID");

    assert!(
        crate::send(queue.dequeue(0))
            .await
            .expect("no error")
            .is_none()
    );
    crate::send(queue.enqueue(envelope("a", 1)))
        .await
        .expect("there is room");
    assert!(queue.dequeue(0).await.expect("no error").is_none());
    let got = queue
        .dequeue(1)
        .await
        .expect("no error")
        .expect("it is there");
    assert_eq!((got.id.as_str(), got.partition_id), ("a", 1));
    for error in [
        queue
            .enqueue(envelope("a", 9))
            .await
            .expect_err("no such partition"),
        queue.dequeue(9).await.expect_err("no such partition"),
    ] {
        assert!(matches!(error, LaneError::Other(text) if text == "Invalid partition ID: 9"));
    }
    let receiver: Option<Arc<Mutex<mpsc::Receiver<CommandEnvelope>>>> = queue.partition_receiver(0);
    assert!(receiver.is_some() && queue.partition_receiver(2).is_none());
    let sender: mpsc::Sender<CommandResult> = queue.result_sender();
    let results: Arc<Mutex<mpsc::Receiver<CommandResult>>> = queue.result_receiver();
    for id in ["a", "b"] {
        let result = CommandResult {
            command_id: id.to_owned(),
            result: Ok(json!(1)),
            worker_id: worker.clone(),
            duration_ms: 1,
        };
        if id == "a" {
            crate::send(queue.complete(result))
                .await
                .expect("there is room");
        } else {
            sender.send(result).await.expect("the queue listens");
        }
        let got = within(async { results.lock().await.recv().await }).await;
        assert_eq!(got.expect("sent").command_id, id);
    }
    assert_eq!(
        LocalDistributedQueue::auto().num_partitions(),
        num_cpus::get()
    );
}

#[tokio::test]
async fn a_pool_over_a_users_own_queue() {
    let queue = Arc::new(Single::default());
    for id in ["a", "b"] {
        queue.enqueue(envelope(id, 0)).await.expect("there is room");
    }
    let mut pool = WorkerPool::new(Arc::clone(&queue) as Arc<dyn DistributedQueue>);
    assert!(!pool.is_running());
    pool.start(|envelope: CommandEnvelope| async move {
        if envelope.id == "a" {
            Ok(envelope.payload)
        } else {
            Err("no".to_owned())
        }
    });
    assert!(pool.is_running());
    eventually("both are done", async || {
        queue.done.lock().expect("not poisoned").len() == 2
    })
    .await;
    within(crate::send(pool.shutdown())).await;
    assert!(!pool.is_running());
    let mut done = queue.done.lock().expect("not poisoned").clone();
    done.sort_by(|a, b| a.command_id.cmp(&b.command_id));
    assert_eq!(done[0].result, Ok(json!({"id": "a"})));
    assert_eq!(done[1].result, Err("no".to_owned()));
}

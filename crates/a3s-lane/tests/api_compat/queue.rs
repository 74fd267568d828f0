use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::queue::{Command, CommandQueue, JsonCommand, Lane, LaneId, LaneStatus, Priority};
#[cfg(feature = "local-storage")]
use a3s_lane::{DeadLetterQueue, Storage};
use a3s_lane::{EventEmitter, EventStream, LaneConfig, LaneError, Result, lane_ids, priorities};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::{outcome, within};

/// As a user of 0.4 wrote one.
struct Add(i64, i64);

#[async_trait]
impl Command for Add {
    async fn execute(&self) -> Result<Value> {
        Ok(json!(self.0 + self.1))
    }
    fn command_type(&self) -> &str {
        "add"
    }
}

#[test]
fn constants() {
    let priorities: [Priority; 6] = [
        priorities::SYSTEM,
        priorities::CONTROL,
        priorities::QUERY,
        priorities::SESSION,
        priorities::SKILL,
        priorities::PROMPT,
    ];
    assert_eq!(priorities, [0, 1, 2, 3, 4, 5]);
    let ids: [&str; 6] = [
        lane_ids::SYSTEM,
        lane_ids::CONTROL,
        lane_ids::QUERY,
        lane_ids::SESSION,
        lane_ids::SKILL,
        lane_ids::PROMPT,
    ];
    assert_eq!(
        ids,
        ["system", "control", "query", "session", "skill", "prompt"]
    );
}

#[test]
fn traits() {
    crate::is_shared::<Lane>();
    crate::is_shared::<CommandQueue>();
    crate::is_shared::<JsonCommand>();
    crate::is_shared::<Box<dyn Command>>();
    crate::is_value::<LaneStatus>();
    crate::is_serde::<LaneStatus>();
    let status = LaneStatus {
        pending: 1,
        active: 2,
        min: 3,
        max: 4,
    };
    let json = serde_json::to_value(&status).expect("written");
    assert_eq!(json, json!({"pending": 1, "active": 2, "min": 3, "max": 4}));
}

#[tokio::test]
async fn commands() {
    let add = Add(1, 2);
    assert_eq!(crate::send(add.execute()).await.expect("adds"), 3);
    assert_eq!(add.command_type(), "add");
    let echo = JsonCommand::new("echo", json!({"k": [1]}));
    assert_eq!(echo.command_type(), "echo");
    for _ in 0..2 {
        assert_eq!(echo.execute().await.expect("echoes"), json!({"k": [1]}));
    }
    let _owned = JsonCommand::new("echo".to_owned(), Value::Null);
}

#[tokio::test]
async fn a_hand_built_lane() {
    let lane = Lane::new("own", LaneConfig::new(1, 2), 7);
    assert_eq!(lane.id(), "own");
    let priority: Priority = crate::send(lane.priority()).await;
    assert_eq!(priority, 7);
    assert_eq!(crate::send(lane.effective_priority()).await, 7);
    let receiver: oneshot::Receiver<Result<Value>> =
        crate::send(lane.enqueue(Box::new(Add(1, 2)))).await;
    let status: LaneStatus = crate::send(lane.status()).await;
    assert_eq!(
        (status.pending, status.active, status.min, status.max),
        (1, 0, 1, 2)
    );

    // What was enqueued before runs once the lane is part of a queue.
    let queue = Arc::new(CommandQueue::new(EventEmitter::new(10)));
    let lane = Arc::new(lane);
    crate::send(queue.register_lane(Arc::clone(&lane))).await;
    crate::send(Arc::clone(&queue).start_scheduler()).await;
    assert_eq!(outcome(receiver).await.expect("adds"), 3);
    let later = lane.enqueue(Box::new(Add(2, 2))).await;
    assert_eq!(outcome(later).await.expect("adds"), 4);
}

#[tokio::test]
async fn a_lane_without_a_queue_resolves_its_receivers_when_dropped() {
    let lane = Lane::new("own", LaneConfig::default(), 0);
    let receiver = lane.enqueue(Box::new(Add(1, 2))).await;
    drop(lane);
    // 0.4 gave an error of the channel here; either way nobody waits for ever.
    let _ = within(receiver).await;
}

#[cfg(feature = "local-storage")]
#[tokio::test]
async fn the_four_ways_to_make_a_queue() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage: Arc<dyn Storage> = Arc::new(
        a3s_lane::LocalStorage::new(folder.path().join("q"))
            .await
            .expect("opens"),
    );
    let emitter = EventEmitter::new(10);
    let plain = CommandQueue::new(emitter.clone());
    assert!(plain.dlq().is_none() && plain.storage().is_none());
    let letters = CommandQueue::with_dlq(emitter.clone(), 5);
    let dlq: Option<&DeadLetterQueue> = letters.dlq();
    assert!(dlq.is_some() && letters.storage().is_none());
    let stored = CommandQueue::with_storage(emitter.clone(), Arc::clone(&storage));
    let known: Option<&Arc<dyn Storage>> = stored.storage();
    assert!(known.is_some_and(|known| Arc::ptr_eq(known, &storage)) && stored.dlq().is_none());
    let both = CommandQueue::with_dlq_and_storage(emitter, 5, storage);
    assert!(both.dlq().is_some() && both.storage().is_some());
}

#[cfg(feature = "local-storage")]
#[tokio::test]
async fn storage_belongs_to_the_lane_not_to_the_queue() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage: Arc<dyn Storage> = Arc::new(
        a3s_lane::LocalStorage::new(folder.path().join("q"))
            .await
            .expect("opens"),
    );
    let queue = CommandQueue::with_storage(EventEmitter::new(10), Arc::clone(&storage));
    let bare = Arc::new(Lane::new("bare", LaneConfig::default(), 0));
    let kept = Arc::new(Lane::with_storage(
        "kept",
        LaneConfig::default(),
        0,
        Arc::clone(&storage),
    ));
    queue.register_lane(bare).await;
    queue.register_lane(kept).await;
    for lane in ["bare", "kept"] {
        queue
            .submit(lane, Box::new(Add(1, 2)))
            .await
            .expect("accepted");
    }
    let commands = storage.load_commands().await.expect("loads");
    let lanes: Vec<&str> = commands
        .iter()
        .map(|command| command.lane_id.as_str())
        .collect();
    assert_eq!(lanes, ["kept"]);
}

#[tokio::test]
async fn every_method_of_a_queue() {
    let queue = Arc::new(CommandQueue::with_dlq(EventEmitter::new(50), 5));
    queue
        .register_lane(Arc::new(Lane::new("a", LaneConfig::new(1, 2), 0)))
        .await;
    let mut stream: EventStream = queue.subscribe_stream();
    let mut filtered: EventStream =
        queue.subscribe_filtered(|event| event.key.starts_with("queue.shutdown"));
    let submitted: Result<oneshot::Receiver<Result<Value>>> =
        crate::send(queue.submit("a", Box::new(Add(1, 1)))).await;
    let receiver = submitted.expect("accepted");
    let status: HashMap<LaneId, LaneStatus> = crate::send(queue.status()).await;
    assert_eq!(status["a"].pending, 1);
    let lost = queue.submit("b", Box::new(Add(1, 1))).await;
    assert!(matches!(lost, Err(LaneError::LaneNotFound(lane)) if lane == "b"));
    Arc::clone(&queue).start_scheduler().await;
    Arc::clone(&queue).start_scheduler().await;
    assert_eq!(outcome(receiver).await.expect("adds"), 2);
    assert!(!queue.is_shutting_down());
    crate::send(queue.shutdown()).await;
    assert!(queue.is_shutting_down());
    let drained: Result<()> = crate::send(queue.drain(Duration::from_secs(30))).await;
    drained.expect("it is empty");
    // The shutdown comes before the unknown lane.
    let late = queue.submit("b", Box::new(Add(1, 1))).await;
    assert!(matches!(late, Err(LaneError::ShutdownInProgress)));
    let first = within(stream.recv()).await.expect("an event");
    assert_eq!(first.key, "queue.command.submitted");
    let first = within(filtered.recv()).await.expect("an event");
    assert_eq!(first.key, "queue.shutdown.started");
}

#[tokio::test]
async fn a_drain_that_runs_out_holds_the_given_time() {
    let queue = CommandQueue::new(EventEmitter::new(10));
    queue
        .register_lane(Arc::new(Lane::new("a", LaneConfig::default(), 0)))
        .await;
    let _receiver = queue.submit("a", Box::new(Add(1, 1))).await;
    let given = Duration::from_millis(3);
    let drained = queue.drain(given).await;
    assert!(matches!(drained, Err(LaneError::Timeout(time)) if time == given));
}

#[tokio::test]
async fn ids_are_uuids_of_their_own() {
    let queue = CommandQueue::with_dlq(EventEmitter::new(10), 5);
    let queue = Arc::new(queue);
    queue
        .register_lane(Arc::new(Lane::new("a", LaneConfig::default(), 0)))
        .await;
    Arc::clone(&queue).start_scheduler().await;
    for name in ["x", "y"] {
        let receiver = queue
            .submit("a", crate::support::failing(name))
            .await
            .expect("accepted");
        outcome(receiver).await.expect_err("it fails");
    }
    let letters = queue.dlq().expect("it has one").list().await;
    assert_ne!(letters[0].command_id, letters[1].command_id);
    for letter in letters {
        let id = uuid::Uuid::parse_str(&letter.command_id).expect("a UUID");
        assert_eq!(id.hyphenated().to_string(), letter.command_id);
        assert_eq!(letter.attempts, 1);
    }
}

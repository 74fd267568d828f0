//! Lessons of queues over this storage, some of them ended and started again. `behaviour/restore` has more with a storage in memory.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::storage::{CommandRecord, LocalStorage, Retention};
use a3s_lane::{
    CommandContext, CommandHandle, CommandStatus, EventEmitter, JsonCommand, LaneConfig,
    QueueManager, QueueManagerBuilder, Storage, SubmitOptions,
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::open;

const MINUTE: Duration = Duration::from_secs(60);

async fn builder(directory: &Path) -> QueueManagerBuilder {
    QueueManagerBuilder::new(EventEmitter::new(64))
        .with_lane("only", LaneConfig::new(0, 1), 0)
        .with_storage(Arc::new(
            open(directory).await.with_results(Retention::new()),
        ))
}

async fn started(builder: QueueManagerBuilder) -> QueueManager {
    let manager = builder.build().await.expect("the settings are right");
    manager.start().await.expect("it starts");
    manager
}

/// A handler that never ends.
async fn hangs(_: Value, _: CommandContext) -> a3s_lane::Result<Value> {
    std::future::pending().await
}

/// A handler that returns the number of its attempt.
async fn counts(_: Value, context: CommandContext) -> a3s_lane::Result<Value> {
    Ok(json!(context.attempt()))
}

fn job() -> Box<JsonCommand> {
    Box::new(JsonCommand::new("job", json!(1)))
}

async fn reaches(handle: &CommandHandle, status: CommandStatus) {
    let reached = async {
        while handle.status() != status {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(MINUTE, reached).await;
    reached.unwrap_or_else(|_| panic!("{status:?} is not reached, but {:?}", handle.status()));
}

async fn found(manager: &QueueManager, id: &str) -> CommandHandle {
    let found = manager.find(id).await.expect("readable");
    found.unwrap_or_else(|| panic!("{id} is there"))
}

/// A time to live is for the time until the first start: a command that was stopped in good order runs after it has passed, as one does
/// that was killed.
#[tokio::test]
async fn what_has_begun_does_not_expire() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let manager = started(builder(path).await.with_handler("job", hangs)).await;
    let hour = SubmitOptions::new().with_ttl(60 * MINUTE);
    for id in ["runs", "waits"] {
        let options = hour.clone().with_id(id);
        let submitted = manager.submit_with("only", job(), options).await;
        submitted.expect("accepted");
    }
    reaches(&found(&manager, "runs").await, CommandStatus::Running).await;
    let report = manager.shutdown_within(Duration::ZERO).await;
    assert_eq!((report.stopped.len(), report.pending.len()), (1, 1));
    manager.close().await.expect("closed");

    // Two hours later.
    let storage = open(path).await;
    for id in ["runs", "waits"] {
        let record = storage.load_command(id).await.expect("readable");
        let mut record = record.expect("it is there");
        record.options.expires_at = Some(Utc::now() - TimeDelta::hours(1));
        storage.save_commands(vec![record]).await.expect("saved");
    }
    storage.close().await.expect("closed");
    let builder = builder(path).await.with_handler("job", counts);
    let manager = builder.build().await.expect("the settings are right");
    manager.start().await.expect("it starts");
    manager.drain(MINUTE).await.expect("it becomes empty");
    let ran = found(&manager, "runs").await.await;
    assert_eq!(ran.expect("it ran"), json!(1));
    let waited = found(&manager, "waits").await.await;
    assert_eq!(waited.expect_err("it is too late").code(), "EXPIRED");
    manager.close().await.expect("closed");
}

/// A handler that submits a child to its own lane and waits for it, as deep as its payload says.
async fn digs(depth: Value, context: CommandContext) -> a3s_lane::Result<Value> {
    let Some(depth) = depth.as_u64().filter(|depth| *depth > 0) else {
        return Ok(json!(0));
    };
    let below = Box::new(JsonCommand::new("job", json!(depth - 1)));
    let child = context.submit_child("only", below, SubmitOptions::new());
    let found = child.await?.await?;
    Ok(json!(found.as_u64().unwrap_or_default() + 1))
}

/// What is stored, and how much of it has begun.
async fn left_in(directory: &Path) -> (u64, u64) {
    let found = LocalStorage::inspect(directory.to_owned()).await;
    let found = found.expect("readable");
    (found.pending, found.running)
}

/// L2: a handler that enqueues to its own lane and waits deadlocks (openclaw#43008, #44998, #52682). Parents and children are stored, and
/// leave nothing.
#[tokio::test]
async fn l02_a_lane_of_one_can_wait_for_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manager = started(builder(directory.path()).await.with_handler("job", digs)).await;
    let command = Box::new(JsonCommand::new("job", json!(5)));
    let submitted = manager.submit_with("only", command, SubmitOptions::new());
    let handle = submitted.await.expect("accepted");
    let ended = tokio::time::timeout(MINUTE, handle.into_future()).await;
    let ended = ended.expect("no deadlock");
    assert_eq!(ended.expect("it ends"), json!(5));
    manager.drain(MINUTE).await.expect("it becomes empty");
    assert_eq!(left_in(directory.path()).await, (0, 0));
    manager.close().await.expect("closed");
}

/// L2: both are stored when the queue ends. After that the child runs by itself, and its parent with another child.
#[tokio::test]
async fn l02_a_restored_parent_does_not_wait_for_its_old_child() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hangs_below = |payload: Value, context: CommandContext| async move {
        if payload == json!(0) {
            std::future::pending::<()>().await;
        }
        digs(payload, context).await
    };
    let before = builder(directory.path()).await;
    let manager = started(before.with_handler("job", hangs_below)).await;
    let command = Box::new(JsonCommand::new("job", json!(1)));
    let options = SubmitOptions::new().with_id("parent");
    let parent = manager.submit_with("only", command, options).await;
    let parent = parent.expect("accepted");
    let running = async {
        while left_in(directory.path()).await != (2, 2) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, running)
        .await
        .expect("both run");
    drop(parent);
    manager.shutdown_within(Duration::ZERO).await;
    manager.close().await.expect("closed");
    assert_eq!(left_in(directory.path()).await, (2, 0));

    let after = builder(directory.path()).await.with_handler("job", digs);
    let manager = started(after).await;
    manager.drain(MINUTE).await.expect("it becomes empty");
    let ended = found(&manager, "parent").await.await;
    assert_eq!(ended.expect("it ended"), json!(1));
    manager.close().await.expect("closed");
    assert_eq!(left_in(directory.path()).await, (0, 0));
}

/// A job that another process has left in this lane, some time ago.
fn left(id: &str, lane_id: &str, ago: TimeDelta) -> CommandRecord {
    let mut left = super::record(id);
    left.command.command_type = "job".to_owned();
    left.command.lane_id = lane_id.to_owned();
    left.command.created_at = Utc::now() - ago;
    left
}

/// A storage with these commands.
async fn storage_of(directory: &Path, records: Vec<CommandRecord>) -> Arc<LocalStorage> {
    let storage = open(directory).await.with_results(Retention::new());
    storage.save_commands(records).await.expect("saved");
    Arc::new(storage)
}

/// L3: background work starves people (openclaw#126803, #14282). The age that a boost looks at counts from the restart, as documented: what
/// a process has left for hours does not overtake urgent work for that.
#[cfg(feature = "distributed")]
#[tokio::test]
async fn l03_the_age_for_a_boost_counts_from_the_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let records = vec![
        left("old", "low", TimeDelta::hours(2)),
        left("urgent", "urgent", TimeDelta::zero()),
    ];
    let boost = a3s_lane::PriorityBoostConfig::new(60 * MINUTE);
    let boosted = LaneConfig::new(0, 1).with_priority_boost(boost);
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&order);
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("urgent", LaneConfig::new(0, 1), 1)
        .with_lane("low", boosted, 9)
        .with_max_concurrency(1)
        .with_storage(storage_of(directory.path(), records).await)
        .with_handler("job", move |_: Value, context: CommandContext| {
            seen.lock().expect("not poisoned").push(context.id());
            async { Ok(Value::Null) }
        })
        .build()
        .await
        .expect("the settings are right");
    for lane in ["urgent", "low"] {
        manager.pause_lane(lane).expect("there");
    }
    manager.start().await.expect("it starts");
    let old = found(&manager, "old").await.explain().expect("it waits");
    assert!(old.age_ms < 3_600_000.0, "{old:?}");
    manager.resume_lane("low").expect("there");
    manager.resume_lane("urgent").expect("there");
    manager.drain(MINUTE).await.expect("it becomes empty");
    let order = order.lock().expect("not poisoned").join(" ");
    assert_eq!(order, "urgent old");
    manager.close().await.expect("closed");
}

/// L4: stop is ignored while something runs (openclaw#83693, #25723, #20600). A cancel reaches what was restored, and it leaves its storage.
///
/// L6: nobody can see what blocks a lane (openclaw#82791). What was restored says it as well.
#[tokio::test]
async fn l04_l06_what_was_restored_says_why_it_waits_and_can_be_cancelled() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hour = TimeDelta::hours(1);
    let mut delayed = left("delayed", "only", hour);
    delayed.due_at = Some(Utc::now() + hour);
    let mut keyed = left("keyed", "only", hour);
    keyed.options.key = Some("tenant".to_owned());
    keyed.command.retry_count = 2;
    let records = vec![
        left("runs", "only", hour),
        keyed,
        left("waits", "only", hour),
        delayed,
    ];
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("only", LaneConfig::new(0, 1), 0)
        .with_storage(storage_of(directory.path(), records).await)
        .with_handler("job", hangs);
    let manager = manager.build().await.expect("the settings are right");
    manager.pause_key("tenant");
    manager.start().await.expect("it starts");
    let runs = found(&manager, "runs").await;
    reaches(&runs, CommandStatus::Running).await;
    for (id, reason, attempts) in [
        ("keyed", "key_paused", 2),
        ("waits", "lane_full", 0),
        ("delayed", "delayed", 0),
    ] {
        let explained = found(&manager, id).await.explain().expect("it waits");
        let reasons = json!(explained.reasons);
        let mut reasons = reasons.as_array().expect("a list").iter();
        assert!(
            reasons.any(|found| found["reason"] == reason),
            "{explained:?}"
        );
        assert_eq!(
            (explained.command_id, explained.attempts),
            (id.into(), attempts)
        );
    }
    for id in ["waits", "runs", "delayed", "keyed"] {
        let handle = found(&manager, id).await;
        assert!(handle.cancel(), "{id}");
        assert_eq!(handle.await.expect_err("cancelled").code(), "CANCELLED");
    }
    manager.drain(MINUTE).await.expect("it becomes empty");
    assert_eq!(left_in(directory.path()).await, (0, 0));
    manager.close().await.expect("closed");
}

/// L5: the process exits while a lane is busy (openclaw#10334, #54622). When a drain returns, the storage knows of every end.
#[tokio::test]
async fn l05_after_a_drain_nothing_is_stored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manager = started(builder(directory.path()).await.with_handler("job", counts)).await;
    for _ in 0..5 {
        for _ in 0..50 {
            manager.submit("only", job()).await.expect("accepted");
        }
        manager.drain(MINUTE).await.expect("it becomes empty");
        assert_eq!(left_in(directory.path()).await, (0, 0));
    }
    manager.close().await.expect("closed");
}

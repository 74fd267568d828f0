//! Queues over this storage, ended and started again. `behaviour/restore` has the same and more with a storage in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::Retention;
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
        .with_storage(Arc::new(open(directory).await.with_results(Retention::new())))
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

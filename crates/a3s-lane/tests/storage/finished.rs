//! L38: finished jobs are kept for ever by default and slow the queue; a panic leaves its job active. (That no call scans what is
//! pending is a row of the benchmark: `churn`, and `restore` with a million.)

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::{Inspection, LocalStorage};
use a3s_lane::{
    CommandContext, EventEmitter, JsonCommand, LaneConfig, QueueManager, QueueManagerBuilder,
};
use serde_json::{Value, json};

use super::open;

async fn queue(directory: &Path) -> QueueManager {
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("only", LaneConfig::new(0, 4), 0)
        .with_storage(Arc::new(open(directory).await))
        .with_handler(
            "work",
            |payload: Value, context: CommandContext| async move {
                assert!(payload != "panic", "{} panics", context.id());
                Ok(payload)
            },
        )
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("it starts");
    manager
}

/// Runs these one after the other, ends the queue, and looks at what is left in the directory.
async fn left_by(directory: &Path, payloads: impl IntoIterator<Item = Value>) -> Inspection {
    let manager = queue(directory).await;
    for payload in payloads {
        let command = Box::new(JsonCommand::new("work", payload));
        let result = manager.submit("only", command).await.expect("accepted");
        let _ = result.await.expect("the queue is alive");
    }
    manager.shutdown().await;
    let drained = manager.drain(Duration::from_secs(60)).await;
    drained.expect("everything ends");
    manager.close().await.expect("closed");
    let found = LocalStorage::inspect(directory.to_owned()).await;
    found.expect("readable")
}

#[tokio::test]
async fn l38_what_has_finished_is_not_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let payloads = (0..100).map(|_| json!("x".repeat(2_000)));
        let found = left_by(directory.path(), payloads).await;
        assert_eq!((found.pending, found.running), (0, 0));
        assert_eq!(
            (found.dead_letters, found.results, found.history),
            (0, 0, 0)
        );
        let size = std::fs::metadata(directory.path().join("lanes.db"));
        sizes.push(size.expect("there").len());
    }
    assert!(sizes[3] <= sizes[0], "the file grows: {sizes:?}");
}

#[tokio::test]
async fn l38_a_panic_leaves_nothing_active() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let payloads = ["panic", "fine", "panic"].map(Value::from);
    let found = left_by(directory.path(), payloads).await;
    assert_eq!(
        (found.pending, found.running, found.dead_letters),
        (0, 0, 2)
    );
}

//! Two managers of one process that submit to one directory.

use std::path::Path;
use std::sync::Arc;

use a3s_lane::storage::{LocalStorage, Storage};
use a3s_lane::{
    CommandHandle, EventEmitter, JsonCommand, LaneConfig, LaneError, QueueManager,
    QueueManagerBuilder, SubmitOptions,
};
use futures::FutureExt;
use serde_json::{Value, json};

use super::open;

async fn manager(directory: &Path) -> QueueManager {
    let builder = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("skill", LaneConfig::new(0, 1), 0)
        .with_storage(Arc::new(open(directory).await));
    builder.build().await.expect("the settings are right")
}

async fn submit(
    manager: &QueueManager,
    id: &str,
    payload: Value,
) -> a3s_lane::Result<CommandHandle> {
    let command = Box::new(JsonCommand::new("mail", payload));
    let options = SubmitOptions::new().with_id(id);
    Ok(manager.submit_with("skill", command, options).await?)
}

async fn stored(storage: &LocalStorage) -> Vec<(String, Value)> {
    let commands = storage.load_commands().await.expect("readable").into_iter();
    commands.map(|it| (it.id, it.payload)).collect()
}

#[tokio::test]
async fn an_id_that_two_submit_at_once_is_given_to_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = open(directory.path()).await;
    let one = manager(directory.path()).await;
    let other = manager(directory.path()).await;
    let (first, second) = tokio::join!(submit(&one, "x", json!(1)), submit(&other, "x", json!(2)));
    first.expect("it came first");
    let error = second.expect_err("the id is taken");
    assert!(matches!(error, LaneError::Duplicate(_)), "{error}");
    assert!(error.to_string().contains("\"x\""), "{error}");
    assert_eq!(stored(&storage).await, [("x".to_owned(), json!(1))]);
    let later = submit(&other, "x", json!(3)).await;
    later.expect_err("it is stored");
    submit(&other, "y", json!(4)).await.expect("another id");
}

/// The other one's must not be what is taken out of the storage again.
#[tokio::test]
async fn an_id_that_one_gave_up_half_way_is_free_for_the_other_afterwards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = open(directory.path()).await;
    let one = manager(directory.path()).await;
    let other = manager(directory.path()).await;
    assert!(
        submit(&one, "x", json!(1)).now_or_never().is_none(),
        "it is being stored"
    );
    let accepted = async {
        loop {
            if submit(&other, "x", json!(2)).await.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, accepted)
        .await
        .expect("it is free in the end");
    // After what the other one has yet to ask for.
    drop(one);
    tokio::task::yield_now().await;
    assert_eq!(stored(&storage).await, [("x".to_owned(), json!(2))]);
}

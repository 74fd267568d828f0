//! What is stored runs after a restart.

mod admission;
mod attempts;
mod claims;
mod options;
mod order;
mod results;
mod together;
mod untold;

use std::sync::Arc;

use a3s_lane::storage::CommandRecord;
use a3s_lane::{
    CommandContext, JsonCommand, LaneConfig, LaneError, QueueManager, QueueManagerBuilder, Result,
    Storage, StoredCommand, SubmitOptions,
};
use chrono::Utc;
use serde_json::{Value, json};

use crate::support::vault::Vault;
use crate::support::{Log, builder_with, submit_with};

/// A builder with the lane `only`, of one slot.
fn builder_on(storage: Arc<dyn Storage>) -> QueueManagerBuilder {
    let config = LaneConfig::new(0, 1);
    builder_with(&[("only", config, 0)]).with_storage(storage)
}

/// A manager that is not started.
async fn waiting_on(storage: Arc<dyn Storage>) -> QueueManager {
    let built = builder_on(storage).build().await;
    built.expect("the settings are right")
}

/// A started manager of `builder` whose handler of `job` writes its payload down and returns it.
async fn running(builder: QueueManagerBuilder, log: &Log) -> QueueManager {
    let manager = builder
        .with_handler("job", writes(log))
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("the storage can be read");
    manager
}

/// A handler that writes its payload down and returns it.
fn writes(log: &Log) -> impl a3s_lane::Handler + use<> {
    let log = log.clone();
    move |payload: Value, _: CommandContext| {
        log.push(payload.to_string());
        async move { Ok(payload) }
    }
}

/// A handler that always fails.
async fn fails(_: Value, _: CommandContext) -> Result<Value> {
    Err(LaneError::CommandError("no".to_owned()))
}

/// A handler that never ends.
async fn hangs(_: Value, _: CommandContext) -> Result<Value> {
    std::future::pending().await
}

/// A handler that returns the number of its attempt.
async fn counts(_: Value, context: CommandContext) -> Result<Value> {
    Ok(json!(context.attempt()))
}

fn job(payload: impl Into<Value>) -> Box<JsonCommand> {
    Box::new(JsonCommand::new("job", payload.into()))
}

/// Submits jobs to `only` with these ids, which are also their payloads.
async fn submit_jobs(manager: &QueueManager, ids: &[&str]) {
    for id in ids {
        let options = SubmitOptions::new().with_id(*id);
        submit_with(manager, "only", job(*id), options).await;
    }
}

/// A job of the lane `only` as an earlier process has left it.
fn stored(id: &str) -> CommandRecord {
    CommandRecord::from(StoredCommand {
        id: id.to_owned(),
        command_type: "job".to_owned(),
        lane_id: "only".to_owned(),
        payload: json!(id),
        retry_count: 0,
        created_at: Utc::now(),
        last_attempt_at: None,
    })
}

fn vault_of(records: impl IntoIterator<Item = CommandRecord>) -> Arc<Vault> {
    let vault = Vault::new();
    for record in records {
        vault.put(record);
    }
    vault
}

/// The result of the command with this id.
async fn result_of(manager: &QueueManager, id: &str) -> Result<Value> {
    let handle = manager.find(id).await.expect("the storage can be read");
    let handle = handle.unwrap_or_else(|| panic!("{id} is there"));
    crate::support::settled(&handle).await
}

async fn drained(manager: &QueueManager) {
    let minute = std::time::Duration::from_secs(60);
    manager.drain(minute).await.expect("it becomes empty");
}

//! `LocalStorage` from outside: what it promises, through the end of its process, bad disks and older files.
//!
//! Of the lessons, L9 to L11 are about leases and connections, which it does not have. L13 to L15, L18, L19 and L1 are in
//! `behaviour/restore`, L16 and L32 in `lessons`, L7 in `properties.rs`, L2 to L6, L12 and L38 here.
#![cfg(feature = "local-storage")]

mod child;
mod closing;
mod conformance;
mod faults;
mod finished;
mod formats;
mod inspection;
mod killed;
mod queue_killed;
mod restarts;
mod two_managers;

use std::path::Path;

use a3s_lane::storage::{CommandRecord, LocalStorage, StoredCommand};
use chrono::{DateTime, Utc};
use serde_json::json;

/// A time that is the same in every run.
fn time() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(1_767_323_045_678_901_234)
}

fn command(id: impl ToString) -> StoredCommand {
    StoredCommand {
        id: id.to_string(),
        command_type: "mail".into(),
        lane_id: "skill".into(),
        payload: json!({"to": "you", "id": id.to_string()}),
        retry_count: 0,
        created_at: time(),
        last_attempt_at: None,
    }
}

fn record(id: impl ToString) -> CommandRecord {
    command(id).into()
}

async fn open(directory: &Path) -> LocalStorage {
    let storage = LocalStorage::new(directory.to_owned()).await;
    storage.expect("it opens")
}

/// Drops the last handle of a storage and waits until its thread has let go of the files.
fn close(storage: LocalStorage, directory: &Path) {
    drop(storage);
    let lock = std::fs::File::open(directory.join("lock")).expect("it is there");
    lock.lock().expect("it is free after the end of the thread");
}

use std::path::Path;
use std::sync::Arc;

use chrono::{TimeZone, Utc};
use futures::FutureExt;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::*;

mod failures;
mod import;
mod records;
mod running;
mod settled;

fn command(id: impl ToString) -> StoredCommand {
    StoredCommand {
        id: id.to_string(),
        command_type: "mail".into(),
        lane_id: "skill".into(),
        payload: json!({"to": "you", "n": 18_446_744_073_709_551_615_u64}),
        retry_count: 2,
        created_at: Utc::now(),
        last_attempt_at: None,
    }
}

fn letter(id: impl ToString) -> StoredDeadLetter {
    StoredDeadLetter {
        command_id: id.to_string(),
        command_type: "mail".into(),
        lane_id: "skill".into(),
        error: "boom".into(),
        attempts: 3,
        failed_at: Utc::now(),
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn store(directory: &TempDir) -> PathBuf {
    directory.path().join("deep").join("store")
}

async fn open(directory: &TempDir) -> LocalStorage {
    LocalStorage::new(store(directory)).await.expect("it opens")
}

async fn command_ids(storage: &LocalStorage) -> Vec<String> {
    let commands = storage.load_commands().await.expect("readable");
    commands.into_iter().map(|command| command.id).collect()
}

async fn letter_ids(storage: &LocalStorage) -> Vec<String> {
    let letters = storage.load_dead_letters().await.expect("readable");
    let ids = letters.into_iter().map(|letter| letter.command_id);
    ids.collect()
}

/// Drops the last handle of a storage and waits until its thread has let go of the files.
fn close(storage: LocalStorage, directory: &TempDir) {
    drop(storage);
    let lock = std::fs::File::open(store(directory).join("lock")).expect("it is there");
    lock.lock().expect("it is free after the end of the thread");
}

fn as_json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("plain data")
}

fn file_names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory)
        .expect("readable")
        .map(|entry| {
            let name = entry.expect("readable").file_name();
            name.to_string_lossy().into_owned()
        });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn storage_error<T: fmt::Debug>(result: Result<T>) -> String {
    match result.expect_err("it cannot be done") {
        LaneError::Storage(text) => text,
        other => panic!("not a storage error: {other}"),
    }
}

/// What the thread of the storage says to a question about its file.
async fn ask<T: Send + 'static>(
    storage: &LocalStorage,
    question: impl FnOnce(&mut store::Store) -> T + Send + 'static,
) -> T {
    let answer = storage.ask(|store| Ok(question(store))).await;
    answer.expect("the thread lives")
}

/// Keeps the thread busy until the result is dropped.
fn hold(storage: &LocalStorage) -> std::sync::mpsc::Sender<()> {
    let (free, held) = std::sync::mpsc::channel::<()>();
    let engine = storage.engine().expect("not closed");
    drop(engine.ask(move |_| {
        let _ = held.recv();
        Ok(())
    }));
    free
}

#[tokio::test]
async fn everything_survives_reopening() {
    let directory = directory();
    let storage = open(&directory).await;
    assert!(command_ids(&storage).await.is_empty());
    assert!(letter_ids(&storage).await.is_empty());
    let early = Utc.timestamp_nanos(-1_234_567_890_123_456_789);
    let tried = StoredCommand {
        created_at: early,
        last_attempt_at: Some(Utc::now()),
        payload: json!("a text with \u{0} and \u{1F980}"),
        ..command("")
    };
    let (one, two, dead) = (command(1), tried, letter(3));
    for command in [&one, &two] {
        storage.save_command(command.clone()).await.expect("saved");
    }
    storage.save_dead_letter(dead.clone()).await.expect("saved");
    drop(storage);

    // At once: it waits for the thread before.
    let storage = open(&directory).await;
    assert_eq!(
        as_json(storage.load_commands().await.expect("readable")),
        as_json([one, two])
    );
    assert_eq!(
        as_json(storage.load_dead_letters().await.expect("readable")),
        as_json([dead])
    );
}

#[tokio::test]
async fn the_file_is_plain_sqlite_that_others_may_read_meanwhile() {
    let directory = directory();
    let storage = open(&directory).await;
    storage.save_command(command("a")).await.expect("saved");
    storage.save_dead_letter(letter("b")).await.expect("saved");
    let file = store(&directory).join("lanes.db");
    let person = Connection::open(file).expect("it opens");
    let row = "SELECT id || ' ' || type || ' ' || lane || ' ' || json_extract(payload, '$.to') FROM commands";
    let row: String = person
        .query_row(row, (), |row| row.get(0))
        .expect("one row");
    assert_eq!(row, "a mail skill you");
    let row = "SELECT id || ' ' || error || ' ' || attempts FROM dead_letters";
    let row: String = person
        .query_row(row, (), |row| row.get(0))
        .expect("one row");
    assert_eq!(row, "b boom 3");
    let format: i32 = person
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("it has one");
    assert_eq!(format, 2);
}

#[tokio::test]
async fn saving_again_replaces_and_removing_forgets() {
    let directory = directory();
    let storage = open(&directory).await;
    for id in 0..3 {
        storage.save_command(command(id)).await.expect("saved");
    }
    let changed = StoredCommand {
        retry_count: 9,
        ..command(1)
    };
    storage.save_command(changed).await.expect("saved");
    let commands = storage.load_commands().await.expect("readable");
    assert_eq!((commands.len(), commands[1].retry_count), (3, 9));
    storage.remove_command("1").await.expect("removed");
    storage
        .remove_command("not there")
        .await
        .expect("nothing to do");
    assert_eq!(command_ids(&storage).await, ["0", "2"]);
    storage.save_command(command(1)).await.expect("saved");
    assert_eq!(command_ids(&storage).await, ["0", "2", "1"]);
}

/// Those in a row are removed by one statement, which must spare what lies between.
#[tokio::test]
async fn what_lies_between_removed_commands_stays() {
    let directory = directory();
    let storage = open(&directory).await;
    for id in 0..12 {
        storage.save_command(command(id)).await.expect("saved");
    }
    let settle = |id: &str| {
        let outcome = crate::storage::StoredOutcome::Completed(json!(null));
        Settlement::new(id, "mail", "skill", outcome)
    };
    let settled = ["5", "3", "nobody", "4", "0", "9", "3", "11", "8"];
    let settled = settled.into_iter().map(settle).collect();
    storage.settle_commands(settled).await.expect("settled");
    let left = ["1", "2", "6", "7", "10"];
    assert_eq!(command_ids(&storage).await, left);
    for id in left {
        assert!(storage.has_command(id).await.expect("readable"), "{id}");
    }
    assert!(!storage.has_command("4").await.expect("readable"));
}

#[tokio::test]
async fn ids_whose_hashes_collide_are_told_apart() {
    let directory = directory();
    let storage = open(&directory).await;
    let ids = ["collides-a", "collides-b", "collides-c"];
    for id in ids {
        storage.save_command(command(id)).await.expect("saved");
    }
    storage
        .remove_command("collides-d")
        .await
        .expect("nothing to do");
    assert_eq!(command_ids(&storage).await, ids);
    for reopened in [false, true] {
        let storage = if reopened {
            open(&directory).await
        } else {
            LocalStorage::new(store(&directory)).await.expect("shared")
        };
        let changed = StoredCommand {
            retry_count: 7,
            ..command("collides-b")
        };
        storage.save_command(changed).await.expect("saved");
        let commands = storage.load_commands().await.expect("readable");
        let counts: Vec<_> = commands.iter().map(|command| command.retry_count).collect();
        assert_eq!(counts, [2, 7, 2]);
    }
    storage.remove_command("collides-a").await.expect("removed");
    storage.remove_command("collides-c").await.expect("removed");
    assert_eq!(command_ids(&storage).await, ["collides-b"]);
    storage
        .save_command(command("collides-c"))
        .await
        .expect("saved");
    storage.remove_command("collides-b").await.expect("removed");
    assert_eq!(command_ids(&storage).await, ["collides-c"]);
}

#[tokio::test]
async fn clearing_forgets_only_what_it_names() {
    let directory = directory();
    let storage = open(&directory).await;
    storage.clear_all().await.expect("nothing to clear");
    storage.save_command(command(1)).await.expect("saved");
    storage.save_dead_letter(letter(1)).await.expect("saved");
    storage.clear_dead_letters().await.expect("cleared");
    assert_eq!(command_ids(&storage).await, ["1"]);
    assert!(letter_ids(&storage).await.is_empty());
    storage.save_dead_letter(letter(2)).await.expect("saved");
    storage.clear_all().await.expect("cleared");
    assert!(command_ids(&storage).await.is_empty());
    assert!(letter_ids(&storage).await.is_empty());
    storage.save_command(command(1)).await.expect("saved");
    assert_eq!(command_ids(&storage).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_lose_nothing() {
    let directory = directory();
    // Two handles share the file.
    let handles = [
        Arc::new(open(&directory).await),
        Arc::new(open(&directory).await),
    ];
    for id in 0..32 {
        handles[0].save_command(command(id)).await.expect("saved");
    }
    let calls = (0..64).map(|id| {
        let storage = Arc::clone(&handles[id % 2]);
        tokio::spawn(async move {
            storage.save_command(command(100 + id)).await?;
            storage.save_dead_letter(letter(id)).await?;
            storage.remove_command(&(id / 2).to_string()).await
        })
    });
    for call in futures::future::join_all(calls).await {
        call.expect("no panic").expect("every call succeeds");
    }
    drop(handles);
    let storage = open(&directory).await;
    let mut ids = command_ids(&storage).await;
    ids.sort();
    let expected: Vec<_> = (100..164).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(letter_ids(&storage).await.len(), 64);
}

#[tokio::test]
async fn calls_that_wait_share_one_transaction() {
    let directory = directory();
    let storage = open(&directory).await;
    let free = hold(&storage);
    let mut calls: Vec<_> = (0..1_100)
        .map(|id| Box::pin(storage.save_command(command(id))))
        .collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    drop(free);
    futures::future::try_join_all(calls).await.expect("saved");
    // 1024 at most go into one.
    assert_eq!(ask(&storage, |store| store.commits).await, 2);
    assert_eq!(command_ids(&storage).await.len(), 1_100);
}

#[tokio::test]
async fn a_dropped_call_keeps_its_place_in_the_order() {
    let directory = directory();
    let storage = open(&directory).await;
    let free = hold(&storage);
    assert!(storage.save_command(command(1)).now_or_never().is_none());
    assert!(storage.save_command(command(2)).now_or_never().is_none());
    drop(free);
    storage.remove_command("1").await.expect("removed");
    assert_eq!(command_ids(&storage).await, ["2"]);
}

/// SQLite's own word for how durable the last transaction was.
async fn level(storage: &LocalStorage) -> i32 {
    ask(storage, |store| {
        let connection = store.connection();
        let level = connection.pragma_query_value(None, "synchronous", |row| row.get(0));
        level.expect("it has one")
    })
    .await
}

#[tokio::test]
async fn durability_is_what_was_asked_for_and_the_most_in_a_transaction() {
    let directory = directory();
    let full = open(&directory).await;
    let relaxed = open(&directory).await.with_durability(Durability::Relaxed);
    let (normal, full_level): (i32, i32) = (1, 2);
    full.save_command(command(1)).await.expect("saved");
    assert_eq!(level(&full).await, full_level);
    relaxed.save_command(command(2)).await.expect("saved");
    assert_eq!(level(&full).await, normal);
    let free = hold(&full);
    let together = futures::future::join3(
        relaxed.save_command(command(3)),
        full.save_command(command(4)),
        relaxed.save_command(command(5)),
    );
    let mut together = Box::pin(together);
    assert!((&mut together).now_or_never().is_none());
    drop(free);
    let (three, four, five) = together.await;
    for call in [three, four, five] {
        call.expect("saved");
    }
    assert_eq!(level(&full).await, full_level);
    assert_eq!(ask(&full, |store| store.commits).await, 3);
}

#[tokio::test]
async fn dead_letters_are_bounded() {
    let directory = directory();
    let storage = open(&directory).await.with_max_dead_letters(2);
    for id in 0..5 {
        storage.save_dead_letter(letter(id)).await.expect("saved");
    }
    assert_eq!(letter_ids(&storage).await, ["3", "4"]);
    drop(storage);
    // The count survives.
    let storage = open(&directory).await.with_max_dead_letters(2);
    storage.save_dead_letter(letter(5)).await.expect("saved");
    assert_eq!(letter_ids(&storage).await, ["4", "5"]);
    let none = open(&directory).await.with_max_dead_letters(0);
    none.save_dead_letter(letter(9))
        .await
        .expect("dropped at once");
    assert!(letter_ids(&none).await.is_empty());
}

#[tokio::test]
async fn a_long_life_leaves_a_small_file() {
    let directory = directory();
    let storage = open(&directory).await.with_durability(Durability::Relaxed);
    for round in 0..200 {
        let saves = (0..200).map(|id| storage.save_command(command(format!("{round}-{id}"))));
        futures::future::try_join_all(saves).await.expect("saved");
        let ids = (0..200)
            .map(|id| format!("{round}-{id}"))
            .collect::<Vec<_>>();
        let removes = ids.iter().map(|id| storage.remove_command(id));
        futures::future::try_join_all(removes)
            .await
            .expect("removed");
    }
    close(storage, &directory);
    let names = file_names(&store(&directory));
    let sizes = names.iter().map(|name| {
        let data = std::fs::metadata(store(&directory).join(name)).expect("it is there");
        data.len()
    });
    // 40,000 commands went through, 200 at a time: about 40 KiB.
    // All of them would be some MiB.
    let size = sizes.sum::<u64>();
    assert!(size < 1 << 19, "{size} bytes in {names:?}");
}

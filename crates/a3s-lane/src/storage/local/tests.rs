use std::path::Path;

use chrono::Utc;
use futures::FutureExt;
use serde_json::json;
use tempfile::TempDir;

use super::*;

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

async fn open(directory: &TempDir) -> LocalStorage {
    LocalStorage::new(directory.path().join("deep").join("store"))
        .await
        .expect("the directory can be created")
}

async fn command_ids(storage: &LocalStorage) -> Vec<String> {
    let commands = storage.load_commands().await.expect("readable");
    commands.into_iter().map(|command| command.id).collect()
}

async fn letter_ids(storage: &LocalStorage) -> Vec<String> {
    let letters = storage.load_dead_letters().await.expect("readable");
    letters
        .into_iter()
        .map(|letter| letter.command_id)
        .collect()
}

fn as_json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("plain data")
}

fn file_names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("readable")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn storage_error<T: fmt::Debug>(result: Result<T>) -> String {
    match result.expect_err("the file is damaged") {
        LaneError::Storage(text) => text,
        other => panic!("not a storage error: {other}"),
    }
}

#[tokio::test]
async fn everything_survives_reopening() {
    let directory = directory();
    let storage = open(&directory).await;
    assert!(command_ids(&storage).await.is_empty());
    assert!(letter_ids(&storage).await.is_empty());
    let (one, two, dead) = (command(1), command(2), letter(3));
    for command in [&one, &two] {
        storage.save_command(command.clone()).await.expect("saved");
    }
    storage.save_dead_letter(dead.clone()).await.expect("saved");
    drop(storage);

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
async fn files_are_pretty_json_arrays_under_their_names() {
    let directory = directory();
    let storage = open(&directory).await;
    let store = directory.path().join("deep").join("store");
    assert!(
        file_names(&store).is_empty(),
        "files appear on the first write"
    );
    storage.save_command(command(1)).await.expect("saved");
    storage.save_dead_letter(letter(1)).await.expect("saved");
    assert_eq!(
        file_names(&store),
        ["commands.json", "dead_letters.json", "lock"]
    );
    let text = std::fs::read_to_string(store.join("commands.json")).expect("readable");
    assert!(text.starts_with("[\n  {\n    \"id\": \"1\","), "{text}");
}

#[tokio::test]
async fn files_written_by_hand_are_read() {
    let directory = directory();
    let storage = open(&directory).await;
    let text = r#"[{"id":"a","command_type":"t","lane_id":"l","payload":{},"retry_count":0,
        "created_at":"2026-01-02T03:04:05Z","last_attempt_at":null}]"#;
    std::fs::write(directory.path().join("deep/store/commands.json"), text).expect("written");
    assert_eq!(command_ids(&storage).await, ["a"]);
    storage.save_command(command("b")).await.expect("saved");
    assert_eq!(command_ids(&storage).await, ["a", "b"]);
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

#[tokio::test]
async fn clearing_forgets_only_what_it_names() {
    let directory = directory();
    let storage = open(&directory).await;
    storage.clear_all().await.expect("nothing to clear");
    storage.save_command(command(1)).await.expect("saved");
    storage.save_dead_letter(letter(1)).await.expect("saved");
    storage.clear_dead_letters().await.expect("cleared");
    assert_eq!(
        (
            command_ids(&storage).await.len(),
            letter_ids(&storage).await.len()
        ),
        (1, 0)
    );
    storage.save_dead_letter(letter(2)).await.expect("saved");
    storage.clear_all().await.expect("cleared");
    assert_eq!(
        (
            command_ids(&storage).await.len(),
            letter_ids(&storage).await.len()
        ),
        (0, 0)
    );
    assert_eq!(file_names(&directory.path().join("deep/store")), ["lock"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_lose_nothing() {
    let directory = directory();
    let storage = Arc::new(open(&directory).await);
    for id in 0..32 {
        storage.save_command(command(id)).await.expect("saved");
    }
    let calls = (0..64).map(|id| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            storage.save_command(command(100 + id)).await?;
            storage.save_dead_letter(letter(id)).await?;
            storage.remove_command(&(id / 2).to_string()).await
        })
    });
    for call in futures::future::join_all(calls).await {
        call.expect("no panic").expect("every call succeeds");
    }
    drop(storage);
    let storage = open(&directory).await;
    let mut ids = command_ids(&storage).await;
    ids.sort();
    let expected: Vec<_> = (100..164).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(letter_ids(&storage).await.len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_on_one_directory_lose_nothing() {
    let directory = directory();
    let handles = [
        Arc::new(open(&directory).await),
        Arc::new(open(&directory).await),
    ];
    let calls = (0..64).map(|id| {
        let storage = Arc::clone(&handles[id % 2]);
        tokio::spawn(async move { storage.save_command(command(id)).await })
    });
    for call in futures::future::join_all(calls).await {
        call.expect("no panic").expect("every call succeeds");
    }
    assert_eq!(command_ids(&handles[0]).await.len(), 64);
}

#[tokio::test]
async fn calls_that_wait_share_one_write() {
    let directory = directory();
    let storage = open(&directory).await;
    // While somebody else has the turn, all calls queue up behind it.
    let turn = Arc::clone(&storage.writer).lock_owned().await;
    let mut calls: Vec<_> = (0..8)
        .map(|id| Box::pin(storage.save_command(command(id))))
        .collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    drop(turn);
    calls.remove(0).await.expect("saved");
    assert_eq!(command_ids(&storage).await.len(), 8);
    for call in calls {
        call.await.expect("saved with the first");
    }
}

#[tokio::test]
async fn a_dropped_call_keeps_its_place_in_the_order() {
    let directory = directory();
    let storage = open(&directory).await;
    let turn = Arc::clone(&storage.writer).lock_owned().await;
    assert!(storage.save_command(command(1)).now_or_never().is_none());
    drop(turn);
    storage.remove_command("1").await.expect("removed");
    assert!(command_ids(&storage).await.is_empty());
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_is_left_alone() {
    let directory = directory();
    let storage = open(&directory).await;
    storage.save_command(command(1)).await.expect("saved");
    storage.save_dead_letter(letter(1)).await.expect("saved");
    let path = directory.path().join("deep/store/commands.json");
    let whole = std::fs::read(&path).expect("readable");
    let truncated = &whole[..whole.len() / 2];
    std::fs::write(&path, truncated).expect("written");

    let damaged = format!("{} is damaged: ", path.display());
    for text in [
        storage_error(storage.load_commands().await),
        storage_error(storage.save_command(command(2)).await),
        storage_error(storage.remove_command("1").await),
    ] {
        assert!(text.starts_with(&damaged), "{text}");
    }
    assert_eq!(std::fs::read(&path).expect("readable"), truncated);
    assert_eq!(
        letter_ids(&storage).await,
        ["1"],
        "the other file is not concerned"
    );
    storage.clear_all().await.expect("cleared");
    storage.save_command(command(3)).await.expect("saved");
    assert_eq!(command_ids(&storage).await, ["3"]);
}

#[tokio::test]
async fn an_empty_file_is_damaged_too() {
    let directory = directory();
    let storage = open(&directory).await;
    let path = directory.path().join("deep/store/dead_letters.json");
    std::fs::write(&path, "").expect("written");
    let text = storage_error(storage.load_dead_letters().await);
    assert!(text.contains("dead_letters.json is damaged"), "{text}");
    assert!(command_ids(&storage).await.is_empty());
}

#[tokio::test]
async fn errors_name_the_path() {
    let directory = directory();
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let text = storage_error(LocalStorage::new(file.join("store")).await);
    assert!(
        text.starts_with(&format!(
            "failed to create {}",
            file.join("store").display()
        )),
        "{text}"
    );

    let storage = open(&directory).await;
    std::fs::remove_dir_all(directory.path().join("deep")).expect("removed");
    let text = storage_error(storage.save_command(command(1)).await);
    assert!(
        text.starts_with("failed to open ") && text.contains("lock"),
        "{text}"
    );
}

#[tokio::test]
async fn dead_letters_are_bounded() {
    let directory = directory();
    let storage = open(&directory).await.with_max_dead_letters(2);
    for id in 0..5 {
        storage.save_dead_letter(letter(id)).await.expect("saved");
    }
    assert_eq!(letter_ids(&storage).await, ["3", "4"]);
    let none = open(&directory).await.with_max_dead_letters(0);
    none.save_dead_letter(letter(9))
        .await
        .expect("dropped at once");
    assert!(letter_ids(&none).await.is_empty());
}

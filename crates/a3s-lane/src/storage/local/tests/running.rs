//! What the file of running commands says after the end of a process.

use super::records::{completed, failure, loaded, record};
use super::*;
use crate::storage::{HistoryEvent, StoredOptions};

/// The retries and crashes of a command.
async fn counts(storage: &LocalStorage, id: &str) -> (u32, u32) {
    let found = loaded(storage, id).await;
    (found.command.retry_count, found.crashes)
}

fn running(directory: &TempDir) -> PathBuf {
    store(directory).join("running")
}

/// A storage with these commands, each of which has begun.
async fn begun(directory: &TempDir, ids: &[&str]) -> LocalStorage {
    let storage = open(directory).await;
    for id in ids {
        storage
            .save_commands(vec![record(id)])
            .await
            .expect("saved");
        storage.start_command(id, 1).await.expect("noted");
    }
    storage
}

#[tokio::test]
async fn what_was_running_has_crashed() {
    let directory = directory();
    let before = Utc::now();
    let storage = begun(&directory, &["a", "b"]).await;
    storage
        .save_commands(vec![record("c")])
        .await
        .expect("saved");
    storage
        .start_command("not there", 1)
        .await
        .expect("nothing to note");
    drop(storage);
    let storage = open(&directory).await;
    assert_eq!(counts(&storage, "a").await, (1, 1));
    assert_eq!(counts(&storage, "b").await, (1, 1));
    assert_eq!(counts(&storage, "c").await, (0, 0));
    let crashed = loaded(&storage, "a").await;
    assert!(
        crashed
            .command
            .last_attempt_at
            .is_some_and(|at| at >= before)
    );
    assert_eq!(crashed.options, record("a").options);
    assert_eq!(
        std::fs::metadata(running(&directory)).expect("there").len(),
        0
    );
    // Nothing has begun since.
    drop(storage);
    let storage = open(&directory).await;
    assert_eq!(counts(&storage, "a").await, (1, 1));
    storage.start_command("a", 2).await.expect("noted");
    drop(storage);
    assert_eq!(counts(&open(&directory).await, "a").await, (2, 2));
}

#[tokio::test]
async fn what_has_ended_has_not_crashed() {
    let directory = directory();
    let storage = begun(
        &directory,
        &["requeued", "retried", "again", "settled", "removed"],
    )
    .await;
    storage.requeue_command("requeued").await.expect("noted");
    for id in ["retried", "again"] {
        let note = RetryNote::new(id, failure(1));
        storage.retry_command(note).await.expect("noted");
    }
    storage.start_command("again", 2).await.expect("noted");
    let settled = vec![completed("settled", json!(1))];
    storage.settle_commands(settled).await.expect("settled");
    storage.remove_command("removed").await.expect("removed");
    // The newest command takes the number of one that is gone, in the next process.
    drop(storage);
    let storage = open(&directory).await;
    assert_eq!(counts(&storage, "requeued").await, (0, 0));
    assert_eq!(counts(&storage, "retried").await, (1, 0));
    assert_eq!(counts(&storage, "again").await, (2, 1));
    assert_eq!(
        command_ids(&storage).await,
        ["requeued", "retried", "again"]
    );
    storage.clear_all().await.expect("cleared");
    storage
        .save_commands(vec![record("new")])
        .await
        .expect("saved");
    drop(storage);
    assert_eq!(counts(&open(&directory).await, "new").await, (0, 0));
}

/// A time to live is for the time until the first start.
#[tokio::test]
async fn one_that_was_stopped_has_begun() {
    let directory = directory();
    let storage = begun(&directory, &["a", "b"]).await;
    let mut without = record("without");
    without.options.expires_at = None;
    let saved = storage.save_commands(vec![without, record("waits")]).await;
    saved.expect("saved");
    storage.start_command("without", 1).await.expect("noted");
    let commits = async || ask(&storage, |store| store.commits).await;
    let before = commits().await;
    let first = Utc::now();
    storage.requeue_command("a").await.expect("noted");
    assert_eq!(commits().await, before + 1);
    let last = Utc::now();
    // It says so already, and the other has nothing to say.
    storage.start_command("a", 1).await.expect("noted");
    storage.requeue_command("a").await.expect("noted");
    storage.requeue_command("without").await.expect("noted");
    storage.requeue_command("not there").await.expect("noted");
    assert_eq!(commits().await, before + 1);
    drop(storage);
    // Also in a process that has found it, and read it to run it.
    let storage = open(&directory).await;
    storage.load_page(None, 10).await.expect("readable");
    assert_eq!(counts(&storage, "a").await, (0, 0));
    assert_eq!(counts(&storage, "b").await, (1, 1));
    for id in ["a", "b", "waits"] {
        storage.start_command(id, 2).await.expect("noted");
        storage.requeue_command(id).await.expect("noted");
    }
    drop(storage);
    let storage = open(&directory).await;
    let begun = async |id: &str| loaded(&storage, id).await.command.last_attempt_at;
    let at = begun("a").await.expect("it has begun");
    assert!((first..=last).contains(&at), "{at}");
    assert!(begun("waits").await.is_some(), "it has begun by now");
    assert_eq!(begun("without").await, None);
    assert_eq!(loaded(&storage, "a").await.options, record("a").options);
}

/// Otherwise a disk that is full for long would fill the memory.
#[tokio::test]
async fn a_save_that_failed_leaves_no_note_of_its_time_to_live() {
    let directory = directory();
    let storage = open(&directory).await;
    ask(&storage, |store| {
        let made = store.connection().execute_batch(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON commands WHEN new.id = 'second'
             BEGIN SELECT raise(ABORT, 'no room'); END",
        );
        made.expect("made");
    })
    .await;
    let both = vec![record("first"), record("second")];
    storage.save_commands(both).await.expect_err("no room");
    let noted = async || ask(&storage, |store| store.running().numbers()).await;
    assert_eq!(noted().await, [0; 0]);
    storage
        .save_commands(vec![record("third")])
        .await
        .expect("saved");
    assert_eq!(noted().await.len(), 1);
}

#[tokio::test]
async fn a_late_note_does_not_end_a_later_attempt() {
    let directory = directory();
    let storage = begun(&directory, &["a"]).await;
    let free = hold(&storage);
    let mut late = Box::pin(storage.retry_command(RetryNote::new("a", failure(1))));
    assert!((&mut late).now_or_never().is_none());
    // It does not wait for the thread.
    storage
        .start_command("a", 2)
        .now_or_never()
        .expect("at once")
        .expect("noted");
    drop(free);
    late.await.expect("noted");
    drop(storage);
    assert_eq!(counts(&open(&directory).await, "a").await, (2, 1));
}

#[tokio::test]
async fn slots_are_used_again() {
    let directory = directory();
    let storage = begun(&directory, &["kept"]).await;
    for round in 0..100 {
        let id = round.to_string();
        storage
            .save_commands(vec![record(&id)])
            .await
            .expect("saved");
        storage.start_command(&id, 1).await.expect("noted");
        storage
            .settle_commands(vec![completed(id, json!(1))])
            .await
            .expect("settled");
    }
    let bytes = std::fs::read(running(&directory)).expect("readable");
    assert_eq!(bytes.len(), 64);
    // The second says that the last of the others has begun, which is gone.
    assert_ne!(bytes[32..], [0; 32]);
    let inspected = LocalStorage::inspect(store(&directory)).await;
    assert_eq!(inspected.expect("readable").running, 1);
    storage.requeue_command("kept").await.expect("noted");
    let bytes = std::fs::read(running(&directory)).expect("readable");
    assert_eq!(bytes[..32], [0; 32]);
}

#[tokio::test]
async fn a_slot_that_stayed_too_long_counts_nothing() {
    let directory = directory();
    let storage = begun(&directory, &["settled", "retried", "crashed"]).await;
    // As a process leaves it that ends between a transaction and the slot.
    let slots = std::fs::read(running(&directory)).expect("readable");
    let settled = vec![completed("settled", json!(1))];
    storage.settle_commands(settled).await.expect("settled");
    let note = RetryNote::new("retried", failure(1));
    storage.retry_command(note).await.expect("noted");
    close(storage, &directory);
    for _ in 0..2 {
        // The second time: it ends before the file is emptied.
        std::fs::write(running(&directory), &slots).expect("written");
        let storage = open(&directory).await;
        assert_eq!(command_ids(&storage).await, ["retried", "crashed"]);
        assert_eq!(counts(&storage, "retried").await, (1, 0));
        assert_eq!(counts(&storage, "crashed").await, (1, 1));
        close(storage, &directory);
    }
}

#[tokio::test]
async fn a_torn_file_counts_what_is_whole() {
    let directory = directory();
    close(begun(&directory, &["a", "b", "c"]).await, &directory);
    let slots = std::fs::read(running(&directory)).expect("readable");
    let database = std::fs::read(store(&directory).join("lanes.db")).expect("readable");
    assert_eq!(slots.len(), 96);
    for cut in 0..=slots.len() {
        for garbage in [&b""[..], &[0xFF; 50]] {
            let torn = [&slots[..cut], garbage].concat();
            std::fs::write(store(&directory).join("lanes.db"), &database).expect("written");
            std::fs::write(running(&directory), torn).expect("written");
            let storage = open(&directory).await;
            for (place, id) in ["a", "b", "c"].into_iter().enumerate() {
                let whole = u32::from(cut >= 32 * (place + 1));
                // The last bytes of a slot say nothing.
                let told = u32::from(cut >= 32 * place + 24 && !garbage.is_empty());
                assert_eq!(
                    counts(&storage, id).await.1,
                    whole.max(told),
                    "{id} at {cut}"
                );
            }
            close(storage, &directory);
        }
    }
}

#[tokio::test]
async fn a_history_that_is_there_tells_of_crashes() {
    let directory = directory();
    let storage = open(&directory).await.with_history(Retention::new());
    storage
        .save_commands(vec![record("a")])
        .await
        .expect("saved");
    storage.start_command("a", 1).await.expect("noted");
    drop(storage);
    let storage = open(&directory).await;
    let entries = storage.load_history(&HistoryFilter::of("a")).await;
    let entries = entries.expect("readable");
    assert_eq!(
        (entries[1].event, entries[1].attempt),
        (HistoryEvent::Crashed, Some(1))
    );
    assert_eq!(entries.len(), 2);
    assert_ne!(
        loaded(&storage, "a").await.options,
        StoredOptions::default()
    );
}

//! What goes wrong with files, and what is said about it.

use super::*;

#[tokio::test]
async fn errors_name_the_path() {
    let directory = directory();
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let text = storage_error(LocalStorage::new(file.join("store")).await);
    let expected = format!("failed to create {}", file.join("store").display());
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn a_directory_has_one_process_at_a_time() {
    let directory = directory();
    close(open(&directory).await, &directory);
    // As another process would hold it: by a file description of its own.
    let lock = std::fs::File::open(store(&directory).join("lock")).expect("it is there");
    lock.lock().expect("free");
    let text = storage_error(LocalStorage::new(store(&directory)).await);
    assert!(
        text.ends_with("store is in use by another process"),
        "{text}"
    );
    drop(lock);
    open(&directory).await;
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_is_left_alone() {
    let directory = directory();
    let storage = open(&directory).await;
    for id in 0..100 {
        storage.save_command(command(id)).await.expect("saved");
    }
    close(storage, &directory);
    let path = store(&directory).join("lanes.db");
    let whole = std::fs::read(&path).expect("readable");

    for (damaged, word) in [
        (b"this is not a database, but long enough to be one, is it not? It says so itself, and it is right.".to_vec(), "damaged"),
        // A page in the middle of the table.
        ([&whole[..8192], &[0xAB; 4096][..], &whole[12288..]].concat(), "damaged"),
    ] {
        std::fs::write(&path, &damaged).expect("written");
        let text = match LocalStorage::new(store(&directory)).await {
            Err(LaneError::Storage(text)) => text,
            Err(other) => panic!("not a storage error: {other}"),
            Ok(storage) => {
                let text = storage_error(storage.load_commands().await);
                close(storage, &directory);
                text
            }
        };
        assert!(text.contains("lanes.db") && text.contains(word), "{text}");
        assert_eq!(std::fs::read(&path).expect("readable"), damaged);
    }
    std::fs::write(&path, &whole).expect("written");
    assert_eq!(command_ids(&open(&directory).await).await.len(), 100);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_an_error() {
    let directory = directory();
    close(open(&directory).await, &directory);
    let file = Connection::open(store(&directory).join("lanes.db")).expect("it opens");
    file.pragma_update(None, "user_version", 3).expect("set");
    drop(file);
    let text = storage_error(LocalStorage::new(store(&directory)).await);
    assert!(
        text.contains("newer version: its format is 3, this one knows 2"),
        "{text}"
    );
}

#[tokio::test]
async fn a_storage_whose_thread_has_died_says_so_and_opens_again() {
    let directory = directory();
    let storage = open(&directory).await;
    storage.save_command(command("a")).await.expect("saved");
    let died = storage.ask(|_| -> engine::Outcome<()> { panic!("of this test") });
    assert!(storage_error(died.await).contains("interrupted"));
    while !storage.engine().expect("not closed").has_ended() {
        tokio::task::yield_now().await;
    }
    let error = storage.save_command(command("b")).await;
    assert!(storage_error(error).contains("interrupted"));
    // While somebody holds the dead one.
    assert_eq!(command_ids(&open(&directory).await).await, ["a"]);
    storage.close().await.expect("it waits for nobody");
}

/// Nothing of it is changed: it may be what a person has put there by mistake.
#[tokio::test]
async fn the_database_of_another_program_is_left_alone() {
    for format in [0, 2] {
        let directory = directory();
        std::fs::create_dir_all(store(&directory)).expect("made");
        let path = store(&directory).join("lanes.db");
        let file = Connection::open(&path).expect("it opens");
        file.execute_batch("CREATE TABLE theirs (x)").expect("made");
        file.pragma_update(None, "user_version", format)
            .expect("set");
        drop(file);
        let before = std::fs::read(&path).expect("readable");
        let text = storage_error(LocalStorage::new(store(&directory)).await);
        assert!(
            text.contains("lanes.db is the database of another program"),
            "{text}"
        );
        assert_eq!(std::fs::read(&path).expect("readable"), before);
    }
}

/// Lets the file have so many pages, as a file system without more space would.
async fn limit(storage: &LocalStorage, pages: u32) {
    ask(storage, move |store| {
        let connection = store.connection();
        let limited = connection.pragma_update(None, "max_page_count", pages);
        limited.expect("limited");
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_of_the_call_and_passes() {
    let directory = directory();
    let storage = open(&directory).await;
    storage
        .save_command(command("before"))
        .await
        .expect("saved");
    limit(&storage, 1).await;
    let mut text = None;
    for id in 0..1000 {
        if let Err(error) = storage.save_command(command(id)).await {
            text = Some(error.to_string());
            break;
        }
    }
    let text = text.expect("the disk is full at some time");
    assert!(text.contains("lanes.db: the disk is full"), "{text}");
    let before = command_ids(&storage).await;
    storage
        .save_command(command("lost"))
        .await
        .expect_err("still full");
    assert_eq!(command_ids(&storage).await, before);
    limit(&storage, 100_000).await;
    storage
        .save_command(command("lost"))
        .await
        .expect("there is space again");
    storage.remove_command("before").await.expect("removed");
    let after = command_ids(&storage).await;
    assert_eq!(after[..], [&before[1..], &["lost".to_owned()]].concat());
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_of_the_call() {
    let directory = directory();
    let storage = open(&directory).await;
    ask(&storage, |store| {
        let set = store.connection().pragma_update(None, "query_only", 1);
        set.expect("set");
    })
    .await;
    let text = storage_error(storage.save_command(command(1)).await);
    assert!(text.contains("lanes.db: it is read-only"), "{text}");
    assert!(command_ids(&storage).await.is_empty());
}

/// Not even root can open a socket.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error_that_says_so() {
    let directory = directory();
    std::fs::create_dir_all(store(&directory)).expect("made");
    let path = store(&directory).join("lanes.db");
    let _socket = std::os::unix::net::UnixListener::bind(path).expect("made");
    let text = storage_error(LocalStorage::new(store(&directory)).await);
    let expected = "lanes.db: it or its directory cannot be opened for writing";
    assert!(text.ends_with(expected), "{text}");
    let text = storage_error(LocalStorage::inspect(store(&directory)).await);
    let expected = "lanes.db: it cannot be opened for reading";
    assert!(text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn a_file_that_another_program_has_locked_is_an_error_of_the_call_and_passes() {
    let directory = directory();
    let storage = open(&directory).await;
    // Otherwise it waits for ten seconds.
    ask(&storage, |store| {
        let set = store.connection().busy_timeout(std::time::Duration::ZERO);
        set.expect("set");
    })
    .await;
    let other = Connection::open(store(&directory).join("lanes.db")).expect("it opens");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let text = storage_error(storage.save_command(command("a")).await);
    let expected = "lanes.db: another program has locked it";
    assert!(text.ends_with(expected), "{text}");
    assert!(command_ids(&storage).await.is_empty());
    other.execute_batch("ROLLBACK").expect("free");
    storage.save_command(command("a")).await.expect("saved");
    assert_eq!(command_ids(&storage).await, ["a"]);
}

#[tokio::test]
async fn one_change_that_cannot_be_made_fails_alone() {
    let directory = directory();
    let storage = open(&directory).await;
    // As a payload beyond what SQLite takes, which is a gigabyte.
    ask(&storage, |store| {
        let made = store.connection().execute_batch(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON commands WHEN length(new.payload) > 1000
             BEGIN SELECT raise(ABORT, 'too big'); END",
        );
        made.expect("made");
    })
    .await;
    let large = StoredCommand {
        payload: json!("x".repeat(2000)),
        ..command("large")
    };
    let free = hold(&storage);
    let calls = futures::future::join4(
        storage.save_command(command(1)),
        storage.save_command(large),
        storage.remove_command("1"),
        storage.save_command(command(2)),
    );
    let mut calls = Box::pin(calls);
    assert!((&mut calls).now_or_never().is_none());
    drop(free);
    let (one, large, removed, two) = calls.await;
    let text = storage_error(large);
    assert!(text.contains("too big"), "{text}");
    for call in [one, removed, two] {
        call.expect("made");
    }
    assert_eq!(command_ids(&storage).await, ["2"]);
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_memory_as_it_was() {
    for clear in [false, true] {
        let directory = directory();
        let storage = open(&directory).await;
        for id in ["kept", "removed"] {
            storage.save_command(command(id)).await.expect("saved");
        }
        storage
            .save_dead_letter(letter("kept"))
            .await
            .expect("saved");
        // The last change of the batch fails and takes back what was made, which is then made again.
        ask(&storage, |store| {
            let made = store.connection().execute_batch(
                "CREATE TEMP TRIGGER refuse BEFORE INSERT ON commands WHEN new.id = 'refused'
                 BEGIN SELECT raise(ROLLBACK, 'as the test says'); END",
            );
            made.expect("made");
        })
        .await;
        let free = hold(&storage);
        let first = if clear {
            storage.clear_all()
        } else {
            storage.clear_dead_letters()
        };
        let calls = futures::future::join5(
            first,
            storage.remove_command("removed"),
            storage.save_command(command("new")),
            storage.save_dead_letter(letter("new")),
            storage.save_command(command("refused")),
        );
        let mut calls = Box::pin(calls);
        assert!((&mut calls).now_or_never().is_none());
        drop(free);
        let (one, two, three, four, refused) = calls.await;
        for call in [one, two, three, four] {
            call.expect("made");
        }
        let text = storage_error(refused);
        assert!(text.ends_with("as the test says"), "{text}");
        let expected: &[&str] = if clear { &["new"] } else { &["kept", "new"] };
        assert_eq!(command_ids(&storage).await, expected);
        assert_eq!(letter_ids(&storage).await, ["new"]);
        // Memory and file agree: what is there can be removed, and what is not can be saved.
        for id in ["kept", "new"] {
            storage.remove_command(id).await.expect("removed");
        }
        storage
            .save_command(command("removed"))
            .await
            .expect("saved");
        assert_eq!(command_ids(&storage).await, ["removed"]);
        let two = open(&directory).await.with_max_dead_letters(2);
        two.save_dead_letter(letter("last")).await.expect("saved");
        assert_eq!(letter_ids(&storage).await, ["new", "last"]);
    }
}

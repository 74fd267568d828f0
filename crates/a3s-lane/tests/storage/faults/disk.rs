//! A disk that is full, and one that is read-only, where a file system can be mounted.

use super::machine::Disk;
use super::*;

#[tokio::test]
async fn a_full_disk_is_an_error_and_nothing_acknowledged_is_lost() {
    let Some(disk) = Disk::mount("1m") else {
        return;
    };
    let directory = disk.path.join("store");
    let storage = open(&directory).await;
    let mut kept = Vec::new();
    for id in ["before", "started"] {
        storage
            .save_commands(vec![record(id)])
            .await
            .expect("saved");
        kept.push(id.to_owned());
    }
    storage.start_command("started", 1).await.expect("noted");
    disk.fill_but(0);
    let mut failed = 0;
    for number in 0..200 {
        let mut record = record(number);
        record.command.payload = json!("x".repeat(3000));
        match storage.save_commands(vec![record]).await {
            Ok(()) => kept.push(number.to_string()),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("lanes.db: the disk is full"), "{text}");
                failed += 1;
            }
        }
    }
    assert!(failed > 100, "{failed} have failed");
    assert_eq!(pending(&storage).await, kept);
    close(storage, &directory);
    // Without space it opens, or says why not.
    match LocalStorage::new(directory.clone()).await {
        Ok(storage) => {
            assert_eq!(pending(&storage).await, kept);
            close(storage, &directory);
        }
        Err(error) => assert!(error.to_string().contains("lanes.db"), "{error}"),
    }
    disk.free();
    let storage = open(&directory).await;
    assert_eq!(pending(&storage).await, kept);
    let started = storage.load_command("started").await.expect("readable");
    assert_eq!(started.expect("kept").crashes, 1);
    storage
        .save_commands(vec![record("after")])
        .await
        .expect("there is space");
    close(storage, &directory);
}

/// What a process that was killed has left: one command in the file, one in its log.
async fn leave_a_log(directory: &Path) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let storage = open(place.path()).await;
    storage
        .save_commands(vec![record("old")])
        .await
        .expect("saved");
    close(storage, place.path());
    let storage = open(place.path()).await;
    storage
        .save_commands(vec![record("new")])
        .await
        .expect("saved");
    std::fs::create_dir(directory).expect("made");
    for name in ["lanes.db", "lanes.db-wal", "lock"] {
        std::fs::copy(place.path().join(name), directory.join(name)).expect("copied");
    }
}

#[tokio::test]
async fn a_read_only_disk_is_an_error_and_can_be_looked_at() {
    let Some(disk) = Disk::mount("4m") else {
        return;
    };
    let (whole, logged) = (disk.path.join("whole"), disk.path.join("logged"));
    let storage = open(&whole).await;
    storage
        .save_commands(vec![record("old")])
        .await
        .expect("saved");
    close(storage, &whole);
    leave_a_log(&logged).await;
    disk.read_only();
    for directory in [&whole, &logged, &disk.path.join("none")] {
        let error = LocalStorage::new(directory.clone()).await;
        let text = error.expect_err("it is read-only").to_string();
        let named = text.contains(&*directory.to_string_lossy());
        assert!(named && text.contains("Read-only file system"), "{text}");
    }
    let found = LocalStorage::inspect(whole).await.expect("readable");
    assert_eq!((found.pending, found.problems), (1, vec![]));
    // The log cannot be read without a file beside it: that is told.
    let found = LocalStorage::inspect(logged.clone()).await;
    let found = found.expect("readable in part");
    assert_eq!(found.pending, 1);
    let log = logged.join("lanes.db-wal");
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems);
    };
    assert!(problem.contains(&*log.to_string_lossy()), "{problem}");
    assert!(problem.contains("was not read"), "{problem}");
    let error = LocalStorage::inspect(disk.path.join("none")).await;
    let text = error.expect_err("there is none").to_string();
    assert!(text.contains("lanes.db"), "{text}");
}

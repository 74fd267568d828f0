//! A disk that is full, where a file system can be mounted.

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

use a3s_lane::storage::{LocalStorage, Storage};
use chrono::Duration;

use super::{command, open, record, time};

fn names(directory: &std::path::Path) -> Vec<String> {
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

#[tokio::test]
async fn a_directory_in_use_can_be_looked_at() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = open(directory.path()).await;
    for (number, lane) in ["b", "a", "b"].into_iter().enumerate() {
        let mut command = command(number);
        command.lane_id = lane.into();
        command.created_at = time() - Duration::hours(number as i64);
        storage.save_command(command).await.expect("saved");
    }
    storage.start_command("1", 1).await.expect("noted");
    let found = LocalStorage::inspect(directory.path().to_owned()).await;
    let found = found.expect("readable");
    assert_eq!(
        (found.pending, found.running, found.dead_letters),
        (3, 1, 0)
    );
    let lanes: Vec<_> = found
        .lanes
        .iter()
        .map(|lane| (&*lane.lane_id, lane.pending, lane.oldest_created_at))
        .collect();
    let hours = |hours| time() - Duration::hours(hours);
    assert_eq!(lanes, [("a", 1, hours(1)), ("b", 2, hours(2))]);
    assert!(found.problems.is_empty() && found.file_bytes > 0 && found.log_bytes > 0);
    assert_eq!(
        serde_json::to_value(&found).expect("plain data")["lanes"][1]["pending"],
        2
    );
    // It goes on being used.
    storage.save_commands(vec![record(9)]).await.expect("saved");
    let found = LocalStorage::inspect(directory.path().to_owned()).await;
    assert_eq!(found.expect("readable").pending, 4);
}

#[tokio::test]
async fn where_there_is_no_storage_none_is_made() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for place in [directory.path().to_owned(), directory.path().join("none")] {
        let error = LocalStorage::inspect(place)
            .await
            .expect_err("there is none");
        assert!(error.to_string().contains("failed to read"), "{error}");
    }
    assert!(names(directory.path()).is_empty());
    std::fs::write(directory.path().join("lanes.db"), "not a database, but a text that is long enough to be taken for the header of one, which it is not.").expect("written");
    let error = LocalStorage::inspect(directory.path().to_owned()).await;
    let error = error.expect_err("it is none").to_string();
    assert!(error.contains("damaged, or not a storage"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_has_problems() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = open(directory.path()).await;
    let records = (0..200).map(record).collect();
    storage.save_commands(records).await.expect("saved");
    super::close(storage, directory.path());
    let path = directory.path().join("lanes.db");
    let mut bytes = std::fs::read(&path).expect("readable");
    // The count of free pages, in the header.
    bytes[39] = 7;
    std::fs::write(&path, bytes).expect("written");
    let found = LocalStorage::inspect(directory.path().to_owned()).await;
    let found = found.expect("it can be read in part");
    assert_eq!(found.pending, 200);
    assert!(!found.problems.is_empty());
}

/// Without its log there would be an older state: `new` refuses it.
#[tokio::test]
async fn a_log_that_new_refuses_is_a_problem() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let storage = open(place.path()).await;
    storage.save_commands(vec![record(1)]).await.expect("saved");
    super::close(storage, place.path());
    let storage = open(place.path()).await;
    storage.save_commands(vec![record(2)]).await.expect("saved");
    // As a kill leaves it.
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["lanes.db", "lanes.db-wal"] {
        std::fs::copy(place.path().join(name), directory.path().join(name)).expect("copied");
    }
    let inspect = || LocalStorage::inspect(directory.path().to_owned());
    let found = inspect().await.expect("readable");
    assert_eq!((found.pending, found.problems), (2, vec![]));

    let path = directory.path().join("lanes.db-wal");
    let mut log = std::fs::read(&path).expect("readable");
    log[16] ^= 0x55;
    std::fs::write(&path, &log).expect("written");
    let found = inspect().await.expect("readable in part");
    assert_eq!(found.pending, 1);
    let error = LocalStorage::new(directory.path().to_owned()).await;
    let error = error.expect_err("it is refused").to_string();
    assert!(error.contains("lanes.db-wal is damaged"), "{error}");
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems);
    };
    assert!(problem.contains("lanes.db-wal is damaged"), "{problem}");
    assert_eq!(std::fs::read(&path).expect("readable"), log);
}

#[tokio::test]
async fn what_another_version_or_program_wrote_is_an_error() {
    for (place, number, word) in [
        // The format.
        (60, 3, "newer version: its format is 3, this one knows 2"),
        // The application.
        (68, 7, "is the database of another program"),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        super::close(open(directory.path()).await, directory.path());
        let path = directory.path().join("lanes.db");
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes[place..place + 4].copy_from_slice(&i32::to_be_bytes(number));
        std::fs::write(&path, bytes).expect("written");
        let error = LocalStorage::inspect(directory.path().to_owned()).await;
        let inspected = error.expect_err("it is unknown").to_string();
        assert!(inspected.contains(word), "{inspected}");
        let error = LocalStorage::new(directory.path().to_owned()).await;
        let opened = error.expect_err("it is unknown").to_string();
        assert!(opened.contains(word), "{opened}");
    }
    // Nothing is in it yet.
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("lanes.db"), "").expect("written");
    let error = LocalStorage::inspect(directory.path().to_owned()).await;
    let error = error.expect_err("it is empty").to_string();
    assert!(error.ends_with("lanes.db is empty"), "{error}");
}

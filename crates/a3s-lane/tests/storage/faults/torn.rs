//! Files that were cut off or overwritten.

use super::*;

/// The files of a storage after some commits, and how long the log was after each.
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
    lengths: Vec<usize>,
}

/// A storage of which the database has the command `old`, and the log the commands 0 to 9.
async fn files() -> Files {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = open(directory.path()).await;
    storage
        .save_commands(vec![record("old")])
        .await
        .expect("saved");
    close(storage, directory.path());
    let storage = open(directory.path()).await;
    let log = directory.path().join("lanes.db-wal");
    let mut lengths = Vec::new();
    for number in 0..10 {
        storage
            .save_commands(vec![record(number)])
            .await
            .expect("saved");
        let length = std::fs::metadata(&log).expect("there").len();
        lengths.push(usize::try_from(length).expect("small"));
    }
    Files {
        database: std::fs::read(directory.path().join("lanes.db")).expect("readable"),
        log: std::fs::read(log).expect("readable"),
        lengths,
    }
}

/// What is pending in a storage with these files.
async fn found(database: &[u8], log: &[u8]) -> a3s_lane::Result<Vec<String>> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("lanes.db"), database).expect("written");
    std::fs::write(directory.path().join("lanes.db-wal"), log).expect("written");
    let storage = LocalStorage::new(directory.path().to_owned()).await?;
    let commands = storage.load_commands().await;
    let ids = commands?.into_iter().map(|command| command.id).collect();
    close(storage, directory.path());
    Ok(ids)
}

fn expected(commits: usize) -> Vec<String> {
    let numbers = (0..commits).map(|number| number.to_string());
    std::iter::once("old".to_owned()).chain(numbers).collect()
}

#[tokio::test]
async fn a_log_that_is_cut_off_holds_what_is_whole() {
    let files = files().await;
    assert_eq!(files.lengths.last(), Some(&files.log.len()));
    let cuts = (0..files.log.len()).step_by(1021);
    let exact = files
        .lengths
        .iter()
        .flat_map(|length| [length - 1, *length]);
    for cut in cuts.chain(exact).chain(1..40) {
        let commits = files
            .lengths
            .iter()
            .filter(|length| **length <= cut)
            .count();
        for garbage in [&b""[..], &[0xA5; 700]] {
            let log = [&files.log[..cut], garbage].concat();
            match found(&files.database, &log).await {
                Ok(ids) => assert_eq!(ids, expected(commits), "cut at {cut}"),
                // A header that is not whole.
                Err(error) => {
                    assert!(cut < 32 && !garbage.is_empty(), "cut at {cut}: {error}");
                    assert!(
                        error.to_string().contains("lanes.db-wal is damaged"),
                        "{error}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_was_overwritten_holds_what_came_before_or_is_refused() {
    let files = files().await;
    for place in (0..files.log.len()).step_by(997).chain(0..32) {
        let mut log = files.log.clone();
        log[place] ^= 0x55;
        let commits = files
            .lengths
            .iter()
            .filter(|length| **length <= place)
            .count();
        match found(&files.database, &log).await {
            Ok(ids) => {
                assert!(
                    place >= 32,
                    "a log with a damaged header was taken for none"
                );
                assert_eq!(ids, expected(commits), "changed at {place}");
            }
            Err(error) => {
                assert!(place < 32, "changed at {place}: {error}");
                assert!(
                    error.to_string().contains("lanes.db-wal is damaged"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_database_that_is_cut_off_is_whole_or_an_error() {
    let files = files().await;
    let mut refused = 0;
    for cut in (0..files.database.len()).step_by(512) {
        match found(&files.database[..cut], &[]).await {
            // Nothing at all is a storage that was about to be made.
            Ok(ids) if cut == 0 => assert_eq!(ids, [""; 0]),
            Ok(ids) => assert_eq!(ids, expected(0), "cut at {cut}"),
            Err(error) => {
                assert!(
                    error.to_string().contains("lanes.db"),
                    "cut at {cut}: {error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused} were refused");
}

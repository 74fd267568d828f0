//! Storages that are damaged, of a newer version, on a disk that is full or read-only.

use std::fs;

use serde_json::{Value, json};

use super::{Place, with_letters};
use crate::machine::Disk;

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let place = with_letters();
    let path = place.path("store/lanes.db");
    let _none = fs::remove_file(place.path("store/lanes.db-wal"));
    let mut bytes = fs::read(&path).expect("the file of the storage");
    bytes[100..].fill(0x5a);
    fs::write(&path, bytes).expect("the file of the storage");
    for args in [
        &["inspect", "store"][..],
        &["dlq", "list", "--storage", "store"],
    ] {
        let done = place.run(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert!(done.stderr.contains("lanes.db"), "{}", done.stderr);
    }
}

/// A run that has ended has closed its storage: a copy of the one file is a whole copy.
#[test]
fn a_run_leaves_no_log() {
    for _ in 0..5 {
        let place = with_letters();
        assert!(!place.path("store/lanes.db-wal").exists());
        // Also one that could not begin.
        let done = place.run(&["run", "nowhere.jsonl", "--storage", "store"]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(!place.path("store/lanes.db-wal").exists());
    }
}

/// Without its log there would be an older state: a run refuses it.
#[test]
fn a_damaged_log_is_told() {
    let place = with_letters();
    place.write("store/lanes.db-wal", &"x".repeat(32));
    let done = place.run(&["dlq", "list", "--storage", "store"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("lanes.db-wal is damaged"), "{done:?}");
    let done = place.run(&["inspect", "store"]);
    assert_eq!(done.code, 1, "{done:?}");
    let (_, problem) = done.stdout.split_once("integrity: ").expect("it is told");
    assert!(problem.contains("lanes.db-wal is damaged"), "{problem}");
    let found: Value =
        serde_json::from_str(&place.run(&["inspect", "store", "--json"]).stdout).expect("JSON");
    assert_eq!(found["problems"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_storage_of_a_newer_version_is_an_error() {
    let place = with_letters();
    let path = place.path("store/lanes.db");
    let mut bytes = fs::read(&path).expect("the file of the storage");
    // The format.
    bytes[60..64].copy_from_slice(&3_i32.to_be_bytes());
    fs::write(&path, bytes).expect("the file of the storage");
    for args in [
        &["inspect", "store"][..],
        &["dlq", "list", "--storage", "store"],
        &["run", "--storage", "store"],
    ] {
        let done = place.run(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        let text = "lanes.db was written by a newer version: its format is 3, this one knows 2\n";
        assert!(done.stderr.ends_with(text), "{}", done.stderr);
    }
}

/// What takes a storage.
fn uses(store: &str) -> [Vec<&str>; 2] {
    [
        vec!["dlq", "list", "--storage", store],
        vec!["run", "--storage", store],
    ]
}

#[test]
fn a_read_only_disk_is_an_error_and_can_be_looked_at() {
    let Some(disk) = Disk::mount("4m") else {
        return;
    };
    let store = disk.path.join("store");
    let store = store.to_str().expect("text");
    let place = Place::new();
    for use_of in uses(store).iter().rev() {
        assert_eq!(place.run(use_of).code, 0);
    }
    disk.read_only();
    for use_of in uses(store) {
        let done = place.run(&use_of);
        assert_eq!(done.code, 2, "{use_of:?}: {done:?}");
        assert!(done.stderr.contains(store), "{}", done.stderr);
        let text = "Read-only file system";
        assert!(done.stderr.contains(text), "{}", done.stderr);
    }
    let done = place.run(&["inspect", store]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.ends_with("integrity: ok\n"), "{}", done.stdout);
}

/// The lines that the storage refuses have failed, and the run goes on.
#[test]
fn a_disk_that_gets_full_fails_the_lines_that_it_has_no_space_for() {
    let Some(disk) = Disk::mount("1m") else {
        return;
    };
    let place = Place::new();
    std::os::unix::fs::symlink(&disk.path, place.path("disk")).expect("a link");
    let run = |lines: &str| place.run_lines(lines, &["--storage", "disk/store"]);
    let line = |id: &str, payload: &str| {
        let options = json!({ "id": id });
        let line = json!({"lane": "query", "type": "echo", "payload": payload, "options": options});
        format!("{line}\n")
    };
    assert_eq!(run(&line("first", "")).code, 0);
    disk.fill_but(200_000);
    let large = "x".repeat(300_000);
    let lines = line("before", "") + &line("large", &large) + &line("after", "");
    let done = run(&lines);
    assert_eq!(done.code, 1, "{done:?}");
    let statuses = [1, 2, 3].map(|line| place.result(line)["status"].clone());
    assert_eq!(statuses, ["completed", "failed", "completed"]);
    let failed = place.result(2);
    assert_eq!(failed["code"], "STORAGE_ERROR");
    let error = failed["error"].as_str().expect("a text");
    assert!(error.ends_with("lanes.db: the disk is full"), "{error}");
    assert!(done.stderr.contains("the disk is full"), "{}", done.stderr);

    // It is no known command: the same input runs it when there is space.
    disk.free();
    let done = run(&lines);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout.contains("2 lines known already"),
        "{}",
        done.stdout
    );
}

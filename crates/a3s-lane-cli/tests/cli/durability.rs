//! `--durability`: how often a run waits for the disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, start};

/// Compiles what notes each file that is synced.
fn library(place: &Place) -> Option<PathBuf> {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../a3s-lane/tests/storage/faults/fail_calls.c");
    let library = place.path("syncs.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    if compiled.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    println!("skipped: no C compiler made {}", library.display());
    None
}

/// How often a run of ten commands, one after the other, syncs the log of the database.
fn syncs(library: &Path, args: &[&str]) -> usize {
    let place = Place::new();
    let line = "{\"lane\":\"query\",\"type\":\"echo\",\"payload\":1}\n";
    place.write("commands.jsonl", &line.repeat(10));
    let log = place.path("syncs");
    let env = [
        ("LD_PRELOAD", library.to_str().expect("text")),
        ("SYNC_LOG", log.to_str().expect("text")),
    ];
    let directory = place.path("");
    let args = [&["run", "commands.jsonl", "--storage", "store"], args].concat();
    let done = start(&directory, &args, &env).finish();
    assert_eq!(done.code, 0, "{done:?}");
    let paths = std::fs::read_to_string(log).unwrap_or_default();
    let paths = paths.lines().filter(|path| path.ends_with("lanes.db-wal"));
    paths.count()
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "syncs are seen by LD_PRELOAD")]
fn durability_says_whether_a_run_waits_for_the_disk() {
    let place = Place::new();
    let Some(library) = library(&place) else {
        return;
    };
    let relaxed = syncs(&library, &["--durability", "relaxed"]);
    let full = syncs(&library, &["--durability", "full"]);
    assert!(full > relaxed, "{full} syncs, and {relaxed} with `relaxed`");
    let usual = syncs(&library, &[]);
    assert!(usual > relaxed, "{usual} by default");
}

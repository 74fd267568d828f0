//! `--durability`: how often a run waits for the disk.

use std::path::Path;

use crate::machine::library;
use crate::support::{Place, start};

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
    let Some(library) = library() else {
        return;
    };
    let relaxed = syncs(&library, &["--durability", "relaxed"]);
    let full = syncs(&library, &["--durability", "full"]);
    assert!(full > relaxed, "{full} syncs, and {relaxed} with `relaxed`");
    let usual = syncs(&library, &[]);
    assert!(usual > relaxed, "{usual} by default");
}

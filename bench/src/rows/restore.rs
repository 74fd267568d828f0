//! A storage with a million commands pending is opened and read, page by page.
//!
//! It is filled before the clock starts. Then `LocalStorage::new` and all pages of 1000 are timed, with the fields of each command
//! and without the payloads, as a start does it. The bytes are those that the heap and the process have grown by when the last page was read
//! and dropped: what every pending command costs a process that has yet to run it. SQLite's own memory is in the second only. The floor
//! reads the file from its beginning to its end. The page cache is warm for both.
//!
//! The last lines are a whole start: `LocalStorage::new`, `build` and `start`, after which all of them wait in a paused lane. Their
//! bytes are what a pending command costs a process from then on; its payload stays in the file.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use a3s_lane::storage::{CommandRecord, StoredCommand};
use a3s_lane::{CommandContext, Durability, LaneConfig, LocalStorage, Storage};
use chrono::Utc;
use serde_json::{Value, json};

use crate::contestants::builder;
use crate::contestants::names::{FLOOR, OURS};
use crate::harness::alloc::Counting;
use crate::harness::contest::{Contest, Outcome};
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::fresh_single_thread;

const PAGE: usize = 1000;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let pending = options.scale(1_000_000);
    let place = tempfile::tempdir().expect("a place for files");
    let directory = place.path();
    fresh_single_thread().block_on(fill(directory, pending));
    let mut contest = Contest::new(format!("restore: {pending} pending"), options);
    contest.enter(OURS, pending, |n| {
        fresh_single_thread().block_on(restore(directory, n))
    });
    contest.enter(FLOOR, pending, |n| {
        let begin = Instant::now();
        let bytes = std::fs::read(directory.join("lanes.db")).expect("readable");
        assert!(bytes.len() > n, "a million commands are in it");
        vec![n as f64 / begin.elapsed().as_secs_f64()]
    });
    let outcome = contest.run();
    let mut contest = Contest::new(format!("restore: start with {pending} pending"), options);
    contest.enter(OURS, pending, |n| {
        fresh_single_thread().block_on(start(directory, n))
    });
    let started = contest.run();
    let line = |outcome: &Outcome, index, what: &str, unit, floor| Line {
        row: "restore",
        label: format!("{what}, {pending} pending"),
        unit,
        ours: outcome.series(OURS, index),
        floor,
        peer: None,
        budget: Budget::None,
    };
    vec![
        line(
            &outcome,
            0,
            "commands",
            Unit::PerSecond,
            Some(outcome.series(FLOOR, 0)),
        ),
        line(&outcome, 1, "heap per command", Unit::Bytes, None),
        line(
            &outcome,
            2,
            "resident memory per command",
            Unit::Bytes,
            None,
        ),
        line(&started, 0, "started", Unit::PerSecond, None),
        line(&started, 1, "started, heap per command", Unit::Bytes, None),
    ]
}

async fn open(directory: &Path) -> LocalStorage {
    let storage = LocalStorage::new(directory.to_owned()).await;
    storage
        .expect("a directory of its own")
        .with_durability(Durability::Relaxed)
}

async fn fill(directory: &Path, pending: usize) {
    let storage = open(directory).await;
    for begin in (0..pending).step_by(PAGE) {
        let record = |number| {
            CommandRecord::from(StoredCommand {
                id: format!("01890a5d-ac96-774b-bcce-{number:012}"),
                command_type: "mail".into(),
                lane_id: "lane-0".into(),
                payload: json!({"to": "somebody@example.com", "text": "x".repeat(100)}),
                retry_count: 0,
                created_at: Utc::now(),
                last_attempt_at: None,
            })
        };
        let records = (begin..pending.min(begin + PAGE)).map(record).collect();
        storage
            .save_commands(records)
            .await
            .expect("there is space");
    }
}

async fn restore(directory: &Path, pending: usize) -> Vec<f64> {
    let counting = Counting::start();
    let (heap, resident) = (counting.now().live_bytes, resident_bytes());
    let begin = Instant::now();
    let storage = open(directory).await;
    let mut found = 0;
    let mut from = None;
    loop {
        let page = storage.load_page(from, PAGE).await.expect("readable");
        found += page.records.len();
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let elapsed = begin.elapsed();
    let heap = counting.now().live_bytes - heap;
    let resident = resident_bytes() - resident;
    drop(counting);
    assert_eq!(found, pending, "all are restored");
    vec![
        pending as f64 / elapsed.as_secs_f64(),
        heap as f64 / pending as f64,
        resident.max(0) as f64 / pending as f64,
    ]
}

async fn start(directory: &Path, pending: usize) -> Vec<f64> {
    let counting = Counting::start();
    let heap = counting.now().live_bytes;
    let begin = Instant::now();
    let manager = builder()
        .with_lane("lane-0", LaneConfig::new(1, 1), 0)
        .with_handler("mail", |_: Value, _: CommandContext| async {
            Ok(Value::Null)
        })
        .with_storage(Arc::new(open(directory).await))
        .build()
        .await
        .expect("valid settings");
    manager.pause_lane("lane-0").expect("it is there");
    manager.start().await.expect("the storage is readable");
    let elapsed = begin.elapsed();
    let heap = counting.now().live_bytes - heap;
    drop(counting);
    let stats = manager.stats().await.expect("a lane");
    assert_eq!(stats.total_pending, pending, "all are restored");
    manager.close().await.expect("it closes");
    vec![
        pending as f64 / elapsed.as_secs_f64(),
        heap as f64 / pending as f64,
    ]
}

/// How much memory the process has, where the system says so.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

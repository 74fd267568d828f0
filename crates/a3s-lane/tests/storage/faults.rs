//! A full disk, calls of the operating system that fail, and files that are torn.

mod disk;
pub(crate) mod machine;
mod torn;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use a3s_lane::storage::{LocalStorage, Settlement, Storage, StoredOutcome};
use serde_json::json;

use super::{child, close, open, record};
use machine::library;

async fn pending(storage: &LocalStorage) -> Vec<String> {
    let page = storage.load_page(None, usize::MAX).await.expect("readable");
    let ids = page.records.into_iter().map(|record| record.command.id);
    ids.collect()
}

fn settlement(id: &str) -> Settlement {
    Settlement::new(id, "mail", "skill", StoredOutcome::Completed(json!(null)))
}

fn say(what: &str, text: &str) {
    let line = format!("\n={what} {}\n", text.replace('\n', " "));
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("somebody reads");
}

/// What the other process does: it says what was acknowledged, and what has failed.
pub(crate) async fn write(directory: &Path) {
    let storage = match LocalStorage::new(directory.to_owned()).await {
        Ok(storage) => storage,
        Err(error) => return say("failed", &error.to_string()),
    };
    for number in 0..12 {
        let id = number.to_string();
        // Large, so that checkpoints come about.
        let mut record = record(&id);
        record.command.payload = json!("x".repeat(100_000));
        match storage.save_commands(vec![record]).await {
            Ok(()) => say("saved", &id),
            Err(error) => say("failed", &error.to_string()),
        }
        if let Err(error) = storage.start_command(&id, 1).await {
            say("failed", &error.to_string());
        }
        if number % 2 == 0 {
            match storage.settle_commands(vec![settlement(&id)]).await {
                Ok(()) => say("settled", &id),
                Err(error) => say("failed", &error.to_string()),
            }
        }
    }
    // A question is answered, whatever has failed before, or says why not.
    if let Err(error) = storage.load_page(None, 100).await {
        say("failed", &error.to_string());
    }
}

/// How many calls fail, from which one on, and how.
struct Fault {
    first: usize,
    count: usize,
    errno: i32,
}

/// Runs the other process with a fault, and compares what is there with what it has said. Returns how many errors it has seen.
fn run(library: &Path, fault: &Fault) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = child::command("write", directory.path());
    command
        .env("LD_PRELOAD", library)
        .env("FAIL_AT", fault.first.to_string())
        .env("FAIL_COUNT", fault.count.to_string())
        .env("FAIL_ERRNO", fault.errno.to_string())
        .stderr(Stdio::inherit());
    let output = child::spawn(command).wait_with_output().expect("it ends");
    let what = format!(
        "from call {} on {} fail with {}",
        fault.first, fault.count, fault.errno
    );
    assert!(output.status.success(), "{what}: {:?}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    let mut last = BTreeMap::new();
    let mut failed = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix('=')) {
        let (step, id) = line.split_once(' ').expect("what and which");
        if step == "failed" {
            failed += 1;
            let names = id.contains("lanes.db") || id.contains("running");
            assert!(names, "{what}: the error names no file: {id}");
        } else {
            last.insert(id.to_owned(), step.to_owned());
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let storage = open(directory.path()).await;
        let pending = pending(&storage).await;
        for (id, step) in &last {
            let number: usize = id.parse().expect("a number");
            let there = pending.contains(id);
            // One whose settlement has failed may have settled.
            let may_be_gone = step == "settled" || number.is_multiple_of(2);
            assert!(there || may_be_gone, "{what}: {id} is lost");
            assert!(!there || step == "saved", "{what}: {id} is there again");
        }
        close(storage, directory.path());
        let found = LocalStorage::inspect(directory.path().to_owned()).await;
        assert_eq!(found.expect("readable").problems, [""; 0], "{what}");
    });
    failed
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "calls are made to fail by LD_PRELOAD"
)]
fn calls_that_fail_are_errors_and_nothing_acknowledged_is_lost() {
    let Some(library) = library() else {
        return;
    };
    let (eio, enospc) = (5, 28);
    let whole = Fault {
        first: 0,
        count: 0,
        errno: eio,
    };
    assert_eq!(run(&library, &whole), 0, "nothing fails without a fault");
    let mut failed = 0;
    for first in 1..=40 {
        for (count, errno) in [(1, eio), (usize::MAX / 4, enospc)] {
            // In the beginning each call, then some.
            if first <= 20 || first % 4 == 0 {
                let first = if first <= 20 { first } else { first * 8 };
                failed += run(
                    &library,
                    &Fault {
                        first,
                        count,
                        errno,
                    },
                );
            }
        }
    }
    assert!(failed > 50, "only {failed} errors were seen");
}

/// A power cut must not take the directory with all that was acknowledged in it.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "syncs are seen by LD_PRELOAD")]
fn directories_that_are_made_are_synced_into_those_above_them() {
    let Some(library) = library() else {
        return;
    };
    let place = tempfile::tempdir().expect("a temporary directory");
    let base = place.path().canonicalize().expect("there");
    let log = base.join("syncs");
    let directory = base.join("a/b/store");
    let synced = || {
        let mut command = child::command("look", &directory);
        command.env("LD_PRELOAD", &library).env("SYNC_LOG", &log);
        let output = child::spawn(command).wait_with_output().expect("it ends");
        assert!(output.status.success());
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        let above: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
        let above = above.into_iter();
        above
            .filter(|path| !path.starts_with(&directory))
            .collect::<Vec<_>>()
    };
    let mut above = synced();
    above.sort();
    assert_eq!(above, [base.clone(), base.join("a"), base.join("a/b")]);
    assert!(synced().is_empty(), "they are there");
}

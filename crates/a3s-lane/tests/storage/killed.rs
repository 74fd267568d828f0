//! A process that is killed at any instant loses nothing that it has acknowledged.
//!
//! The other process has a few tasks that each take commands through their life and say on its standard output what was
//! acknowledged: a line per step, in one write. This one kills it, opens the directory and compares. The last step of each
//! command may have been made without having been acknowledged, or said.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use a3s_lane::storage::{
    DeadLetterFilter, Durability, FailedAttempt, LocalStorage, Retention, RetryNote, Settlement,
    Storage, StoredDeadLetter, StoredOutcome,
};
use chrono::Utc;
use serde_json::json;

use super::{child, close, open, record};

const TASKS: usize = 4;

/// Says what was acknowledged. A pipe takes so few bytes whole.
fn say(step: &str, id: &str) {
    let line = format!("\n={step} {id}\n");
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("somebody reads");
}

fn settlement(id: &str, dead: bool) -> Settlement {
    let outcome = if dead {
        StoredOutcome::Failed {
            code: "TIMEOUT".into(),
            error: "too late".into(),
        }
    } else {
        StoredOutcome::Completed(json!(id))
    };
    let mut settlement = Settlement::new(id, "mail", "skill", outcome);
    if dead {
        let letter = StoredDeadLetter {
            command_id: id.to_owned(),
            command_type: "mail".into(),
            lane_id: "skill".into(),
            error: "too late".into(),
            attempts: 2,
            failed_at: Utc::now(),
        };
        settlement.letter = Some(Box::new(letter.into()));
    }
    settlement
}

async fn opened(directory: &Path) -> LocalStorage {
    let storage = open(directory).await.with_results(Retention::new());
    // A killed process needs no fsync.
    storage.with_durability(Durability::Relaxed)
}

/// What the other process does, until it is killed.
pub(crate) async fn work(directory: &Path) {
    let storage = std::sync::Arc::new(opened(directory).await);
    let round = std::process::id();
    let tasks = (0..TASKS).map(|task| {
        let storage = std::sync::Arc::clone(&storage);
        tokio::spawn(async move {
            for number in 0_u32.. {
                let id = format!("{round}-{task}-{number}");
                storage
                    .save_commands(vec![record(&id)])
                    .await
                    .expect("saved");
                say("saved", &id);
                storage.start_command(&id, 1).await.expect("noted");
                say("started", &id);
                match number % 4 {
                    0 => {
                        storage.requeue_command(&id).await.expect("noted");
                        say("requeued", &id);
                        continue;
                    }
                    1 => {
                        let failure = FailedAttempt::new(1, "TIMEOUT", "too late", Utc::now());
                        let note = RetryNote::new(&*id, failure);
                        storage.retry_command(note).await.expect("noted");
                        say("retried", &id);
                        storage.start_command(&id, 2).await.expect("noted");
                        say("again", &id);
                    }
                    _ => {}
                }
                let settlement = settlement(&id, number % 4 == 2);
                storage
                    .settle_commands(vec![settlement])
                    .await
                    .expect("settled");
                say("settled", &id);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
}

/// When to kill a process.
enum Moment {
    /// This long after its beginning: it may be opening the directory.
    Early(Duration),
    /// This long after it has said something.
    AtWork(Duration),
}

/// One process, and its end. Returns the last step that was acknowledged of each command.
fn run(directory: &Path, moment: Moment) -> BTreeMap<String, String> {
    let mut command = child::command("work", directory);
    command.stderr(Stdio::inherit());
    let mut child = child::spawn(command);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (first, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut last = BTreeMap::new();
        // A line without an end was not said.
        while let Some(Ok(line)) = lines.next() {
            let said = line.strip_prefix('=').and_then(|line| line.split_once(' '));
            if let Some((step, id)) = said {
                last.insert(id.to_owned(), step.to_owned());
                let _ = first.send(());
            }
        }
        last
    });
    let life = match moment {
        Moment::Early(life) => life,
        Moment::AtWork(life) => {
            begun.recv().expect("it works until it is killed");
            life
        }
    };
    std::thread::sleep(life);
    child.kill().expect("it lives until it is killed");
    let status = child.wait().expect("it has ended");
    assert_eq!(status.code(), None, "it has ended by itself");
    reader.join().expect("no panic")
}

/// Compares what was acknowledged with what is there.
async fn check(storage: &LocalStorage, last: &BTreeMap<String, String>) {
    for (id, step) in last {
        let command = storage.load_command(id).await.expect("readable");
        let result = storage.load_result(id).await.expect("readable");
        let letters = storage.find_dead_letters(&DeadLetterFilter::of(id)).await;
        let letters = letters.expect("readable").len();
        let number: u32 = id
            .rsplit('-')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number");
        let dead = usize::from(number % 4 == 2);
        let Some(command) = command else {
            // Settled: it was acknowledged, or it was the next step.
            let next = match step.as_str() {
                "started" => number % 4 > 1,
                "again" | "settled" => true,
                _ => false,
            };
            assert!(next, "{id} is lost after {step}");
            assert!(result.is_some(), "{id} has no result after {step}");
            assert_eq!(letters, dead, "letters of {id} after {step}");
            continue;
        };
        assert!(step != "settled", "{id} is there after it has settled");
        assert!(
            result.is_none() && letters == 0,
            "{id} has settled and is pending"
        );
        assert_eq!(command.command.payload["id"], **id, "the payload of {id}");
        let counts = (command.command.retry_count, command.crashes);
        let allowed: &[(u32, u32)] = match (step.as_str(), number % 4) {
            // Or it has begun.
            ("saved", _) => &[(0, 0), (1, 1)],
            ("started", 0) => &[(1, 1), (0, 0)],
            ("started", 1) => &[(1, 1), (1, 0)],
            ("started", _) => &[(1, 1)],
            ("requeued", _) => &[(0, 0)],
            ("retried", _) => &[(1, 0), (2, 1)],
            ("again", _) => &[(2, 1)],
            other => panic!("{other:?} leaves nothing"),
        };
        assert!(
            allowed.contains(&counts),
            "{id} has {counts:?} after {step}, not one of {allowed:?}"
        );
    }
}

#[test]
#[cfg_attr(not(unix), ignore = "an exit code cannot be told from a kill")]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let rounds = variable("A3S_LANE_KILLS").unwrap_or(200);
    let seed = variable("A3S_LANE_KILLS_SEED")
        .unwrap_or_else(|| Utc::now().timestamp_subsec_nanos().into());
    println!("A3S_LANE_KILLS={rounds} A3S_LANE_KILLS_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = seed;
    let (mut commands, mut settled) = (0, 0);
    for round in 0..rounds {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let life = Duration::from_micros((random >> 33) % 10_000);
        let moment = if round % 4 == 0 {
            Moment::Early(2 * life)
        } else {
            Moment::AtWork(life)
        };
        let last = run(directory.path(), moment);
        commands += last.len();
        settled += last.values().filter(|step| *step == "settled").count();
        runtime.block_on(async {
            let storage = opened(directory.path()).await;
            check(&storage, &last).await;
            let found = storage.load_page(None, usize::MAX).await.expect("readable");
            assert!(
                found.records.len() <= last.len() + TASKS,
                "what is pending was submitted"
            );
            storage.clear_all().await.expect("cleared");
            close(storage, directory.path());
        });
    }
    println!("{rounds} kills: {commands} acknowledged commands, {settled} of them settled");
    assert!(
        rounds < 50 || settled > 0,
        "no process came to work before it was killed"
    );
}

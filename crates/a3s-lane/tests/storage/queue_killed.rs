//! A queue that is killed at any instant goes on where it was: what was acknowledged settles, once.
//!
//! The other process submits and runs commands and says what happens on its standard output, a line per step, in one write: that
//! an attempt begins, that a submission was acknowledged, that a result was. This one kills it, again and again on one
//! directory, and now and then restarts the queue itself, drains it and compares.

mod faulty;
pub(crate) mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::{DeadLetterFilter, Storage};
use a3s_lane::{
    CommandContext, EventEmitter, JsonCommand, LaneConfig, QueueManagerBuilder, Result,
    SubmitOptions,
};
use chrono::Utc;
use serde_json::{Value, json};

use super::{child, open};
use process::{Said, kill_one, restart, say};

/// Random numbers that are the same again with the same seed.
struct Random(u64);

impl Random {
    /// The number of kills that a test is asked for, and where its instants come from; both are printed.
    fn kills(kills: u64) -> (u64, Self) {
        let kills = variable("A3S_LANE_KILLS").unwrap_or(kills);
        let seed = variable("A3S_LANE_KILLS_SEED")
            .unwrap_or_else(|| Utc::now().timestamp_subsec_nanos().into());
        println!("A3S_LANE_KILLS={kills} A3S_LANE_KILLS_SEED={seed}");
        (kills, Self(seed))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// I8, durable_ack: an acknowledged submit survives `kill -9` at any instant.
#[test]
#[cfg_attr(not(unix), ignore = "an exit code cannot be told from a kill")]
fn i8_durable_ack() {
    let (rounds, mut random) = Random::kills(500);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut said = Said::default();
    let (mut acknowledged, mut settled, mut runs) = (0, 0, 0);
    for round in 0..rounds {
        let life = Duration::from_micros(random.below(30_000));
        let command = child::command("queue", directory.path());
        kill_one(command, life, round % 5 == 0, &mut said);
        // Several kills in a row: the next process is killed while it restores what this one has left.
        if random.below(3) == 0 || round + 1 == rounds {
            runtime.block_on(restart(directory.path(), &said));
            acknowledged += said.acknowledged.len();
            settled += said.settled.len();
            runs += said.runs;
            said = Said::default();
        }
    }
    println!(
        "{rounds} kills: {acknowledged} acknowledged, {settled} said to have settled, {runs} attempts"
    );
    assert!(
        rounds < 50 || settled > 0,
        "no process came to work before it was killed"
    );
}

/// What the process of [`l12_a_command_that_kills_its_process_becomes_a_dead_letter`] does: its second command kills it.
pub(crate) async fn poison(directory: &Path) {
    let first = !directory.join("lanes.db").exists();
    let storage = Arc::new(open(directory).await);
    let handler = |payload: Value, context: CommandContext| async move {
        say("run", &context.id());
        if payload == "poison" {
            std::process::abort();
        }
        Ok(payload)
    };
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("only", LaneConfig::new(0, 1), 0)
        .with_storage(storage)
        .with_handler("work", handler)
        .build()
        .await
        .expect("the settings are right");
    if first {
        for (id, payload) in [("a", "good"), ("b", "poison"), ("c", "good")] {
            let command = Box::new(JsonCommand::new("work", json!(payload)));
            let options = SubmitOptions::new().with_id(id);
            manager
                .submit_with("only", command, options)
                .await
                .expect("accepted");
        }
    }
    manager.start().await.expect("it starts");
    let drained: Result<()> = manager.drain(Duration::from_secs(60)).await;
    drained.expect("everything ends");
}

/// It runs three times, and then not once more: no crash loop, nothing else is lost, and nothing stays "running" (river#1258,
/// procrastinate#1518, solid_queue#735).
#[test]
fn l12_a_command_that_kills_its_process_becomes_a_dead_letter() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut runs = BTreeMap::new();
    let mut ended_well = false;
    for process in 1..=4 {
        let mut command = child::command("poison", directory.path());
        command.stderr(Stdio::null());
        let output = command.output().expect("the program runs");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(id) = line.strip_prefix("=run ") {
                *runs.entry(id.to_owned()).or_insert(0) += 1;
            }
        }
        ended_well = output.status.success();
        assert_eq!(
            ended_well,
            process == 4,
            "process {process}: {}",
            output.status
        );
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let storage = open(directory.path()).await;
        assert!(storage.load_commands().await.expect("readable").is_empty());
        let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
        let letters = letters.expect("readable");
        let [letter] = &*letters else {
            panic!("one letter, not {letters:?}");
        };
        assert_eq!((letter.command_id.as_str(), letter.attempts), ("b", 3));
        assert_eq!(letter.payload, Some(json!("poison")));
    });
    assert!(ended_well);
    let expected = [("a", 1), ("b", 3), ("c", 1)];
    assert_eq!(
        runs,
        expected.map(|(id, count)| (id.to_owned(), count)).into()
    );
}

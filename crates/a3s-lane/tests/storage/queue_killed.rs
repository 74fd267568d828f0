//! A queue that is killed at any instant goes on where it was: what was acknowledged settles, once.
//!
//! The other process submits and runs commands and says what happens on its standard output, a line per step, in one write: that
//! an attempt begins, that a submission was acknowledged, that a result was. This one kills it, again and again on one
//! directory, and now and then restarts the queue itself, drains it and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::storage::{
    DeadLetterFilter, Durability, HistoryEvent, HistoryFilter, LocalStorage, Retention, Storage,
};
use a3s_lane::{
    CommandContext, EventEmitter, JsonCommand, LaneConfig, LaneError, QueueManager,
    QueueManagerBuilder, Result, RetryPolicy, SubmitOptions,
};
use chrono::Utc;
use serde_json::{Value, json};

use super::{child, close, open};

const TASKS: u64 = 4;

/// How the command with this number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Completes,
    /// Completes at its second attempt.
    Retries,
    /// Fails for good.
    Fails,
    /// Completes after a while.
    Lasts,
    /// Waits before its first attempt.
    Delayed,
}

impl Kind {
    fn of(number: u64) -> Self {
        [
            Self::Completes,
            Self::Retries,
            Self::Fails,
            Self::Lasts,
            Self::Delayed,
        ][(number % 5) as usize]
    }
}

fn number_of(id: &str) -> u64 {
    let number = id.rsplit('-').next().and_then(|text| text.parse().ok());
    number.expect("an id ends with a number")
}

type Tell = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A queue whose commands are in the directory. `tell` is called when an attempt begins.
async fn queue(directory: &Path, tell: Tell) -> (QueueManager, Arc<LocalStorage>) {
    let storage = open(directory).await.with_results(Retention::new());
    let storage = storage.with_history(Retention::new());
    // A killed process needs no fsync; some have it all the same, as it makes groups and takes time.
    let durability = match std::process::id().is_multiple_of(4) {
        true => Durability::Full,
        false => Durability::Relaxed,
    };
    let storage = Arc::new(storage.with_durability(durability));
    let handler = move |payload: Value, context: CommandContext| {
        tell("run", &context.id());
        let kind = Kind::of(payload.as_u64().expect("a number"));
        let attempt = context.attempt();
        async move {
            match kind {
                Kind::Fails => return Err(LaneError::CommandError("always".into())),
                Kind::Retries if attempt == 1 => {
                    return Err(LaneError::CommandError("at first".into()));
                }
                Kind::Lasts => tokio::time::sleep(Duration::from_millis(2)).await,
                Kind::Completes | Kind::Retries | Kind::Delayed => {}
            }
            Ok(payload)
        }
    };
    let mut config = LaneConfig::new(0, 4);
    config.retry_policy = RetryPolicy::fixed(1, Duration::from_millis(1));
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("even", config.clone(), 1)
        .with_lane("odd", config, 0)
        .with_storage(storage.clone())
        // Some are running at every kill.
        .with_max_crashes(u32::MAX)
        .with_handler("work", handler)
        .build()
        .await
        .expect("the settings are right");
    (manager, storage)
}

/// Says what happened. A pipe takes so few bytes whole.
fn say(step: &str, id: &str) {
    let line = format!("\n={step} {id}\n");
    let said = std::io::stdout().write_all(line.as_bytes());
    said.expect("somebody reads");
}

/// What the other process does, until it is killed.
pub(crate) async fn work(directory: &Path) {
    let (manager, _storage) = queue(directory, Arc::new(say)).await;
    manager.start().await.expect("it starts");
    let manager = Arc::new(manager);
    let process = std::process::id();
    let tasks = (0..TASKS).map(|task| {
        let manager = Arc::clone(&manager);
        tokio::spawn(async move {
            for number in 0.. {
                let id = format!("{process}-{task}-{number}");
                let mut options = SubmitOptions::new().with_id(&*id);
                if Kind::of(number) == Kind::Delayed {
                    options = options.with_delay(Duration::from_millis(3));
                }
                let lane = if number % 2 == 0 { "even" } else { "odd" };
                let command = Box::new(JsonCommand::new("work", json!(number)));
                let handle = manager.submit_with(lane, command, options).await;
                let handle = handle.expect("accepted");
                say("acknowledged", &id);
                // Two in three are awaited; the rest heap up.
                if number % 3 != 0 {
                    let _ = handle.result().await;
                    say("settled", &id);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
}

/// What was said so far about the commands that this test has not seen settle.
#[derive(Default)]
struct Said {
    acknowledged: BTreeSet<String>,
    settled: BTreeSet<String>,
    runs: u64,
}

impl Said {
    fn hear(&mut self, step: &str, id: &str) {
        match step {
            "run" => {
                assert!(!self.settled.contains(id), "{id} runs after it has settled");
                self.runs += 1;
            }
            "acknowledged" => assert!(self.acknowledged.insert(id.to_owned()), "{id} twice"),
            "settled" => assert!(self.settled.insert(id.to_owned()), "{id} twice"),
            other => panic!("unknown step {other}"),
        }
    }
}

/// One process, and its end: it is killed this long after it has said something, or after its beginning.
fn kill_one(directory: &Path, task: &str, life: Duration, early: bool, said: &mut Said) {
    let mut command = child::command(task, directory);
    command.stderr(Stdio::inherit());
    let mut child = child::spawn(command);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (first, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut steps = Vec::new();
        // A line without an end was not said.
        while let Some(Ok(line)) = lines.next() {
            let said = line.strip_prefix('=').and_then(|line| line.split_once(' '));
            if let Some((step, id)) = said {
                steps.push((step.to_owned(), id.to_owned()));
                let _ = first.send(());
            }
        }
        steps
    });
    if !early {
        begun.recv().expect("it works until it is killed");
    }
    std::thread::sleep(life);
    child.kill().expect("it lives until it is killed");
    let status = child.wait().expect("it has ended");
    assert_eq!(status.code(), None, "it has ended by itself");
    for (step, id) in reader.join().expect("no panic") {
        said.hear(&step, &id);
    }
}

/// Restarts the queue here, lets it run empty, and compares with what was said.
async fn restart(directory: &Path, said: &Said) {
    let runs: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let seen = Arc::clone(&runs);
    let tell = move |_: &str, id: &str| {
        let mut runs = seen.lock().expect("nothing panics under it");
        *runs.entry(id.to_owned()).or_default() += 1;
    };
    let (manager, storage) = queue(directory, Arc::new(tell)).await;
    let mut settled = BTreeSet::new();
    for id in &said.acknowledged {
        if storage.load_result(id).await.expect("readable").is_some() {
            settled.insert(id.clone());
        }
    }
    let forgotten: Vec<_> = said.settled.difference(&settled).collect();
    assert!(forgotten.is_empty(), "settled and forgotten: {forgotten:?}");
    manager.start().await.expect("it starts");
    let drained = manager.drain(Duration::from_secs(60)).await;
    drained.expect("everything ends");
    for id in &said.acknowledged {
        let result = manager.find(id).await.expect("readable");
        let result = result.unwrap_or_else(|| panic!("{id} is lost"));
        let result = result.result().await;
        let letters = storage.find_dead_letters(&DeadLetterFilter::of(id)).await;
        let letters = letters.expect("readable").len();
        match Kind::of(number_of(id)) {
            Kind::Fails => {
                let error = result.expect_err("it fails");
                assert_eq!(error.code(), "COMMAND_ERROR", "{id}");
                assert_eq!(letters, 1, "letters of {id}");
            }
            _ => {
                assert_eq!(result.expect("it completes"), json!(number_of(id)), "{id}");
                assert_eq!(letters, 0, "letters of {id}");
            }
        }
    }
    let runs = std::mem::take(&mut *runs.lock().expect("nothing panics under it"));
    let again: Vec<_> = runs.keys().filter(|id| settled.contains(*id)).collect();
    assert!(
        again.is_empty(),
        "they run after they have settled: {again:?}"
    );
    let left = storage.load_commands().await.expect("readable");
    assert!(left.is_empty(), "still pending: {left:?}");
    let history = storage.load_history(&HistoryFilter::all()).await;
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    let history = history.expect("readable");
    for entry in &history {
        if matches!(entry.event, HistoryEvent::Completed | HistoryEvent::Failed) {
            *ends.entry(&*entry.command_id).or_default() += 1;
        }
    }
    let more: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
    assert!(more.is_empty(), "settled more than once: {more:?}");
    let without = said
        .acknowledged
        .iter()
        .filter(|id| !ends.contains_key(id.as_str()));
    let without: Vec<_> = without.collect();
    assert!(without.is_empty(), "never settled: {without:?}");
    storage.clear_all().await.expect("cleared");
    drop(manager);
    // Its last task may be about to end.
    while Arc::strong_count(&storage) > 1 {
        tokio::task::yield_now().await;
    }
    let storage = Arc::into_inner(storage).expect("this is the last one");
    close(storage, directory);
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// I8, durable_ack: an acknowledged submit survives `kill -9` at any instant.
#[test]
#[cfg_attr(not(unix), ignore = "an exit code cannot be told from a kill")]
fn i8_durable_ack() {
    let rounds = variable("A3S_LANE_KILLS").unwrap_or(300);
    let seed = variable("A3S_LANE_KILLS_SEED")
        .unwrap_or_else(|| Utc::now().timestamp_subsec_nanos().into());
    println!("A3S_LANE_KILLS={rounds} A3S_LANE_KILLS_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = seed;
    let mut said = Said::default();
    let (mut acknowledged, mut settled, mut runs) = (0, 0, 0);
    for round in 0..rounds {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let life = Duration::from_micros((random >> 33) % 30_000);
        kill_one(directory.path(), "queue", life, round % 5 == 0, &mut said);
        // Several kills in a row: the next process is killed while it restores what this one has left.
        if random.is_multiple_of(3) || round + 1 == rounds {
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

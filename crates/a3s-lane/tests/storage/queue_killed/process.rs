//! A queue on a directory, as a process that says what happens; and what must hold after that process was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::storage::{
    DeadLetterFilter, Durability, HistoryEvent, HistoryFilter, LocalStorage, Retention, Storage,
};
use a3s_lane::{
    CommandContext, EventEmitter, JsonCommand, LaneConfig, LaneError, QueueManager,
    QueueManagerBuilder, Result, RetryPolicy, SubmitOptions,
};
use serde_json::{Value, json};

use crate::{child, close};

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
pub(super) async fn queue(
    directory: &Path,
    tell: Tell,
) -> Result<(QueueManager, Arc<LocalStorage>)> {
    let storage = LocalStorage::new(directory.to_owned()).await?;
    let storage = storage.with_results(Retention::new());
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
        .await?;
    Ok((manager, storage))
}

/// Says what happened. A pipe takes so few bytes whole.
pub(super) fn say(step: &str, id: &str) {
    let line = format!("\n={step} {id}\n");
    let said = std::io::stdout().write_all(line.as_bytes());
    said.expect("somebody reads");
}

/// What the other process does, until it is killed: tasks that submit and await.
pub(crate) async fn work(directory: &Path) {
    let (manager, storage) = queue(directory, Arc::new(say)).await.expect("it opens");
    manager.start().await.expect("it starts");
    submit(manager, storage, false).await;
}

/// The same where calls of the storage may fail.
pub(crate) async fn work_on_a_bad_disk(directory: &Path) {
    let started = async {
        let (manager, storage) = queue(directory, Arc::new(say)).await?;
        manager.start().await?;
        Ok((manager, storage))
    };
    match started.await {
        Ok((manager, storage)) => submit(manager, storage, true).await,
        Err(error) => {
            refuse("all", &error);
            // It is killed like the others.
            std::future::pending().await
        }
    }
}

fn refuse(id: &str, error: &LaneError) {
    assert_eq!(error.code(), "STORAGE_ERROR", "{error}");
    say("refused", id);
}

async fn submit(manager: QueueManager, storage: Arc<LocalStorage>, may_fail: bool) {
    let manager = Arc::new(manager);
    let process = std::process::id();
    let tasks = (0..TASKS).map(|task| {
        let (manager, storage) = (Arc::clone(&manager), Arc::clone(&storage));
        tokio::spawn(async move {
            for number in 0.. {
                let id = format!("{process}-{task}-{number}");
                let mut options = SubmitOptions::new().with_id(&*id);
                if Kind::of(number) == Kind::Delayed {
                    options = options.with_delay(Duration::from_millis(3));
                }
                let lane = if number % 2 == 0 { "even" } else { "odd" };
                let command = Box::new(JsonCommand::new("work", json!(number)));
                let handle = match manager.submit_with(lane, command, options).await {
                    Ok(handle) => handle,
                    Err(error) if may_fail => {
                        refuse(&id, error.error());
                        continue;
                    }
                    Err(error) => panic!("{id} is refused: {error}"),
                };
                say("acknowledged", &id);
                // Two in three are awaited; the rest heap up.
                if number % 3 != 0 {
                    let _ = handle.result().await;
                    // A result is there although the storage could not be told; what it knows is what counts.
                    if !may_fail || matches!(storage.load_result(&id).await, Ok(Some(_))) {
                        say("settled", &id);
                    }
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
pub(super) struct Said {
    pub(super) acknowledged: BTreeSet<String>,
    pub(super) settled: BTreeSet<String>,
    /// Those that the process in question has refused.
    refused: BTreeSet<String>,
    pub(super) refusals: usize,
    pub(super) runs: u64,
}

impl Said {
    fn hear(&mut self, step: &str, id: &str) {
        match step {
            "run" => {
                assert!(!self.settled.contains(id), "{id} runs after it has settled");
                assert!(!self.refused.contains(id), "{id} runs after it was refused");
                self.runs += 1;
            }
            "acknowledged" => assert!(self.acknowledged.insert(id.to_owned()), "{id} twice"),
            "settled" => assert!(self.settled.insert(id.to_owned()), "{id} twice"),
            "refused" => {
                self.refused.insert(id.to_owned());
                self.refusals += 1;
            }
            other => panic!("unknown step {other}"),
        }
    }
}

/// One process, and its end: it is killed this long after it has said something, or after its beginning.
pub(super) fn kill_one(mut command: Command, life: Duration, early: bool, said: &mut Said) {
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
    // What a process has refused may be there after it: its answer was lost on the way.
    said.refused.clear();
}

/// Restarts the queue here, lets it run empty, and compares with what was said.
pub(super) async fn restart(directory: &Path, said: &Said) {
    let runs: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let seen = Arc::clone(&runs);
    let tell = move |_: &str, id: &str| {
        let mut runs = seen.lock().expect("nothing panics under it");
        *runs.entry(id.to_owned()).or_default() += 1;
    };
    let (manager, storage) = queue(directory, Arc::new(tell)).await.expect("it opens");
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

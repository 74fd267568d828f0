//! One directory in use: its lock, and the thread that alone reads and writes its file.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::running::Running;
use super::store::Store;
use super::{Durability, Retention};
use crate::storage::{CommandRecord, DeadLetterRecord, RetryNote, Settlement};

/// What went wrong, for a person.
pub(super) type Outcome<T> = Result<T, String>;

/// How many changes share a transaction at most.
const BATCH: usize = 1024;

/// A change of what is stored. What one of them names is made as a whole or not at all.
#[derive(Debug)]
pub(super) enum Change {
    Save(Vec<CommandRecord>),
    Remove(String),
    Retry(RetryNote),
    /// Only noted, for the history.
    Requeue(String),
    Settle(Vec<Settlement>),
    SaveDeadLetters(Vec<DeadLetterRecord>),
    RemoveDeadLetters(Vec<String>),
    Revive(Box<CommandRecord>),
    ClearDeadLetters,
    ClearAll,
}

/// What a handle asks of the changes that are made through it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) durability: Durability,
    pub(super) max_dead_letters: i64,
    pub(super) results: Option<Retention>,
    pub(super) history: Option<Retention>,
}

/// A change and who waits for it.
pub(super) struct Waiting {
    pub(super) change: Change,
    pub(super) settings: Settings,
    done: oneshot::Sender<Outcome<usize>>,
}

impl Waiting {
    /// Tells how much was changed, for changes that count.
    pub(super) fn finish(self, outcome: Outcome<usize>) {
        // Nobody listens when the call was dropped.
        let _ = self.done.send(outcome);
    }
}

enum Request {
    Change(Waiting),
    /// A question about what is stored after the changes before it.
    Ask(Box<dyn FnOnce(&mut Store) + Send>),
}

/// A directory in use. Its thread ends after the last handle, when everything is written.
///
/// Requests wait in an unbounded channel: each is a call that somebody awaits, so there are no more than those.
pub(super) struct Engine {
    directory: PathBuf,
    requests: Sender<Request>,
    running: Arc<Running>,
}

/// The directories that this process uses, by their canonical path.
static IN_USE: LazyLock<Mutex<HashMap<PathBuf, InUse>>> = LazyLock::new(Mutex::default);

struct InUse {
    engine: Weak<Engine>,
    thread: JoinHandle<()>,
    /// The thread is one of this process only: a forked child has it not.
    process: u32,
}

impl Engine {
    /// Opens a directory, or shares it with those in this process who use it already. Blocks.
    pub(super) fn open(directory: &Path) -> Outcome<Arc<Self>> {
        fs::create_dir_all(directory).map_err(|error| failed("create", directory, &error))?;
        let directory =
            fs::canonicalize(directory).map_err(|error| failed("find", directory, &error))?;
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = in_use.remove(&directory) {
            if known.process != std::process::id() {
                std::mem::forget(known);
            } else if let Some(engine) = known.engine.upgrade() {
                in_use.insert(directory, known);
                return Ok(engine);
            } else {
                // It is writing its last changes. A panic of it was reported to those who waited.
                let _ = known.thread.join();
            }
        }
        let lock = lock(&directory)?;
        let store = Store::open(&directory)?;
        let running = store.running();
        let (sender, requests) = channel();
        let thread = thread::Builder::new()
            .name("a3s-lane-storage".into())
            .spawn(move || {
                run(store, &requests);
                drop(lock);
            })
            .map_err(|error| {
                format!(
                    "failed to start the thread that writes {}: {error}",
                    directory.display()
                )
            })?;
        let engine = Arc::new(Self {
            directory: directory.clone(),
            requests: sender,
            running,
        });
        let known = InUse {
            engine: Arc::downgrade(&engine),
            thread,
            process: std::process::id(),
        };
        in_use.insert(directory, known);
        Ok(engine)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    /// Makes a change. It keeps its place in the order from this call on, also when the future is dropped.
    pub(super) fn change(
        &self,
        change: Change,
        settings: Settings,
    ) -> impl Future<Output = Outcome<usize>> + use<> {
        let (done, outcome) = oneshot::channel();
        let waiting = Waiting {
            change,
            settings,
            done,
        };
        self.request(Request::Change(waiting), outcome)
    }

    /// Asks what is stored, after the changes that were asked for before.
    pub(super) fn ask<T: Send + 'static, Q>(
        &self,
        question: Q,
    ) -> impl Future<Output = Outcome<T>> + use<T, Q>
    where
        Q: FnOnce(&mut Store) -> Outcome<T> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel();
        self.request(
            Request::Ask(Box::new(move |store| drop(done.send(question(store))))),
            outcome,
        )
    }

    fn request<T>(
        &self,
        request: Request,
        outcome: oneshot::Receiver<Outcome<T>>,
    ) -> impl Future<Output = Outcome<T>> + use<T> {
        // The thread is gone only after a panic; then so is the request, and with it the sender of the outcome.
        let _ = self.requests.send(request);
        async { outcome.await.unwrap_or_else(|_| Err(interrupted())) }
    }
}

/// The thread: everything that waits goes into one transaction.
fn run(mut store: Store, requests: &Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = requests.recv() {
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request {
                Request::Change(waiting) => {
                    batch.push(waiting);
                    if batch.len() < BATCH {
                        next = requests.try_recv().ok();
                    }
                    if !matches!(next, Some(Request::Change(_))) {
                        store.write(&mut batch);
                    }
                }
                Request::Ask(question) => question(&mut store),
            }
        }
    }
}

/// Makes the directory this process's own, until the file is dropped.
fn lock(directory: &Path) -> Outcome<File> {
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| failed("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "{} is in use by another process",
            directory.display()
        )),
        // Some network file systems have no locks: there the directory must have one user.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
    }
}

pub(super) fn failed(action: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to {action} {}: {error}", path.display())
}

pub(super) fn interrupted() -> String {
    "the storage was interrupted: its thread or the runtime has ended".into()
}

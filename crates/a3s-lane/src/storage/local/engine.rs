//! One directory in use: its lock, and the thread that alone reads and writes its file.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::store::Store;
use super::{Durability, StoredCommand, StoredDeadLetter};

/// What went wrong, for a person.
pub(super) type Outcome<T> = Result<T, String>;

/// How many changes share a transaction at most.
const BATCH: usize = 256;

/// A change of what is stored.
#[derive(Debug)]
pub(super) enum Change {
    SaveCommand(StoredCommand),
    RemoveCommand(String),
    /// With how many are kept.
    SaveDeadLetter(StoredDeadLetter, i64),
    ClearDeadLetters,
    ClearAll,
}

/// A change and who waits for it.
pub(super) struct Waiting {
    pub(super) change: Change,
    pub(super) durability: Durability,
    done: oneshot::Sender<Outcome<()>>,
}

impl Waiting {
    pub(super) fn finish(self, outcome: Outcome<()>) {
        // Nobody listens when the call was dropped.
        let _ = self.done.send(outcome);
    }
}

enum Request {
    Change(Waiting),
    Commands(oneshot::Sender<Outcome<Vec<StoredCommand>>>),
    DeadLetters(oneshot::Sender<Outcome<Vec<StoredDeadLetter>>>),
    /// Something that a test wants to do with the file.
    #[cfg(test)]
    Test(Box<dyn FnOnce(&mut Store) + Send>),
}

/// A directory in use. Its thread ends after the last handle, when everything is written.
///
/// Requests wait in an unbounded channel: each is a call that somebody awaits, so there are no more than those.
pub(super) struct Engine {
    directory: PathBuf,
    requests: Sender<Request>,
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

    /// Makes a change. It keeps its place in the order from this call on, also when the future is dropped.
    pub(super) fn change(
        &self,
        change: Change,
        durability: Durability,
    ) -> impl Future<Output = Outcome<()>> + use<> {
        let (done, outcome) = oneshot::channel();
        let waiting = Waiting {
            change,
            durability,
            done,
        };
        self.ask(Request::Change(waiting), outcome)
    }

    pub(super) fn load_commands(
        &self,
    ) -> impl Future<Output = Outcome<Vec<StoredCommand>>> + use<> {
        let (done, outcome) = oneshot::channel();
        self.ask(Request::Commands(done), outcome)
    }

    pub(super) fn load_dead_letters(
        &self,
    ) -> impl Future<Output = Outcome<Vec<StoredDeadLetter>>> + use<> {
        let (done, outcome) = oneshot::channel();
        self.ask(Request::DeadLetters(done), outcome)
    }

    #[cfg(test)]
    pub(super) fn test(&self, test: impl FnOnce(&mut Store) + Send + 'static) {
        let _ = self.requests.send(Request::Test(Box::new(test)));
    }

    fn ask<T>(
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
                Request::Commands(done) => drop(done.send(store.commands())),
                Request::DeadLetters(done) => drop(done.send(store.dead_letters())),
                #[cfg(test)]
                Request::Test(test) => test(&mut store),
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

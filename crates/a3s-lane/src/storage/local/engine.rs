//! One directory in use: its lock, and the thread that alone reads and writes its file.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::{oneshot, watch};

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
    /// Boxed: the others are small.
    Retry(Box<RetryNote>),
    /// Boxed: the others are small.
    Requeue(Box<Requeued>),
    Settle(Vec<Settlement>),
    SaveDeadLetters(Vec<DeadLetterRecord>),
    RemoveDeadLetters(Vec<String>),
    Revive(Vec<CommandRecord>),
    ClearDeadLetters,
    ClearAll,
}

/// A command whose attempt was stopped.
#[derive(Debug)]
pub(super) struct Requeued {
    pub(super) id: String,
    pub(super) in_history: bool,
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
    /// Gets the change back, too: it is dropped by who has made it, as others wait for the thread that writes.
    done: oneshot::Sender<Outcome<(usize, Change)>>,
    /// Where the call was made, if on a runtime.
    runtime: Option<runtime::Handle>,
}

impl Waiting {
    /// Tells how much was changed, for changes that count.
    pub(super) fn finish(self, outcome: Outcome<usize>) {
        let Self { change, done, .. } = self;
        // Nobody listens when the call was dropped.
        let _ = done.send(outcome.map(|count| (count, change)));
    }

    /// Tells those whose changes are made. Many of one runtime are told by a task there: a task that is woken by another costs
    /// less than one that is woken from outside.
    pub(super) fn finish_all(made: impl Iterator<Item = (Self, usize)>) {
        let mut group = Made(Vec::with_capacity(made.size_hint().0));
        for (waiting, count) in made {
            let is_other = |(first, _): &(Self, usize)| !waiting.is_beside(first);
            if group.0.first().is_some_and(is_other) {
                std::mem::replace(&mut group, Made(Vec::new())).tell();
            }
            group.0.push((waiting, count));
        }
        group.tell();
    }

    /// Both calls were made on the same runtime.
    fn is_beside(&self, other: &Self) -> bool {
        let id = |waiting: &Self| waiting.runtime.as_ref().map(runtime::Handle::id);
        id(self) == id(other)
    }
}

/// Changes of one runtime that are made, each with how much it has changed. Dropping it tells those who wait, also when the
/// runtime drops it at its end.
struct Made(Vec<(Waiting, usize)>);

impl Made {
    /// How many are worth a task.
    const MANY: usize = 16;

    fn tell(self) {
        let first = self.0.first().filter(|_| self.0.len() >= Self::MANY);
        if let Some(runtime) = first.and_then(|(first, _)| first.runtime.clone()) {
            runtime.spawn(async move { drop(self) });
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for (waiting, count) in self.0.drain(..) {
            waiting.finish(Ok(count));
        }
    }
}

enum Request {
    Change(Waiting),
    /// A question about what is stored after the changes before it.
    Ask(Box<dyn FnOnce(&mut Store) + Send>),
    /// Nobody uses the directory any more.
    End,
}

/// A directory in use. Its thread ends after the last handle, when everything is written.
///
/// Requests wait in an unbounded channel: each is a call that somebody awaits, so there are no more than those.
pub(super) struct Engine {
    directory: PathBuf,
    requests: Sender<Request>,
    running: Arc<Running>,
    /// How many handles there are. None is added after the last.
    handles: AtomicUsize,
    /// Its sender goes when the thread has let go of the directory.
    ended: watch::Receiver<()>,
    /// The thread is one of this process only: a forked child has it not.
    process: u32,
}

/// The use of a directory by one storage, until it is closed or dropped.
pub(super) struct Handle {
    engine: Arc<Engine>,
    is_closed: AtomicBool,
}

impl Handle {
    /// One more of an engine, if that goes on.
    fn of(engine: Arc<Engine>) -> Option<Self> {
        if engine.has_ended() {
            return None;
        }
        let more = |handles: usize| (handles > 0).then(|| handles + 1);
        let added = engine
            .handles
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        added.ok().map(|_| Self::new(engine))
    }

    fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            is_closed: AtomicBool::new(false),
        }
    }

    /// The engine, for those who have not closed their handle.
    pub(super) fn engine(&self) -> Outcome<&Engine> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(self.engine.closed());
        }
        Ok(&self.engine)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.engine.directory
    }

    /// The same number for all handles on one directory.
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.engine).addr()
    }

    fn end(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.engine.handles.fetch_sub(1, Ordering::SeqCst) == 1 {
            // A thread that is gone has nothing to end.
            let _ = self.engine.requests.send(Request::End);
        }
    }

    /// Gives the directory up. The last handle waits until the thread has written everything and let go of it.
    pub(super) fn close(&self) -> impl Future<Output = ()> + use<> {
        self.end();
        let is_last = self.engine.handles.load(Ordering::SeqCst) == 0;
        let is_own = self.engine.process == std::process::id();
        let mut ended = self.engine.ended.clone();
        async move {
            if is_last && is_own {
                // Nothing is ever sent: the sender goes.
                while ended.changed().await.is_ok() {}
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// The directories that this process uses, by their canonical path.
static IN_USE: LazyLock<Mutex<HashMap<PathBuf, InUse>>> = LazyLock::new(Mutex::default);

pub(crate) struct Held {
    _in_use: MutexGuard<'static, HashMap<PathBuf, InUse>>,
}

/// Takes the locks that all storages share.
pub(crate) fn hold() -> Held {
    Held { _in_use: in_use() }
}

fn in_use() -> MutexGuard<'static, HashMap<PathBuf, InUse>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct InUse {
    engine: Weak<Engine>,
    thread: JoinHandle<()>,
    /// Closed when the thread has let go of the directory.
    ended: watch::Receiver<()>,
    process: u32,
}

/// The right to a directory. Whoever waits for its end learns of it when another process can have it.
struct Tenure {
    lock: File,
    _ended: watch::Sender<()>,
}

impl Drop for Tenure {
    fn drop(&mut self) {
        // Closing the file would not be enough where a forked child has it open too.
        if let Err(error) = self.lock.unlock() {
            tracing::error!(%error, "failed to unlock the directory of a storage");
        }
    }
}

impl Engine {
    /// Opens a directory, or shares it with those in this process who use it already. Blocks.
    pub(super) fn open(directory: &Path) -> Outcome<Handle> {
        create(directory).map_err(|error| failed("create", directory, &error))?;
        let directory =
            fs::canonicalize(directory).map_err(|error| failed("find", directory, &error))?;
        let mut in_use = in_use();
        if let Some(known) = in_use.remove(&directory) {
            if known.process != std::process::id() {
                // In a child of `fork` this is as it was then. SQLite keeps in memory what it knows of an open file, and trusts it,
                // whatever has become of the file since.
                let was_open = known.ended.has_changed().is_ok();
                if was_open {
                    in_use.insert(directory.clone(), known);
                    let directory = directory.display();
                    return Err(format!(
                        "{directory}: was open in another process when that forked this one, which can never open it: start \
                         this process earlier, or not by fork"
                    ));
                }
                std::mem::forget(known);
            } else if let Some(handle) = known.engine.upgrade().and_then(Handle::of) {
                in_use.insert(directory, known);
                return Ok(handle);
            } else {
                // It is writing its last changes. A panic of it was reported to those who waited.
                let _ = known.thread.join();
            }
        }
        let lock = lock(&directory)?;
        let store = Store::open(&directory)?;
        let running = store.running();
        let (sender, requests) = channel();
        let (ended, end) = watch::channel(());
        let tenure = Tenure {
            lock,
            _ended: ended,
        };
        let thread = thread::Builder::new()
            .name("a3s-lane-storage".into())
            .spawn(move || {
                run(store, &requests);
                drop(tenure);
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
            handles: AtomicUsize::new(1),
            ended: end.clone(),
            process: std::process::id(),
        });
        let known = InUse {
            engine: Arc::downgrade(&engine),
            thread,
            ended: end,
            process: std::process::id(),
        };
        in_use.insert(directory, known);
        Ok(Handle::new(engine))
    }

    /// The thread has let go of the directory.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    fn closed(&self) -> String {
        format!("{}: the storage was closed", self.directory.display())
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
            runtime: runtime::Handle::try_current().ok(),
        };
        let made = self.request(Request::Change(waiting), outcome);
        async { made.await.map(|(count, _spent)| count) }
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
        // The thread may be gone; then so is the request, and with it the sender of the outcome.
        let _ = self.requests.send(request);
        let lost = match self.handles.load(Ordering::SeqCst) {
            0 => self.closed(),
            _ => interrupted(),
        };
        async { outcome.await.unwrap_or(Err(lost)) }
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
                Request::End => return,
            }
        }
    }
}

/// Makes a directory, and those above it that are missing, so that they survive a power cut as what they hold does.
fn create(directory: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        sync(made.parent())?;
    }
    Ok(())
}

/// Has the disk take down what a directory names. Elsewhere than on Unix directories cannot be opened.
#[cfg(unix)]
fn sync(directory: Option<&Path>) -> std::io::Result<()> {
    let directory = directory.filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        // Some file systems have no sync of directories, and one that cannot be read cannot be synced.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(not(unix))]
fn sync(_directory: Option<&Path>) -> std::io::Result<()> {
    Ok(())
}

/// Makes the directory this process's own, until the file is unlocked.
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
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
    }
}

pub(super) fn failed(action: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to {action} {}: {error}", path.display())
}

pub(super) fn interrupted() -> String {
    "the storage was interrupted: its thread or the runtime has ended".into()
}

//! A storage in two JSON files of a directory.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Storage, StoredCommand, StoredDeadLetter};
use crate::error::{LaneError, Result};

mod files;

use files::{Change, Files};

/// A [`Storage`] in two JSON files of one directory, for tens of thousands of pending commands.
///
/// `commands.json` and `dead_letters.json` each hold a JSON array that a person can read and edit. A call that has
/// succeeded is on the disk. Each write replaces a whole file atomically (write beside it, fsync, rename), so a crash leaves
/// the old file or the new one; concurrent calls share one such write. Writers take turns through an operating-system lock
/// on the file `lock`, so several handles and processes may use one directory. Blocking work runs on tokio's blocking
/// threads.
///
/// Keeps the newest 10,000 dead letters, see [`with_max_dead_letters`](Self::with_max_dead_letters); commands are kept until
/// removed.
///
/// # Errors
///
/// All methods return [`LaneError::Storage`] with the file's name when the file cannot be read or written, or is not what
/// it should be. A damaged file is never taken for an empty one and never overwritten: only
/// [`clear_all`](Storage::clear_all) removes it. A missing file is empty.
///
/// # Cancel safety
///
/// A change whose call was dropped before it ended may be made all the same, in the order of the calls.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// # let directory = tempfile::tempdir().expect("a temporary directory");
/// # let path = directory.path().to_path_buf();
/// use a3s_lane::storage::{LocalStorage, Storage};
///
/// let storage = LocalStorage::new(path).await?;
/// assert!(storage.load_commands().await?.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct LocalStorage {
    files: Files,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    writer: Arc<tokio::sync::Mutex<()>>,
}

struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<()>>,
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalStorage")
            .field("directory", &self.files.directory)
            .finish_non_exhaustive()
    }
}

impl LocalStorage {
    /// Uses this directory, and creates it when it does not exist.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`] when the directory cannot be created.
    pub async fn new(storage_dir: PathBuf) -> Result<Self> {
        let files = Files::new(storage_dir);
        let opened = files.clone();
        blocking(move || opened.create_directory()).await?;
        Ok(Self {
            files,
            waiting: Arc::default(),
            writer: Arc::default(),
        })
    }

    /// Sets how many dead letters are kept; a further one replaces the oldest. 0 keeps none.
    pub fn with_max_dead_letters(mut self, max_dead_letters: usize) -> Self {
        self.files.max_dead_letters = max_dead_letters;
        self
    }

    /// Makes a change together with all others that wait: whoever gets the writer's turn writes for everybody.
    async fn apply(&self, change: Change) -> Result<()> {
        let (done, mut result) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Waiting { change, done });
        let turn = tokio::select! {
            biased;
            written = &mut result => return written.unwrap_or_else(|_| Err(interrupted())),
            turn = Arc::clone(&self.writer).lock_owned() => turn,
        };
        let (files, waiting) = (self.files.clone(), Arc::clone(&self.waiting));
        blocking(move || {
            // The turn moves into the thread: it must not end before the write does, even when the caller is dropped.
            let _turn = turn;
            let batch =
                std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if batch.is_empty() {
                return Ok(());
            }
            let (changes, done): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|waiting| (waiting.change, waiting.done))
                .unzip();
            for (done, outcome) in done.into_iter().zip(files.apply(changes)) {
                // Nobody listens when the call was dropped.
                let _ = done.send(outcome.map_err(LaneError::Storage));
            }
            Ok(())
        })
        .await?;
        result.await.unwrap_or_else(|_| Err(interrupted()))
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.apply(Change::SaveCommand(command)).await
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        let files = self.files.clone();
        blocking(move || files.read_commands()).await
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        self.apply(Change::RemoveCommand(id.to_owned())).await
    }

    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.apply(Change::SaveDeadLetter(letter)).await
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        let files = self.files.clone();
        blocking(move || files.read_dead_letters()).await
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        self.apply(Change::ClearDeadLetters).await
    }

    async fn clear_all(&self) -> Result<()> {
        self.apply(Change::ClearAll).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, String> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(LaneError::Storage),
        Err(_) => Err(interrupted()),
    }
}

fn interrupted() -> LaneError {
    LaneError::Storage("the write was interrupted because the runtime is shutting down".into())
}

#[cfg(test)]
mod tests;

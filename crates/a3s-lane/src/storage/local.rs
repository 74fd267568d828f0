//! A storage in a SQLite file of a directory.

mod engine;
mod index;
mod legacy;
mod store;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Storage, StoredCommand, StoredDeadLetter};
use crate::error::{LaneError, Result};
use engine::{Change, Engine};

/// When a call of a [`LocalStorage`] counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Once the disk has it: what is acknowledged survives a crash of the process, of the system and a power cut.
    #[default]
    Full,
    /// Once the operating system has it: what is acknowledged survives a crash of the process, but not one of the system. The
    /// file stays whole in any case.
    Relaxed,
}

/// A [`Storage`] in one SQLite file, `lanes.db`, of a directory of its own.
///
/// A call that has succeeded is kept as its [`Durability`] says. One thread writes; all calls that wait at the same time share
/// one transaction and one fsync, and none waits for a timer. The file can be read with `sqlite3` while it is in use; its
/// tables are described in `docs/storage.md`.
///
/// The directory belongs to one process at a time, which an operating-system lock on the file `lock` ensures; handles on
/// one directory inside a process share the thread and the file. `commands.json` and `dead_letters.json` of a3s-lane 0.4 are
/// read into the file once and kept with `.imported` added to their names.
///
/// Keeps the newest 10,000 dead letters, see [`with_max_dead_letters`](Self::with_max_dead_letters); commands are kept until
/// removed. In memory there are about 20 to 40 bytes per stored command, and no payloads.
///
/// # Errors
///
/// All methods return [`LaneError::Storage`] with the name of the file when it cannot be read or written: the disk is
/// full, the directory is read-only. [`new`](Self::new) also when the file is damaged, was written by a newer version, or
/// belongs to another process. After an error nothing of the call is kept, and later calls try again.
///
/// # Cancel safety
///
/// A change whose call was dropped before it ended is made all the same, in the order of the calls.
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
    engine: Arc<Engine>,
    durability: Durability,
    max_dead_letters: i64,
}

const DEFAULT_MAX_DEAD_LETTERS: i64 = 10_000;

impl fmt::Debug for LocalStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalStorage")
            .field("directory", &self.engine.directory())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl LocalStorage {
    /// Uses this directory, and creates it when it does not exist.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`] when the directory cannot be used: see [`LocalStorage`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped may leave an empty storage behind.
    pub async fn new(storage_dir: PathBuf) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Engine::open(&storage_dir)).await;
        let engine = opened.unwrap_or_else(|_| Err(engine::interrupted()));
        Ok(Self {
            engine: engine.map_err(LaneError::Storage)?,
            durability: Durability::default(),
            max_dead_letters: DEFAULT_MAX_DEAD_LETTERS,
        })
    }

    /// Sets when calls through this handle count as done; [`Durability::Full`] by default. A call that shares its
    /// transaction with one that asks for more gets more.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how many dead letters are kept; a further one replaces the oldest. 0 keeps none.
    pub fn with_max_dead_letters(mut self, max_dead_letters: usize) -> Self {
        self.max_dead_letters = max_dead_letters.try_into().unwrap_or(i64::MAX);
        self
    }

    async fn apply(&self, change: Change) -> Result<()> {
        let done = self.engine.change(change, self.durability);
        done.await.map_err(LaneError::Storage)
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.apply(Change::SaveCommand(command)).await
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        let commands = self.engine.load_commands().await;
        commands.map_err(LaneError::Storage)
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        self.apply(Change::RemoveCommand(id.to_owned())).await
    }

    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.apply(Change::SaveDeadLetter(letter, self.max_dead_letters))
            .await
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        let letters = self.engine.load_dead_letters().await;
        letters.map_err(LaneError::Storage)
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        self.apply(Change::ClearDeadLetters).await
    }

    async fn clear_all(&self) -> Result<()> {
        self.apply(Change::ClearAll).await
    }
}

#[cfg(test)]
mod tests;

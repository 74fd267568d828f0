//! A storage in a SQLite file of a directory.

mod cell;
mod commands;
mod dead_letters;
mod engine;
mod history;
mod index;
mod inspect;
mod legacy;
mod log;
mod results;
mod running;
mod schema;
mod settled;
mod store;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use super::{
    CommandPage, CommandRecord, DeadLetterFilter, DeadLetterRecord, HistoryEntry, HistoryFilter,
    Retention, RetryNote, Settlement, Storage, StoredCommand, StoredDeadLetter, StoredResult,
};
use crate::error::{LaneError, Result};
use engine::{Change, Engine, Handle, Requeued, Settings};
pub(crate) use engine::{Held, hold};

pub use inspect::{Inspection, LaneInspection};

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
/// one directory inside a process share the thread and the file. [`close`](Storage::close) gives the directory up and waits for
/// that; a handle that is dropped gives it up soon. `commands.json` and `dead_letters.json` of a3s-lane 0.4 are
/// read into the file once and kept with `.imported` added to their names.
///
/// Keeps the newest 10,000 dead letters, see [`with_max_dead_letters`](Self::with_max_dead_letters); commands are kept until
/// removed, and with them the newest 100 of their failures. Results and a history are kept only when asked for. In memory there
/// are about 30 to 60 bytes per stored command and result, and no payloads.
///
/// What has begun is in a second file, `running`: [`start_command`](Storage::start_command) writes 32 bytes there, without a
/// transaction and without waiting for the thread. They survive a crash of the process, whatever the durability, but not one
/// of the system. The next process to open the directory counts the commands that were running; a handle that was dropped meanwhile
/// makes no difference.
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
    handle: Handle,
    settings: Settings,
}

const DEFAULT_MAX_DEAD_LETTERS: i64 = 10_000;

impl fmt::Debug for LocalStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalStorage")
            .field("directory", &self.handle.directory())
            .field("durability", &self.settings.durability)
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
        let handle = opened.unwrap_or_else(|_| Err(engine::interrupted()));
        Ok(Self {
            handle: handle.map_err(LaneError::Storage)?,
            settings: Settings {
                durability: Durability::default(),
                max_dead_letters: DEFAULT_MAX_DEAD_LETTERS,
                results: None,
                history: None,
            },
        })
    }

    /// Sets when calls through this handle count as done; [`Durability::Full`] by default. A call that shares its
    /// transaction with one that asks for more gets more.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Sets how many dead letters are kept; a further one replaces the oldest. 0 keeps none.
    pub fn with_max_dead_letters(mut self, max_dead_letters: usize) -> Self {
        self.settings.max_dead_letters = max_dead_letters.try_into().unwrap_or(i64::MAX);
        self
    }

    /// Keeps the outcomes of commands that settle, results included, for [`load_result`](Storage::load_result); by default none
    /// is kept. Costs a row per command, and 30 to 60 bytes in memory.
    pub fn with_results(mut self, retention: Retention) -> Self {
        self.settings.results = Some(retention);
        self
    }

    /// Keeps what happens to commands, for [`load_history`](Self::load_history); by default nothing is kept. Costs a row per
    /// event, in the transaction that the event needs anyway.
    pub fn with_history(mut self, retention: Retention) -> Self {
        self.settings.history = Some(retention);
        self
    }

    /// What has happened to stored commands, oldest first.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`] when the file cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # let path = directory.path().to_path_buf();
    /// use a3s_lane::storage::{HistoryFilter, LocalStorage, Retention};
    ///
    /// let storage = LocalStorage::new(path).await?.with_history(Retention::new());
    /// assert!(storage.load_history(&HistoryFilter::of("a command")).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn load_history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryEntry>> {
        let (filter, retention) = (filter.clone(), self.settings.history);
        self.ask(move |store| store.entries(&filter, retention))
            .await
    }

    /// The ids of the commands that are dead letters, without what the letters hold.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`] when the file cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # let path = directory.path().to_path_buf();
    /// use a3s_lane::storage::LocalStorage;
    ///
    /// let storage = LocalStorage::new(path).await?;
    /// assert!(!storage.dead_letter_ids().await?.contains("a command"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dead_letter_ids(&self) -> Result<HashSet<String>> {
        self.ask(|store| store.dead_letter_ids()).await
    }

    /// Looks into a directory without using it, also while another process does. Reads all of it: SQLite checks every page.
    ///
    /// Makes no storage where there is none, and changes nothing that is stored. SQLite may leave two files of its own beside
    /// the database, an empty `lanes.db-wal` and `lanes.db-shm`.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`] when there is no storage, when it cannot be read, or when a newer version wrote it. A damaged file
    /// that can be read in part is none: see [`Inspection::problems`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # let path = directory.path().to_path_buf();
    /// use a3s_lane::storage::LocalStorage;
    ///
    /// assert!(LocalStorage::inspect(path.clone()).await.is_err());
    /// let _storage = LocalStorage::new(path.clone()).await?;
    /// let found = LocalStorage::inspect(path).await?;
    /// assert_eq!((found.pending, found.dead_letters), (0, 0));
    /// assert!(found.problems.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect(storage_dir: PathBuf) -> Result<Inspection> {
        let found = tokio::task::spawn_blocking(move || inspect::inspect(&storage_dir)).await;
        found
            .unwrap_or_else(|_| Err(engine::interrupted()))
            .map_err(LaneError::Storage)
    }

    async fn apply(&self, change: Change) -> Result<usize> {
        let done = self.engine()?.change(change, self.settings);
        done.await.map_err(LaneError::Storage)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut store::Store) -> engine::Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let answer = self.engine()?.ask(question);
        answer.await.map_err(LaneError::Storage)
    }

    fn engine(&self) -> Result<&Engine> {
        self.handle.engine().map_err(LaneError::Storage)
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn identity(&self) -> usize {
        self.handle.identity()
    }

    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.save_commands(vec![command.into()]).await
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        self.ask(|store| store.commands()).await
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        self.apply(Change::Remove(id.to_owned())).await.map(drop)
    }

    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.import_dead_letters(vec![letter.into()]).await
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        let letters = self.find_dead_letters(&DeadLetterFilter::all()).await?;
        Ok(letters.into_iter().map(StoredDeadLetter::from).collect())
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        self.apply(Change::ClearDeadLetters).await.map(drop)
    }

    /// The results and the history as well.
    async fn clear_all(&self) -> Result<()> {
        self.apply(Change::ClearAll).await.map(drop)
    }

    async fn save_commands(&self, records: Vec<CommandRecord>) -> Result<()> {
        self.apply(Change::Save(records)).await.map(drop)
    }

    /// Without payloads. The next page begins at a row, whatever happens to the rows before it.
    async fn load_page(&self, from: Option<u64>, limit: usize) -> Result<CommandPage> {
        self.ask(move |store| store.page(from, limit)).await
    }

    async fn load_command(&self, id: &str) -> Result<Option<CommandRecord>> {
        let id = id.to_owned();
        self.ask(move |store| store.command(&id)).await
    }

    /// Looks into memory. One that is there may be on its way in: that is waited for. One on its way out counts as gone.
    async fn has_command(&self, id: &str) -> Result<bool> {
        if self.engine()?.running().rows().find(id).is_none() {
            return Ok(false);
        }
        let id = id.to_owned();
        self.ask(move |store| Ok(store.find(&id).is_some())).await
    }

    /// Costs one write of 32 bytes to the cache of the operating system, and waits for nobody.
    async fn start_command(&self, id: &str, attempt: u32) -> Result<()> {
        let running = self.engine()?.running();
        running.start(id, attempt).map_err(LaneError::Storage)
    }

    /// Waits for a transaction only when there is a history, and once for a command with a time to live.
    async fn requeue_command(&self, id: &str) -> Result<()> {
        let can_expire = self.engine()?.running().requeue(id);
        let in_history = self.settings.history.is_some();
        if can_expire || in_history {
            let id = id.to_owned();
            let requeued = Requeued { id, in_history };
            self.apply(Change::Requeue(requeued.into())).await?;
        }
        Ok(())
    }

    async fn retry_command(&self, note: RetryNote) -> Result<()> {
        self.apply(Change::Retry(note.into())).await.map(drop)
    }

    async fn settle_commands(&self, settlements: Vec<Settlement>) -> Result<()> {
        self.apply(Change::Settle(settlements)).await.map(drop)
    }

    async fn load_result(&self, id: &str) -> Result<Option<StoredResult>> {
        let (id, retention) = (id.to_owned(), self.settings.results);
        self.ask(move |store| store.result(&id, retention)).await
    }

    async fn find_dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        let filter = filter.clone();
        self.ask(move |store| store.dead_letters(&filter)).await
    }

    async fn count_dead_letters(&self) -> Result<usize> {
        self.ask(|store| Ok(store.counters.letters.unsigned_abs() as usize))
            .await
    }

    async fn import_dead_letters(&self, letters: Vec<DeadLetterRecord>) -> Result<()> {
        self.apply(Change::SaveDeadLetters(letters)).await.map(drop)
    }

    async fn remove_dead_letters(&self, ids: &[String]) -> Result<usize> {
        self.apply(Change::RemoveDeadLetters(ids.to_vec())).await
    }

    async fn revive_dead_letter(&self, record: CommandRecord) -> Result<()> {
        self.revive_dead_letters(vec![record]).await
    }

    async fn revive_dead_letters(&self, records: Vec<CommandRecord>) -> Result<()> {
        self.apply(Change::Revive(records)).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        self.handle.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

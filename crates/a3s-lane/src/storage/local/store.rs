//! The SQLite file, and how changes get into it. Everything here blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode};

use super::Durability;
use super::cell::explain;
use super::engine::{Change, Outcome, Settings, Waiting};
use super::index::{Index, Key};
use super::legacy::Legacy;
use super::log;
use super::running::Running;
use super::schema::{self, FILE, FORMAT};
use super::settled::Settled;
use crate::storage::{CommandRecord, DeadLetterRecord};

/// How long a write waits for a person who has the file open in another program.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An open file. What it does with each table is in the file of that name.
pub(super) struct Store {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Which commands run, and the rows of all commands.
    pub(super) running: Arc<Running>,
    /// The rows of the results.
    pub(super) results: Index,
    pub(super) counters: Counters,
    durability: Durability,
    /// What the present transaction has noted in memory, to be taken back should it fail.
    pub(super) undo: Vec<Undo>,
    pub(super) settled: Settled,
    /// The rows whose attempts end with the present transaction: up to which attempt.
    pub(super) ended: Vec<(i64, u32)>,
    /// How many transactions were committed.
    #[cfg(test)]
    pub(super) commits: u64,
}

/// The next number of each table, and how many letters there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    pub(super) command: i64,
    pub(super) letter: i64,
    pub(super) letters: i64,
    pub(super) result: i64,
    pub(super) entry: i64,
}

/// A table whose ids are looked up in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Commands,
    Results,
}

/// How to take back one note.
pub(super) enum Undo {
    Inserted(Table, Key),
    Removed(Table, Key, i64),
    Cleared(Table, Box<Index>),
}

/// Why a transaction did not come about.
enum Failure {
    /// One of its changes cannot be made, by its place.
    Change(usize, String),
    All(String),
}

impl Store {
    pub(super) fn open(directory: &Path) -> Outcome<Self> {
        let path = directory.join(FILE);
        log::check(directory)?;
        let opened = Connection::open(&path);
        let connection = opened.map_err(|error| explain("open", &path, &error))?;
        let open = |error| explain("open", &path, &error);
        connection.busy_timeout(PATIENCE).map_err(open)?;
        // Before anything is changed: it may be the file of another program.
        let format = schema::check(&connection, "open", &path)?;
        prepare(&connection).map_err(open)?;
        let mut store = Self {
            connection,
            path,
            running: Arc::new(Running::open(directory)?),
            results: Index::default(),
            counters: Counters {
                command: 1,
                letter: 1,
                letters: 0,
                result: 1,
                entry: 1,
            },
            durability: Durability::Full,
            undo: Vec::new(),
            settled: Settled::default(),
            ended: Vec::new(),
            #[cfg(test)]
            commits: 0,
        };
        match format {
            0 => store.create(directory)?,
            FORMAT => {}
            _ => store
                .transaction(|store| schema::migrate(&store.connection))
                .map_err(|error| store.failed("migrate", &error))?,
        }
        if format > 0 {
            store
                .read_memory()
                .map_err(|error| store.failed("read", &error))?;
            store.count_crashes()?;
        }
        store.running.clear()?;
        Ok(store)
    }

    /// Makes the tables, with what 0.4 has left, in one transaction.
    fn create(&mut self, directory: &Path) -> Outcome<()> {
        let legacy = Legacy::read(directory)?;
        self.transaction(|store| store.fill_tables(&legacy))
            .map_err(|error| self.failed("create", &error))?;
        // After a crash before this the file has it all, and only the names are old: those are not looked at again.
        if legacy.is_there() {
            legacy.set_aside()?;
            tracing::info!(
                commands = legacy.commands.len(),
                dead_letters = legacy.dead_letters.len(),
                path = %self.path.display(),
                "imported the files of a3s-lane 0.4"
            );
        }
        Ok(())
    }

    fn fill_tables(&mut self, legacy: &Legacy) -> rusqlite::Result<()> {
        schema::create(&self.connection)?;
        for command in &legacy.commands {
            self.save_command(&CommandRecord::from(command.clone()))?;
        }
        for letter in &legacy.dead_letters {
            let letter = DeadLetterRecord::from(letter.clone());
            // How many are kept the application says, later.
            self.save_dead_letter(&letter, i64::MAX)?;
        }
        Ok(())
    }

    /// Reads what is known of the tables in memory.
    fn read_memory(&mut self) -> rusqlite::Result<()> {
        let rows = |table: &str, index: &mut Index| -> rusqlite::Result<i64> {
            let query = format!("SELECT number, id FROM {table} ORDER BY number");
            let mut query = self.connection.prepare(&query)?;
            let mut records = query.query(())?;
            let mut next = 1;
            while let Some(record) = records.next()? {
                let number: i64 = record.get(0)?;
                index.insert(record.get_ref(1)?.as_str()?, number);
                next = number + 1;
            }
            Ok(next)
        };
        self.counters.command = rows("commands", &mut self.running.rows())?;
        self.counters.result = rows("results", &mut self.results)?;
        let query = "SELECT count(*), coalesce(max(number), 0) + 1,
            (SELECT coalesce(max(number), 0) + 1 FROM history) FROM dead_letters";
        (
            self.counters.letters,
            self.counters.letter,
            self.counters.entry,
        ) = self.connection.query_row(query, (), |record| {
            Ok((record.get(0)?, record.get(1)?, record.get(2)?))
        })?;
        Ok(())
    }

    /// Counts the attempts during which the process before has ended.
    fn count_crashes(&mut self) -> Outcome<()> {
        let left = self.running.left()?;
        if left.is_empty() {
            return Ok(());
        }
        self.transaction(|store| {
            for start in &left {
                store.count_crash(*start)?;
            }
            Ok(())
        })
        .map_err(|error| self.failed("write", &error))
    }

    pub(super) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }

    /// Makes changes in their order, in one transaction, and tells those who wait. When one of them cannot be made, the
    /// others are.
    pub(super) fn write(&mut self, batch: &mut Vec<Waiting>) {
        while !batch.is_empty() {
            match self.transact(batch) {
                Ok(counts) => {
                    #[cfg(test)]
                    {
                        self.commits += 1;
                    }
                    Waiting::finish_all(batch.drain(..).zip(counts));
                }
                Err(Failure::Change(place, text)) => batch.remove(place).finish(Err(text)),
                Err(Failure::All(text)) => {
                    for waiting in batch.drain(..) {
                        waiting.finish(Err(text.clone()));
                    }
                }
            }
        }
    }

    fn transact(&mut self, batch: &[Waiting]) -> Result<Vec<usize>, Failure> {
        let full = |waiting: &Waiting| waiting.settings.durability == Durability::Full;
        let durability = if batch.iter().any(full) {
            Durability::Full
        } else {
            Durability::Relaxed
        };
        if let Err(error) = self.set_durability(durability) {
            return Err(Failure::All(self.failed("write", &error)));
        }
        let mut failure = None;
        let mut counts = Vec::with_capacity(batch.len());
        let made = self.transaction(|store| {
            let now = Utc::now();
            let before = store.counters;
            while counts.len() < batch.len() {
                let made = store.make_next(&batch[counts.len()..], now, &mut counts);
                if let Err(error) = made {
                    failure = is_its_own(&error).then_some(counts.len());
                    return Err(error);
                }
            }
            store.prune(batch, before, now)
        });
        match made {
            Ok(()) => Ok(counts),
            Err(error) => {
                let text = self.failed("write", &error);
                Err(match failure {
                    Some(place) => Failure::Change(place, text),
                    None => Failure::All(text),
                })
            }
        }
    }

    /// Makes changes and commits them, or takes them back.
    fn transaction(
        &mut self,
        make: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        let before = self.counters;
        let ended = make(self).and_then(|()| self.run("COMMIT"));
        if ended.is_err() {
            // SQLite has rolled back by itself after the worst errors.
            if !self.connection.is_autocommit() {
                let _ = self.run("ROLLBACK");
            }
            while let Some(undo) = self.undo.pop() {
                self.take_back(undo);
            }
            self.counters = Counters {
                // Some numbers are left out: somebody may have seen them already.
                command: self.counters.command,
                ..before
            };
            self.ended.clear();
        }
        self.undo.clear();
        self.settled.end(ended.is_ok());
        self.running.end(self.ended.drain(..));
        ended
    }

    fn take_back(&mut self, undo: Undo) {
        let running = Arc::clone(&self.running);
        let mut rows;
        let (Undo::Inserted(table, _) | Undo::Removed(table, ..) | Undo::Cleared(table, _)) = &undo;
        let index = match table {
            Table::Commands => {
                rows = running.rows();
                &mut *rows
            }
            Table::Results => &mut self.results,
        };
        match undo {
            Undo::Inserted(_, key) => {
                let row = index.take_out(key);
                if let (Table::Commands, Some(number)) = (table, row) {
                    running.forget_expiry(number);
                }
            }
            Undo::Removed(_, key, number) => index.put_back(key, number),
            Undo::Cleared(_, before) => *index = *before,
        }
    }

    pub(super) fn run(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(statement)?
            .execute(())
            .map(drop)
    }

    fn set_durability(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability != durability {
            let level = match durability {
                Durability::Full => "FULL",
                Durability::Relaxed => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.durability = durability;
        }
        Ok(())
    }

    /// Makes the first of these changes, or the saves that they begin with; adds how much each has changed to `counts`.
    fn make_next(
        &mut self,
        batch: &[Waiting],
        now: DateTime<Utc>,
        counts: &mut Vec<usize>,
    ) -> rusqlite::Result<()> {
        let saves = batch.iter().map_while(|waiting| match &waiting.change {
            Change::Save(records) if waiting.settings.history.is_none() => Some(&**records),
            _ => None,
        });
        let mut saves = saves.peekable();
        if saves.peek().is_some() {
            return self.save_commands(saves, || counts.push(0));
        }
        if let Some(waiting) = batch.first() {
            counts.push(self.make(&waiting.change, waiting.settings, now)?);
        }
        Ok(())
    }

    /// Makes one change; returns how much it has changed, if that is asked for.
    fn make(
        &mut self,
        change: &Change,
        settings: Settings,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<usize> {
        let noting = settings.history.is_some();
        match change {
            // Those without a history are made together.
            Change::Save(records) => {
                for record in records {
                    self.save_command(record)?;
                    self.note_submitted(record, now)?;
                }
            }
            Change::Remove(id) => self.remove_commands(std::iter::once(id.as_str()), |_| {})?,
            Change::Retry(note) => self.retry_command(note, noting)?,
            Change::Requeue(id) => self.note_requeued(id, now)?,
            Change::Settle(settlements) => self.settle(settlements, settings)?,
            Change::SaveDeadLetters(letters) => {
                for letter in letters {
                    self.save_dead_letter(letter, settings.max_dead_letters)?;
                }
            }
            Change::RemoveDeadLetters(ids) => return self.remove_dead_letters(ids),
            Change::Revive(records) => {
                for record in records {
                    self.save_command(record)?;
                    if noting {
                        self.note_revived(record, now)?;
                    }
                }
                let ids: Vec<&str> = records.iter().map(|it| it.command.id.as_str()).collect();
                self.remove_dead_letters(&ids)?;
            }
            Change::ClearDeadLetters => self.clear_dead_letters()?,
            Change::ClearAll => {
                self.clear_commands()?;
                self.clear_dead_letters()?;
                self.clear_results()?;
                self.run("DELETE FROM history")?;
            }
        }
        Ok(0)
    }

    /// Deletes what is kept too long, of the tables to which something was added.
    fn prune(
        &mut self,
        batch: &[Waiting],
        before: Counters,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<()> {
        let last = |retention: fn(&Settings) -> Option<super::Retention>| {
            let mut settings = batch.iter().rev().map(|waiting| &waiting.settings);
            settings.find_map(retention)
        };
        let results = self.counters.result - before.result;
        if results > 0
            && let Some(retention) = last(|settings| settings.results)
        {
            self.prune_results(retention, now, 2 * results + PRUNED_MORE)?;
        }
        let entries = self.counters.entry - before.entry;
        if entries > 0
            && let Some(retention) = last(|settings| settings.history)
        {
            self.prune_history(retention, now, 2 * entries + PRUNED_MORE)?;
        }
        Ok(())
    }

    pub(super) fn failed(&self, action: &str, error: &rusqlite::Error) -> String {
        explain(action, &self.path, error)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The handles know it too, and may live on.
        self.running.close();
    }
}

/// A transaction deletes at most this many and twice as many as it adds, so that none takes long.
const PRUNED_MORE: i64 = 16;

/// Settings of the connection.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Without it fsync leaves data in the disk's cache there.
    #[cfg(target_os = "macos")]
    connection.pragma_update(None, "fullfsync", 1)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)
}

/// Too large, or not what the table takes: the fault of one change alone.
fn is_its_own(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
    )
}

#[cfg(test)]
impl Store {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

//! The SQLite file: its tables, and how changes get into it. Everything here blocks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row as Record, params};
use serde_json::Value;

use super::engine::{Change, Outcome, Waiting};
use super::index::{Index, Row};
use super::legacy::Legacy;
use super::{DEFAULT_MAX_DEAD_LETTERS, Durability, StoredCommand, StoredDeadLetter};

const FILE: &str = "lanes.db";

/// `a3sl` in ASCII: tells `file` and us what the file is.
const APPLICATION_ID: i32 = 0x6133_736c;

/// The format of the tables; kept in the file as its `user_version`.
const FORMAT: i32 = 1;

/// Times are nanoseconds since 1970 in UTC; payloads are JSON texts.
///
/// No index beside the primary keys: each would cost as much as the table itself at every change.
const TABLES: &str = "
    CREATE TABLE commands (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        lane TEXT NOT NULL,
        payload TEXT NOT NULL,
        retries INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_attempt_at INTEGER
    ) STRICT;
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        lane TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        failed_at INTEGER NOT NULL
    ) STRICT;
";

/// How long a write waits for a person who has the file open in another program.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open file.
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    index: Index,
    next_command: i64,
    next_letter: i64,
    letters: i64,
    durability: Durability,
    /// What the present transaction has noted in memory, to be taken back should it fail.
    undo: Vec<Undo>,
    /// How many transactions were committed.
    #[cfg(test)]
    pub(super) commits: u64,
}

/// How to take back one note.
enum Undo {
    Inserted(String),
    Removed(String, i64),
    Cleared(Box<Index>),
    Letters(i64, i64),
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
        let opened = Connection::open(&path);
        let connection = opened.map_err(|error| explain("open", &path, &error))?;
        let mut store = Self {
            connection,
            path,
            index: Index::default(),
            next_command: 1,
            next_letter: 1,
            letters: 0,
            durability: Durability::Full,
            undo: Vec::new(),
            #[cfg(test)]
            commits: 0,
        };
        let format = store
            .prepare()
            .map_err(|error| store.failed("open", &error))?;
        if format > FORMAT {
            return Err(format!(
                "{} was written by a newer version: its format is {format}, this one knows {FORMAT}",
                store.path.display()
            ));
        }
        if format == 0 {
            store.create(directory)?;
        } else {
            store
                .read_index()
                .map_err(|error| store.failed("read", &error))?;
        }
        Ok(store)
    }

    /// Settings of the connection; returns the format of the file, 0 when it is new.
    fn prepare(&self) -> rusqlite::Result<i32> {
        let connection = &self.connection;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Without it fsync leaves data in the disk's cache there.
        #[cfg(target_os = "macos")]
        connection.pragma_update(None, "fullfsync", 1)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    /// Makes the tables, with what 0.4 has left, in one transaction.
    fn create(&mut self, directory: &Path) -> Outcome<()> {
        let legacy = Legacy::read(directory)?;
        self.create_tables(&legacy)
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

    fn create_tables(&mut self, legacy: &Legacy) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let made = self.fill_tables(legacy);
        self.end(made)
    }

    fn fill_tables(&mut self, legacy: &Legacy) -> rusqlite::Result<()> {
        self.connection.execute_batch(TABLES)?;
        self.connection
            .pragma_update(None, "application_id", APPLICATION_ID)?;
        self.connection
            .pragma_update(None, "user_version", FORMAT)?;
        for command in &legacy.commands {
            self.save_command(command)?;
        }
        for letter in &legacy.dead_letters {
            self.save_dead_letter(letter, DEFAULT_MAX_DEAD_LETTERS)?;
        }
        Ok(())
    }

    fn read_index(&mut self) -> rusqlite::Result<()> {
        let mut query = self
            .connection
            .prepare("SELECT number, id FROM commands ORDER BY number")?;
        let mut records = query.query(())?;
        while let Some(record) = records.next()? {
            let number: i64 = record.get(0)?;
            self.index.insert(record.get_ref(1)?.as_str()?, number);
            self.next_command = number + 1;
        }
        let query = "SELECT count(*), coalesce(max(number), 0) + 1 FROM dead_letters";
        (self.letters, self.next_letter) = self
            .connection
            .query_row(query, (), |record| Ok((record.get(0)?, record.get(1)?)))?;
        Ok(())
    }

    /// Makes changes in their order, in one transaction, and tells those who wait. When one of them cannot be made, the
    /// others are.
    pub(super) fn write(&mut self, batch: &mut Vec<Waiting>) {
        while !batch.is_empty() {
            match self.transact(batch) {
                Ok(()) => {
                    #[cfg(test)]
                    {
                        self.commits += 1;
                    }
                    batch.drain(..).for_each(|waiting| waiting.finish(Ok(())));
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

    fn transact(&mut self, batch: &[Waiting]) -> Result<(), Failure> {
        let full = batch
            .iter()
            .any(|waiting| waiting.durability == Durability::Full);
        let durability = if full {
            Durability::Full
        } else {
            Durability::Relaxed
        };
        let begun = self
            .set_durability(durability)
            .and_then(|()| self.run("BEGIN IMMEDIATE"));
        if let Err(error) = begun {
            return Err(Failure::All(self.failed("write", &error)));
        }
        let mut failure = None;
        let mut made = Ok(());
        for (place, waiting) in batch.iter().enumerate() {
            made = self.make(&waiting.change);
            if let Err(error) = &made {
                // Too large, or not what the table takes: the fault of this change alone.
                let own = matches!(
                    error.sqlite_error_code(),
                    Some(
                        ErrorCode::TooBig
                            | ErrorCode::ConstraintViolation
                            | ErrorCode::TypeMismatch
                    )
                );
                failure = own.then_some(place);
                break;
            }
        }
        self.end(made).map_err(|error| {
            let text = self.failed("write", &error);
            match failure {
                Some(place) => Failure::Change(place, text),
                None => Failure::All(text),
            }
        })
    }

    /// Commits what was made, or takes it back.
    fn end(&mut self, made: rusqlite::Result<()>) -> rusqlite::Result<()> {
        let ended = made.and_then(|()| self.run("COMMIT"));
        if ended.is_err() {
            // SQLite has rolled back by itself after the worst errors.
            if !self.connection.is_autocommit() {
                let _ = self.run("ROLLBACK");
            }
            while let Some(undo) = self.undo.pop() {
                self.take_back(undo);
            }
        }
        self.undo.clear();
        ended
    }

    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::Inserted(id) => self.index.remove(&id),
            Undo::Removed(id, number) => self.index.insert(&id, number),
            Undo::Cleared(index) => self.index = *index,
            Undo::Letters(count, next) => (self.letters, self.next_letter) = (count, next),
        }
    }

    fn run(&self, statement: &str) -> rusqlite::Result<()> {
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

    fn make(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::SaveCommand(command) => self.save_command(command),
            Change::RemoveCommand(id) => self.remove_command(id),
            Change::SaveDeadLetter(letter, max) => self.save_dead_letter(letter, *max),
            Change::ClearDeadLetters => self.clear_dead_letters(),
            Change::ClearAll => {
                self.run("DELETE FROM commands")?;
                let index = std::mem::take(&mut self.index);
                self.undo.push(Undo::Cleared(Box::new(index)));
                self.clear_dead_letters()
            }
        }
    }

    /// The row of a command.
    fn find(&self, id: &str) -> rusqlite::Result<Option<i64>> {
        match self.index.find(id) {
            Row::None => Ok(None),
            Row::Certain(number) => Ok(Some(number)),
            Row::Maybe(number) => {
                let query = "SELECT number FROM commands WHERE number = ? AND id = ?";
                let mut query = self.connection.prepare_cached(query)?;
                query
                    .query_row(params![number, id], |record| record.get(0))
                    .optional()
            }
        }
    }

    fn save_command(&mut self, command: &StoredCommand) -> rusqlite::Result<()> {
        let known = self.find(&command.id)?;
        let number = known.unwrap_or(self.next_command);
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                number,
                command.id,
                command.command_type,
                command.lane_id,
                command.payload.to_string(),
                command.retry_count,
                from_time(command.created_at),
                command.last_attempt_at.map(from_time),
            ])?;
        if known.is_none() {
            self.index.insert(&command.id, number);
            self.undo.push(Undo::Inserted(command.id.clone()));
            // After a failure some numbers are left out.
            self.next_command += 1;
        }
        Ok(())
    }

    fn remove_command(&mut self, id: &str) -> rusqlite::Result<()> {
        let (Row::Maybe(number) | Row::Certain(number)) = self.index.find(id) else {
            return Ok(());
        };
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM commands WHERE number = ? AND id = ?")?
            .execute(params![number, id])?;
        if deleted > 0 {
            self.index.remove(id);
            self.undo.push(Undo::Removed(id.to_owned(), number));
        }
        Ok(())
    }

    fn save_dead_letter(&mut self, letter: &StoredDeadLetter, max: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                self.next_letter,
                letter.command_id,
                letter.command_type,
                letter.lane_id,
                letter.error,
                letter.attempts,
                from_time(letter.failed_at),
            ])?;
        self.undo
            .push(Undo::Letters(self.letters, self.next_letter));
        self.next_letter += 1;
        self.letters += 1;
        if self.letters > max {
            let surplus = self.letters - max;
            let query = "DELETE FROM dead_letters WHERE number IN
                (SELECT number FROM dead_letters ORDER BY number LIMIT ?)";
            self.connection.prepare_cached(query)?.execute([surplus])?;
            self.letters = max;
        }
        Ok(())
    }

    fn clear_dead_letters(&mut self) -> rusqlite::Result<()> {
        self.run("DELETE FROM dead_letters")?;
        self.undo
            .push(Undo::Letters(self.letters, self.next_letter));
        self.letters = 0;
        Ok(())
    }

    /// All commands, in the order in which they came.
    pub(super) fn commands(&self) -> Outcome<Vec<StoredCommand>> {
        let query = "SELECT * FROM commands ORDER BY number";
        let commands = self.all(query, |record| {
            let payload: Value = serde_json::from_str(record.get_ref(4)?.as_str()?)
                .map_err(|error| unreadable(4, error))?;
            Ok(StoredCommand {
                id: record.get(1)?,
                command_type: record.get(2)?,
                lane_id: record.get(3)?,
                payload,
                retry_count: record.get(5)?,
                created_at: to_time(record.get(6)?),
                last_attempt_at: record.get::<_, Option<i64>>(7)?.map(to_time),
            })
        });
        commands.map_err(|error| self.failed("read", &error))
    }

    /// All dead letters, oldest first.
    pub(super) fn dead_letters(&self) -> Outcome<Vec<StoredDeadLetter>> {
        let query = "SELECT * FROM dead_letters ORDER BY number";
        let letters = self.all(query, |record| {
            Ok(StoredDeadLetter {
                command_id: record.get(1)?,
                command_type: record.get(2)?,
                lane_id: record.get(3)?,
                error: record.get(4)?,
                attempts: record.get(5)?,
                failed_at: to_time(record.get(6)?),
            })
        });
        letters.map_err(|error| self.failed("read", &error))
    }

    fn all<T>(
        &self,
        query: &str,
        read: impl FnMut(&Record<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut query = self.connection.prepare_cached(query)?;
        query.query_map((), read)?.collect()
    }

    fn failed(&self, action: &str, error: &rusqlite::Error) -> String {
        explain(action, &self.path, error)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// An error in words that say what to do about it.
fn explain(action: &str, path: &Path, error: &rusqlite::Error) -> String {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            format!("{path} is damaged, or not a storage of a3s-lane: {error}")
        }
        Some(ErrorCode::DiskFull) => format!("failed to {action} {path}: the disk is full"),
        Some(ErrorCode::ReadOnly) => {
            format!("failed to {action} {path}: it is read-only")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("failed to {action} {path}: another program has locked it")
        }
        _ => format!("failed to {action} {path}: {error}"),
    }
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// Nanoseconds since 1970; the nearest that fit for times before 1678 and after 2261.
fn from_time(time: DateTime<Utc>) -> i64 {
    let limit = if time.timestamp() < 0 {
        i64::MIN
    } else {
        i64::MAX
    };
    time.timestamp_nanos_opt().unwrap_or(limit)
}

fn to_time(nanos: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(nanos)
}

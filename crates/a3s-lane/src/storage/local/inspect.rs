//! What can be said of a directory without using it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use super::cell::{explain, to_time};
use super::engine::{Outcome, failed};
use super::log;
use super::running::{self, Start};
use super::schema::{self, FILE};

/// What a directory of a [`LocalStorage`](super::LocalStorage) holds, as [`inspect`](super::LocalStorage::inspect) found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The directory.
    pub directory: PathBuf,
    /// The format of its file.
    pub format: u32,
    /// The lanes of pending commands, by name.
    pub lanes: Vec<LaneInspection>,
    /// How many commands are pending, in all lanes.
    pub pending: u64,
    /// How many of them run now, or ran when their process ended.
    pub running: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
    /// How many results are kept.
    pub results: u64,
    /// How many entries of the history are kept.
    pub history: u64,
    /// The size of the database in bytes.
    pub file_bytes: u64,
    /// The size of its write-ahead log in bytes.
    pub log_bytes: u64,
    /// What SQLite's integrity check finds wrong, and what is wrong with the log; empty for a storage that is whole.
    pub problems: Vec<String>,
}

/// The pending commands of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaneInspection {
    /// The lane.
    pub lane_id: String,
    /// How many commands are pending in it.
    pub pending: u64,
    /// When the oldest of them was submitted.
    pub oldest_created_at: DateTime<Utc>,
}

/// Looks into a directory. Blocks.
pub(super) fn inspect(directory: &Path) -> Outcome<Inspection> {
    let path = directory.join(FILE);
    let found = fs::metadata(&path).map_err(|error| failed("read", &path, &error))?;
    let begun = begun(directory)?;
    let read = |error| explain("read", &path, &error);
    let log = log::check(directory).or_else(|_| {
        // Another process may have been writing it.
        log::check(directory)
    });
    let (connection, without_log) = open(&path).map_err(read)?;
    let format = schema::check(&connection, "read", &path)?.unsigned_abs();
    if format == 0 {
        return Err(format!("{} is empty", path.display()));
    }
    let log_path = log::path(directory);
    let log_bytes = fs::metadata(&log_path).map_or(0, |log| log.len());
    let mut inspection = Inspection {
        directory: directory.to_owned(),
        format,
        lanes: Vec::new(),
        pending: 0,
        running: 0,
        dead_letters: 0,
        results: 0,
        history: 0,
        file_bytes: found.len(),
        log_bytes,
        problems: Vec::new(),
    };
    fill(&mut inspection, &connection, &begun).map_err(read)?;
    inspection.problems.extend(log.err());
    if without_log && log_bytes > 0 {
        inspection.problems.push(format!(
            "{} was not read, and what it holds is not counted: that takes a directory that can be written",
            log_path.display()
        ));
    }
    Ok(inspection)
}

/// For reading only. Whether it is without the log, which cannot be read in a directory that cannot be written, unless somebody has
/// the file open.
fn open(path: &Path) -> rusqlite::Result<(Connection, bool)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(super::store::PATIENCE)?;
    let table: rusqlite::Result<i64> =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0));
    match table {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) => {
            let text = path.to_string_lossy();
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            let connection =
                Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)?;
            Ok((connection, true))
        }
        _ => Ok((connection, false)),
    }
}

/// All numbers are of one moment.
fn fill(
    inspection: &mut Inspection,
    connection: &Connection,
    begun: &[Start],
) -> rusqlite::Result<()> {
    let snapshot = connection.unchecked_transaction()?;
    let mut query = snapshot.prepare(
        "SELECT lane, count(*), min(created_at) FROM commands GROUP BY lane ORDER BY lane",
    )?;
    let lanes = query.query_map((), |row| {
        Ok(LaneInspection {
            lane_id: row.get(0)?,
            pending: row.get::<_, i64>(1)?.unsigned_abs(),
            oldest_created_at: to_time(row.get(2)?),
        })
    })?;
    inspection.lanes = lanes.collect::<rusqlite::Result<_>>()?;
    inspection.pending = inspection.lanes.iter().map(|lane| lane.pending).sum();
    let mut query = snapshot.prepare("SELECT 1 FROM commands WHERE number = ? AND retries < ?")?;
    for start in begun {
        if query.exists((start.number, start.attempt))? {
            inspection.running += 1;
        }
    }
    let count = |table: &str| -> rusqlite::Result<u64> {
        let query = format!("SELECT count(*) FROM {table}");
        let count: i64 = snapshot.query_row(&query, (), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    inspection.dead_letters = count("dead_letters")?;
    if inspection.format > 1 {
        inspection.results = count("results")?;
        inspection.history = count("history")?;
    }
    let mut query = snapshot.prepare("PRAGMA integrity_check")?;
    let words = query.query_map((), |row| row.get(0))?;
    inspection.problems = words.collect::<rusqlite::Result<_>>()?;
    inspection.problems.retain(|word| word != "ok");
    Ok(())
}

/// What the second file says of attempts: some of them may have ended.
fn begun(directory: &Path) -> Outcome<Vec<Start>> {
    let path = directory.join(running::FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", &path, &error)),
    };
    let (starts, _) = running::read(&file).map_err(|error| failed("read", &path, &error))?;
    Ok(starts)
}

//! The tables of the file, and how a file of an older format gets them.

use std::path::Path;

use rusqlite::Connection;

use super::cell::explain;
use super::engine::Outcome;

pub(super) const FILE: &str = "lanes.db";

/// `a3sl` in ASCII: tells `file` and us what the file is.
const APPLICATION_ID: i32 = 0x6133_736c;

/// The format of the tables; kept in the file as its `user_version`.
pub(super) const FORMAT: i32 = 2;

/// Times are nanoseconds since 1970 in UTC; payloads, options, failures and results are JSON texts.
///
/// No index beside the primary keys: each would cost as much as the table itself at every change. Payloads come last, so that
/// a large one is not read with the rest.
const COMMANDS: &str = "
    CREATE TABLE commands (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        lane TEXT NOT NULL,
        retries INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_attempt_at INTEGER,
        crashes INTEGER NOT NULL,
        due_at INTEGER,
        options TEXT,
        failures TEXT,
        payload TEXT NOT NULL
    ) STRICT;
";

const DEAD_LETTERS: &str = "
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        lane TEXT NOT NULL,
        code TEXT NOT NULL,
        failed_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        error TEXT NOT NULL,
        traceback TEXT,
        options TEXT,
        failures TEXT,
        payload TEXT
    ) STRICT;
";

const RESULTS: &str = "
    CREATE TABLE results (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        lane TEXT NOT NULL,
        settled_at INTEGER NOT NULL,
        code TEXT,
        error TEXT,
        result TEXT
    ) STRICT;
";

const HISTORY: &str = "
    CREATE TABLE history (
        number INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        event TEXT NOT NULL,
        lane TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        attempt INTEGER,
        code TEXT,
        error TEXT
    ) STRICT;
";

/// Format 1 had commands and dead letters only, with fewer columns.
const FROM_1: &str = "
    INSERT INTO commands
        SELECT number, id, type, lane, retries, created_at, last_attempt_at, 0, NULL, NULL, NULL, payload
        FROM commands_1 ORDER BY number;
    INSERT INTO dead_letters
        SELECT number, id, type, lane, 'COMMAND_ERROR', failed_at, attempts, error, NULL, NULL, NULL, NULL
        FROM dead_letters_1 ORDER BY number;
    DROP TABLE commands_1;
    DROP TABLE dead_letters_1;
";

/// The format of a file that this version can use, 0 when there is nothing in it.
pub(super) fn check(connection: &Connection, action: &str, path: &Path) -> Outcome<i32> {
    let found = format(connection).map_err(|error| explain(action, path, &error))?;
    let path = path.display();
    match found {
        Some(format) if format > FORMAT => Err(format!(
            "{path} was written by a newer version: its format is {format}, this one knows {FORMAT}"
        )),
        Some(format) => Ok(format),
        None => Err(format!(
            "{path} is the database of another program: give the storage a directory of its own"
        )),
    }
}

/// `None` for one that another program has made.
fn format(connection: &Connection) -> rusqlite::Result<Option<i32>> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (format, application) = (number("user_version")?, number("application_id")?);
    let query = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(query, (), |row| row.get(0))?;
    let is_empty = tables == 0 && format == 0;
    let is_ours = application == APPLICATION_ID && format > 0;
    Ok((is_empty || is_ours).then_some(format))
}

/// Makes the tables of a new file. Inside a transaction.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    for table in [COMMANDS, DEAD_LETTERS, RESULTS, HISTORY] {
        connection.execute_batch(table)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)
}

/// Brings a file of format 1 to the present one. Inside a transaction.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "ALTER TABLE commands RENAME TO commands_1; ALTER TABLE dead_letters RENAME TO dead_letters_1;",
    )?;
    create(connection)?;
    connection.execute_batch(FROM_1)
}

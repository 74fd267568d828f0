//! What stands in a cell of a table: times and JSON texts; and what went wrong with a file, in words.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::types::Type;
use rusqlite::{ErrorCode, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Nanoseconds since 1970; the nearest that fit for times before 1678 and after 2261.
pub(super) fn from_time(time: DateTime<Utc>) -> i64 {
    let limit = if time.timestamp() < 0 {
        i64::MIN
    } else {
        i64::MAX
    };
    time.timestamp_nanos_opt().unwrap_or(limit)
}

pub(super) fn to_time(nanos: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(nanos)
}

/// A value as JSON text.
pub(super) fn from_value(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// As [`from_value`], at the end of what is in `text`.
pub(super) fn write_value(text: &mut Vec<u8>, value: &impl Serialize) -> rusqlite::Result<()> {
    serde_json::to_writer(text, value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A value as JSON text; null for the default one.
pub(super) fn from_unusual<T: Serialize + Default + PartialEq>(
    value: &T,
) -> rusqlite::Result<Option<String>> {
    if *value == T::default() {
        return Ok(None);
    }
    from_value(value).map(Some)
}

/// The value of a JSON text.
pub(super) fn to_value<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// The value of a JSON text, or the default one where there is none.
pub(super) fn to_unusual<T: DeserializeOwned + Default>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    if row.get_ref(column)?.data_type() == Type::Null {
        return Ok(T::default());
    }
    to_value(row, column)
}

/// An error in words that say what to do about it.
pub(super) fn explain(action: &str, path: &Path, error: &rusqlite::Error) -> String {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            format!("{path} is damaged, or not a storage of a3s-lane: {error}")
        }
        Some(ErrorCode::DiskFull) => format!("failed to {action} {path}: the disk is full"),
        Some(ErrorCode::ReadOnly) => {
            format!("failed to {action} {path}: it is read-only")
        }
        Some(ErrorCode::CannotOpen) if action == "read" => {
            format!("failed to {action} {path}: it cannot be opened for reading")
        }
        Some(ErrorCode::CannotOpen) => {
            format!("failed to {action} {path}: it or its directory cannot be opened for writing")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("failed to {action} {path}: another program has locked it")
        }
        _ => format!("failed to {action} {path}: {error}"),
    }
}

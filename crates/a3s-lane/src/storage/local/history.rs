//! The table of what has happened.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row as Record, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Retention;
use super::cell::{from_time, to_time};
use super::engine::{Outcome, Requeued};
use super::results::since;
use super::running::Start;
use super::store::Store;
use crate::storage::{
    CommandRecord, HistoryEntry, HistoryEvent, HistoryFilter, RetryNote, Settlement, StoredOutcome,
};

/// One entry, before it has a number.
struct Entry<'a> {
    at: i64,
    event: HistoryEvent,
    lane_id: &'a str,
    command_id: &'a str,
    command_type: &'a str,
    attempt: Option<u32>,
    code: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn new(record: &'a CommandRecord, event: HistoryEvent, now: DateTime<Utc>) -> Self {
        Self {
            at: from_time(now),
            event,
            lane_id: &record.command.lane_id,
            command_id: &record.command.id,
            command_type: &record.command.command_type,
            attempt: None,
            code: None,
            error: None,
        }
    }
}

impl Store {
    fn note(&mut self, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                self.counters.entry,
                entry.at,
                name(&entry.event),
                entry.lane_id,
                entry.command_id,
                entry.command_type,
                entry.attempt,
                entry.code,
                entry.error,
            ])?;
        self.counters.entry += 1;
        Ok(())
    }

    pub(super) fn note_submitted(
        &mut self,
        record: &CommandRecord,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<()> {
        self.note(&Entry::new(record, HistoryEvent::Submitted, now))
    }

    pub(super) fn note_revived(
        &mut self,
        record: &CommandRecord,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<()> {
        self.note(&Entry::new(record, HistoryEvent::Revived, now))
    }

    pub(super) fn note_requeued(
        &mut self,
        requeued: &Requeued,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<()> {
        let Some(number) = self.find(&requeued.id) else {
            return Ok(());
        };
        self.note_begun(number, now)?;
        if requeued.in_history {
            self.note_row(number, HistoryEvent::Requeued, from_time(now), None)?;
        }
        Ok(())
    }

    pub(super) fn note_crashed(&mut self, start: Start) -> rusqlite::Result<()> {
        let now = from_time(Utc::now());
        self.note_row(
            start.number,
            HistoryEvent::Crashed,
            now,
            Some(start.attempt),
        )
    }

    /// Notes what happened to the command of a row.
    fn note_row(
        &mut self,
        number: i64,
        event: HistoryEvent,
        at: i64,
        attempt: Option<u32>,
    ) -> rusqlite::Result<()> {
        let query = "SELECT id, type, lane FROM commands WHERE number = ?";
        let row = self
            .connection
            .prepare_cached(query)?
            .query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((id, command_type, lane)): Option<(String, String, String)> = row else {
            return Ok(());
        };
        self.note(&Entry {
            at,
            event,
            lane_id: &lane,
            command_id: &id,
            command_type: &command_type,
            attempt,
            code: None,
            error: None,
        })
    }

    pub(super) fn note_retried(
        &mut self,
        note: &RetryNote,
        command_type: &str,
        lane_id: &str,
    ) -> rusqlite::Result<()> {
        self.note(&Entry {
            at: from_time(note.failure.failed_at),
            event: HistoryEvent::Retried,
            lane_id,
            command_id: &note.id,
            command_type,
            attempt: Some(note.failure.attempt),
            code: Some(&note.failure.code),
            error: Some(&note.failure.error),
        })
    }

    pub(super) fn note_settled(&mut self, settlement: &Settlement) -> rusqlite::Result<()> {
        let (event, code, error) = match &settlement.outcome {
            StoredOutcome::Completed(_) => (HistoryEvent::Completed, None, None),
            StoredOutcome::Failed { code, error } => {
                (HistoryEvent::Failed, Some(&**code), Some(&**error))
            }
        };
        self.note(&Entry {
            at: from_time(settlement.settled_at),
            event,
            lane_id: &settlement.lane_id,
            command_id: &settlement.id,
            command_type: &settlement.command_type,
            attempt: settlement.letter.as_ref().map(|letter| letter.attempts),
            code,
            error,
        })
    }

    /// Deletes at most so many that are kept too long.
    pub(super) fn prune_history(
        &mut self,
        retention: Retention,
        now: DateTime<Utc>,
        limit: i64,
    ) -> rusqlite::Result<()> {
        let count = i64::try_from(retention.max_count).unwrap_or(i64::MAX);
        // All numbers below the next one are taken.
        let floor = self.counters.entry.saturating_sub(count);
        let since = since(retention, now);
        let query = "SELECT number < ? OR at < ? FROM history ORDER BY number LIMIT 1";
        if !self.is_due(query, floor, since)? {
            return Ok(());
        }
        let query = "DELETE FROM history WHERE number IN (
                SELECT number FROM (SELECT number, at FROM history ORDER BY number LIMIT ?)
                WHERE number < ? OR at < ?
            )";
        let mut query = self.connection.prepare_cached(query)?;
        query.execute([limit, floor, since]).map(drop)
    }

    /// The entries that are meant and not too old, oldest first.
    pub(super) fn entries(
        &self,
        filter: &HistoryFilter,
        retention: Option<Retention>,
    ) -> Outcome<Vec<HistoryEntry>> {
        let kept = retention.map_or(i64::MIN, |retention| since(retention, Utc::now()));
        let since = filter
            .since
            .map_or(kept, |since| kept.max(from_time(since)));
        let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<HistoryEntry>> {
            let mut query = self.connection.prepare_cached(
                "SELECT * FROM history
                 WHERE number > ?1 AND at >= ?2 AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR lane = ?4)
                 ORDER BY number LIMIT ?5",
            )?;
            let entries = query.query_map(
                params![
                    integer(filter.after.unwrap_or(0)),
                    since,
                    filter.command_id,
                    filter.lane_id,
                    // A negative limit is none.
                    filter.limit.map_or(-1, |limit| integer(limit as u64)),
                ],
                read_entry,
            )?;
            entries.collect()
        };
        read().map_err(|error| self.failed("read", &error))
    }
}

fn read_entry(row: &Record<'_>) -> rusqlite::Result<HistoryEntry> {
    let number: i64 = row.get(0)?;
    Ok(HistoryEntry {
        number: number.unsigned_abs(),
        at: to_time(row.get(1)?),
        event: named(row.get(2)?).ok_or(rusqlite::Error::InvalidColumnType(
            2,
            "event".into(),
            rusqlite::types::Type::Text,
        ))?,
        lane_id: row.get(3)?,
        command_id: row.get(4)?,
        command_type: row.get(5)?,
        attempt: row.get(6)?,
        code: row.get(7)?,
        error: row.get(8)?,
    })
}

/// The name of an event in the file: as in JSON.
fn name(event: &impl Serialize) -> Option<String> {
    match serde_json::to_value(event) {
        Ok(Value::String(name)) => Some(name),
        _ => None,
    }
}

fn named<T: DeserializeOwned>(name: String) -> Option<T> {
    serde_json::from_value(Value::String(name)).ok()
}

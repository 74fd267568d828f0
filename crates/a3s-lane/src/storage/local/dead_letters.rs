//! The table of dead letters.

use std::collections::HashSet;

use rusqlite::{Row as Record, params};
use serde::Serialize;

use super::cell::{from_time, from_unusual, from_value, to_time, to_unusual, to_value};
use super::engine::Outcome;
use super::store::Store;
use crate::storage::{DeadLetterFilter, DeadLetterRecord, FailedAttempt, StoredOptions};

impl Store {
    pub(super) fn save_dead_letter(
        &mut self,
        letter: &DeadLetterRecord,
        max: i64,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                self.counters.letter,
                letter.command_id,
                letter.command_type,
                letter.lane_id,
                letter.code,
                from_time(letter.failed_at),
                letter.attempts,
                letter.error,
                letter.traceback,
                from_unusual::<StoredOptions>(&letter.options)?,
                from_unusual::<Vec<FailedAttempt>>(&letter.failures)?,
                letter.payload.as_ref().map(from_value).transpose()?,
            ])?;
        self.counters.letter += 1;
        self.counters.letters += 1;
        if self.counters.letters > max {
            let surplus = self.counters.letters - max;
            let query = "DELETE FROM dead_letters WHERE number IN
                (SELECT number FROM dead_letters ORDER BY number LIMIT ?)";
            self.connection.prepare_cached(query)?.execute([surplus])?;
            self.counters.letters = max;
        }
        Ok(())
    }

    /// Forgets the letters of these commands; returns how many there were.
    pub(super) fn remove_dead_letters(
        &mut self,
        ids: &[impl Serialize],
    ) -> rusqlite::Result<usize> {
        if self.counters.letters == 0 {
            return Ok(0);
        }
        let query = "DELETE FROM dead_letters WHERE id IN (SELECT value FROM json_each(?))";
        let mut query = self.connection.prepare_cached(query)?;
        let removed = query.execute([from_value(&ids)?])?;
        self.counters.letters -= removed as i64;
        Ok(removed)
    }

    pub(super) fn clear_dead_letters(&mut self) -> rusqlite::Result<()> {
        self.run("DELETE FROM dead_letters")?;
        self.counters.letters = 0;
        Ok(())
    }

    /// The dead letters that are meant, oldest first.
    pub(super) fn dead_letters(&self, filter: &DeadLetterFilter) -> Outcome<Vec<DeadLetterRecord>> {
        let read = || -> rusqlite::Result<Vec<DeadLetterRecord>> {
            let mut query = self.connection.prepare_cached(
                "SELECT * FROM dead_letters
                 WHERE (?1 IS NULL OR id IN (SELECT value FROM json_each(?1)))
                     AND (?2 IS NULL OR lane = ?2)
                     AND (?3 IS NULL OR type = ?3)
                     AND (?4 IS NULL OR code = ?4)
                     AND (?5 IS NULL OR failed_at >= ?5)
                     AND (?6 IS NULL OR failed_at < ?6)
                 ORDER BY number LIMIT ?7",
            )?;
            let limit = filter.limit.and_then(|limit| i64::try_from(limit).ok());
            let letters = query.query_map(
                params![
                    from_unusual(&filter.ids)?,
                    filter.lane_id,
                    filter.command_type,
                    filter.code,
                    filter.since.map(from_time),
                    filter.until.map(from_time),
                    // A negative limit is none.
                    limit.unwrap_or(-1),
                ],
                read_letter,
            )?;
            letters.collect()
        };
        read().map_err(|error| self.failed("read", &error))
    }

    pub(super) fn dead_letter_ids(&self) -> Outcome<HashSet<String>> {
        let read = || -> rusqlite::Result<HashSet<String>> {
            let mut query = self
                .connection
                .prepare_cached("SELECT id FROM dead_letters")?;
            query.query_map((), |row| row.get(0))?.collect()
        };
        read().map_err(|error| self.failed("read", &error))
    }
}

fn read_letter(row: &Record<'_>) -> rusqlite::Result<DeadLetterRecord> {
    let payload = match row.get_ref(11)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(to_value(row, 11)?),
    };
    Ok(DeadLetterRecord {
        command_id: row.get(1)?,
        command_type: row.get(2)?,
        lane_id: row.get(3)?,
        payload,
        options: to_unusual(row, 9)?,
        error: row.get(7)?,
        code: row.get(4)?,
        traceback: row.get(8)?,
        attempts: row.get(6)?,
        failures: to_unusual(row, 10)?,
        failed_at: to_time(row.get(5)?),
    })
}

//! The table of pending commands.

use chrono::{DateTime, Utc};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row as Record, params};
use serde_json::Value;

use super::cell::{
    from_time, from_unusual, from_value, to_time, to_unusual, to_value, write_value,
};
use super::engine::{Outcome, Settings};
use super::running::Start;
use super::store::{Store, Table, Undo};
use crate::storage::{
    CommandPage, CommandRecord, FailedAttempt, RetryNote, Settlement, StoredCommand, StoredOptions,
};

/// How many failed attempts of a command are kept, the newest ones.
const MAX_FAILURES: usize = 100;

/// What [`read_record`] reads.
const COLUMNS: &str = "number, id, type, lane, retries, created_at, last_attempt_at, crashes, due_at, options, failures";

impl Store {
    /// The row of a command.
    pub(super) fn find(&self, id: &str) -> Option<i64> {
        self.running.rows().find(id)
    }

    pub(super) fn save_command(&mut self, record: &CommandRecord) -> rusqlite::Result<()> {
        self.save_commands(std::iter::once(std::slice::from_ref(record)), || {})
    }

    /// Saves the commands of several changes, and says after each change that it is made.
    pub(super) fn save_commands<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a [CommandRecord]>,
        mut made: impl FnMut(),
    ) -> rusqlite::Result<()> {
        let mut fresh = Fresh::new(&self.connection)?;
        for records in changes {
            for record in records {
                let known = self.find(&record.command.id);
                let number = known.unwrap_or(self.counters.command);
                if known.is_none() && fresh.takes(record) {
                    fresh.insert(number, &record.command)?;
                } else {
                    self.replace_command(number, known.is_some(), record)?;
                    self.running.note_expiry(number, record);
                }
                if known.is_none() {
                    let key = self.running.rows().insert(&record.command.id, number);
                    self.undo.push(Undo::Inserted(Table::Commands, key));
                    self.counters.command += 1;
                }
            }
            made();
        }
        Ok(())
    }

    fn replace_command(
        &self,
        number: i64,
        is_known: bool,
        record: &CommandRecord,
    ) -> rusqlite::Result<()> {
        let command = &record.command;
        let stored = if is_known && record.without_payload {
            // Read without it: the stored one stays, unless somebody has removed it by hand.
            self.payload(number)?
        } else {
            None
        };
        let payload = match stored {
            Some(payload) => payload,
            None => from_value(&command.payload)?,
        };
        let query = "INSERT OR REPLACE INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let mut insert = self.connection.prepare_cached(query)?;
        insert.execute(params![
            number,
            command.id,
            command.command_type,
            command.lane_id,
            command.retry_count,
            from_time(command.created_at),
            command.last_attempt_at.map(from_time),
            record.crashes,
            record.due_at.map(from_time),
            from_unusual::<StoredOptions>(&record.options)?,
            from_unusual::<Vec<FailedAttempt>>(&record.failures)?,
            payload,
        ])?;
        Ok(())
    }

    fn payload(&self, number: i64) -> rusqlite::Result<Option<String>> {
        let query = "SELECT payload FROM commands WHERE number = ?";
        let mut query = self.connection.prepare_cached(query)?;
        query.query_row([number], |record| record.get(0)).optional()
    }

    /// Removes commands. Rows in a row go with one statement: what comes together often goes together. `seen` learns of each id
    /// whether it was there.
    pub(super) fn remove_commands<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a str>,
        mut seen: impl FnMut(bool),
    ) -> rusqlite::Result<()> {
        let mut numbers = Vec::with_capacity(ids.size_hint().0);
        for id in ids {
            // Not held for all: others start commands meanwhile.
            let removed = self.running.rows().remove(id);
            seen(removed.is_some());
            if let Some((key, number)) = removed {
                self.undo.push(Undo::Removed(Table::Commands, key, number));
                self.ended.push((number, u32::MAX));
                numbers.push(number);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        numbers.sort_unstable();
        let query = "DELETE FROM commands WHERE number BETWEEN ? AND ?";
        let mut delete = self.connection.prepare_cached(query)?;
        for run in numbers.chunk_by(|number, next| number + 1 == *next) {
            delete.execute([run[0], run[run.len() - 1]])?;
        }
        Ok(())
    }

    pub(super) fn clear_commands(&mut self) -> rusqlite::Result<()> {
        self.run("DELETE FROM commands")?;
        let index = std::mem::take(&mut *self.running.rows());
        self.ended.extend(
            self.running
                .numbers()
                .into_iter()
                .map(|number| (number, u32::MAX)),
        );
        let undo = Undo::Cleared(Table::Commands, Box::new(index));
        self.undo.push(undo);
        Ok(())
    }

    pub(super) fn retry_command(&mut self, note: &RetryNote, noting: bool) -> rusqlite::Result<()> {
        let Some(number) = self.find(&note.id) else {
            return Ok(());
        };
        let query = "SELECT type, lane, failures FROM commands WHERE number = ?";
        let stored = self
            .connection
            .prepare_cached(query)?
            .query_row([number], |record| {
                let failures: Vec<FailedAttempt> = to_unusual(record, 2)?;
                Ok((
                    record.get::<_, String>(0)?,
                    record.get::<_, String>(1)?,
                    failures,
                ))
            })
            .optional()?;
        let Some((command_type, lane_id, mut failures)) = stored else {
            // Somebody has removed it by hand.
            return Ok(());
        };
        failures.push(note.failure.clone());
        let surplus = failures.len().saturating_sub(MAX_FAILURES);
        failures.drain(..surplus);
        self.connection
            .prepare_cached(
                "UPDATE commands SET retries = ?, last_attempt_at = ?, due_at = ?, failures = ? WHERE number = ?",
            )?
            .execute(params![
                note.failure.attempt,
                from_time(note.failure.failed_at),
                note.due_at.map(from_time),
                from_value(&failures)?,
                number,
            ])?;
        self.ended.push((number, note.failure.attempt));
        if noting {
            self.note_retried(note, &command_type, &lane_id)?;
        }
        Ok(())
    }

    /// A command that has begun does not expire: its row says so, if it has a time to live and does not say it yet.
    pub(super) fn note_begun(&mut self, number: i64, now: DateTime<Utc>) -> rusqlite::Result<()> {
        if !self.running.can_expire(number) {
            return Ok(());
        }
        let query = "UPDATE commands SET last_attempt_at = ? WHERE number = ?";
        let mut query = self.connection.prepare_cached(query)?;
        query.execute([from_time(now), number])?;
        self.ended.push((number, 0));
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        settlements: &[Settlement],
        settings: Settings,
    ) -> rusqlite::Result<()> {
        let ids = settlements.iter().map(|it| it.id.as_str());
        let is_kept = settings.results.is_some() || settings.history.is_some();
        if !is_kept && settlements.iter().all(|it| it.letter.is_none()) {
            return self.remove_commands(ids, |_| {});
        }
        let mut was_there = Vec::with_capacity(settlements.len());
        self.remove_commands(ids, |it| was_there.push(it))?;
        for (settlement, was_there) in settlements.iter().zip(was_there) {
            if !is_kept && settlement.letter.is_none() {
                continue;
            }
            // One that was there has not settled since, whatever its time.
            if !self.settled.is_new(settlement) && !was_there {
                continue;
            }
            if let Some(letter) = &settlement.letter {
                self.save_dead_letter(letter, settings.max_dead_letters)?;
            }
            if settings.results.is_some() {
                self.save_result(settlement)?;
            }
            if settings.history.is_some() {
                self.note_settled(settlement)?;
            }
        }
        Ok(())
    }

    /// Counts an attempt during which the process has ended, unless its end was recorded.
    pub(super) fn count_crash(&mut self, start: Start) -> rusqlite::Result<()> {
        let counted = self
            .connection
            .prepare_cached(
                "UPDATE commands SET retries = ?2, crashes = crashes + 1, last_attempt_at = ?3, due_at = NULL
                 WHERE number = ?1 AND retries < ?2",
            )?
            .execute(params![start.number, start.attempt, start.at])?;
        // Nobody has said yet whether there is to be a history: it goes on where there is one.
        if counted > 0 && self.counters.entry > 1 {
            self.note_crashed(start)?;
        }
        Ok(())
    }

    /// All commands, in the order in which they came.
    pub(super) fn commands(&self) -> Outcome<Vec<StoredCommand>> {
        let query = format!("SELECT {COLUMNS}, payload FROM commands ORDER BY number");
        let read = || -> rusqlite::Result<Vec<StoredCommand>> {
            let mut query = self.connection.prepare_cached(&query)?;
            let records = query.query_map((), |row| {
                let (_, record) = read_record(row)?;
                Ok(with_payload(record, to_value(row, 11)?).command)
            })?;
            records.collect()
        };
        read().map_err(|error| self.failed("read", &error))
    }

    /// Commands from this row on, without their payloads.
    pub(super) fn page(&self, from: Option<u64>, limit: usize) -> Outcome<CommandPage> {
        let from = i64::try_from(from.unwrap_or(0)).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).max(1);
        let read = || -> rusqlite::Result<CommandPage> {
            let query =
                format!("SELECT {COLUMNS} FROM commands WHERE number >= ? ORDER BY number LIMIT ?");
            let mut query = self.connection.prepare_cached(&query)?;
            let mut rows = query.query([from, limit.saturating_add(1)])?;
            let mut page = CommandPage::default();
            while let Some(row) = rows.next()? {
                let (number, record) = read_record(row)?;
                self.running.note_expiry(number, &record);
                if page.records.len() as i64 == limit {
                    page.next = u64::try_from(number).ok();
                    break;
                }
                page.records.push(record);
            }
            Ok(page)
        };
        read().map_err(|error| self.failed("read", &error))
    }

    /// One command with its payload.
    pub(super) fn command(&self, id: &str) -> Outcome<Option<CommandRecord>> {
        let read = || -> rusqlite::Result<Option<CommandRecord>> {
            let Some(number) = self.find(id) else {
                return Ok(None);
            };
            let query = format!("SELECT {COLUMNS}, payload FROM commands WHERE number = ?");
            let mut query = self.connection.prepare_cached(&query)?;
            query
                .query_row([number], |row| {
                    let (_, record) = read_record(row)?;
                    Ok(with_payload(record, to_value(row, 11)?))
                })
                .optional()
        };
        read().map_err(|error| self.failed("read", &error))
    }
}

/// Inserts commands that are new, have not run and ask for nothing: most are like that. What is the same in all of them stands in
/// the statement, and what is the same in the one before is bound already.
struct Fresh<'a> {
    insert: CachedStatement<'a>,
    usual: StoredOptions,
    command_type: Option<&'a str>,
    lane_id: Option<&'a str>,
    payload: Vec<u8>,
}

impl<'a> Fresh<'a> {
    fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let query = "INSERT INTO commands VALUES (?, ?, ?, ?, 0, ?, NULL, 0, NULL, NULL, NULL, ?)";
        Ok(Self {
            insert: connection.prepare_cached(query)?,
            usual: StoredOptions::default(),
            command_type: None,
            lane_id: None,
            payload: Vec::new(),
        })
    }

    fn takes(&self, record: &CommandRecord) -> bool {
        let command = &record.command;
        command.retry_count == 0
            && command.last_attempt_at.is_none()
            && record.crashes == 0
            && record.due_at.is_none()
            && record.failures.is_empty()
            && record.options == self.usual
    }

    fn insert(&mut self, number: i64, command: &'a StoredCommand) -> rusqlite::Result<()> {
        self.payload.clear();
        write_value(&mut self.payload, &command.payload)?;
        let insert = &mut self.insert;
        insert.raw_bind_parameter(1, number)?;
        insert.raw_bind_parameter(2, command.id.as_str())?;
        if self.command_type != Some(&command.command_type) {
            insert.raw_bind_parameter(3, command.command_type.as_str())?;
            self.command_type = Some(&command.command_type);
        }
        if self.lane_id != Some(&command.lane_id) {
            insert.raw_bind_parameter(4, command.lane_id.as_str())?;
            self.lane_id = Some(&command.lane_id);
        }
        insert.raw_bind_parameter(5, from_time(command.created_at))?;
        let payload = ToSqlOutput::Borrowed(ValueRef::Text(&self.payload));
        insert.raw_bind_parameter(6, payload)?;
        insert.raw_execute().map(drop)
    }
}

/// A command without its payload, and its row.
fn read_record(row: &Record<'_>) -> rusqlite::Result<(i64, CommandRecord)> {
    let time = |column| -> rusqlite::Result<_> {
        let nanos: Option<i64> = row.get(column)?;
        Ok(nanos.map(to_time))
    };
    let record = CommandRecord {
        command: StoredCommand {
            id: row.get(1)?,
            command_type: row.get(2)?,
            lane_id: row.get(3)?,
            payload: Value::Null,
            retry_count: row.get(4)?,
            created_at: to_time(row.get(5)?),
            last_attempt_at: time(6)?,
        },
        options: to_unusual(row, 9)?,
        failures: to_unusual(row, 10)?,
        crashes: row.get(7)?,
        due_at: time(8)?,
        without_payload: true,
    };
    Ok((row.get(0)?, record))
}

fn with_payload(mut record: CommandRecord, payload: Value) -> CommandRecord {
    record.command.payload = payload;
    record.without_payload = false;
    record
}

//! The table of results: how commands have ended, for those who ask later.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, params};

use super::Retention;
use super::cell::{from_time, from_value, to_time, to_value};
use super::engine::Outcome;
use super::store::{Store, Table, Undo};
use crate::storage::{Settlement, StoredOutcome, StoredResult};

impl Store {
    /// Keeps the outcome of a command, in place of an earlier one.
    pub(super) fn save_result(&mut self, settlement: &Settlement) -> rusqlite::Result<()> {
        self.remove_result(&settlement.id)?;
        let (code, error, result) = match &settlement.outcome {
            StoredOutcome::Completed(value) => (None, None, Some(from_value(value)?)),
            StoredOutcome::Failed { code, error } => (Some(code), Some(error), None),
        };
        let number = self.counters.result;
        self.connection
            .prepare_cached("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                number,
                settlement.id,
                &*settlement.command_type,
                &*settlement.lane_id,
                from_time(settlement.settled_at),
                code,
                error,
                result,
            ])?;
        self.counters.result += 1;
        let key = self.results.insert(&settlement.id, number);
        self.undo.push(Undo::Inserted(Table::Results, key));
        Ok(())
    }

    fn remove_result(&mut self, id: &str) -> rusqlite::Result<()> {
        if let Some((key, number)) = self.results.remove(id) {
            self.undo.push(Undo::Removed(Table::Results, key, number));
            let query = "DELETE FROM results WHERE number = ?";
            self.connection.prepare_cached(query)?.execute([number])?;
        }
        Ok(())
    }

    /// Deletes at most so many that are kept too long.
    pub(super) fn prune_results(
        &mut self,
        retention: Retention,
        now: DateTime<Utc>,
        limit: i64,
    ) -> rusqlite::Result<()> {
        let since = since(retention, now);
        // Numbers have gaps, where a command has settled again.
        let surplus = self.results.len().saturating_sub(retention.max_count);
        let surplus = i64::try_from(surplus).unwrap_or(i64::MAX).min(limit);
        let floor = if surplus > 0 {
            let query = "SELECT number + 1 FROM results ORDER BY number LIMIT 1 OFFSET ?";
            let mut query = self.connection.prepare_cached(query)?;
            let floor = query.query_row([surplus - 1], |row| row.get(0));
            floor.optional()?.unwrap_or(0)
        } else {
            let query = "SELECT number < ? OR settled_at < ? FROM results ORDER BY number LIMIT 1";
            if !self.is_due(query, 0, since)? {
                return Ok(());
            }
            0
        };
        let query = "DELETE FROM results WHERE number IN (
                SELECT number FROM (SELECT number, settled_at FROM results ORDER BY number LIMIT ?)
                WHERE number < ? OR settled_at < ?
            ) RETURNING id";
        let deleted: Vec<String> = {
            let mut query = self.connection.prepare_cached(query)?;
            let rows = query.query_map([limit, floor, since], |row| row.get(0));
            rows?.collect::<rusqlite::Result<_>>()?
        };
        for id in deleted {
            let removed = self.results.remove(&id);
            let undo = removed.map(|(key, number)| Undo::Removed(Table::Results, key, number));
            self.undo.extend(undo);
        }
        Ok(())
    }

    /// What a query says about the oldest row of its table.
    pub(super) fn is_due(&self, query: &str, floor: i64, since: i64) -> rusqlite::Result<bool> {
        let mut query = self.connection.prepare_cached(query)?;
        let oldest = query.query_row([floor, since], |row| row.get(0));
        Ok(oldest.optional()?.unwrap_or(false))
    }

    pub(super) fn clear_results(&mut self) -> rusqlite::Result<()> {
        self.run("DELETE FROM results")?;
        let index = std::mem::take(&mut self.results);
        self.undo
            .push(Undo::Cleared(Table::Results, Box::new(index)));
        Ok(())
    }

    /// The outcome of a command, if it is there and not too old.
    pub(super) fn result(
        &self,
        id: &str,
        retention: Option<Retention>,
    ) -> Outcome<Option<StoredResult>> {
        let Some(number) = self.results.find(id) else {
            return Ok(None);
        };
        let since = retention.map_or(i64::MIN, |retention| since(retention, Utc::now()));
        let read = || -> rusqlite::Result<Option<StoredResult>> {
            let query = "SELECT * FROM results WHERE number = ? AND settled_at >= ?";
            let mut query = self.connection.prepare_cached(query)?;
            query
                .query_row(params![number, since], |row| {
                    let outcome = match row.get::<_, Option<String>>(5)? {
                        None => StoredOutcome::Completed(to_value(row, 7)?),
                        Some(code) => StoredOutcome::Failed {
                            code,
                            error: row.get(6)?,
                        },
                    };
                    Ok(StoredResult {
                        id: row.get(1)?,
                        command_type: row.get(2)?,
                        lane_id: row.get(3)?,
                        outcome,
                        settled_at: to_time(row.get(4)?),
                    })
                })
                .optional()
        };
        read().map_err(|error| self.failed("read", &error))
    }
}

/// The earliest time that is kept.
pub(super) fn since(retention: Retention, now: DateTime<Utc>) -> i64 {
    TimeDelta::from_std(retention.max_age)
        .ok()
        .and_then(|age| now.checked_sub_signed(age))
        .map_or(i64::MIN, from_time)
}

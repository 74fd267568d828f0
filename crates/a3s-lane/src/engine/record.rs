//! Commands as a storage keeps them, and back.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use std::time::Duration;

use super::LaneInfo;
use super::calendar::Calendar;
use super::job::Extras;
use crate::command::Command;
use crate::error::LaneError;
use crate::event::CommandName;
use crate::scheduler::{Terms, nanos};
use crate::storage::{
    CommandRecord, DeadLetterRecord, FailedAttempt, Settlement, StoredCommand, StoredOptions,
    StoredOutcome, StoredUnique,
};

/// A command that is submitted, without its date. The calendar is only looked at where it asks for something.
pub(super) fn of_command(
    lane_id: &str,
    name: &CommandName,
    command: &dyn Command,
    terms: Option<&Terms>,
    extras: Option<&Extras>,
    calendar: &Calendar,
) -> CommandRecord {
    let delay_until = terms.map_or(0, |terms| terms.delay_until);
    let mut record = CommandRecord::from(StoredCommand {
        id: name.to_text(),
        command_type: command.command_type().to_owned(),
        lane_id: lane_id.to_owned(),
        payload: command.payload().unwrap_or_else(|| serde_json::json!({})),
        retry_count: 0,
        created_at: DateTime::UNIX_EPOCH,
        last_attempt_at: None,
    });
    record.options = options(terms, extras, calendar);
    record.due_at = (delay_until > calendar.now).then(|| calendar.date(delay_until));
    record
}

/// What a command asks for.
pub(super) fn options(
    terms: Option<&Terms>,
    extras: Option<&Extras>,
    calendar: &Calendar,
) -> StoredOptions {
    let mut options = StoredOptions::default();
    if let Some(terms) = terms {
        options.priority = terms.priority;
        options.key = terms.key.as_deref().map(str::to_owned);
        options.expires_at = terms.expires_at.map(|at| calendar.date(at));
        options.timeout = terms
            .timeout_ns
            .map(|limit| limit.map(Duration::from_nanos));
        options.progress_timeout = terms.progress_ns.map(Duration::from_nanos);
        options.retry_policy.clone_from(&terms.retry);
        options.jitter = terms.jitter;
        options.cost = terms.cost;
        options.preemptible = terms.preemptible;
    }
    if let Some(extras) = extras {
        options.metadata.clone_from(&extras.metadata);
        options.unique = extras.unique.as_ref().map(|(key, until)| StoredUnique {
            until: (*until > calendar.now).then(|| calendar.date(*until)),
            on_conflict: extras.on_conflict,
            ..StoredUnique::new(&**key)
        });
    }
    options
}

/// What the scheduler must know of a stored command; `None` when it asks for nothing.
pub(super) fn terms(record: &CommandRecord, calendar: &Calendar) -> Option<Box<Terms>> {
    let options = &record.options;
    // One that has started never expires.
    let started = record.command.retry_count > 0 || record.command.last_attempt_at.is_some();
    let limit = |limit: Duration| Some(nanos(limit)).filter(|limit| *limit != u64::MAX);
    let terms = Terms {
        priority: options.priority,
        key: options.key.as_deref().map(Arc::from),
        delay_until: record.due_at.map_or(0, |due_at| calendar.time(due_at)),
        expires_at: options
            .expires_at
            .filter(|_| !started)
            .map(|at| calendar.time(at)),
        timeout_ns: options.timeout.map(|timeout| timeout.and_then(limit)),
        progress_ns: options.progress_timeout.and_then(limit),
        retry: options.retry_policy.clone(),
        jitter: options.jitter,
        cost: options.cost,
        preemptible: options.preemptible,
        earlier: record.command.retry_count,
        ..Terms::default()
    };
    let plain = options == &StoredOptions::default()
        && terms.delay_until <= calendar.now
        && terms.earlier == 0;
    (!plain).then(|| Box::new(terms))
}

/// An attempt that has failed now, after it ran for `run_ns`.
pub(super) fn failure(attempt: u32, error: &LaneError, run_ns: u64) -> FailedAttempt {
    let failed_at = Utc::now();
    let started_at = failed_at.checked_sub_signed(chrono::TimeDelta::nanoseconds(
        i64::try_from(run_ns).unwrap_or(i64::MAX),
    ));
    FailedAttempt {
        started_at,
        traceback: error.traceback().map(str::to_owned),
        ..FailedAttempt::new(attempt, error.code(), error.to_string(), failed_at)
    }
}

/// How a command failed for good, without what it asked for. The newest failure comes last.
pub(super) fn letter(
    name: &CommandName,
    command_type: &str,
    lane_id: &str,
    attempts: u32,
    mut failures: Vec<FailedAttempt>,
    last: FailedAttempt,
) -> Box<DeadLetterRecord> {
    let (error, code, failed_at) = (last.error.clone(), last.code.clone(), last.failed_at);
    let traceback = last.traceback.clone();
    failures.push(last);
    Box::new(DeadLetterRecord {
        command_id: name.to_string(),
        command_type: command_type.to_owned(),
        lane_id: lane_id.to_owned(),
        payload: None,
        options: StoredOptions::default(),
        error,
        code,
        traceback,
        attempts,
        failures,
        failed_at,
    })
}

/// A command that left with this error.
pub(super) fn failed(
    name: &CommandName,
    command_type: &str,
    lane: &LaneInfo,
    error: &LaneError,
) -> Settlement {
    let outcome = StoredOutcome::of(error);
    Settlement::new(
        name.to_string(),
        command_type,
        Arc::clone(&lane.id),
        outcome,
    )
}

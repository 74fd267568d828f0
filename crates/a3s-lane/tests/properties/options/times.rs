//! When bodies may begin, and how long they may run, as far as that is certain.
//!
//! One thread on paused time, where what follows at once happens in the same moment.

use std::time::Duration;

use proptest::prelude::*;

use super::limits::{Limits, Span};
use super::plan::ms;
use super::play::{Checked, Code, Played};
use super::record::{Origin, Record, Run, lock};

/// The clock of a runtime counts whole milliseconds, and may be late by one.
const LATE: Duration = Duration::from_millis(2);

/// No body began before its time, whatever the threads.
pub(crate) fn began_in_time(played: &Played) -> Checked {
    for record in played.book.records() {
        let first = lock(&record.runs).first().map(|run| run.began);
        let due = *lock(&record.due);
        if let (Some(began), Some(due)) = (first, due) {
            prop_assert!(began >= due, "began {:?} early: {:#?}", due - began, record);
        }
    }
    Ok(())
}

/// The times that the options of commands and lanes name were kept.
pub(crate) fn were_kept(played: &Played) -> Checked {
    began_in_time(played)?;
    for record in played.book.records() {
        let runs = lock(&record.runs).clone();
        expired_in_time(&record, &runs)?;
        for pair in runs.windows(2) {
            followed_in_time(&played.limits, &record, &pair[0], &pair[1])?;
        }
        let result = played.results.get(&record.number);
        ended_in_time(&played.limits, &record, &runs, result)?;
    }
    Ok(())
}

/// What has waited for longer than it may was not started.
fn expired_in_time(record: &Record, runs: &[Run]) -> Checked {
    // Of a group it is not known when each was let in.
    if let (Some(ttl), Some(first)) = (record.plan.ttl(), runs.first())
        && record.origin != Origin::Group
    {
        let waited = first.began - *lock(&record.asked);
        prop_assert!(waited < ttl, "began after {:?}: {:#?}", waited, record);
    }
    Ok(())
}

/// A retry waits, a preempted command does not.
fn followed_in_time(limits: &Limits, record: &Record, run: &Run, next: &Run) -> Checked {
    if next.attempt == run.attempt {
        let may_be = limits.may_be_preempted(record.lane, &record.plan);
        prop_assert!(may_be, "preempted: {:#?}", record);
        return Ok(());
    }
    prop_assert_eq!(next.attempt, run.attempt + 1, "{:#?}", record);
    let Some(ended) = run.ended else {
        return Ok(());
    };
    let least = limits.least_retry_delay(record.lane, &record.plan);
    let waited = next.began - ended;
    prop_assert!(
        waited >= least,
        "{:?}, not {:?}: {:#?}",
        waited,
        least,
        record
    );
    Ok(())
}

/// No run outlived its limits, and none was stopped by them too soon.
fn ended_in_time(limits: &Limits, record: &Record, runs: &[Run], result: Option<&Code>) -> Checked {
    let timeout = limits.timeout(record.lane, &record.plan);
    let progress = limits.progress_timeout(record.lane, &record.plan);
    let grace = limits.most_grace(record.lane);
    for run in runs {
        let Some(ended) = run.ended else {
            continue;
        };
        if let Some(most) = timeout.most {
            let took = ended - run.began;
            prop_assert!(
                took <= most + LATE,
                "{:?} of {:?}: {:#?}",
                took,
                most,
                record
            );
        }
        if let Some(most) = progress.most {
            // Who is asked to stop is not asked for signs of life any more.
            let most = most + grace + LATE;
            let gap = run.longest_silence(ended);
            prop_assert!(gap <= most, "{:?} of {:?}: {:#?}", gap, most, record);
        }
    }
    let Some(last) = runs.last() else {
        return Ok(());
    };
    let Some(ended) = last.ended else {
        return Ok(());
    };
    match result {
        Some(Err("TIMEOUT")) => within(timeout, ended - last.began, record),
        Some(Err("STALLED")) => within(progress, ended - last.last_sign(), record),
        _ => Ok(()),
    }
}

fn within(span: Span, took: Duration, record: &Record) -> Checked {
    let least = span.least.unwrap_or_default();
    prop_assert!(took >= least, "{:?} of {:?}: {:#?}", took, least, record);
    Ok(())
}

/// The least delay that is left of `delay_ms`.
pub(crate) fn least_of(delay_ms: u64, jitter: a3s_lane::Jitter) -> Duration {
    match jitter {
        a3s_lane::Jitter::None => ms(delay_ms),
        a3s_lane::Jitter::Equal => ms(delay_ms) / 2,
        _ => Duration::ZERO,
    }
}

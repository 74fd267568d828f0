//! The engine's clock and the calendar.

use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use crate::scheduler::nanos;

/// One moment on both clocks: what is stored is dated by the calendar, what is scheduled by the engine's clock.
#[derive(Default)]
pub(super) struct Calendar {
    pub(super) now: u64,
    pub(super) date: DateTime<Utc>,
}

impl Calendar {
    /// A time of the engine's clock that is not over; the present for one that is.
    pub(super) fn date(&self, at: u64) -> DateTime<Utc> {
        let ahead = i64::try_from(at.saturating_sub(self.now)).unwrap_or(i64::MAX);
        let date = self.date.checked_add_signed(TimeDelta::nanoseconds(ahead));
        date.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// A date as a time of the engine's clock; the present for one that is over.
    pub(super) fn time(&self, date: DateTime<Utc>) -> u64 {
        let ahead = (date - self.date).to_std().map_or(0, nanos);
        self.now.saturating_add(ahead)
    }
}

impl Engine {
    pub(super) fn calendar(&self) -> Calendar {
        Calendar {
            now: self.now(),
            date: Utc::now(),
        }
    }

    /// The present, `now`, or what is later than every date that this has returned before: the order of stored commands.
    pub(super) fn next_date(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now_ns = now.timestamp_nanos_opt().unwrap_or_default();
        let later = |last: i64| Some(now_ns.max(last.saturating_add(1)));
        let last = self
            .last_date
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        let last = last.unwrap_or_else(|last| last);
        if last < now_ns {
            return now;
        }
        DateTime::from_timestamp_nanos(last.saturating_add(1))
    }
}

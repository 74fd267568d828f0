//! What is known of each command, from inside and outside.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use a3s_lane::{CommandHandle, LaneError, OnConflict, Result, SubmitOptions};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;

use super::commands::CommandPlan;
use super::plan::{KEYS, LANES};
use super::unique::Names;

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Not known: the submitter waits, or gave up.
    None,
    Refused(&'static str),
    /// The command of this number holds the unique key.
    Joined(CommandHandle, usize),
    Accepted(CommandHandle),
    Plain(Option<Receiver<Result<Value>>>),
}

/// Who submits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Player,
    /// The player, with others.
    Group,
    Parent,
    /// Its parent waits for it, and lends it its slots.
    WaitingParent,
}

/// One submission.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) number: usize,
    pub(crate) lane: usize,
    pub(crate) plan: CommandPlan,
    pub(crate) origin: Origin,
    pub(crate) seen: Seen,
    pub(crate) answer: Mutex<Answer>,
    /// No later than the moment at which it was let in; on one thread that moment, unless it is one of a group.
    pub(crate) asked: Mutex<Instant>,
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no boosts"))]
    pub(crate) entered: Instant,
    /// When it was known that it was let in.
    pub(crate) accepted: Mutex<Instant>,
    /// When its options were made.
    wall: Mutex<Option<DateTime<Utc>>>,
    /// It may not begin before, when it was let in.
    pub(crate) due: Mutex<Option<Instant>>,
    pub(crate) runs: Mutex<Vec<Run>>,
}

/// One body.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) attempt: u32,
    pub(crate) began: Instant,
    pub(crate) ended: Option<Instant>,
    /// When it showed that it got on.
    pub(crate) signs: Vec<Instant>,
}

impl Run {
    pub(crate) fn new(attempt: u32) -> Self {
        Self {
            attempt,
            began: Instant::now(),
            ended: None,
            signs: Vec::new(),
        }
    }

    pub(crate) fn last_sign(&self) -> Instant {
        self.signs.last().copied().unwrap_or(self.began)
    }

    pub(crate) fn longest_silence(&self, ended: Instant) -> Duration {
        let mut from = self.began;
        let mut longest = Duration::ZERO;
        for sign in self.signs.iter().copied().chain([ended]) {
            longest = longest.max(sign - from);
            from = sign;
        }
        longest
    }
}

/// What bodies and the player have seen of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Bodies that began.
    pub(crate) bodies: AtomicU32,
    /// The highest number of an attempt.
    pub(crate) attempt: AtomicU32,
    pub(crate) running: AtomicBool,
    /// Two bodies ran at once.
    pub(crate) doubled: AtomicBool,
    pub(crate) returned: AtomicBool,
    pub(crate) failed: AtomicBool,
    pub(crate) gave_up: AtomicBool,
    pub(crate) panicked: AtomicBool,
    /// Somebody may have cancelled it.
    pub(crate) cancelled: AtomicBool,
    /// Another command took its unique key over before it had settled.
    pub(crate) replaced: AtomicBool,
}

impl Record {
    pub(crate) fn handle(&self) -> Option<CommandHandle> {
        match &*lock(&self.answer) {
            Answer::Accepted(handle) => Some(handle.clone()),
            _ => None,
        }
    }

    /// What it asks for, from now on.
    pub(crate) fn options(&self) -> SubmitOptions {
        let now = Utc::now();
        *lock(&self.wall) = Some(now);
        self.plan.options(now)
    }

    pub(crate) fn is_by_player(&self) -> bool {
        matches!(self.origin, Origin::Player | Origin::Group)
    }

    /// It may be let in now.
    pub(crate) fn ask(&self) {
        *lock(&self.asked) = Instant::now();
    }

    pub(crate) fn replace(&self) {
        self.seen.cancelled.store(true, Ordering::SeqCst);
        self.seen.replaced.store(true, Ordering::SeqCst);
    }

    /// It was let in: the time that was left is known.
    fn set_due(&self) {
        let wall = *lock(&self.wall);
        let passed = wall.map(|wall| Utc::now() - wall).unwrap_or_default();
        let due = *lock(&self.asked) + self.plan.least_delay(passed);
        *lock(&self.due) = Some(due);
        *lock(&self.accepted) = Instant::now();
    }

    /// Whether it was accepted, has not settled and was not cancelled.
    pub(crate) fn lives(&self) -> bool {
        let handle = self.handle();
        handle.is_some_and(|handle| !handle.status().is_settled())
            && !self.seen.cancelled.load(Ordering::SeqCst)
    }
}

/// How many run, and the most that ever did.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: AtomicUsize,
    pub(crate) most: AtomicUsize,
}

impl Gauge {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Shared by the player and all bodies.
#[derive(Debug, Default)]
pub(crate) struct Book {
    records: Mutex<Vec<Arc<Record>>>,
    pub(crate) total: Gauge,
    pub(crate) lanes: [Gauge; LANES],
    pub(crate) keys: [[Gauge; KEYS as usize]; LANES],
    /// How many commands exist.
    pub(crate) alive: AtomicUsize,
    pub(crate) names: Mutex<Names>,
}

impl Book {
    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        lock(&self.records).clone()
    }

    /// Notes a command before it is submitted: from then on everything may happen to it.
    pub(crate) fn enter(&self, lane: usize, plan: &CommandPlan, origin: Origin) -> Arc<Record> {
        let mut records = lock(&self.records);
        let record = Arc::new(Record {
            number: records.len(),
            lane,
            plan: plan.clone(),
            origin,
            seen: Seen::default(),
            answer: Mutex::new(Answer::None),
            asked: Mutex::new(Instant::now()),
            entered: Instant::now(),
            accepted: Mutex::new(Instant::now()),
            wall: Mutex::default(),
            due: Mutex::default(),
            runs: Mutex::default(),
        });
        records.push(Arc::clone(&record));
        record
    }

    /// Notes that these may be cancelled.
    pub(crate) fn cancelled(&self, which: impl Fn(&Record) -> bool) {
        for record in self.records().iter().filter(|record| which(record)) {
            record.seen.cancelled.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn accept(&self, record: &Record, handle: CommandHandle) {
        record.set_due();
        *lock(&record.answer) = Answer::Accepted(handle);
    }

    /// As [`accept`](Self::accept), where it is not known which command was replaced.
    pub(crate) fn accept_for_any(&self, record: &Record, handle: CommandHandle) {
        if let Some((key, _, OnConflict::Replace)) = record.plan.unique {
            self.cancelled(|other| {
                let same = other.plan.unique.is_some_and(|(other, _, _)| other == key);
                same && other.number != record.number
            });
        }
        self.accept(record, handle);
    }

    pub(crate) fn join(&self, record: &Record, handle: CommandHandle, whose: usize) {
        *lock(&record.answer) = Answer::Joined(handle, whose);
    }

    pub(crate) fn refuse(&self, record: &Record, error: &LaneError) {
        *lock(&record.answer) = Answer::Refused(error.code());
    }
}

/// A body that holds slots of its own. An awaited child goes on in those of its parent, even when that waits no more.
pub(crate) struct Holding<'a>(Vec<&'a Gauge>);

impl<'a> Holding<'a> {
    pub(crate) fn new(book: &'a Book, record: &'a Record) -> Self {
        let mut gauges = Vec::new();
        if record.origin != Origin::WaitingParent {
            gauges.extend([&book.total, &book.lanes[record.lane]]);
            let key = record.plan.key.map(usize::from);
            gauges.extend(key.map(|key| &book.keys[record.lane][key]));
        }
        for gauge in &gauges {
            gauge.enter();
        }
        Self(gauges)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        for gauge in &self.0 {
            gauge.leave();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

//! What is happening in each lane right now: the numbers behind the progress display, the final table and the
//! question whether anything still runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::outcome::Status;

/// Counts of one lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneCounts {
    pub(crate) name: String,
    /// Read, not running, not ended.
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    /// Completed, as expected.
    pub(crate) done: u64,
    /// Failed or expired, or completed against expectation.
    pub(crate) failed: u64,
    /// Timed out unexpectedly.
    pub(crate) timed_out: u64,
    /// Failed, timed out or expired, as the line expected.
    pub(crate) expected: u64,
    /// Attempts beyond the first of a command.
    pub(crate) retried: u64,
    /// Read but never started.
    pub(crate) not_run: u64,
    /// The command that started last.
    pub(crate) latest: String,
}

impl LaneCounts {
    fn count(&mut self, status: Status, ok: bool) {
        match (status, ok) {
            (Status::Completed, true) => self.done += 1,
            (Status::Failed | Status::Timeout | Status::Expired, true) => self.expected += 1,
            (Status::Completed | Status::Failed | Status::Expired, false) => self.failed += 1,
            (Status::Timeout, false) => self.timed_out += 1,
            (Status::NotRun, _) => self.not_run += 1,
        }
    }

    /// Adds the numbers of another lane; name and latest command stay.
    pub(crate) fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.done += other.done;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.expected += other.expected;
        self.retried += other.retried;
        self.not_run += other.not_run;
    }

    /// Commands that ended, in whatever way.
    pub(crate) fn ended(&self) -> u64 {
        self.done + self.failed + self.timed_out + self.expected + self.not_run
    }
}

/// Shared by the run loop and all running commands.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    running: usize,
    lanes: Vec<LaneCounts>,
}

impl State {
    fn begin(&mut self, lane: usize, is_retry: bool, description: &str) {
        self.running += 1;
        let counts = &mut self.lanes[lane];
        counts.waiting -= 1;
        counts.running += 1;
        counts.retried += u64::from(is_retry);
        description.clone_into(&mut counts.latest);
    }
}

impl Board {
    /// No attempt begins once `stop` is cancelled.
    pub(crate) fn new(config: &Config, stop: CancellationToken) -> Self {
        let lanes = config.lanes.iter().map(|lane| LaneCounts {
            name: lane.name.clone(),
            ..LaneCounts::default()
        });
        Self {
            state: Mutex::new(State {
                running: 0,
                lanes: lanes.collect(),
            }),
            stop,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command was read.
    pub(crate) fn admit(&self, lane: usize) {
        self.lock().lanes[lane].waiting += 1;
    }

    /// An attempt wants to start; `false` once the run was stopped.
    pub(crate) fn begin(&self, lane: usize, is_retry: bool, description: &str) -> bool {
        let mut state = self.lock();
        if self.stop.is_cancelled() {
            return false;
        }
        state.begin(lane, is_retry, description);
        true
    }

    /// As [`begin`](Self::begin), for a command that is stored: once the run was stopped its lane stops it too, and it stays
    /// stored.
    pub(crate) fn begin_stored(&self, lane: usize, is_retry: bool, description: &str) {
        self.lock().begin(lane, is_retry, description);
    }

    /// An attempt that began has ended; its command waits to be settled or retried.
    pub(crate) fn end(&self, lane: usize) {
        let mut state = self.lock();
        state.running -= 1;
        let counts = &mut state.lanes[lane];
        counts.running -= 1;
        counts.waiting += 1;
    }

    /// A command has reached its outcome.
    pub(crate) fn settle(&self, lane: usize, status: Status, ok: bool) {
        let counts = &mut self.lock().lanes[lane];
        counts.waiting -= 1;
        counts.count(status, ok);
    }

    /// From now on no attempt begins.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether no attempt begins any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Attempts that run now.
    pub(crate) fn running(&self) -> usize {
        self.lock().running
    }

    /// The counts of every lane, in the order of the configuration.
    pub(crate) fn lanes(&self) -> Vec<LaneCounts> {
        self.lock().lanes.clone()
    }
}

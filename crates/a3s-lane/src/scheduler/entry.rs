//! A command inside the scheduler. What it says of itself, in a line or two each, is in `answers`.

mod answers;
mod terms;

use super::decision::{CommandKey, LaneKey, StopReason};
use super::lane::LanePolicy;
pub(crate) use terms::Terms;

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Delayed,
    /// Found too old to start; out of its lane's queue, it leaves with the next tick.
    Expired,
    Running,
    /// Asked to stop; its body may go on until the grace period ends.
    Asked,
    /// Its body must be dropped; the run is concluded without it when that takes too long.
    Dropped,
    /// Its run is over; it holds the slot until `release`.
    Concluded,
}

/// What `release` does with a concluded command. Kept after that: the queue orders by it (`lane/flow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Leave,
    /// It goes back into its lane, behind the others of its key and priority.
    Retry,
    /// It goes back into its lane, before the others of its key and priority.
    Preempted,
}

/// Kept small: a queue may hold a million. What few commands need is in `terms`.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) job: T,
    pub(super) serial: u64,
    pub(super) submitted_at: u64,
    /// By state. Ready: since when. Running, Asked, Dropped: when the run started. Concluded with a retry: the delay. Else nothing.
    pub(super) time: u64,
    pub(super) terms: Option<Box<Terms>>,
    /// Neighbours in the lane's queue, or among those that run.
    pub(super) next: u32,
    pub(super) prev: u32,
    pub(super) lane: LaneKey,
    /// How often it was started.
    pub(super) run: u32,
    pub(super) state: State,
    /// Why this run is to end early, if it is. `conclude` takes it; what comes between that and `release` is a cancel.
    pub(super) stop: Option<StopReason>,
    pub(super) after: After,
}

impl<T> Entry<T> {
    pub(super) fn holds_slot(&self) -> bool {
        !matches!(self.state, State::Ready | State::Delayed | State::Expired)
    }

    /// Whether this is its run, and not over.
    pub(super) fn is_running(&self, key: CommandKey, run: u32) -> bool {
        self.serial == key.serial
            && self.run == run
            && matches!(self.state, State::Running | State::Asked | State::Dropped)
    }

    /// A run begins in a lane with this policy. Returns how long it may take, and how long it may give no sign of life.
    #[inline]
    pub(super) fn begin_run(
        &mut self,
        policy: &LanePolicy,
        now: u64,
    ) -> (Option<u64>, Option<u64>) {
        self.state = State::Running;
        self.run = self.run.saturating_add(1);
        self.time = now;
        if policy.progress_ns.is_some() {
            // To note signs of life.
            self.terms.get_or_insert_default();
        }
        let Some(terms) = &mut self.terms else {
            return (policy.timeout_ns, None);
        };
        // It was started in time; a retry has all the time that it needs.
        terms.expires_at = None;
        // What `set_policy` noted was for an earlier run: this one has the lane's present limit.
        terms.notes.timeout_ns = None;
        terms.notes.progress_ns = terms.progress_ns.or(policy.progress_ns);
        terms.notes.beat = now;
        // `Some(None)`: no limit, whatever the lane says.
        let timeout_ns = terms.timeout_ns.unwrap_or(policy.timeout_ns);
        (timeout_ns, terms.notes.progress_ns)
    }
}

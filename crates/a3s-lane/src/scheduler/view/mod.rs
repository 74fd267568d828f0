//! What the scheduler says about itself.

mod explain;

use std::sync::Arc;

use hashbrown::HashSet;

use super::Scheduler;
use super::decision::{CommandKey, LaneKey, StopReason};
use super::entry::{Entry, State, Terms};
use super::lane::LaneState;
use crate::config::Overflow;

pub(crate) use explain::{Explained, Obstacle};

/// The scheduler as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overview<'a> {
    pub(crate) open: bool,
    pub(crate) total: Option<usize>,
    /// Commands that wait, and shares of the total that are in use: as many as commands that hold a slot, less those that run
    /// on the share of another.
    pub(crate) pending: usize,
    pub(crate) active: usize,
    pub(crate) paused_keys: &'a HashSet<Arc<str>>,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct LaneView<'a, T> {
    pub(super) scheduler: &'a Scheduler<T>,
    lane: LaneKey,
    pub(crate) counts: LaneCounts,
    /// Its own priority.
    pub(crate) priority: u8,
    pub(crate) paused: bool,
    /// No other lane has come in its place yet.
    pub(crate) removed: bool,
    /// How many commands it may hold, and what happens to one more.
    pub(crate) max_pending: Option<(usize, Overflow)>,
    /// How many commands it could give up for new ones.
    pub(crate) can_drop: usize,
}

/// The counts of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    /// Ready, delayed and expired commands.
    pub(crate) pending: usize,
    /// Slots in use; not the shares of [`Overview`].
    pub(crate) active: usize,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

/// One command, with what the caller keeps with it.
#[derive(Debug)]
pub(crate) struct CommandView<'a, T> {
    pub(crate) key: CommandKey,
    pub(crate) lane: LaneKey,
    pub(crate) job: &'a T,
    /// Runs that count as attempts, the present one included.
    pub(crate) attempts: u32,
    pub(crate) fairness_key: Option<&'a Arc<str>>,
    /// What it asks for; `None` for nothing.
    pub(crate) terms: Option<&'a Terms>,
    /// Concluded, it waits so long before it runs again, in nanoseconds.
    pub(crate) retry_delay: u64,
    /// It waits for a time.
    pub(crate) delayed: bool,
    pub(crate) holds_slot: bool,
}

/// A running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningAttempt {
    pub(crate) lane: LaneKey,
    pub(crate) attempt: u32,
    pub(crate) started_at: u64,
    /// Why it was asked to stop, if it was.
    pub(crate) stop: Option<StopReason>,
    /// Its body must be dropped.
    pub(crate) drop: bool,
    /// Its time limits.
    pub(crate) timeout_ns: Option<u64>,
    pub(crate) progress_ns: Option<u64>,
}

impl<T> Scheduler<T> {
    /// When [`tick`](Self::tick), or [`preempt`](Self::preempt), has something to do next.
    #[inline]
    pub(crate) fn next_wake(&self) -> Option<u64> {
        // Asked after every step: mostly there is no timer.
        if self.blocks.is_empty() && self.timers.is_empty() && !self.may_preempt() {
            return None;
        }
        self.earliest_wake()
    }

    fn earliest_wake(&self) -> Option<u64> {
        let block = self.blocks.peek().map(|(at, _)| at);
        let timer = self.timers.peek().map(|((at, _), _)| at);
        // A lane that grows more urgent may preempt: nothing else tells when.
        let preempts = self.open && self.may_preempt();
        let boost = self.boosts.peek().filter(|_| preempts);
        let boost = boost.map(|(at, _)| at);
        [block, timer, boost].into_iter().flatten().min()
    }

    /// The counts and settings that are of no lane.
    #[inline]
    pub(crate) fn overview(&self) -> Overview<'_> {
        Overview {
            open: self.open,
            total: self.has_total().then_some(self.total),
            pending: self.pending,
            active: self.shares,
            paused_keys: &self.paused_keys,
        }
    }

    /// The counts and settings of a lane.
    #[inline]
    pub(crate) fn lane(&self, lane: LaneKey) -> LaneView<'_, T> {
        let state = &self.lanes[lane.index()];
        let policy = &state.policy;
        LaneView {
            scheduler: self,
            lane,
            counts: LaneCounts {
                pending: state.pending(),
                active: state.slots,
                min: policy.min,
                max: policy.max,
            },
            priority: policy.priority,
            paused: state.paused,
            removed: state.removed,
            max_pending: policy.max_pending.map(|max| (max, policy.overflow)),
            can_drop: state.unfavoured(),
        }
    }

    /// All commands, in no order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = CommandView<'_, T>> {
        let entries = self.entries.iter();
        entries.map(|(place, entry)| CommandView::new(place, entry))
    }

    /// A command; `None` once it is gone.
    pub(crate) fn command(&self, key: CommandKey) -> Option<CommandView<'_, T>> {
        let entry = self.entries.alive(key)?;
        Some(CommandView::new(key.place, entry))
    }

    /// What the caller keeps with a command, to change it.
    pub(crate) fn job_mut(&mut self, key: CommandKey) -> Option<&mut T> {
        let entry = self.entries.alive_mut(key)?;
        Some(&mut entry.job)
    }

    /// A running attempt; `None` when it is not running any more.
    pub(crate) fn running_attempt(&self, key: CommandKey, run: u32) -> Option<RunningAttempt> {
        let entry = self.entries.get(key.place)?;
        let terms = entry.terms.as_deref();
        entry.is_running(key, run).then(|| RunningAttempt {
            lane: entry.lane,
            attempt: entry.attempt(),
            started_at: entry.started_at(),
            stop: entry.stop,
            drop: entry.state == State::Dropped,
            timeout_ns: entry.timeout_ns(self.lanes[entry.lane.index()].policy.timeout_ns),
            progress_ns: terms.and_then(|terms| terms.notes.progress_ns),
        })
    }
}

impl<T> LaneView<'_, T> {
    pub(super) fn state(&self) -> &LaneState {
        &self.scheduler.lanes[self.lane.index()]
    }

    /// The priority, with the boost that the oldest command gives.
    pub(crate) fn effective_priority(&self, now: u64) -> u8 {
        self.state().effective_priority(now)
    }

    /// How long the command has been ready that became ready first, in nanoseconds; 0 when none is, or waits are not kept.
    #[cfg(feature = "metrics")]
    pub(crate) fn longest_wait(&self, now: u64) -> u64 {
        let waits = self.state().waits.as_ref();
        let since = waits.and_then(|waits| waits.since(&self.scheduler.entries));
        since.map_or(0, |since| now.saturating_sub(since))
    }
}

impl<'a, T> CommandView<'a, T> {
    fn new(place: u32, entry: &'a Entry<T>) -> Self {
        let terms = entry.terms.as_deref();
        Self {
            key: entry.key(place),
            lane: entry.lane,
            job: &entry.job,
            attempts: entry.attempt(),
            fairness_key: terms.and_then(|terms| terms.key.as_ref()),
            terms,
            retry_delay: entry.retry_delay(),
            delayed: entry.state == State::Delayed,
            holds_slot: entry.holds_slot(),
        }
    }
}

//! What the scheduler says about itself.

use super::Scheduler;
use super::decision::{CommandKey, LaneCounts, LaneKey, RunningAttempt};
use super::entry::{After, State};
use super::terms::Terms;
use crate::config::Overflow;

impl<T> Scheduler<T> {
    /// Every command that holds a slot.
    pub(crate) fn running(&self) -> impl Iterator<Item = CommandKey> + '_ {
        let running = self.entries.iter().filter(|(_, entry)| entry.holds_slot());
        running.map(|(place, entry)| entry.key(place))
    }

    /// What the caller keeps with a command; `None` once it is gone.
    pub(crate) fn job(&self, key: CommandKey) -> Option<&T> {
        let entry = self.entries.get(key.place)?;
        (entry.serial == key.serial).then_some(&entry.job)
    }

    /// As [`job`](Self::job), to change it.
    pub(crate) fn job_mut(&mut self, key: CommandKey) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.place)?;
        (entry.serial == key.serial).then_some(&mut entry.job)
    }

    /// What a command asks for; `None` for nothing.
    pub(crate) fn terms(&self, key: CommandKey) -> Option<&Terms> {
        let entry = self.entries.get(key.slot)?;
        entry
            .terms
            .as_deref()
            .filter(|_| entry.serial == key.serial)
    }

    /// How long a concluded command waits before it runs again, in nanoseconds.
    pub(crate) fn retry_delay(&self, key: CommandKey) -> u64 {
        let entry = self.entries.get(key.slot);
        let entry = entry.filter(|entry| {
            entry.serial == key.serial
                && entry.state == State::Concluded
                && entry.after == After::Back
        });
        entry.map_or(0, |entry| entry.since)
    }

    /// Runs of a command that count as attempts.
    pub(crate) fn attempts(&self, key: CommandKey) -> u32 {
        let entry = self.entries.get(key.place);
        let entry = entry.filter(|entry| entry.serial == key.serial);
        entry.map_or(0, |entry| entry.attempt())
    }

    /// Whether a command waits for a time.
    pub(crate) fn is_delayed(&self, key: CommandKey) -> bool {
        let entry = self.entries.get(key.place);
        entry.is_some_and(|entry| entry.serial == key.serial && entry.state == State::Delayed)
    }

    /// A running attempt; `None` when it is not running any more.
    pub(crate) fn running_attempt(&self, key: CommandKey, run: u32) -> Option<RunningAttempt> {
        let entry = self.entries.get(key.place)?;
        let terms = entry.terms.as_deref();
        entry.is_running(key, run).then(|| RunningAttempt {
            lane: entry.lane,
            attempt: entry.attempt(),
            started_at: entry.since,
            stop: entry.stop,
            drop: entry.state == State::Dropped,
            timeout_ns: entry.timeout_ns(self.lanes[entry.lane.index()].policy.timeout_ns),
            progress_ns: terms.and_then(|terms| terms.silence_ns),
        })
    }

    /// Keeps note of how long commands wait, in lanes that are added from now on.
    #[cfg(feature = "metrics")]
    pub(crate) fn keep_waits(&mut self) {
        self.keeps_waits = true;
    }

    /// How long the command of a lane has been ready that became ready first, in nanoseconds; 0 when none is.
    #[cfg(feature = "metrics")]
    pub(crate) fn longest_wait(&self, lane: LaneKey, now: u64) -> u64 {
        let since = self.lanes[lane.index()].waits_since(&self.entries);
        since.map_or(0, |since| now.saturating_sub(since))
    }

    /// How many commands a lane may hold, and what happens to one more.
    pub(crate) fn max_pending(&self, lane: LaneKey) -> Option<(usize, Overflow)> {
        let policy = &self.lanes[lane.index()].policy;
        Some((policy.max_pending?, policy.overflow))
    }

    /// Whether a full lane has a command to give up for a new one.
    pub(crate) fn can_drop(&self, lane: LaneKey) -> bool {
        self.lanes[lane.index()].oldest_of_all().is_some()
    }

    /// Commands that wait, over all lanes.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Commands that hold a slot, over all lanes.
    pub(crate) fn active(&self) -> usize {
        self.active
    }

    pub(crate) fn counts(&self, lane: LaneKey) -> LaneCounts {
        let state = &self.lanes[lane.index()];
        LaneCounts {
            pending: state.pending(),
            active: state.active,
            min: state.policy.min,
            max: state.policy.max,
        }
    }

    /// The lane's own priority.
    pub(crate) fn priority(&self, lane: LaneKey) -> u8 {
        self.lanes[lane.index()].policy.priority
    }

    pub(crate) fn effective_priority(&self, lane: LaneKey, now: u64) -> u8 {
        self.lanes[lane.index()].effective_priority(now)
    }

    /// Whether the lane's last pending command has left, other than by a start, after pressure was reported.
    pub(crate) fn relieve(&mut self, lane: LaneKey) -> bool {
        let state = &mut self.lanes[lane.index()];
        state.pending() == 0 && std::mem::take(&mut state.pressed)
    }
}

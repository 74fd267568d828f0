//! A command inside the scheduler.

use super::decision::{CommandKey, LaneKey};

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Delayed,
    Running,
    /// Running past its deadline; the slot is taken away when the grace period ends.
    Overdue,
    Concluded,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) job: T,
    pub(super) serial: u64,
    pub(super) submitted_at: u64,
    /// When it last became ready; the wait of the next attempt counts from here.
    pub(super) ready_at: u64,
    /// How long to wait for the retry that `conclude` decided on; `u64::MAX` when the command is settled.
    pub(super) retry_delay: u64,
    pub(super) next: u32,
    pub(super) lane: LaneKey,
    /// Attempts made, the current one included.
    pub(super) attempt: u32,
    pub(super) state: State,
}

impl<T> Entry<T> {
    pub(super) fn is_running(&self, key: CommandKey, attempt: u32) -> bool {
        self.serial == key.serial
            && self.attempt == attempt
            && matches!(self.state, State::Running | State::Overdue)
    }
}

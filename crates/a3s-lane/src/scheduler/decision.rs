//! What the scheduler is asked with and what it answers.

/// A lane of one scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey(pub(super) u32);

impl LaneKey {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A command of one scheduler. Never valid again once the command is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommandKey {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

impl CommandKey {
    /// The number that [`Scheduler::reserve`] drew for this command.
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

/// A command was accepted.
#[derive(Debug)]
pub(crate) struct Submitted {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the handle of a command, for cancel and explain")
    )]
    pub(crate) key: CommandKey,
    /// The lane just reached its pressure threshold.
    pub(crate) pressure: bool,
}

/// Start this command now: it holds a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) key: CommandKey,
    pub(crate) lane: LaneKey,
    /// Counted from 1.
    pub(crate) attempt: u32,
    pub(crate) wait_ns: u64,
    /// The lane's time limit for this attempt.
    pub(crate) timeout_ns: Option<u64>,
    /// The lane's last pending command left after pressure was reported.
    pub(crate) relieved: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    Failed,
    /// Failed in a way that no retry can mend.
    Unrecoverable,
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command has its final outcome.
    Settle,
    /// It runs again; `attempt` is the number of the retry, from 1.
    Retry { attempt: u32 },
}

/// What `release` did with the entry.
#[derive(Debug)]
pub(crate) enum Released<T> {
    Settled(T),
    Requeued,
}

/// A running command met its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask the attempt to stop.
    Deadline(CommandKey),
    /// This attempt did not stop in time: conclude it without its help.
    Overrun(CommandKey, u32),
}

/// What is known of a running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningAttempt {
    pub(crate) lane: LaneKey,
    /// Its time limit has passed.
    pub(crate) overdue: bool,
    /// The lane's present time limit.
    pub(crate) timeout_ns: Option<u64>,
}

/// The counts of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    /// Ready and delayed commands.
    pub(crate) pending: usize,
    pub(crate) active: usize,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

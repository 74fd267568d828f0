//! What the scheduler is asked with and what it answers.

pub(crate) use crate::command::StopReason;

/// A lane of one scheduler. A removed lane's key may come to mean another lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey(pub(super) u32);

impl LaneKey {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A command of one scheduler, in the order of submission. Never valid again once the command is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommandKey {
    pub(super) serial: u64,
    pub(super) place: u32,
}

impl CommandKey {
    /// The number that [`Scheduler::draw_serial`](super::Scheduler::draw_serial) drew for this command.
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

/// A command was accepted.
#[derive(Debug)]
pub(crate) struct Submitted<T> {
    pub(crate) key: CommandKey,
    /// The lane just reached its pressure threshold.
    pub(crate) pressure: bool,
    /// The command that left to make room.
    pub(crate) evicted: Option<(CommandKey, T)>,
}

/// Start this command now: it holds a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) key: CommandKey,
    pub(crate) lane: LaneKey,
    /// Tells this start from every other one of the same command.
    pub(crate) run: u32,
    /// Counted from 1; a preempted run is not counted.
    pub(crate) attempt: u32,
    pub(crate) wait_ns: u64,
    /// The time limit of this attempt.
    pub(crate) timeout_ns: Option<u64>,
    /// Its longest time without a sign of life.
    pub(crate) progress_ns: Option<u64>,
    /// The body may be left behind when it blocks its thread: it can be stopped without its help.
    pub(crate) stoppable: bool,
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
    /// The command has its final outcome: the attempt's own.
    Settle,
    /// The command was cancelled.
    Cancelled,
    /// It leaves without an outcome: the queue ends, and a storage keeps it.
    Withdrawn,
    /// It runs again; `attempt` is the number of the retry, from 1.
    Retry { attempt: u32 },
    /// It runs again, before the others of its key and priority, and this attempt is not counted.
    Preempted,
}

impl Verdict {
    /// Whether the command stays in the scheduler.
    pub(crate) fn requeues(self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Preempted)
    }
}

/// What `release` did with the entry.
#[derive(Debug)]
pub(crate) enum Released<T> {
    Settled(T),
    /// It would have run again, but was cancelled since the verdict.
    Cancelled(T),
    Requeued,
}

/// What `stop` did.
#[derive(Debug)]
pub(crate) enum Stopped<T> {
    /// No such command, or its outcome is decided.
    Gone,
    /// It was waiting and has left.
    Left(LaneKey, T),
    /// It runs and must be asked to stop; with `drop` its body must be dropped at once.
    Asked { drop: bool },
    /// It runs and was asked before, or has run and would run again.
    Already,
}

/// Something is due.
#[derive(Debug)]
pub(crate) enum Due<T> {
    /// The attempt met its time limit: drop its body.
    Deadline(CommandKey),
    /// The attempt gave no sign of life for too long: drop its body.
    Stalled(CommandKey),
    /// The attempt had its grace after it was asked to stop: drop its body.
    Drop(CommandKey, StopReason),
    /// This run did not give up its body in time: conclude it without its help.
    Overrun(CommandKey, u32),
    /// The command was not started in time; it has left.
    Expired(CommandKey, LaneKey, T),
}

//! What callers get back from the scheduler, and a few things that they pass in.

pub(super) use super::collections::CommandKey;
pub(super) use super::lane::LaneKey;
/// `Cancel`, `Preempt`, `Shutdown` (the queue ends), `Deadline` (its time limit), `Stall` (silence).
pub(crate) use crate::command::StopReason;

/// A command was accepted.
#[derive(Debug)]
pub(crate) struct Submitted<T> {
    pub(crate) key: CommandKey,
    /// This made the lane *pressed*, as its pressure threshold was reached: it stays so until nothing waits in it.
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
    /// This run may be concluded before its body ends, by a limit or a preemption: keep what a second run needs, as the body may
    /// still hold it.
    pub(crate) may_overlap: bool,
    /// The lane was pressed, and is no more.
    pub(crate) relieved: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    /// Also where its body was dropped.
    Failed,
    /// Failed in a way that no retry can mend.
    Unrecoverable,
}

/// What follows the end of an attempt. With the first three the command leaves at `release`; with the last two it runs again,
/// unless it is cancelled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command has its final outcome: the attempt's own.
    Settle,
    Cancelled,
    /// It was running and leaves without an outcome: the queue ends, and a storage keeps it.
    Withdrawn,
    /// It runs again; `attempt` is the number of the attempt that has ended, from 1.
    Retry {
        attempt: u32,
    },
    /// It runs again, before the others of its key and priority, and this attempt is not counted.
    Preempted,
}

impl Verdict {
    /// Whether the command stays in the scheduler.
    pub(crate) fn requeues(self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Preempted)
    }
}

/// What `release` did with the command.
#[derive(Debug)]
pub(crate) enum Released<T> {
    /// As the verdict said.
    Left(T),
    /// It would have run again, but was cancelled since the verdict, and has left.
    CancelledLate(T),
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
    /// It was asked or dropped before, or is concluded and would run again. The first reason stays, but a cancel replaces it: then it does
    /// not run again.
    Already,
}

/// Something is due for a command. After the first three, drop the body of its run.
#[derive(Debug)]
pub(crate) enum Due<T> {
    /// It met its time limit.
    Deadline(CommandKey),
    /// It gave no sign of life for too long.
    Stalled(CommandKey),
    /// It was asked to stop, and its grace or its time limit is over.
    Drop(CommandKey, StopReason),
    /// The body of this run should have been dropped and was not: conclude the run without it. The caller may let a preempted run
    /// go on whose command it could not run again without that body; then a cancel tells this again.
    Overrun(CommandKey, u32),
    /// The command was not started in time; it has left.
    Expired(CommandKey, LaneKey, T),
}

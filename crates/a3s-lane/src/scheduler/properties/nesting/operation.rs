//! What happens to random families.

use super::super::rules::{CommandRules, LaneRules, Rate};
use crate::scheduler::{Ending, StopReason};

/// The lanes and the total that a run begins with.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) lanes: Vec<LaneRules>,
    pub(super) total: Option<usize>,
}

/// One random operation. A pick chooses one of the commands that it can mean.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Submit {
        lane: u8,
        rules: CommandRules,
    },
    /// A running body submits a child, and may wait for it at once.
    Spawn {
        pick: u8,
        lane: u8,
        rules: CommandRules,
        waits: bool,
    },
    Await {
        pick: u8,
    },
    Leave {
        pick: u8,
    },
    /// A body stops to wait for a command that it does not wait for.
    LeaveOther {
        pick: u8,
        other: u8,
    },
    Next(u8),
    Settle,
    /// A body ends; `waiting` chooses among all, else only among those that do not stand still.
    Conclude {
        pick: u8,
        waiting: bool,
        ending: Ending,
        release: bool,
    },
    Release {
        pick: u8,
    },
    Abandon {
        pick: u8,
    },
    Stop {
        pick: u8,
        reason: StopReason,
    },
    Advance(u64),
    PauseLane {
        lane: u8,
        paused: bool,
    },
    PauseKey {
        key: u8,
        paused: bool,
    },
    SetTotal(Option<usize>),
    /// Another limit on the starts of a lane.
    SetRate {
        lane: u8,
        rate: Option<Rate>,
    },
    TakeWaiting,
}

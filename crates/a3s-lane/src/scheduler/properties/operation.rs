//! Random operations.

use proptest::prelude::*;

use super::rules::{LaneRules, lane_rules};
use crate::scheduler::Ending;

/// One call, or a few, of the scheduler's interface. Lanes and commands are picked by a number that is taken modulo
/// how many there are.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Submit {
        lane: u8,
        count: u8,
    },
    /// Asks for up to this many starts.
    Next(u8),
    /// Handles what is due and asks for starts until there are none.
    Settle,
    Conclude {
        pick: u8,
        ending: Ending,
        release: bool,
    },
    Release {
        pick: u8,
    },
    /// Ends an attempt that is not the running one.
    ConcludeStale {
        pick: u8,
        attempt: u32,
    },
    Abandon {
        pick: u8,
        concluded: bool,
    },
    AbandonStale {
        pick: u8,
        attempt: u32,
    },
    Tick,
    Advance(Jump),
    SetPolicy {
        lane: u8,
        rules: LaneRules,
    },
    AddLane(LaneRules),
    Open,
    TakeWaiting,
}

/// How far the time goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Jump {
    Ns(u64),
    /// To the next wake-up, or one nanosecond before or after.
    Wake(i8),
}

pub(super) fn ops(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), length)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => (any::<u8>(), 1u8..4).prop_map(|(lane, count)| Op::Submit { lane, count }),
        12 => (1u8..4).prop_map(Op::Next),
        10 => Just(Op::Settle),
        24 => (any::<u8>(), ending(), prop::bool::weighted(0.7))
            .prop_map(|(pick, ending, release)| Op::Conclude { pick, ending, release }),
        10 => any::<u8>().prop_map(|pick| Op::Release { pick }),
        3 => (any::<u8>(), 0u32..4).prop_map(|(pick, attempt)| Op::ConcludeStale { pick, attempt }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(pick, concluded)| Op::Abandon { pick, concluded }),
        2 => (any::<u8>(), 0u32..4).prop_map(|(pick, attempt)| Op::AbandonStale { pick, attempt }),
        8 => Just(Op::Tick),
        20 => jump().prop_map(Op::Advance),
        3 => (any::<u8>(), lane_rules()).prop_map(|(lane, rules)| Op::SetPolicy { lane, rules }),
        1 => lane_rules().prop_map(Op::AddLane),
        2 => Just(Op::Open),
        1 => prop::bool::weighted(0.3).prop_map(|take| if take { Op::TakeWaiting } else { Op::Settle }),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![2 => Just(Ending::Completed), 4 => Just(Ending::Failed), 1 => Just(Ending::Unrecoverable)]
}

fn jump() -> impl Strategy<Value = Jump> {
    prop_oneof![
        3 => (0u64..8).prop_map(Jump::Ns),
        3 => (8u64..120).prop_map(Jump::Ns),
        1 => (1u64..30_000_000).prop_map(Jump::Ns),
        4 => (-1i8..=1).prop_map(Jump::Wake),
    ]
}

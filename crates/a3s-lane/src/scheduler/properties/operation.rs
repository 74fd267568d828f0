//! Random operations.

use proptest::prelude::*;

use super::rules::{CommandRules, LaneRules, LimiterRules};
use super::strategies::{command_rules, lane_rules, limiter_rules, total};
use crate::scheduler::{Ending, StopReason};

/// One call, or a few, of the scheduler's interface. Lanes, commands and limiters are picked by a number that is taken
/// modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Submit {
        lane: u8,
        count: u8,
        rules: CommandRules,
        /// Serials are drawn in one order and used in the other, as by two threads.
        backwards: bool,
    },
    /// A running body submits a child, and may wait for it at once.
    Spawn {
        pick: u8,
        lane: u8,
        rules: CommandRules,
        waits: bool,
    },
    /// A body waits for a child of its command, or for any command, as of this run or another.
    Await {
        pick: u8,
        any: bool,
        run: u32,
    },
    /// A body waits no more for a child that it awaits, or for any command.
    Leave {
        pick: u8,
        any: bool,
        run: u32,
    },
    /// A body that waits for nobody ends.
    EndLeaf {
        pick: u8,
        ending: Ending,
    },
    /// Asks for up to this many starts.
    Next(u8),
    /// Asks for starts until there are none, then for up to this many commands that must make room.
    Preempt(u8),
    /// Handles what is due, then asks for starts and for commands that must make room until there are none.
    Settle,
    /// Ends up to this many runs.
    Conclude {
        pick: u8,
        count: u8,
        ending: Ending,
        random: u64,
        release: bool,
    },
    /// Works as an engine does: settles, then ends and releases one run, so many times, with some time in between.
    Work {
        pick: u8,
        count: u8,
        ending: Ending,
        random: u64,
        ns: u64,
    },
    Release {
        pick: u8,
    },
    /// Ends a run that is not the present one.
    ConcludeStale {
        pick: u8,
        run: u32,
    },
    Abandon {
        pick: u8,
        concluded: bool,
    },
    AbandonStale {
        pick: u8,
        run: u32,
    },
    /// Stops any command there ever was.
    Stop {
        pick: u8,
        reason: StopReason,
    },
    /// Stops a command that holds a slot.
    StopHolding {
        pick: u8,
        reason: StopReason,
        concluded: bool,
    },
    Beat {
        pick: u8,
    },
    BeatStale {
        pick: u8,
        run: u32,
    },
    /// Settles the cost of a run, of one that a limiter has charged if there is one.
    SettleCost {
        pick: u8,
        actual: u64,
    },
    SettleCostStale {
        pick: u8,
        run: u32,
    },
    Tick,
    Advance(Jump),
    PauseLane {
        lane: u8,
        paused: bool,
    },
    PauseKey {
        key: u8,
        paused: bool,
    },
    SetTotal(Option<usize>),
    SetPolicy {
        lane: u8,
        rules: LaneRules,
    },
    SetLimiter {
        limiter: u8,
        rules: LimiterRules,
    },
    AddLane(LaneRules),
    /// Removes a lane, one without commands if there is one.
    RemoveLane {
        lane: u8,
    },
    Relieve {
        lane: u8,
    },
    Open,
    Close,
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
        34 => submit(),
        46 => decide(),
        20 => conclude(),
        14 => work(),
        8 => any::<u8>().prop_map(|pick| Op::Release { pick }),
        26 => jump().prop_map(Op::Advance),
        26 => touch(),
        4 => stale(),
        8 => configure(),
        3 => rare(),
    ]
}

fn submit() -> impl Strategy<Value = Op> {
    (
        any::<u8>(),
        1u8..5,
        command_rules(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(lane, count, rules, backwards)| Op::Submit {
            lane,
            count,
            rules,
            backwards,
        })
}

fn conclude() -> impl Strategy<Value = Op> {
    let release = prop::bool::weighted(0.85);
    (any::<u8>(), 1u8..3, ending(), any::<u64>(), release).prop_map(
        |(pick, count, ending, random, release)| Op::Conclude {
            pick,
            count,
            ending,
            random,
            release,
        },
    )
}

fn work() -> impl Strategy<Value = Op> {
    let ns = prop_oneof![2 => Just(0), 1 => 1u64..20];
    (any::<u8>(), 2u8..6, ending(), any::<u64>(), ns).prop_map(
        |(pick, count, ending, random, ns)| Op::Work {
            pick,
            count,
            ending,
            random,
            ns,
        },
    )
}

/// Questions.
fn decide() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (1u8..6).prop_map(Op::Next),
        10 => (1u8..4).prop_map(Op::Preempt),
        14 => Just(Op::Settle),
        6 => Just(Op::Tick),
    ]
}

/// What happens to single commands.
fn touch() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<u8>(), reason()).prop_map(|(pick, reason)| Op::Stop { pick, reason }),
        18 => (any::<u8>(), reason(), prop::bool::weighted(0.5))
            .prop_map(|(pick, reason, concluded)| Op::StopHolding { pick, reason, concluded }),
        6 => any::<u8>().prop_map(|pick| Op::Beat { pick }),
        12 => (any::<u8>(), 0u64..8).prop_map(|(pick, actual)| Op::SettleCost { pick, actual }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, concluded)| Op::Abandon { pick, concluded }),
    ]
}

/// Calls that come too late.
fn stale() -> impl Strategy<Value = Op> {
    let one = (any::<u8>(), 0u32..4);
    prop_oneof![
        2 => one.clone().prop_map(|(pick, run)| Op::ConcludeStale { pick, run }),
        1 => one.clone().prop_map(|(pick, run)| Op::AbandonStale { pick, run }),
        1 => one.clone().prop_map(|(pick, run)| Op::BeatStale { pick, run }),
        1 => one.prop_map(|(pick, run)| Op::SettleCostStale { pick, run }),
    ]
}

fn configure() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<u8>(), lane_rules()).prop_map(|(lane, rules)| Op::SetPolicy { lane, rules }),
        1 => (any::<u8>(), limiter_rules()).prop_map(|(limiter, rules)| Op::SetLimiter { limiter, rules }),
        2 => total().prop_map(Op::SetTotal),
        2 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(lane, paused)| Op::PauseLane { lane, paused }),
        2 => (0u8..4, prop::bool::weighted(0.3)).prop_map(|(key, paused)| Op::PauseKey { key, paused }),
        2 => lane_rules().prop_map(Op::AddLane),
        2 => any::<u8>().prop_map(|lane| Op::RemoveLane { lane }),
        1 => any::<u8>().prop_map(|lane| Op::Relieve { lane }),
    ]
}

fn rare() -> impl Strategy<Value = Op> {
    prop_oneof![12 => Just(Op::Open), 1 => Just(Op::Close), 1 => Just(Op::TakeWaiting)]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![2 => Just(Ending::Completed), 4 => Just(Ending::Failed), 1 => Just(Ending::Unrecoverable)]
}

fn reason() -> impl Strategy<Value = StopReason> {
    prop_oneof![2 => Just(StopReason::Cancel), 1 => Just(StopReason::Shutdown)]
}

fn jump() -> impl Strategy<Value = Jump> {
    prop_oneof![
        3 => (0u64..8).prop_map(Jump::Ns),
        2 => (8u64..120).prop_map(Jump::Ns),
        1 => (1u64..30_000_000).prop_map(Jump::Ns),
        6 => (-1i8..=1).prop_map(Jump::Wake),
    ]
}

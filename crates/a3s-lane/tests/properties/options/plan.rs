//! Random lanes, commands and steps that use every option of a submission and every control of a live queue.

use std::time::Duration;

use proptest::prelude::*;

use super::commands::{CommandPlan, Way, command};
#[cfg(feature = "distributed")]
use super::lanes::{LIMITERS, LimiterPlan, limiter};
use super::lanes::{LanePlan, lane};
use crate::plan::Threads;

pub(crate) const LANES: usize = 3;
pub(crate) const KEYS: u8 = 2;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Start,
    Submit(usize, CommandPlan),
    /// Without options.
    SubmitPlain(usize, CommandPlan),
    SubmitMany(usize, Vec<CommandPlan>),
    /// A submitter that waits for room does so no more.
    GiveUp(usize),
    Cancel(usize),
    CancelById(usize),
    CancelLane(usize),
    CancelKey(u8),
    PauseLane(usize, bool),
    PauseKey(u8, bool),
    SetTotal(Option<usize>),
    SetLane(usize, LanePlan),
    RemoveLane(usize),
    #[cfg(feature = "distributed")]
    SetLimiter(u8, LimiterPlan),
    SleepMs(u64),
    Yield,
    DrainMs(u64),
    Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Drain,
    ShutdownWithinMs(u64),
    DropManager,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) threads: Threads,
    pub(crate) lanes: Vec<LanePlan>,
    pub(crate) total: Option<usize>,
    #[cfg(feature = "distributed")]
    pub(crate) limiters: Vec<LimiterPlan>,
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn key_name(key: u8) -> String {
    format!("key-{key}")
}

pub(crate) fn plan(threads: Threads) -> impl Strategy<Value = Plan> {
    let end = prop_oneof![
        3 => Just(End::Drain),
        2 => (0u64..20).prop_map(End::ShutdownWithinMs),
        1 => Just(End::DropManager),
    ];
    end.prop_flat_map(move |end| plan_until(threads, end))
}

pub(crate) fn plan_until(threads: Threads, end: End) -> impl Strategy<Value = Plan> {
    let fields = (
        prop::collection::vec(lane(), LANES),
        total(),
        prop::collection::vec(step(threads, end), 1..80),
    );
    #[cfg(feature = "distributed")]
    let limiters = prop::collection::vec(limiter(), usize::from(LIMITERS));
    #[cfg(not(feature = "distributed"))]
    let limiters = Just(());
    (fields, limiters).prop_map(move |((lanes, total, steps), limiters)| {
        #[cfg(not(feature = "distributed"))]
        let () = limiters;
        Plan {
            threads,
            lanes,
            total,
            #[cfg(feature = "distributed")]
            limiters,
            steps,
            end,
        }
    })
}

/// Never below the sum of the minimums.
fn total() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.7, LANES..LANES + 3)
}

fn step(threads: Threads, end: End) -> impl Strategy<Value = Step> {
    let lane = || 0..LANES;
    let key = || 0..KEYS;
    let one = move || command(threads, end, Way::Alone, 2);
    let submissions = prop_oneof![
        10 => (lane(), one()).prop_map(|(lane, command)| Step::Submit(lane, command)),
        2 => (lane(), command(threads, end, Way::Plain, 0))
            .prop_map(|(lane, command)| Step::SubmitPlain(lane, command)),
        2 => (lane(), prop::collection::vec(command(threads, end, Way::InGroup, 1), 1..5))
            .prop_map(|(lane, commands)| Step::SubmitMany(lane, commands)),
    ];
    let stops = prop_oneof![
        1 => any::<usize>().prop_map(Step::GiveUp),
        3 => any::<usize>().prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::CancelById),
        1 => lane().prop_map(Step::CancelLane),
        1 => key().prop_map(Step::CancelKey),
    ];
    let changes = prop_oneof![
        2 => (lane(), any::<bool>()).prop_map(|(lane, paused)| Step::PauseLane(lane, paused)),
        2 => (key(), any::<bool>()).prop_map(|(key, paused)| Step::PauseKey(key, paused)),
        2 => prop_oneof![total(), (1usize..3).prop_map(Some)].prop_map(Step::SetTotal),
        2 => (lane(), self::lane()).prop_map(|(lane, plan)| Step::SetLane(lane, plan)),
        1 => lane().prop_map(Step::RemoveLane),
    ];
    #[cfg(feature = "distributed")]
    let changes = prop_oneof![
        9 => changes,
        1 => (0..LIMITERS, limiter()).prop_map(|(number, plan)| Step::SetLimiter(number, plan)),
    ];
    let looks = prop_oneof![
        6 => (0u64..8).prop_map(Step::SleepMs),
        3 => Just(Step::Yield),
        1 => (0u64..100).prop_map(Step::DrainMs),
        3 => Just(Step::Look),
    ];
    prop_oneof![
        3 => Just(Step::Start),
        18 => submissions,
        6 => stops,
        5 => changes,
        12 => looks,
    ]
}

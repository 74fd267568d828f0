//! Random lanes, commands and steps, and the outcome that each command must have.

use std::time::Duration;

use a3s_lane::{LaneConfig, RetryPolicy};
use proptest::prelude::*;

/// Time limits lie well between short and long sleeps, so that it is known which attempt meets its limit.
const LIMIT_MS: u64 = 20;
const SHORT_MS: std::ops::Range<u64> = 0..8;
const LONG_MS: std::ops::Range<u64> = 60..90;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One thread on paused time.
    One,
    /// Three threads on real time: no time limit passes, since a busy machine may delay any command.
    Three,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt {
    Instant,
    Yield(u8),
    SleepMs(u64),
    Block,
    Fail,
    Unrecoverable,
    Panic,
    PanicAfterSleep,
    PanicInDestructor,
    Hang,
    HangWithBomb,
}

#[derive(Debug, Clone)]
pub(crate) struct CommandSpec {
    pub(crate) lane: usize,
    /// The last one repeats.
    attempts: Vec<Attempt>,
    pub(crate) destructor_panics: bool,
}

impl CommandSpec {
    /// What the attempt with this number, from 0, does.
    pub(crate) fn attempt(&self, number: u32) -> Attempt {
        let last = self.attempts.len() - 1;
        self.attempts[(number as usize).min(last)]
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LaneSpec {
    priority: u8,
    pub(crate) max: usize,
    retries: u32,
    delay_ms: u64,
    limited: bool,
    pressure: Option<usize>,
}

impl LaneSpec {
    /// The configuration with another maximum.
    pub(crate) fn config(&self, max: usize) -> LaneConfig {
        let delay = Duration::from_millis(self.delay_ms);
        let mut config =
            LaneConfig::new(0, max).with_retry_policy(RetryPolicy::fixed(self.retries, delay));
        config.default_timeout = self.limited.then_some(Duration::from_millis(LIMIT_MS));
        config.pressure_threshold = self.pressure;
        config
    }

    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Start,
    Submit(CommandSpec),
    SleepMs(u64),
    Yield,
    DropReceiver(usize),
    /// Waits that long at most for an empty queue.
    DrainMs(u64),
    SetMaximum(usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Drain,
    DropManager,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) threads: Threads,
    pub(crate) lanes: Vec<LaneSpec>,
    pub(crate) steps: Vec<Step>,
    pub(crate) shut_down: bool,
    pub(crate) end: End,
    pub(crate) event_capacity: usize,
    pub(crate) dlq_size: usize,
}

/// How a command ends when it is let finish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it returned its number, or the code of its error.
    pub(crate) result: Result<(), &'static str>,
    pub(crate) attempts: u32,
}

impl Plan {
    pub(crate) fn outcome(&self, spec: &CommandSpec) -> Outcome {
        let lane = &self.lanes[spec.lane];
        let mut attempts = 0;
        loop {
            let result = match spec.attempt(attempts) {
                Attempt::SleepMs(ms) if lane.limited && LONG_MS.contains(&ms) => Err("TIMEOUT"),
                Attempt::Hang | Attempt::HangWithBomb => Err("TIMEOUT"),
                Attempt::Instant | Attempt::Yield(_) | Attempt::SleepMs(_) | Attempt::Block => {
                    Ok(())
                }
                Attempt::Fail => Err("COMMAND_ERROR"),
                Attempt::Unrecoverable => Err("UNRECOVERABLE"),
                Attempt::Panic | Attempt::PanicAfterSleep | Attempt::PanicInDestructor => {
                    Err("PANICKED")
                }
            };
            attempts += 1;
            if result.is_ok() || result == Err("UNRECOVERABLE") || attempts > lane.retries {
                return Outcome { result, attempts };
            }
        }
    }

    pub(crate) fn largest_maximum(&self, lane: usize) -> usize {
        let changed = self.steps.iter().filter_map(|step| match step {
            Step::SetMaximum(changed, max) if changed % self.lanes.len() == lane => Some(*max),
            _ => None,
        });
        changed
            .chain([self.lanes[lane].max])
            .max()
            .unwrap_or_default()
    }
}

pub(crate) fn plan(threads: Threads) -> impl Strategy<Value = Plan> {
    let lanes = prop::collection::vec(lane(threads), 1..4);
    let end = prop_oneof![2 => Just(End::Drain), 1 => Just(End::DropManager)];
    (lanes, end)
        .prop_flat_map(move |(lanes, end)| {
            let steps = prop::collection::vec(step(lanes.clone(), end), 1..60);
            (
                Just(lanes),
                Just(end),
                steps,
                any::<bool>(),
                1usize..20,
                1usize..6,
            )
        })
        .prop_map(
            move |(lanes, end, steps, shut_down, event_capacity, dlq_size)| Plan {
                threads,
                lanes,
                steps,
                shut_down,
                end,
                event_capacity,
                dlq_size,
            },
        )
}

fn lane(threads: Threads) -> impl Strategy<Value = LaneSpec> {
    let max = prop_oneof![4 => 1usize..4, 1 => Just(usize::MAX)];
    let limited = prop::bool::weighted(if threads == Threads::One { 0.5 } else { 0.0 });
    let pressure = prop_oneof![Just(None), (1usize..5).prop_map(Some)];
    (
        0u8..3,
        max,
        0u32..3,
        prop_oneof![Just(0), 1u64..6],
        limited,
        pressure,
    )
        .prop_map(
            |(priority, max, retries, delay_ms, limited, pressure)| LaneSpec {
                priority,
                max,
                retries,
                delay_ms,
                limited,
                pressure,
            },
        )
}

fn step(lanes: Vec<LaneSpec>, end: End) -> impl Strategy<Value = Step> {
    let count = lanes.len();
    prop_oneof![
        2 => Just(Step::Start),
        14 => (0..count).prop_flat_map(move |lane| command(lane, &lanes[lane], end)).prop_map(Step::Submit),
        3 => SHORT_MS.prop_map(Step::SleepMs),
        2 => Just(Step::Yield),
        2 => any::<usize>().prop_map(Step::DropReceiver),
        1 => (0u64..200).prop_map(Step::DrainMs),
        1 => (any::<usize>(), 1usize..6).prop_map(|(lane, max)| Step::SetMaximum(lane, max)),
    ]
}

fn command(lane: usize, spec: &LaneSpec, end: End) -> impl Strategy<Value = CommandSpec> + use<> {
    // What hangs ends by a time limit, or with the queue.
    let may_hang = spec.limited || end == End::DropManager;
    let attempts = prop::collection::vec(attempt(may_hang), 1..4);
    (attempts, prop::bool::weighted(0.1)).prop_map(move |(attempts, destructor_panics)| {
        CommandSpec {
            lane,
            attempts,
            destructor_panics,
        }
    })
}

fn attempt(may_hang: bool) -> impl Strategy<Value = Attempt> {
    let any = prop_oneof![
        6 => Just(Attempt::Instant),
        4 => (1u8..4).prop_map(Attempt::Yield),
        4 => SHORT_MS.prop_map(Attempt::SleepMs),
        2 => LONG_MS.prop_map(Attempt::SleepMs),
        2 => Just(Attempt::Block),
        4 => Just(Attempt::Fail),
        1 => Just(Attempt::Unrecoverable),
        1 => Just(Attempt::Panic),
        1 => Just(Attempt::PanicAfterSleep),
        1 => Just(Attempt::PanicInDestructor),
        1 => Just(Attempt::Hang),
        1 => Just(Attempt::HangWithBomb),
    ];
    any.prop_map(move |attempt| match attempt {
        Attempt::Hang | Attempt::HangWithBomb if !may_hang => Attempt::Fail,
        attempt => attempt,
    })
}

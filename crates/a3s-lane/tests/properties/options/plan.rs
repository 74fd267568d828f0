//! Random lanes, commands and steps that use every option of a submission and every control of a live queue.

use std::time::Duration;

use a3s_lane::{
    Jitter, LaneConfig, LaneOptions, OnConflict, Overflow, RetryPolicy, SubmitOptions, Unique,
};
use proptest::prelude::*;

use crate::plan::Threads;

pub(crate) const LANES: usize = 3;
pub(crate) const KEYS: u8 = 2;
#[cfg(feature = "distributed")]
pub(crate) const LIMITERS: u8 = 2;

/// One thing that a body does; the last one of an attempt may end it.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Yield,
    SleepMs(u64),
    Beat,
    Report,
    SettleCost(
        #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no costs"))] u64,
    ),
    /// Submits a child to its own lane or a later one: whoever goes back could wait for a lane that waits for it.
    Child {
        lanes_on: usize,
        command: Box<CommandPlan>,
        waits: bool,
    },
    Fail,
    Unrecoverable,
    Panic,
    Hang,
    HangWithBomb,
    /// Goes on until it is asked to stop, and for a while after.
    UntilAsked {
        then_ms: u64,
        fails: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct CommandPlan {
    /// The acts of each attempt; the last one repeats.
    attempts: Vec<Vec<Act>>,
    pub(crate) id: Option<u8>,
    priority: i32,
    delay_ms: Option<u64>,
    /// How much longer than the delay it may wait.
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) progress_ms: Option<u64>,
    pub(crate) retry: Option<(u32, u64)>,
    jitter: Option<Jitter>,
    pub(crate) key: Option<u8>,
    pub(crate) unique: Option<(u8, Option<u64>, OnConflict)>,
    cost: u64,
    preemptible: bool,
}

impl CommandPlan {
    /// What the attempt with this number, from 1, does.
    pub(crate) fn acts(&self, attempt: u32) -> &[Act] {
        let last = self.attempts.len() - 1;
        &self.attempts[(attempt as usize - 1).min(last)]
    }

    pub(crate) fn options(&self) -> SubmitOptions {
        let mut options = SubmitOptions::new()
            .with_priority(self.priority)
            .with_cost(self.cost)
            .with_preemptible(self.preemptible)
            .with_metadata("cost", self.cost);
        if let Some(id) = self.id {
            options = options.with_id(format!("id-{id}"));
        }
        if let Some(delay) = self.delay_ms {
            options = options.with_delay(ms(delay));
        }
        if let Some(more) = self.ttl_ms {
            options = options.with_ttl(ms(self.delay_ms.unwrap_or_default() + more));
        }
        if let Some(timeout) = self.timeout_ms {
            options = options.with_timeout(ms(timeout));
        }
        if let Some(progress) = self.progress_ms {
            options = options.with_progress_timeout(ms(progress));
        }
        if let Some((retries, delay)) = self.retry {
            options = options.with_retry_policy(RetryPolicy::fixed(retries, ms(delay)));
        }
        if let Some(jitter) = self.jitter {
            options = options.with_jitter(jitter);
        }
        if let Some(key) = self.key {
            options = options.with_key(key_name(key));
        }
        if let Some((key, window, on_conflict)) = self.unique {
            let mut unique = Unique::new(format!("unique-{key}")).on_conflict(on_conflict);
            if let Some(window) = window {
                unique = unique.with_window(ms(window));
            }
            options = options.with_unique(unique);
        }
        options
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// The same work, without any option.
    pub(crate) fn plain(self) -> Self {
        Self {
            attempts: self.attempts,
            id: None,
            priority: 0,
            delay_ms: None,
            ttl_ms: None,
            timeout_ms: None,
            progress_ms: None,
            retry: None,
            jitter: None,
            key: None,
            unique: None,
            cost: 1,
            preemptible: true,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LanePlan {
    pub(crate) priority: u8,
    min: usize,
    pub(crate) max: usize,
    pub(crate) key_max: Option<usize>,
    preemptible: bool,
    grace_ms: u64,
    pub(crate) pending: Option<(usize, Overflow)>,
    pub(crate) retries: u32,
    delay_ms: u64,
    jitter: Jitter,
    timeout_ms: Option<u64>,
    weight: u32,
    /// The deadline of its boost.
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no boosts"))]
    boost_ms: Option<u64>,
    /// Starts in 10 ms.
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "no rates"))]
    rate: Option<u64>,
    #[cfg_attr(
        not(feature = "distributed"),
        expect(dead_code, reason = "no limiters")
    )]
    limiters: u8,
}

impl LanePlan {
    pub(crate) fn config(&self) -> LaneConfig {
        let retry = RetryPolicy::fixed(self.retries, ms(self.delay_ms));
        let mut config = LaneConfig::new(self.min, self.max).with_retry_policy(retry);
        config.default_timeout = self.timeout_ms.map(ms);
        #[cfg(feature = "distributed")]
        {
            use a3s_lane::{PriorityBoostConfig, RateLimitConfig};

            config.priority_boost = self
                .boost_ms
                .map(|deadline| PriorityBoostConfig::standard(ms(deadline)));
            config.rate_limit = self.rate.map(|max| RateLimitConfig::new(max, ms(10)));
        }
        config
    }

    pub(crate) fn options(&self) -> LaneOptions {
        let mut options = LaneOptions::new()
            .with_preemption(self.preemptible)
            .with_grace(ms(self.grace_ms))
            .with_retry_jitter(self.jitter)
            .with_key_weight(key_name(0), self.weight);
        if let Some(max) = self.key_max {
            options = options.with_max_concurrency_per_key(max);
        }
        if let Some((max, overflow)) = self.pending {
            options = options.with_max_pending(max).with_overflow(overflow);
        }
        #[cfg(feature = "distributed")]
        for limiter in (0..LIMITERS).filter(|limiter| self.limiters & (1 << limiter) != 0) {
            options = options.with_limiter(limiter_name(limiter));
        }
        options
    }
}

#[cfg(feature = "distributed")]
#[derive(Debug, Clone)]
pub(crate) struct LimiterPlan {
    is_window: bool,
    counts_commands: bool,
    max: u64,
    reserve: Option<u8>,
}

#[cfg(feature = "distributed")]
impl LimiterPlan {
    pub(crate) fn config(&self) -> a3s_lane::LimiterConfig {
        use a3s_lane::{LimiterConfig, RateLimitConfig};

        let limit = RateLimitConfig::new(self.max, ms(10));
        let mut config = if self.is_window {
            LimiterConfig::sliding_window(limit)
        } else {
            LimiterConfig::token_bucket(limit)
        };
        if self.counts_commands {
            config = config.counting_commands();
        }
        match self.reserve {
            // A command that costs more than what the reserve leaves never starts in a lane that is not urgent.
            Some(urgent_up_to) if self.counts_commands => config.with_reserve(1, urgent_up_to),
            _ => config,
        }
    }
}

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

#[cfg(feature = "distributed")]
pub(crate) fn limiter_name(limiter: u8) -> String {
    format!("limiter-{limiter}")
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

fn lane() -> impl Strategy<Value = LanePlan> {
    let overflow = prop_oneof![
        Just(Overflow::Reject),
        Just(Overflow::Wait),
        Just(Overflow::DropOldest)
    ];
    let own = (
        0u8..4,
        0usize..2,
        1usize..4,
        prop::option::weighted(0.3, 1usize..3),
        any::<bool>(),
        prop_oneof![Just(0u64), 1u64..8],
        prop::option::weighted(0.5, (1usize..5, overflow)),
    );
    let others = (
        0u32..3,
        prop_oneof![Just(0u64), 1u64..6],
        jitter(),
        prop::option::weighted(0.2, 20u64..40),
        1u32..4,
        prop::option::weighted(0.3, 5u64..30),
        prop::option::weighted(0.2, 1u64..4),
        prop_oneof![2 => Just(0u8), 1 => 1u8..4],
    );
    (own, others).prop_map(|(own, others)| {
        let (priority, min, max, key_max, preemptible, grace_ms, pending) = own;
        let (retries, delay_ms, jitter, timeout_ms, weight, boost_ms, rate, limiters) = others;
        LanePlan {
            priority,
            min,
            max,
            key_max,
            preemptible,
            grace_ms,
            pending,
            retries,
            delay_ms,
            jitter,
            timeout_ms,
            weight,
            boost_ms,
            rate,
            limiters,
        }
    })
}

fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![Just(Jitter::None), Just(Jitter::Equal), Just(Jitter::Full)]
}

#[cfg(feature = "distributed")]
fn limiter() -> impl Strategy<Value = LimiterPlan> {
    (
        any::<bool>(),
        any::<bool>(),
        // More than any command costs: what can never start keeps a queue from becoming empty.
        4u64..9,
        prop::option::weighted(0.4, 0u8..3),
    )
        .prop_map(|(is_window, counts_commands, max, reserve)| LimiterPlan {
            is_window,
            counts_commands,
            max,
            reserve,
        })
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

/// How a command is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    /// Without an id and a unique key: whom they were refused for, or joined, is known for one command only.
    InGroup,
    Alone,
}

/// `depth` is how many generations of children it may have.
fn command(threads: Threads, end: End, way: Way, depth: u32) -> BoxedStrategy<CommandPlan> {
    // Who joins another must know which one that is, for which the answers must come in the order of the calls.
    let on_conflict = match threads {
        Threads::One => prop_oneof![
            Just(OnConflict::Reject),
            Just(OnConflict::Join),
            Just(OnConflict::Replace)
        ]
        .boxed(),
        Threads::Three => prop_oneof![Just(OnConflict::Reject), Just(OnConflict::Replace)].boxed(),
    };
    let window = prop::option::weighted(0.4, 1u64..20);
    let names = match way {
        Way::Plain | Way::InGroup => Just((None, None)).boxed(),
        Way::Alone => prop_oneof![
            6 => Just((None, None)),
            1 => (0u8..3).prop_map(|id| (Some(id), None)),
            2 => (0u8..2, window, on_conflict).prop_map(|unique| (None, Some(unique))),
        ]
        .boxed(),
    };
    let times = (
        prop::option::weighted(0.2, 0u64..10),
        prop::option::weighted(0.2, 1u64..20),
        prop::option::weighted(0.3, 5u64..30),
        prop::option::weighted(0.1, 3u64..10),
    );
    let others = (
        -1i32..2,
        prop::option::weighted(0.3, (0u32..3, 0u64..5)),
        prop::option::weighted(0.3, jitter()),
        prop::option::weighted(0.5, 0..KEYS),
        1u64..4,
        prop::bool::weighted(0.8),
    );
    (names, times, others)
        .prop_flat_map(move |(names, times, others)| {
            // What hangs ends by a time limit of its own, or with the queue.
            let may_hang = end != End::Drain || times.2.is_some() && way != Way::Plain;
            let attempt = attempt(threads, end, may_hang, depth);
            let attempts = prop::collection::vec(attempt, 1..3);
            (Just((names, times, others)), attempts)
        })
        .prop_map(|((names, times, others), attempts)| {
            let (id, unique) = names;
            let (delay_ms, ttl_ms, timeout_ms, progress_ms) = times;
            let (priority, retry, jitter, key, cost, preemptible) = others;
            CommandPlan {
                attempts,
                id,
                priority,
                delay_ms,
                ttl_ms,
                timeout_ms,
                progress_ms,
                retry,
                jitter,
                key,
                unique,
                cost,
                preemptible,
            }
        })
        .boxed()
}

fn attempt(
    threads: Threads,
    end: End,
    may_hang: bool,
    depth: u32,
) -> impl Strategy<Value = Vec<Act>> {
    let child = if depth == 0 {
        Just(Act::Yield).boxed()
    } else {
        (
            0usize..2,
            command(threads, end, Way::InGroup, depth - 1),
            any::<bool>(),
        )
            .prop_map(|(lanes_on, command, waits)| Act::Child {
                lanes_on,
                command: Box::new(command),
                waits,
            })
            .boxed()
    };
    let act = prop_oneof![
        3 => Just(Act::Yield),
        4 => (0u64..8).prop_map(Act::SleepMs),
        1 => Just(Act::Beat),
        1 => Just(Act::Report),
        1 => (0u64..6).prop_map(Act::SettleCost),
        2 => child,
    ];
    let last = prop_oneof![
        8 => Just(Act::Yield),
        3 => Just(Act::Fail),
        1 => Just(Act::Unrecoverable),
        1 => Just(Act::Panic),
        1 => Just(Act::Hang),
        1 => Just(Act::HangWithBomb),
        2 => (0u64..6, any::<bool>()).prop_map(|(then_ms, fails)| Act::UntilAsked { then_ms, fails }),
    ];
    (prop::collection::vec(act, 0..3), last).prop_map(move |(mut acts, last)| {
        acts.push(match last {
            Act::Hang | Act::HangWithBomb | Act::UntilAsked { .. } if !may_hang => Act::Fail,
            last => last,
        });
        acts
    })
}

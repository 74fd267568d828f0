//! Random commands: what their bodies do, and what their submissions ask for.

use std::time::Duration;

use a3s_lane::{Jitter, OnConflict, RetryPolicy, SubmitOptions, Unique};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::lanes::jitter;
use super::plan::{End, KEYS, key_name, ms};
use crate::plan::Threads;

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

/// When it may start first.
#[derive(Debug, Clone, Copy)]
enum Begin {
    AtOnce,
    AfterMs(u64),
    /// At a time of the wall clock, so far from the moment of the submission.
    AtMs(i64),
}

#[derive(Debug, Clone)]
pub(crate) struct CommandPlan {
    /// The acts of each attempt; the last one repeats.
    attempts: Vec<Vec<Act>>,
    pub(crate) id: Option<u8>,
    priority: i32,
    begin: Begin,
    /// How much longer than until its beginning it may wait.
    pub(crate) ttl_ms: Option<u64>,
    /// `Some(None)` is no limit, whatever the lane's.
    pub(crate) timeout_ms: Option<Option<u64>>,
    pub(crate) progress_ms: Option<u64>,
    pub(crate) retry: Option<(u32, u64)>,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) key: Option<u8>,
    pub(crate) unique: Option<(u8, Option<u64>, OnConflict)>,
    cost: u64,
    pub(crate) preemptible: bool,
}

impl CommandPlan {
    /// What the attempt with this number, from 1, does.
    pub(crate) fn acts(&self, attempt: u32) -> &[Act] {
        let last = self.attempts.len() - 1;
        &self.attempts[(attempt as usize - 1).min(last)]
    }

    /// How long it must wait at least when it is let in, where `wall` is the time since its options were made.
    pub(crate) fn least_delay(&self, wall: TimeDelta) -> Duration {
        match self.begin {
            Begin::AtOnce => Duration::ZERO,
            Begin::AfterMs(delay) => ms(delay),
            Begin::AtMs(at) => (TimeDelta::milliseconds(at) - wall)
                .to_std()
                .unwrap_or_default(),
        }
    }

    /// Whether it is ready as soon as it is let in.
    #[cfg(feature = "distributed")]
    pub(crate) fn is_ready_at_once(&self) -> bool {
        match self.begin {
            Begin::AtOnce => true,
            Begin::AfterMs(delay) => delay == 0,
            Begin::AtMs(at) => at <= 0,
        }
    }

    /// The longest time for which it may wait for its first start.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        Some(self.least_delay(TimeDelta::zero()) + ms(self.ttl_ms?))
    }

    /// What it asks for at this time of the wall clock.
    pub(crate) fn options(&self, now: DateTime<Utc>) -> SubmitOptions {
        let mut options = SubmitOptions::new()
            .with_priority(self.priority)
            .with_cost(self.cost)
            .with_preemptible(self.preemptible)
            .with_metadata("cost", self.cost);
        if let Some(id) = self.id {
            options = options.with_id(format!("id-{id}"));
        }
        match self.begin {
            Begin::AtOnce => {}
            Begin::AfterMs(delay) => options = options.with_delay(ms(delay)),
            Begin::AtMs(at) => options = options.with_run_at(now + TimeDelta::milliseconds(at)),
        }
        if let Some(ttl) = self.ttl() {
            options = options.with_ttl(ttl);
        }
        match self.timeout_ms {
            None => {}
            Some(None) => options = options.with_no_timeout(),
            Some(Some(timeout)) => options = options.with_timeout(ms(timeout)),
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

    /// What an attempt is charged at least: what it settles to may be less.
    #[cfg(feature = "distributed")]
    pub(crate) fn least_cost(&self, attempt: u32) -> u64 {
        let settled = self.acts(attempt).iter().filter_map(|act| match act {
            Act::SettleCost(cost) => Some(*cost),
            _ => None,
        });
        settled.chain([self.cost]).min().unwrap_or_default()
    }

    /// The same work, without any option.
    pub(crate) fn plain(self) -> Self {
        Self {
            attempts: self.attempts,
            id: None,
            priority: 0,
            begin: Begin::AtOnce,
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

/// How a command is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    /// Without an id and a unique key: whom they were refused for, or joined, is known for one command only.
    InGroup,
    Alone,
}

/// `depth` is how many generations of children it may have.
pub(crate) fn command(
    threads: Threads,
    end: End,
    way: Way,
    depth: u32,
) -> BoxedStrategy<CommandPlan> {
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
    let unique = (0u8..2, window, on_conflict);
    let names = match way {
        Way::Plain | Way::InGroup => Just((None, None)).boxed(),
        Way::Alone => prop_oneof![
            6 => Just((None, None)),
            1 => (0u8..3).prop_map(|id| (Some(id), None)),
            3 => (prop::option::weighted(0.1, 0u8..3), unique)
                .prop_map(|(id, unique)| (id, Some(unique))),
        ]
        .boxed(),
    };
    let times = (
        prop_oneof![
            14 => Just(Begin::AtOnce),
            3 => (0u64..10).prop_map(Begin::AfterMs),
            1 => prop_oneof![-1_000i64..0, 0i64..10].prop_map(Begin::AtMs),
        ],
        prop::option::weighted(0.2, 1u64..20),
        prop_oneof![
            6 => Just(None),
            1 => Just(Some(None)),
            3 => (5u64..30).prop_map(|limit| Some(Some(limit))),
        ],
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
            let may_hang = end != End::Drain || times.2.flatten().is_some() && way != Way::Plain;
            let attempt = attempt(threads, end, may_hang, depth);
            let attempts = prop::collection::vec(attempt, 1..3);
            (Just((names, times, others)), attempts)
        })
        .prop_map(|((names, times, others), attempts)| {
            let (id, unique) = names;
            let (begin, ttl_ms, timeout_ms, progress_ms) = times;
            let (priority, retry, jitter, key, cost, preemptible) = others;
            CommandPlan {
                attempts,
                id,
                priority,
                begin,
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

//! Random lanes, commands and limiters.
//!
//! Numbers are small, so that times coincide and limits are met.

use proptest::prelude::*;

use super::rules::{
    Boost, CommandRules, LaneRules, LimiterRules, MeterRules, Rate, RetryRules, Setup,
};
use crate::config::Overflow;
use crate::retry::Jitter;

/// Keys that commands have.
const KEYS: u8 = 4;

/// One to six lanes, the limiters they share, and a total more often than not.
pub(super) fn setup() -> impl Strategy<Value = Setup> {
    let lanes = prop::collection::vec(lane_rules(), 1..=6);
    let limiters = prop::collection::vec(limiter_rules(), LIMITERS..=LIMITERS);
    let any = (lanes, limiters, total()).prop_map(|(lanes, limiters, total)| Setup {
        lanes,
        limiters,
        total,
    });
    (any, prop::bool::weighted(0.4)).prop_map(|(setup, contended)| {
        if contended {
            with_contention(setup)
        } else {
            setup
        }
    })
}

/// Lanes are ever less urgent and give way to those before, under a total that one lane fills. Of each two of the same
/// priority one may become more urgent.
fn with_contention(mut setup: Setup) -> Setup {
    for (lane, number) in setup.lanes.iter_mut().zip(0..) {
        lane.priority = number / 2;
        lane.configured_min = 0;
        lane.configured_max = 5;
        lane.preemptible = true;
        lane.boost = lane.boost.take().filter(|_| number % 2 == 1);
    }
    setup.total = Some(setup.total.map_or(3, |total| total.clamp(1, 4)));
    setup
}

pub(super) fn total() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![12 => Just(None), 1 => Just(Some(0)), 48 => (1usize..7).prop_map(Some)]
}

/// Any lane.
pub(super) fn lane_rules() -> impl Strategy<Value = LaneRules> {
    let minimum = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2)];
    let limits = (0u8..4, minimum, maximum(), prop::bool::weighted(0.6));
    let times = (
        prop_oneof![5 => Just(None), 2 => (0u64..60).prop_map(Some)],
        prop_oneof![5 => Just(None), 2 => (0u64..40).prop_map(Some)],
        prop_oneof![2 => Just(0), 3 => 1u64..20],
    );
    let retries = (retry(), jitter());
    let admission = (
        prop_oneof![2 => Just(None), 1 => (1usize..5).prop_map(Some)],
        prop_oneof![3 => Just(None), 1 => (0usize..6).prop_map(Some)],
        prop_oneof![Just(Overflow::Reject), Just(Overflow::DropOldest)],
    );
    let keys = (
        prop_oneof![2 => Just(None), 1 => (1usize..3).prop_map(Some)],
        prop::collection::vec((0..KEYS, weight()), 0..3),
    );
    let distributed = (rate(), boost(), limiters_of_lane());
    (limits, times, retries, admission, keys, distributed).prop_map(
        |(limits, times, retries, admission, keys, distributed)| {
            let (priority, configured_min, configured_max, preemptible) = limits;
            let (timeout_ns, progress_ns, grace_ns) = times;
            let (retry, jitter) = retries;
            let (pressure, max_pending, overflow) = admission;
            let (key_max, key_weights) = keys;
            let (rate, boost, limiters) = distributed;
            LaneRules {
                priority,
                configured_min,
                configured_max,
                timeout_ns,
                progress_ns,
                grace_ns,
                retry,
                jitter,
                pressure,
                max_pending,
                overflow,
                preemptible,
                key_max,
                key_weights,
                rate,
                boost,
                limiters,
            }
        },
    )
}

/// Any command; every third asks for nothing.
pub(super) fn command_rules() -> impl Strategy<Value = CommandRules> {
    let order = (
        prop_oneof![3 => Just(0), 1 => -2i32..3],
        prop_oneof![1 => Just(None), 2 => (0..KEYS).prop_map(Some)],
    );
    let times = (
        prop_oneof![4 => Just(None), 1 => (0u64..50).prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => (0u64..80).prop_map(Some)],
    );
    let limits = (
        prop_oneof![6 => Just(None), 1 => Just(Some(None)), 1 => (0u64..60).prop_map(|ns| Some(Some(ns)))],
        prop_oneof![6 => Just(None), 1 => (0u64..40).prop_map(Some)],
    );
    let retries = (
        prop::option::weighted(0.15, retry()),
        prop::option::weighted(0.15, jitter()),
    );
    let rest = (
        prop_oneof![2 => Just(1), 3 => 0u64..7],
        prop::bool::weighted(0.8),
    );
    let any = (order, times, limits, retries, rest).prop_map(
        |(order, times, limits, retries, (cost, preemptible))| CommandRules {
            priority: order.0,
            key: order.1,
            delay_ns: times.0,
            ttl_ns: times.1,
            timeout_ns: limits.0,
            progress_ns: limits.1,
            retry: retries.0,
            jitter: retries.1,
            cost,
            preemptible,
        },
    );
    prop_oneof![1 => Just(CommandRules::default()), 2 => any]
}

/// A limiter, with a bucket or a window.
pub(super) fn limiter_rules() -> impl Strategy<Value = LimiterRules> {
    let meter = prop_oneof![
        (1u64..8, 1u64..100, 2u64..16).prop_map(|(max_commands, window_ns, burst)| {
            MeterRules::Bucket(Rate {
                max_commands,
                window_ns,
                burst,
            })
        }),
        (2u64..16, 1u64..100).prop_map(|(max, window_ns)| MeterRules::Window { max, window_ns }),
    ];
    let kept = prop_oneof![2 => Just(0), 1 => 1u64..5];
    (meter, prop::bool::weighted(0.7), 0u8..4, kept).prop_map(
        |(meter, counts_cost, urgent, kept)| LimiterRules {
            meter,
            counts_cost,
            urgent,
            kept,
        },
    )
}

fn maximum() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 3 => Just(1), 4 => 2usize..5, 2 => Just(usize::MAX)]
}

fn retry() -> impl Strategy<Value = RetryRules> {
    let rules = prop_oneof![
        2 => Just((0, 0, 0, false)),
        2 => (1u32..4, Just(0), Just(0), any::<bool>()),
        3 => (1u32..5, 1u64..40, 1u64..80, any::<bool>()),
        1 => (1u32..5, Just(2_000_000), Just(5_000_000), any::<bool>()),
    ];
    rules.prop_map(
        |(retries, first_delay_ns, max_delay_ns, doubling)| RetryRules {
            retries,
            first_delay_ns,
            max_delay_ns,
            doubling,
        },
    )
}

fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![3 => Just(Jitter::None), 1 => Just(Jitter::Full), 1 => Just(Jitter::Equal)]
}

/// Weights up to 16 divide the stride, others are rounded.
fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1u32..5, 1 => Just(17), 1 => Just(1_000_000)]
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    let limited = (1u64..6, 1u64..100, 1u64..5).prop_map(|(max_commands, window_ns, burst)| Rate {
        max_commands,
        window_ns,
        burst,
    });
    with_feature(prop_oneof![5 => Just(None), 1 => limited.prop_map(Some)])
}

fn boost() -> impl Strategy<Value = Option<Boost>> {
    let steps = prop::collection::vec((0u64..120, 0u8..4), 0..4);
    let boosted = (1u64..100, steps).prop_map(|(deadline_ns, steps)| Boost { deadline_ns, steps });
    with_feature(prop_oneof![3 => Just(None), 2 => boosted.prop_map(Some)])
}

#[cfg(feature = "distributed")]
const LIMITERS: usize = 3;
#[cfg(not(feature = "distributed"))]
const LIMITERS: usize = 0;

fn limiters_of_lane() -> impl Strategy<Value = Vec<usize>> {
    let some = prop::bool::weighted(0.2);
    prop::collection::vec(some, LIMITERS..=LIMITERS)
        .prop_map(|used| (0..used.len()).filter(|&number| used[number]).collect())
}

/// Rate limits and boosts exist with the `distributed` feature only.
fn with_feature<T: std::fmt::Debug + Clone>(
    strategy: impl Strategy<Value = Option<T>>,
) -> impl Strategy<Value = Option<T>> {
    strategy.prop_map(|value| value.filter(|_| cfg!(feature = "distributed")))
}

//! The promises of the whole queue under random work, configurations and ends, seen through the public interface.
//!
//! The scheduler's own properties are tested beside it, without a runtime. Here the commands suspend, sleep, fail,
//! panic in their bodies and destructors and hang; receivers are dropped; lanes change; and the manager is drained, shut
//! down or dropped at any point. One thread runs on paused time, where each outcome is known beforehand; several
//! threads run on real time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "properties/command.rs"]
mod command;
#[cfg(feature = "local-storage")]
#[path = "properties/durable.rs"]
mod durable;
#[path = "properties/options/mod.rs"]
mod options;
#[path = "properties/plan.rs"]
mod plan;
#[path = "properties/play.rs"]
mod play;
#[path = "../src/seeds.rs"]
mod seeds;

use a3s_lane::event::events::QUEUE_EVENTS_LAGGED;
use proptest::prelude::*;

use plan::{End, Plan, Threads, plan};
use play::{Played, play};
use seeds::properties;

/// Each accepted command resolves its receiver exactly once: with the outcome that its script leads to if it was let
/// finish, with that or an error if the queue was dropped. It is dropped exactly once and makes no attempt too many.
fn settles_once(plan: &Plan, played: &Played) -> Result<(), TestCaseError> {
    for settled in &played.settled {
        let expected = plan.outcome(&settled.spec);
        let Some(got) = &settled.outcome else {
            prop_assert!(settled.receiver_dropped, "no answer: {:?}", settled);
            continue;
        };
        if plan.end == End::Drain || got.is_ok() {
            prop_assert_eq!(got, &expected.result, "{:?}", settled);
        }
        prop_assert!(settled.attempts <= expected.attempts, "{:?}", settled);
        if plan.end == End::Drain {
            prop_assert_eq!(settled.attempts, expected.attempts, "{:?}", settled);
        }
    }
    prop_assert_eq!(played.alive, 0, "commands that were never dropped");
    Ok(())
}

/// No lane was seen to run more commands than its largest maximum.
fn slots_bounded(plan: &Plan, played: &Played) -> Result<(), TestCaseError> {
    for (lane, most) in played.most_running.iter().enumerate() {
        prop_assert!(
            *most <= plan.largest_maximum(lane),
            "lane {}: {} at once",
            lane,
            most
        );
    }
    Ok(())
}

/// Whenever `drain` returned Ok, nothing was pending or running and every receiver had its answer.
fn drained_means_empty(played: &Played) -> Result<(), TestCaseError> {
    for drained in &played.drains {
        prop_assert_eq!(
            (drained.pending, drained.active, drained.unanswered),
            (0, 0, 0)
        );
    }
    Ok(())
}

properties! {
    cases: 3_700, least: 100_000;

    #[test]
    fn i1_settles_once(plan in plan(Threads::One)) {
        let played = play(&plan)?;
        settles_once(&plan, &played)?;
    }

    #[test]
    fn i2_slots_bounded(plan in plan(Threads::One)) {
        let played = play(&plan)?;
        slots_bounded(&plan, &played)?;
    }

    #[test]
    fn i7_drain_means_empty(plan in plan(Threads::One)) {
        let played = play(&plan)?;
        prop_assert!(plan.end == End::DropManager || !played.drains.is_empty());
        drained_means_empty(&played)?;
    }

    /// A subscriber that never reads holds no more events than the emitter's capacity, rounded up to a power of two,
    /// and is told how many it lost; the dead letters are the last failures, no more than asked for.
    #[test]
    fn i10_bounded_memory(plan in plan(Threads::One)) {
        let played = play(&plan)?;
        let lagged = played.events.iter().filter(|key| *key == QUEUE_EVENTS_LAGGED).count();
        let kept = played.events.len() - lagged;
        prop_assert!(kept <= plan.event_capacity.next_power_of_two(), "{} events kept", kept);
        prop_assert_eq!(lagged > 0, played.events_missed > 0);
        prop_assert!(lagged <= 1);
        prop_assert!(played.dead_letters <= plan.dlq_size);
        if plan.end == End::Drain {
            // Submitted, and started and ended once for each attempt: every event was kept or is known to be lost.
            let least: u64 = played.settled.iter().map(|settled| 1 + 2 * u64::from(settled.attempts)).sum();
            prop_assert!(kept as u64 + played.events_missed >= least);
            let failed = played.settled.iter().filter(|settled| plan.outcome(&settled.spec).result.is_err());
            prop_assert_eq!(played.dead_letters, failed.count().min(plan.dlq_size));
        }
    }
}

properties! {
    cases: 80, least: 1_500;

    /// All of the above where commands really run at the same time.
    #[test]
    fn several_threads_keep_every_promise(plan in plan(Threads::Three)) {
        let played = play(&plan)?;
        settles_once(&plan, &played)?;
        slots_bounded(&plan, &played)?;
        drained_means_empty(&played)?;
        prop_assert!(played.dead_letters <= plan.dlq_size);
    }
}

#[cfg(feature = "local-storage")]
properties! {
    cases: 30, least: 500;

    /// L7: a command never settles, or the queue stops (p-queue#241, #168, piscina#869). All of the above with a storage in a file, which
    /// in the end holds what has not settled, and nothing else.
    #[test]
    fn l07_a_storage_in_a_file_keeps_every_promise(plan in plan(Threads::Three)) {
        let (played, left) = durable::play_durably(&plan)?;
        settles_once(&plan, &played)?;
        slots_bounded(&plan, &played)?;
        drained_means_empty(&played)?;
        durable::settles_or_stays(&plan, &played, &left)?;
    }
}

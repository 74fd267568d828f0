//! The promises of the whole queue under every option of a submission and every control of a live queue.
//!
//! What a command does is planned, what becomes of it is not known beforehand: so each outcome must have a reason that
//! the plan or what its bodies did explains.

mod body;
mod commands;
mod lanes;
mod limits;
mod plan;
mod play;
mod pressure;
#[cfg(feature = "distributed")]
mod rates;
mod record;
mod times;
mod unique;
#[cfg(feature = "distributed")]
mod urgency;

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;
use serde_json::json;

use self::plan::{End, Plan, plan, plan_until};
use self::play::{Checked, Played, check, play};
use self::record::{Answer, Record, lock};
use crate::plan::Threads;
use crate::seeds::properties;

properties! {
    cases: 2_700, least: 100_000;

    /// Every accepted command settles once, with a reason, says so in one event, and is in the books of the metrics and of
    /// the end exactly once. Whoever is refused is told why, and gets an answer though others are cancelled. Ids and unique
    /// keys have one holder, and delays and time limits are kept.
    #[test]
    fn i1_settles_once_with_options(plan in plan(Threads::One)) {
        let played = play(&plan)?;
        settles_once(&plan, &played)?;
        times::were_kept(&played)?;
    }

    /// No lane, no key and not the whole was seen to run more commands than its largest maximum, and no command two bodies,
    /// whoever is preempted, lends slots or is cancelled. None starts more in a time than its rate and limiters allow.
    #[test]
    fn i2_slots_bounded_with_options(plan in plan(Threads::One)) {
        let played = play(&plan)?;
        played.limits.were_kept(&played.book)?;
        #[cfg(feature = "distributed")]
        rates::were_kept(&played.limits, &played.book)?;
    }

    /// Whenever `drain` returns Ok, nothing is pending, delayed or running and every submitter has its answer; and it does
    /// return once nothing is paused.
    #[test]
    fn i7_drain_means_empty_with_options(plan in plan_until(Threads::One, End::Drain)) {
        let played = play(&plan)?;
        prop_assert!(played.drains > 0);
    }
}

properties! {
    cases: 60, least: 1_000;

    /// All of the above where commands really run at the same time.
    #[test]
    fn several_threads_keep_every_promise_with_options(plan in plan(Threads::Three)) {
        let played = play(&plan)?;
        settles_once(&plan, &played)?;
        played.limits.were_kept(&played.book)?;
        times::began_in_time(&played)?;
    }
}

fn settles_once(plan: &Plan, played: &Played) -> Checked {
    let mut accepted = HashMap::new();
    for record in played.book.records() {
        check(
            !record.seen.doubled.load(SeqCst),
            "two bodies of one command ran",
        )?;
        match &*lock(&record.answer) {
            Answer::Refused(code) => {
                let explained = refusal(plan, played, &record, code);
                prop_assert!(explained, "refused with {}: {:#?}", code, record);
            }
            Answer::Accepted(handle) => *accepted.entry(handle.id().to_owned()).or_insert(0) += 1,
            Answer::None | Answer::Joined(..) | Answer::Plain(_) => {}
        }
        if let Some(result) = played.results.get(&record.number) {
            let explained = match result {
                // Whose unique key was taken over is cancelled, unless it came to its end first.
                Err(code) if record.seen.replaced.load(SeqCst) => {
                    *code == "CANCELLED" || *code == "QUEUE_ERROR" && plan.end != End::Drain
                }
                Ok(value) => record.seen.returned.load(SeqCst) && *value == json!(record.number),
                Err(code) => failure(plan, played, &record, code),
            };
            prop_assert!(explained, "settled with {:?}: {:#?}", result, record);
        }
        let attempts = record.seen.attempt.load(SeqCst);
        let most = played.limits.attempts(record.lane, &record.plan);
        prop_assert!(attempts <= most, "{} attempts: {:#?}", attempts, record);
    }
    for (id, count) in &accepted {
        let settled = played.settled.get(id).copied().unwrap_or_default();
        prop_assert_eq!(settled, *count, "events of the end of {}", id);
    }
    if let Some((submitted, settled)) = played.counted {
        prop_assert_eq!(submitted, settled, "counted");
    }
    reported(played)
}

/// Why a submission may be refused.
fn refusal(plan: &Plan, played: &Played, record: &Record, code: &str) -> bool {
    match code {
        "LANE_FULL" => played.limits.may_refuse(record.lane),
        "DUPLICATE" => record.plan.id.is_some() || record.plan.unique.is_some(),
        "LANE_NOT_FOUND" => played.limits.removes,
        "SHUTDOWN_IN_PROGRESS" | "QUEUE_ERROR" => plan.end != End::Drain,
        _ => false,
    }
}

/// Why a command may fail.
fn failure(plan: &Plan, played: &Played, record: &Record, code: &str) -> bool {
    let (seen, limits) = (&record.seen, &played.limits);
    match code {
        "COMMAND_ERROR" => seen.failed.load(SeqCst),
        "UNRECOVERABLE" => seen.gave_up.load(SeqCst),
        "PANICKED" => seen.panicked.load(SeqCst),
        "TIMEOUT" => limits.timeout(record.lane, &record.plan).least.is_some(),
        "STALLED" => limits
            .progress_timeout(record.lane, &record.plan)
            .least
            .is_some(),
        "CANCELLED" => seen.cancelled.load(SeqCst),
        "EXPIRED" => record.plan.ttl_ms.is_some() && seen.bodies.load(SeqCst) == 0,
        "LANE_FULL" => limits.may_drop(record.lane),
        "QUEUE_ERROR" => plan.end != End::Drain,
        _ => false,
    }
}

/// The report of the end names what was left, once, and nothing else.
fn reported(played: &Played) -> Checked {
    let Some(report) = &played.report else {
        return Ok(());
    };
    let mut left = HashMap::new();
    for leftover in report.pending.iter().chain(&report.stopped) {
        prop_assert!(left.insert(leftover.command_id.clone(), leftover).is_none());
    }
    for record in played.book.records() {
        let Some(handle) = record.handle() else {
            continue;
        };
        // An id may be used again once its command has settled.
        if record.plan.id.is_some() {
            continue;
        }
        let is_left = played.results.get(&record.number) == Some(&Err("QUEUE_ERROR"));
        let leftover = left.get(handle.id());
        prop_assert_eq!(leftover.is_some(), is_left, "{:#?}", record);
        if let Some(leftover) = leftover {
            let began = record.seen.bodies.load(SeqCst);
            prop_assert!(leftover.attempts <= began, "{:?}: {:#?}", leftover, record);
        }
    }
    Ok(())
}

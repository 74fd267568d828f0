//! What an event costs when nobody listens.
//!
//! Directly: `EventEmitter::emit` with an event that owns no memory, in a loop. The floor is the same loop that only makes
//! and drops the event; the budget is for what emitting adds to it. The clock is processor time.
//!
//! On the command's path, where building the event would be the expense: allocations per command from submit to result.
//! The user's own are two (the boxed command, its boxed future) and the floor's two (the task, the channel); whatever a
//! queue makes for nobody comes on top.

use std::hint::black_box;

use a3s_lane::{EventPayload, LaneEvent};
use chrono::Utc;

use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{
    BareSpawn, Contestant, Ours, Published, Setup, emit_unheard_ours, emit_unheard_published,
};
use crate::harness::alloc::Counting;
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::usage::Usage;

use super::drive::{check_sum, flood, fresh_single_thread, submit_noops, sum_of};

const EMITS: usize = 2_000_000;
const COMMANDS: usize = 50_000;
const WARM_UP: usize = 5_000;
const BUDGET_NANOS: f64 = 5.0;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = emit(options);
    lines.push(allocations(options));
    lines
}

fn emit(options: &Options) -> Vec<Line> {
    let times = options.scale(EMITS);
    let mut contest = Contest::new("events: emit", options);
    contest.enter(OURS, times, |n| emit_sample(n, emit_unheard_ours));
    contest.enter(FLOOR, times, |n| emit_sample(n, drop_unheard));
    contest.enter(PUBLISHED, times, |n| emit_sample(n, emit_unheard_published));
    let outcome = contest.run();
    let line = |index, label: &str, unit, budget| Line {
        row: "events",
        label: label.into(),
        unit,
        ours: outcome.series(OURS, index),
        floor: Some(outcome.series(FLOOR, index)),
        peer: Some(outcome.series(PUBLISHED, index)),
        budget,
    };
    vec![
        line(
            0,
            "emit, nobody listens",
            Unit::Nanoseconds,
            Budget::ExtraBelow(BUDGET_NANOS),
        ),
        line(
            1,
            "allocations per emit",
            Unit::Allocations,
            Budget::AtMost(0.0),
        ),
    ]
}

/// The loop of the contestants without an emitter.
fn drop_unheard(times: usize, timestamp: chrono::DateTime<Utc>) {
    for _ in 0..times {
        drop(black_box(LaneEvent {
            key: String::new(),
            payload: EventPayload::Empty,
            timestamp,
        }));
    }
}

/// Nanoseconds and allocations per event.
fn emit_sample(times: usize, emit: fn(usize, chrono::DateTime<Utc>)) -> Vec<f64> {
    let timestamp = Utc::now();
    let before = Usage::now();
    emit(times, timestamp);
    let used = Usage::now().since(before);
    let nanos = used.cpu.as_nanos() as f64 / times as f64;

    let counting = Counting::start();
    let begin = counting.now().allocations;
    emit(0, timestamp);
    let emitter = counting.now().allocations - begin;
    emit(times, timestamp);
    // Both calls make an emitter, which allocates.
    let allocations = counting.now().allocations - begin - 2 * emitter;
    vec![nanos, allocations as f64 / times as f64]
}

fn allocations(options: &Options) -> Line {
    let commands = options.scale(COMMANDS);
    let mut contest = Contest::new("events: allocations per command", options);
    contest.enter(OURS, commands, |n| vec![allocations_sample::<Ours>(n)]);
    contest.enter(FLOOR, commands, |n| {
        vec![allocations_sample::<BareSpawn>(n)]
    });
    contest.enter_slow(PUBLISHED, commands, 1000, |n| {
        vec![allocations_sample::<Published>(n)]
    });
    let outcome = contest.run();
    Line {
        row: "events",
        label: "allocations per command, nobody listens (2 are the user's)".into(),
        unit: Unit::Allocations,
        ours: outcome.series(OURS, 0),
        floor: Some(outcome.series(FLOOR, 0)),
        peer: Some(outcome.series(PUBLISHED, 0)),
        budget: Budget::None,
    }
}

fn allocations_sample<C: Contestant>(commands: usize) -> f64 {
    fresh_single_thread().block_on(async {
        let setup = Setup::one_lane(10);
        let contestant = C::build(&setup).await;
        let ids = setup.ids();
        flood(&contestant, &ids, WARM_UP.min(commands)).await;
        let mut replies = Vec::with_capacity(commands);
        let counting = Counting::start();
        let before = counting.now();
        submit_noops(&contestant, &ids, commands, &mut replies).await;
        let sum = sum_of(&mut replies).await;
        let after = counting.now();
        check_sum(sum, commands);
        (after.allocations - before.allocations) as f64 / commands as f64
    })
}

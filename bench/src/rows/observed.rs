//! The throughput of one lane while the queue keeps metrics and a subscriber reads every event.
//!
//! The subscriber reads all the time, beside the queue, and must have read every event in the end (three per command:
//! submitted, started, completed); the emitter holds them all, so that nothing is lost however late the subscriber is.
//! One line stops the clock at the last result, as the throughput row does; one when the subscriber has read the last
//! event too. One more line has an emitter of 1024 events, where a late subscriber loses some.
//! The floor is the bare spawn without metrics and events. The published crate stores `with_metrics` but counts nothing, so
//! it does less work here.

use std::time::{Duration, Instant};

use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{BareSpawn, Contestant, Events, Ours, Published, Setup};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::{flood, on_a_worker, per_second};

const COMMANDS: usize = 50_000;
const WARM_UP: usize = 2_000;
const EVENTS_PER_COMMAND: usize = 3;
/// How long the subscriber may take for events that should already be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is switched on.
#[derive(Clone, Copy)]
struct Observers {
    metrics: bool,
    subscriber: Option<Subscriber>,
}

#[derive(Clone, Copy, PartialEq)]
enum Subscriber {
    /// Reads all events, however long that takes.
    ReadsAll,
    /// Reads what it can until the last result.
    MayLag,
}

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let both = |subscriber| Observers {
        metrics: true,
        subscriber: Some(subscriber),
    };
    let metrics_only = Observers {
        metrics: true,
        subscriber: None,
    };
    let subscriber_only = Observers {
        metrics: false,
        subscriber: Some(Subscriber::ReadsAll),
    };
    let reads_all = "metrics + 1 subscriber that reads all";
    let least = Budget::FloorAtLeast(0.5);
    let mut lines = lines(options, reads_all, both(Subscriber::ReadsAll), &least);
    for (label, observers) in [
        (
            "metrics + 1 subscriber that may lag",
            both(Subscriber::MayLag),
        ),
        ("metrics only", metrics_only),
        ("1 subscriber that reads all, only", subscriber_only),
    ] {
        lines.extend(self::lines(options, label, observers, &Budget::None));
    }
    lines
}

/// One line, or two when the subscriber's end is another moment than the last result's.
fn lines(options: &Options, label: &str, observers: Observers, budget: &Budget) -> Vec<Line> {
    let commands = options.scale(COMMANDS);
    let mut contest = Contest::new(format!("observed: {label}"), options);
    contest.enter(OURS, commands, |n| sample::<Ours>(observers, n, true));
    contest.enter(FLOOR, commands, |n| {
        sample::<BareSpawn>(observers, n, false)
    });
    contest.enter_slow(PUBLISHED, commands, 1000, |n| {
        sample::<Published>(observers, n, false)
    });
    let outcome = contest.run();
    let line = |index, label| Line {
        row: "observed",
        label,
        unit: Unit::PerSecond,
        ours: outcome.series(OURS, index),
        floor: Some(outcome.series(FLOOR, index)),
        peer: Some(outcome.series(PUBLISHED, index)),
        budget: budget.clone(),
    };
    if observers.subscriber == Some(Subscriber::ReadsAll) {
        vec![
            line(0, format!("{label}, to the last result")),
            line(1, format!("{label}, to the last event")),
        ]
    } else {
        vec![line(0, label.into())]
    }
}

/// Commands per second, to the last result and to the subscriber's last event.
fn sample<C: Contestant>(observers: Observers, commands: usize, must_count: bool) -> Vec<f64> {
    on_a_worker(async move {
        let mut setup = Setup::one_lane(10);
        setup.metrics = observers.metrics;
        if observers.subscriber == Some(Subscriber::ReadsAll) {
            setup.event_capacity = ((commands + WARM_UP) * EVENTS_PER_COMMAND).next_power_of_two();
        }
        let contestant = C::build(&setup).await;
        let ids = setup.ids();
        let warm_up = WARM_UP.min(commands);
        run_observed(&contestant, &ids, warm_up, observers.subscriber).await;
        let ends = run_observed(&contestant, &ids, commands, observers.subscriber).await;
        if must_count && observers.metrics {
            let counted = contestant.completed_by_metrics().await;
            assert_eq!(
                counted,
                Some((warm_up + commands) as u64),
                "the metrics count every command"
            );
        }
        ends.map(|end| per_second(commands, end)).to_vec()
    })
}

/// The time from the first submit to the last result, and to the subscriber's last event if it reads all.
async fn run_observed<C: Contestant>(
    contestant: &C,
    ids: &[String],
    commands: usize,
    subscriber: Option<Subscriber>,
) -> [Duration; 2] {
    let Some(subscriber) = subscriber else {
        return [flood(contestant, ids, commands).await; 2];
    };
    let mut events = contestant.subscribe();
    let expected = commands * EVENTS_PER_COMMAND;
    let begin = Instant::now();
    let reader = tokio::spawn(async move {
        let mut received = 0;
        while received < expected && events.recv().await {
            received += 1;
        }
        (received, events.missed())
    });
    let until_results = flood(contestant, ids, commands).await;
    if subscriber == Subscriber::MayLag {
        reader.abort();
        return [until_results; 2];
    }
    let read = tokio::time::timeout(PATIENCE, reader)
        .await
        .expect("the subscriber gets every event");
    let until_events = begin.elapsed();
    let (received, missed) = read.expect("the subscriber does not panic");
    // A floor without events ends the stream at once.
    assert!(
        received == 0 || (received == expected && missed == 0),
        "{received} of {expected} events, {missed} missed"
    );
    [until_results, until_results.max(until_events)]
}

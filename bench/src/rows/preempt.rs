//! From the submission of an urgent command, while preemptible commands use up the total, to the moment at which one of
//! them notices that it must stop, and to the start of the urgent command.
//!
//! Ten commands sleep in a lane with preemption under a total limit of ten, and a thousand more wait behind them. A task
//! submits an urgent command; the clock starts before the call. When it has run and the stopped one sleeps again (it is
//! first in its lane), the next is submitted. The victim notices when it wakes because of its token (with a grace period) or
//! when it is dropped (without one). The floor is written by hand: a semaphore of ten and ten tasks with tokens; the urgent
//! task joins the queue for a permit and then cancels one of them, which gives up its permit and asks for another. It has
//! no backlog: a semaphore could not let the victim go first.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use a3s_lane::{LaneConfig, LaneOptions};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::contestants::jobs::Probe;
use crate::contestants::names::{FLOOR, OURS};
use crate::contestants::{Contestant, Notices, Ours, Stoppable, builder};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::stats::quantile;

use super::drive::on_a_worker;

const TOTAL: usize = 10;
const BACKLOG: usize = 1_000;
const PROBES: usize = 500;
/// Fewer would not make a 99th percentile.
const LEAST_PROBES: usize = 100;
/// Between two probes everything is asleep.
const PAUSE: Duration = Duration::from_millis(1);
const BUDGET_NANOS: f64 = 5e6;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let cases = [
        ("", Duration::ZERO),
        (", with grace", Duration::from_secs(10)),
    ];
    let probes = options.scale(PROBES).max(LEAST_PROBES);
    let mut contest = Contest::new("preempt", options);
    for (label, grace) in cases {
        contest.enter(format!("{OURS}{label}"), probes, move |n| ours(grace, n));
    }
    contest.enter(FLOOR, probes, floor);
    let outcome = contest.run();

    let measures = [
        "p50 to the victim",
        "p99 to the victim",
        "p50 to the urgent start",
        "p99 to the urgent start",
    ];
    let mut lines = Vec::new();
    for (label, _) in cases {
        for (index, measure) in measures.into_iter().enumerate() {
            lines.push(Line {
                row: "preempt",
                label: format!("{measure}{label}"),
                unit: Unit::Nanoseconds,
                ours: outcome.series(&format!("{OURS}{label}"), index),
                floor: Some(outcome.series(FLOOR, index)),
                peer: None,
                budget: if index % 2 == 1 {
                    Budget::AtMost(BUDGET_NANOS)
                } else {
                    Budget::None
                },
            });
        }
    }
    lines
}

fn ours(grace: Duration, probes: usize) -> Vec<f64> {
    on_a_worker(async move {
        let preemptible = LaneOptions::new().with_preemption(true).with_grace(grace);
        let builder = builder()
            .with_lane("urgent", LaneConfig::new(0, TOTAL), 0)
            .with_lane("background", LaneConfig::new(0, TOTAL), 5)
            .with_lane_options("background", preemptible)
            .with_max_concurrency(TOTAL);
        let ours = Ours::start(builder).await;
        let (work, mut notices) = Stoppable::new();
        for _ in 0..TOTAL + BACKLOG {
            let receiver = ours
                .manager()
                .submit("background", Box::new(work.clone()))
                .await;
            drop(receiver.expect("an open queue accepts a command"));
        }
        work.wait_started(TOTAL).await;

        let mut times = Times::default();
        for _ in 0..probes {
            tokio::time::sleep(PAUSE).await;
            let begin = Instant::now();
            let reply = ours.submit("urgent", Probe(begin)).await;
            let wait = reply
                .await
                .expect("the probe settles")
                .expect("the probe succeeds");
            let wait = wait.as_u64().expect("the probe returns its wait");
            times
                .note(begin, &mut notices, Duration::from_nanos(wait))
                .await;
            // The victim has the slot again.
            work.wait_started(1).await;
        }
        let stats = ours.manager().stats().await.expect("a running manager");
        assert_eq!(
            (stats.total_active, stats.total_pending),
            (TOTAL, BACKLOG),
            "every victim came back"
        );
        times.quantiles(probes)
    })
}

fn floor(probes: usize) -> Vec<f64> {
    on_a_worker(async move {
        let slots = Arc::new(Semaphore::new(TOTAL));
        let (work, mut notices) = Stoppable::new();
        let mut victim = Victim::default();
        for _ in 0..TOTAL {
            victim = Victim::default();
            tokio::spawn(stand_in(Arc::clone(&slots), work.clone(), victim.clone()));
        }
        work.wait_started(TOTAL).await;

        let mut times = Times::default();
        for _ in 0..probes {
            tokio::time::sleep(PAUSE).await;
            let begin = Instant::now();
            let (sender, receiver) = oneshot::channel();
            let (slots, victim) = (Arc::clone(&slots), victim.clone());
            tokio::spawn(async move {
                let mut permit = pin!(slots.acquire());
                let mut asked = false;
                let permit = poll_fn(|context| {
                    let poll = permit.as_mut().poll(context);
                    if poll.is_pending() && !asked {
                        asked = true;
                        victim.token().cancel();
                    }
                    poll
                })
                .await;
                let wait = begin.elapsed();
                assert!(asked, "the slots were in use");
                drop(permit);
                // Nobody may be listening any more.
                let _ = sender.send(wait);
            });
            let wait = receiver.await.expect("the urgent task answers");
            times.note(begin, &mut notices, wait).await;
            work.wait_started(1).await;
        }
        times.quantiles(probes)
    })
}

/// The token of the task that gives way.
#[derive(Clone, Default)]
struct Victim(Arc<Mutex<CancellationToken>>);

impl Victim {
    fn token(&self) -> CancellationToken {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn renewed(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }
}

/// A preemptible task: begins anew whenever it was stopped.
async fn stand_in(slots: Arc<Semaphore>, work: Stoppable, victim: Victim) {
    loop {
        let permit = slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        work.run(victim.renewed()).await;
        drop(permit);
    }
}

#[derive(Default)]
struct Times {
    to_victim: Vec<f64>,
    to_start: Vec<f64>,
}

impl Times {
    async fn note(&mut self, begin: Instant, notices: &mut Notices, start: Duration) {
        let noticed = notices.recv().await.expect("the victim tells");
        assert!(notices.is_empty(), "only one gives way");
        self.to_victim.push((noticed - begin).as_nanos() as f64);
        self.to_start.push(start.as_nanos() as f64);
    }

    fn quantiles(&self, probes: usize) -> Vec<f64> {
        assert_eq!(self.to_start.len(), probes, "every probe ran");
        [&self.to_victim, &self.to_start]
            .into_iter()
            .flat_map(|times| [quantile(times, 0.5), quantile(times, 0.99)])
            .collect()
    }
}

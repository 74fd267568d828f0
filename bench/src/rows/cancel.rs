//! From the call of `cancel` to the running body noticing, and to the error in the caller's hands.
//!
//! All bodies run and sleep before the first call. One after the other is cancelled; the clock starts before the call. A
//! body notices when it wakes because of its token (with a grace period) or when it is dropped (without one). On an idle
//! queue the caller is a task; under load it is a thread outside of the runtime that rests for half a millisecond before
//! each call, while another lane of two computes 20 us per command on both workers until the last call (checked). The floor
//! is a task that waits for the same sleep and a `CancellationToken` of its own, and a `oneshot`, beside a semaphore of two
//! that carries the same load.

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::{Duration, Instant};

use a3s_lane::{CommandHandle, LaneConfig, LaneError, LaneOptions, Result, SubmitOptions};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::contestants::names::{FLOOR, OURS};
use crate::contestants::{Contestant, Notices, Ours, SemaphoreOfN, Setup, Stoppable, builder};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;
use crate::harness::stats::quantile;

use super::drive::{fresh_runtime, on_a_worker};
use super::load::{COMPUTING, Load};

const CANCELS: usize = 2_000;
const CANCELS_UNDER_LOAD: usize = 400;
/// Fewer would not make a 99th percentile.
const LEAST_CANCELS: usize = 100;
const PAUSE: Duration = Duration::from_micros(500);
/// Long enough for every body to be asleep.
const SETTLE: Duration = Duration::from_millis(10);
const BUDGET_NANOS: f64 = 5e6;

#[derive(Clone, Copy)]
struct Case {
    label: &'static str,
    grace: Duration,
    loaded: bool,
}

const CASES: [Case; 3] = [
    Case {
        label: "idle queue",
        grace: Duration::ZERO,
        loaded: false,
    },
    Case {
        label: "idle queue, with grace",
        grace: Duration::from_secs(10),
        loaded: false,
    },
    Case {
        label: "two workers busy",
        grace: Duration::ZERO,
        loaded: true,
    },
];

pub(crate) fn run(options: &Options) -> Vec<Line> {
    CASES
        .into_iter()
        .flat_map(|case| lines_of(options, case))
        .collect()
}

fn lines_of(options: &Options, case: Case) -> Vec<Line> {
    let cancels = options.scale(if case.loaded {
        CANCELS_UNDER_LOAD
    } else {
        CANCELS
    });
    let cancels = cancels.max(LEAST_CANCELS);
    let mut contest = Contest::new(format!("cancel: {}", case.label), options);
    contest.enter(OURS, cancels, |n| sample(case, ours(case, n), n));
    contest.enter(FLOOR, cancels, |n| sample(case, floor(n), n));
    let outcome = contest.run();

    let measures = [
        "p50 to the body",
        "p99 to the body",
        "p50 to the error",
        "p99 to the error",
    ];
    let line = |(index, measure)| Line {
        row: "cancel",
        label: format!("{measure}, {}", case.label),
        unit: Unit::Nanoseconds,
        ours: outcome.series(OURS, index),
        floor: Some(outcome.series(FLOOR, index)),
        peer: None,
        budget: if index % 2 == 1 {
            Budget::AtMost(BUDGET_NANOS)
        } else {
            Budget::None
        },
    };
    measures.into_iter().enumerate().map(line).collect()
}

/// Something that runs and can be cancelled.
trait Target: Send + 'static {
    fn cancel(&self);
    fn outcome(self) -> impl Future<Output = Result<Value>> + Send;
}

impl Target for CommandHandle {
    fn cancel(&self) {
        assert!(
            CommandHandle::cancel(self),
            "a running command can be cancelled"
        );
    }

    fn outcome(self) -> impl Future<Output = Result<Value>> + Send {
        self.into_future()
    }
}

/// A spawned task with a token.
struct BareTask {
    token: CancellationToken,
    result: oneshot::Receiver<Result<Value>>,
}

impl Target for BareTask {
    fn cancel(&self) {
        self.token.cancel();
    }

    async fn outcome(self) -> Result<Value> {
        self.result.await.expect("the task answers")
    }
}

/// Bodies that run, what they tell, and who carries the load.
struct Ready<C, T> {
    contestant: Arc<C>,
    targets: Vec<T>,
    notices: Notices,
}

async fn ours(case: Case, count: usize) -> Ready<Ours, CommandHandle> {
    let builder = builder()
        .with_lane("work", LaneConfig::new(1, count), 1)
        .with_lane_options("work", LaneOptions::new().with_grace(case.grace))
        .with_lane("load", LaneConfig::new(1, 2), 5);
    let ours = Ours::start(builder).await;
    let (work, notices) = Stoppable::new();
    let mut targets = Vec::with_capacity(count);
    for _ in 0..count {
        let command = Box::new(work.clone());
        let handle = ours
            .manager()
            .submit_with("work", command, SubmitOptions::new());
        targets.push(handle.await.expect("an open queue accepts a command"));
    }
    work.wait_started(count).await;
    Ready {
        contestant: Arc::new(ours),
        targets,
        notices,
    }
}

async fn floor(count: usize) -> Ready<SemaphoreOfN, BareTask> {
    let mut setup = Setup::one_lane(2);
    setup.lanes[0].id = "load".into();
    let (work, notices) = Stoppable::new();
    let spawn = |_| {
        let token = CancellationToken::new();
        let (sender, result) = oneshot::channel();
        let (work, its_token) = (work.clone(), token.clone());
        tokio::spawn(async move {
            work.run(its_token).await;
            // Nobody may be listening any more.
            let _ = sender.send(Err(LaneError::Cancelled("asked to stop".into())));
        });
        BareTask { token, result }
    };
    let targets = (0..count).map(spawn).collect();
    work.wait_started(count).await;
    Ready {
        contestant: Arc::new(SemaphoreOfN::build(&setup).await),
        targets,
        notices,
    }
}

/// p50 and p99 to the body, p50 and p99 to the error.
fn sample<C: Contestant, T: Target>(
    case: Case,
    ready: impl Future<Output = Ready<C, T>> + Send + 'static,
    cancels: usize,
) -> Vec<f64> {
    let [to_body, to_error] = if case.loaded {
        under_load(ready)
    } else {
        on_a_worker(async move {
            let mut ready = ready.await;
            tokio::time::sleep(SETTLE).await;
            let mut times = [Vec::new(), Vec::new()];
            for target in ready.targets {
                let once = cancel(target, &mut ready.notices).await;
                note(&mut times, once);
            }
            times
        })
    };
    let least = if case.loaded { LEAST_CANCELS } else { cancels };
    assert!(
        to_body.len() >= least,
        "{} cancels while the load was waiting",
        to_body.len()
    );
    [&to_body, &to_error]
        .into_iter()
        .flat_map(|times| [quantile(times, 0.5), quantile(times, 0.99)])
        .collect()
}

fn under_load<C: Contestant, T: Target>(ready: impl Future<Output = Ready<C, T>>) -> [Vec<f64>; 2] {
    let runtime = fresh_runtime();
    let mut ready = runtime.block_on(ready);
    let load = runtime.block_on(Load::start(&ready.contestant, "load", 2, COMPUTING));
    let mut times = [Vec::new(), Vec::new()];
    for target in ready.targets {
        if load.nearly_over() {
            break;
        }
        std::thread::sleep(PAUSE);
        let once = runtime.block_on(cancel(target, &mut ready.notices));
        note(&mut times, once);
    }
    load.check();
    times
}

fn note(times: &mut [Vec<f64>; 2], once: [Duration; 2]) {
    for (times, time) in times.iter_mut().zip(once) {
        times.push(time.as_nanos() as f64);
    }
}

/// Cancels one; how long until its body noticed and until its error was here.
async fn cancel<T: Target>(target: T, notices: &mut Notices) -> [Duration; 2] {
    let begin = Instant::now();
    target.cancel();
    let outcome = target.outcome().await;
    let to_error = begin.elapsed();
    assert!(
        matches!(outcome, Err(LaneError::Cancelled(_))),
        "a cancelled body ends as cancelled, not with {outcome:?}"
    );
    let noticed = notices.recv().await.expect("the body tells");
    [noticed - begin, to_error]
}

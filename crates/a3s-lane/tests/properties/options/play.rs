//! Plays a plan on a real runtime and reports what was seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;
use std::time::Duration;

use a3s_lane::event::{EventPayload, events};
use a3s_lane::{
    Command, CommandHandle, EventEmitter, EventStream, LaneError, QueueManager,
    QueueManagerBuilder, Refused, Result, ShutdownReport, Snapshot,
};
use proptest::test_runner::TestCaseError;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::body::Body;
use super::commands::CommandPlan;
#[cfg(feature = "distributed")]
use super::lanes::limiter_name;
use super::limits::Limits;
use super::plan::{End, KEYS, LANES, Plan, Step, key_name, ms};
use super::pressure::Pressure;
use super::record::{Answer, Book, Origin, Record, lock};
use super::unique::submit_named;
use crate::plan::Threads;
use crate::seeds::count_operation;

/// Longer than anything takes; on paused time it costs nothing.
const LONG: Duration = Duration::from_secs(60);

pub(crate) type Checked<T = ()> = std::result::Result<T, TestCaseError>;

/// Ok, or the code of the error.
pub(crate) type Code = std::result::Result<Value, &'static str>;

pub(crate) struct Played {
    pub(crate) book: Arc<Book>,
    pub(crate) limits: Limits,
    /// Of each accepted command, by the number of its record: what its submitter got.
    pub(crate) results: HashMap<usize, Code>,
    /// How often each id has settled, as its events say.
    pub(crate) settled: HashMap<String, usize>,
    pub(crate) report: Option<ShutdownReport>,
    pub(crate) drains: usize,
    /// Counters of submitted and of settled commands.
    pub(crate) counted: Option<(u64, u64)>,
}

pub(crate) fn play(plan: &Plan) -> Checked<Played> {
    let mut builder = match plan.threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Three => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all();
    match plan.threads {
        Threads::One => builder.start_paused(true),
        Threads::Three => builder.worker_threads(3),
    };
    let runtime = builder.build().unwrap();
    runtime.block_on(Player::new(plan).play())
}

struct Player<'a> {
    plan: &'a Plan,
    book: Arc<Book>,
    limits: Limits,
    /// Submissions that wait for room.
    waiting: Vec<JoinHandle<Checked>>,
    /// On one thread.
    pressure: Option<Pressure>,
    drains: usize,
}

impl<'a> Player<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            book: Arc::default(),
            limits: Limits::new(plan),
            waiting: Vec::new(),
            pressure: None,
            drains: 0,
        }
    }

    async fn build(&self) -> QueueManager {
        let mut builder = QueueManagerBuilder::new(EventEmitter::new(1 << 14));
        for (number, lane) in self.plan.lanes.iter().enumerate() {
            builder = builder
                .with_lane(number.to_string(), lane.config(), lane.priority)
                .with_lane_options(number.to_string(), lane.options());
        }
        if let Some(total) = self.plan.total {
            builder = builder.with_max_concurrency(total);
        }
        #[cfg(feature = "distributed")]
        for (number, limiter) in (0..).zip(&self.plan.limiters) {
            builder = builder.with_limiter(limiter_name(number), limiter.config());
        }
        #[cfg(feature = "metrics")]
        {
            builder = builder.with_metrics(a3s_lane::QueueMetrics::local());
        }
        builder.build().await.unwrap()
    }

    async fn play(mut self) -> Checked<Played> {
        let manager = Arc::new(self.build().await);
        let mut stream = manager.subscribe();
        if self.plan.threads == Threads::One {
            self.pressure = Some(Pressure::new(manager.subscribe()));
        }
        for step in self.plan.steps.clone() {
            count_operation();
            self.step(&manager, step).await?;
        }
        let mut report = None;
        let mut counted = None;
        match self.plan.end {
            End::Drain => {
                self.let_all_run(&manager).await?;
                counted = counters(&manager).await;
                manager.shutdown().await;
            }
            End::ShutdownWithinMs(limit) => {
                let end = timeout(LONG, manager.shutdown_within(ms(limit))).await;
                report = Some(end.map_err(|_| fail("shutdown_within returns"))?);
                self.join_waiting().await?;
                counted = counters(&manager).await;
            }
            End::DropManager => {
                while let Some(submitter) = self.waiting.pop() {
                    give_up(submitter).await?;
                }
            }
        }
        drop(manager);
        let results = self.results().await?;
        let settled = settled(&mut stream).await?;
        // A dropped queue's commands are gone when its runners have ended.
        let gone = async {
            while self.book.alive.load(SeqCst) > 0 {
                tokio::time::sleep(ms(1)).await;
            }
        };
        let gone = timeout(LONG, gone).await;
        gone.map_err(|_| fail("a command was never dropped"))?;
        Ok(Played {
            book: self.book,
            limits: self.limits,
            results,
            settled,
            report,
            drains: self.drains,
            counted,
        })
    }

    /// Takes away what keeps commands from starting, and waits for all of them.
    async fn let_all_run(&mut self, manager: &QueueManager) -> Checked {
        manager.start().await.unwrap();
        for lane in 0..LANES {
            let _ = manager.resume_lane(&lane.to_string());
        }
        for key in 0..KEYS {
            manager.resume_key(&key_name(key));
        }
        let total = self.limits.roomy_total();
        manager.set_max_concurrency(total).unwrap();
        self.join_waiting().await?;
        let drained = manager.drain(LONG).await;
        drained.map_err(|_| TestCaseError::fail(format!("{:#?}", manager.snapshot())))?;
        self.look_drained(manager)
    }

    async fn join_waiting(&mut self) -> Checked {
        for submitter in self.waiting.drain(..) {
            let answer = timeout(LONG, submitter).await;
            let answer = answer.map_err(|_| fail("whoever waits for room gets an answer"))?;
            answer.map_err(|_| fail("a submitter panicked"))??;
        }
        Ok(())
    }

    async fn step(&mut self, manager: &Arc<QueueManager>, step: Step) -> Checked {
        match step {
            Step::Start => manager.start().await.unwrap(),
            Step::Submit(lane, plan) => self.submit(manager, lane, plan).await?,
            Step::SubmitPlain(lane, plan) => self.submit_plain(manager, lane, plan).await?,
            Step::SubmitMany(lane, plans) => self.submit_many(manager, lane, &plans).await?,
            Step::GiveUp(pick) if !self.waiting.is_empty() => {
                let pick = pick % self.waiting.len();
                give_up(self.waiting.swap_remove(pick)).await?;
            }
            Step::Cancel(pick) => {
                if let Some((number, handle)) = self.pick(pick) {
                    self.book.cancelled(|record| record.number == number);
                    let settled = handle.status().is_settled();
                    let cancelled = handle.cancel();
                    check(!(settled && cancelled), "what has settled is not cancelled")?;
                }
            }
            Step::CancelById(pick) => {
                if let Some((_, handle)) = self.pick(pick) {
                    let id = handle.id().to_owned();
                    let same = |other: &Record| other.handle().is_some_and(|it| it.id() == id);
                    self.book.cancelled(same);
                    manager.cancel(&id);
                }
            }
            Step::CancelLane(lane) => {
                self.book.cancelled(|record| record.lane == lane);
                self.expect(manager.cancel_lane(&lane.to_string()), &["LANE_NOT_FOUND"])?;
                // Bodies on other threads may have submitted more of them in between.
                self.book.cancelled(|record| record.lane == lane);
            }
            Step::CancelKey(key) => {
                self.book.cancelled(|record| record.plan.key == Some(key));
                manager.cancel_key(&key_name(key));
                self.book.cancelled(|record| record.plan.key == Some(key));
            }
            Step::PauseLane(lane, paused) => {
                let done = match paused {
                    true => manager.pause_lane(&lane.to_string()),
                    false => manager.resume_lane(&lane.to_string()),
                };
                self.expect(done, &["LANE_NOT_FOUND"])?;
            }
            Step::PauseKey(key, true) => manager.pause_key(&key_name(key)),
            Step::PauseKey(key, false) => manager.resume_key(&key_name(key)),
            Step::SetTotal(total) => {
                self.limits.set_total(total);
                self.expect(manager.set_max_concurrency(total), &["CONFIG_ERROR"])?;
            }
            Step::SetLane(lane, plan) => {
                self.limits.set_lane(lane, &plan);
                let id = lane.to_string();
                let set = manager.set_lane(&id, plan.config(), plan.options(), plan.priority);
                if set.is_ok() {
                    self.limits.lanes[lane].is = plan;
                }
                self.expect(set, &["CONFIG_ERROR"])?;
            }
            Step::RemoveLane(lane) => {
                let removed = manager.remove_lane(&lane.to_string());
                if removed.is_ok() {
                    self.limits.removed_lane(lane);
                }
                self.expect(removed, &["LANE_NOT_FOUND", "QUEUE_ERROR"])?;
            }
            #[cfg(feature = "distributed")]
            Step::SetLimiter(number, plan) => {
                self.limits.limiters[usize::from(number)].push(plan.clone());
                let set = manager.set_limiter(&limiter_name(number), plan.config());
                self.expect(set, &[])?;
            }
            Step::SleepMs(time) => tokio::time::sleep(ms(time)).await,
            Step::Yield => tokio::task::yield_now().await,
            Step::DrainMs(limit) => {
                if manager.drain(ms(limit)).await.is_ok() && self.plan.threads == Threads::One {
                    self.look_drained(manager)?;
                }
            }
            Step::Look => self.look(&manager.snapshot())?,
            Step::GiveUp(_) => {}
        }
        Ok(())
    }

    fn expect<T>(&self, done: Result<T>, codes: &[&str]) -> Checked {
        match done {
            Err(error) if !codes.contains(&error.code()) => Err(TestCaseError::fail(format!(
                "a call failed with {error}, not {codes:?}"
            ))),
            _ => Ok(()),
        }
    }

    /// Some handle, and the number of its command.
    fn pick(&self, pick: usize) -> Option<(usize, CommandHandle)> {
        let records = self.book.records().into_iter();
        let handles: Vec<_> = records
            .filter_map(|record| match &*lock(&record.answer) {
                Answer::Accepted(handle) => Some((record.number, handle.clone())),
                Answer::Joined(handle, whose) => Some((*whose, handle.clone())),
                _ => None,
            })
            .collect();
        let pick = pick.checked_rem(handles.len())?;
        handles.into_iter().nth(pick)
    }

    /// Lets a submission go as far as it gets at once; what has to wait is left to a task.
    async fn go(&mut self, submission: impl Future<Output = Checked> + Send + 'static) -> Checked {
        let mut submission = Box::pin(submission);
        match futures::poll!(submission.as_mut()) {
            Poll::Ready(done) => done,
            Poll::Pending => {
                self.waiting.push(tokio::spawn(submission));
                Ok(())
            }
        }
    }

    async fn submit(
        &mut self,
        manager: &Arc<QueueManager>,
        lane: usize,
        plan: CommandPlan,
    ) -> Checked {
        let threads = self.plan.threads;
        let record = self.book.enter(lane, &plan, Origin::Player);
        let (book, manager) = (Arc::clone(&self.book), Arc::clone(manager));
        let submission = async move {
            let body = Body::new(&book, &record, false);
            let id = lane.to_string();
            let submission = manager.submit_with(&id, body, record.options());
            match threads {
                Threads::One => return submit_named(&book, &record, submission).await,
                Threads::Three => note(&book, &record, submission.await),
            }
            Ok(())
        };
        self.go(submission).await
    }

    async fn submit_many(
        &mut self,
        manager: &Arc<QueueManager>,
        lane: usize,
        plans: &[CommandPlan],
    ) -> Checked {
        let book = Arc::clone(&self.book);
        let records: Vec<_> = plans
            .iter()
            .map(|plan| book.enter(lane, plan, Origin::Group))
            .collect();
        let manager = Arc::clone(manager);
        let submission = async move {
            let commands: Vec<(Box<dyn Command>, _)> = records
                .iter()
                .map(|record| {
                    let body: Box<dyn Command> = Body::new(&book, record, false);
                    (body, record.options())
                })
                .collect();
            let answers = manager.submit_many(&lane.to_string(), commands).await;
            assert_eq!(answers.len(), records.len());
            for (record, answer) in records.iter().zip(answers) {
                note(&book, record, answer);
            }
            Ok(())
        };
        self.go(submission).await
    }

    async fn submit_plain(
        &mut self,
        manager: &Arc<QueueManager>,
        lane: usize,
        plan: CommandPlan,
    ) -> Checked {
        let record = self.book.enter(lane, &plan.plain(), Origin::Player);
        let (book, manager) = (Arc::clone(&self.book), Arc::clone(manager));
        let submission = async move {
            let body = Body::new(&book, &record, true);
            match manager.submit(&lane.to_string(), body).await {
                Ok(receiver) => *lock(&record.answer) = Answer::Plain(Some(receiver)),
                Err(error) => book.refuse(&record, &error),
            }
            Ok(())
        };
        self.go(submission).await
    }

    /// What the queue says of itself at a moment at which nothing else happens: on one thread.
    fn look(&mut self, snapshot: &Snapshot) -> Checked {
        let Some(pressure) = &mut self.pressure else {
            return Ok(());
        };
        let mut pending = [0; LANES];
        for lane in &snapshot.lanes {
            pending[lane.id.parse::<usize>().unwrap()] = lane.pending;
        }
        pressure.look(&self.limits, &self.book, pending)?;
        self.limits.look(&self.book, snapshot)
    }

    /// Looks at everything at once, without giving the queue another turn.
    fn look_drained(&mut self, manager: &QueueManager) -> Checked {
        self.drains += 1;
        let snapshot = manager.snapshot();
        check(
            snapshot.pending == 0,
            "nothing is pending in a drained queue",
        )?;
        check(snapshot.active == 0, "nothing runs in a drained queue")?;
        check(
            snapshot.commands.is_empty(),
            "a drained queue has no commands",
        )?;
        self.look(&snapshot)?;
        for record in self.book.records() {
            let is_answered = match &mut *lock(&record.answer) {
                Answer::Accepted(handle) | Answer::Joined(handle, _) => {
                    let result = handle.result();
                    let mut result = std::pin::pin!(result);
                    let answered = futures::FutureExt::now_or_never(&mut result).is_some();
                    answered && handle.status().is_settled() && handle.explain().is_none()
                }
                Answer::Plain(Some(receiver)) => !receiver.is_empty(),
                _ => true,
            };
            check(is_answered, "drained before every answer was there")?;
        }
        Ok(())
    }

    async fn results(&self) -> Checked<HashMap<usize, Code>> {
        let mut results = HashMap::new();
        let mut joined = Vec::new();
        for record in self.book.records() {
            let answer = std::mem::replace(&mut *lock(&record.answer), Answer::None);
            let result = match answer {
                Answer::Accepted(handle) => {
                    let result = answer_of(&handle).await?;
                    *lock(&record.answer) = Answer::Accepted(handle);
                    result
                }
                Answer::Joined(handle, whose) => {
                    joined.push((whose, answer_of(&handle).await?));
                    *lock(&record.answer) = Answer::Joined(handle, whose);
                    continue;
                }
                Answer::Plain(Some(receiver)) => {
                    let result = timeout(LONG, receiver).await;
                    let result = result.map_err(|_| fail("every receiver resolves"))?;
                    code(result.map_err(|_| fail("a receiver closed without an answer"))?)
                }
                other => {
                    *lock(&record.answer) = other;
                    continue;
                }
            };
            results.insert(record.number, result);
        }
        for (whose, result) in joined {
            let same = results.get(&whose) == Some(&result);
            check(same, "who joins a command gets its result")?;
        }
        Ok(results)
    }
}

/// A submitter that waits no more, unless it has its answer.
async fn give_up(submitter: JoinHandle<Checked>) -> Checked {
    submitter.abort();
    submitter.await.unwrap_or(Ok(()))
}

fn note(book: &Book, record: &Record, answer: std::result::Result<CommandHandle, Refused>) {
    match answer {
        Ok(handle) => book.accept_for_any(record, handle),
        Err(refused) => book.refuse(record, refused.error()),
    }
}

/// The result, which is the same however often it is asked for.
async fn answer_of(handle: &CommandHandle) -> Checked<Code> {
    let result = timeout(LONG, handle.result()).await;
    let result = code(result.map_err(|_| fail("every handle resolves"))?);
    let again = timeout(LONG, handle.clone()).await;
    let again = code(again.map_err(|_| fail("a handle resolves again"))?);
    check(result == again, "a handle has one result")?;
    let status = handle.status();
    check(status.is_settled(), "what has a result has settled")?;
    let completed = status == a3s_lane::CommandStatus::Completed;
    check(
        completed == result.is_ok(),
        "the status is that of the result",
    )?;
    check(!handle.cancel(), "what has settled is not cancelled")?;
    check(
        handle.explain().is_none(),
        "what has settled waits for nothing",
    )?;
    Ok(result)
}

fn code(result: Result<Value>) -> Code {
    result.map_err(|error: LaneError| error.code())
}

/// The ids that settled, from the events until the stream's end.
async fn settled(stream: &mut EventStream) -> Checked<HashMap<String, usize>> {
    let ends = [
        events::QUEUE_COMMAND_COMPLETED,
        events::QUEUE_COMMAND_FAILED,
        events::QUEUE_COMMAND_TIMEOUT,
        events::QUEUE_COMMAND_CANCELLED,
        events::QUEUE_COMMAND_EXPIRED,
    ];
    let mut settled = HashMap::new();
    loop {
        let event = timeout(LONG, stream.recv()).await;
        let Some(event) = event.map_err(|_| fail("the stream ends"))? else {
            break;
        };
        if !ends.contains(&event.key.as_str()) {
            continue;
        }
        if let EventPayload::Map(payload) = &event.payload {
            let id = payload["command_id"].as_str().unwrap_or_default();
            *settled.entry(id.to_owned()).or_default() += 1;
        }
    }
    check(stream.missed() == 0, "no event is lost")?;
    Ok(settled)
}

#[cfg(feature = "metrics")]
async fn counters(manager: &QueueManager) -> Option<(u64, u64)> {
    let counters = manager.metrics()?.snapshot().await.counters;
    let count = |name: &str| counters.get(&format!("lane.commands.{name}")).copied();
    let ends = ["completed", "failed", "timeout", "cancelled", "expired"];
    let settled = ends.into_iter().filter_map(count).sum();
    Some((count("submitted").unwrap_or_default(), settled))
}

#[cfg(not(feature = "metrics"))]
async fn counters(_: &QueueManager) -> Option<(u64, u64)> {
    None
}

pub(crate) fn fail(what: &'static str) -> TestCaseError {
    TestCaseError::fail(what)
}

pub(crate) fn check(holds: bool, what: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(fail(what)) }
}

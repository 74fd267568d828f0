//! Plays a plan on a real runtime and reports what was seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{
    EventEmitter, EventStream, Lane, LaneError, QueueManager, QueueManagerBuilder, Result, Storage,
};
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use tokio::time::timeout;

use crate::command::{LaneSeen, Planned};
use crate::plan::{CommandSpec, End, Plan, Step, Threads};
use crate::seeds::count_operation;

/// Longer than anything takes; on paused time it costs nothing.
const LONG: Duration = Duration::from_secs(60);

/// Ok, or the code of the error.
pub(crate) type Code = std::result::Result<(), &'static str>;

/// What became of one accepted command.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) spec: CommandSpec,
    pub(crate) attempts: u32,
    pub(crate) receiver_dropped: bool,
    pub(crate) outcome: Option<Code>,
}

/// What the queue looked like at the moment when `drain` returned Ok.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) pending: usize,
    pub(crate) active: usize,
    pub(crate) unanswered: usize,
}

#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) settled: Vec<Settled>,
    pub(crate) drains: Vec<Drained>,
    pub(crate) most_running: Vec<usize>,
    /// Commands that still exist.
    pub(crate) alive: usize,
    pub(crate) events: Vec<String>,
    pub(crate) events_missed: u64,
    pub(crate) dead_letters: usize,
}

struct Accepted {
    number: usize,
    spec: CommandSpec,
    attempts: Arc<AtomicU32>,
    receiver: Option<Receiver<Result<Value>>>,
    outcome: Option<Code>,
    receiver_dropped: bool,
}

pub(crate) fn play(plan: &Plan) -> std::result::Result<Played, TestCaseError> {
    play_on(plan, None)
}

/// As [`play`], with a storage in each lane.
pub(crate) fn play_on(
    plan: &Plan,
    storage: Option<Arc<dyn Storage>>,
) -> std::result::Result<Played, TestCaseError> {
    let mut builder = match plan.threads {
        Threads::One => Builder::new_current_thread(),
        Threads::Three => Builder::new_multi_thread(),
    };
    builder.enable_all();
    match plan.threads {
        Threads::One => builder.start_paused(true),
        Threads::Three => builder.worker_threads(3),
    };
    let runtime = builder.build().unwrap();
    runtime.block_on(Player::new(plan, storage).play())
}

struct Player<'a> {
    plan: &'a Plan,
    storage: Option<Arc<dyn Storage>>,
    accepted: Vec<Accepted>,
    drains: Vec<Drained>,
    lanes: Vec<Arc<LaneSeen>>,
    alive: Arc<AtomicUsize>,
}

impl<'a> Player<'a> {
    fn new(plan: &'a Plan, storage: Option<Arc<dyn Storage>>) -> Self {
        Self {
            plan,
            storage,
            accepted: Vec::new(),
            drains: Vec::new(),
            lanes: plan.lanes.iter().map(|_| Arc::default()).collect(),
            alive: Arc::default(),
        }
    }

    async fn play(mut self) -> std::result::Result<Played, TestCaseError> {
        let mut builder = QueueManagerBuilder::new(EventEmitter::new(self.plan.event_capacity))
            .with_dlq(self.plan.dlq_size);
        for (number, lane) in self.plan.lanes.iter().enumerate() {
            builder = builder.with_lane(number.to_string(), lane.config(lane.max), lane.priority());
        }
        if let Some(storage) = &self.storage {
            builder = builder.with_storage(Arc::clone(storage));
        }
        let manager = builder.build().await.unwrap();
        let dlq = manager.queue().dlq().cloned().unwrap();
        let mut stream = manager.subscribe();
        for step in self.plan.steps.clone() {
            count_operation();
            self.step(&manager, step).await?;
        }
        if self.plan.shut_down {
            manager.shutdown().await;
            let command = Box::new(a3s_lane::JsonCommand::new("late", Value::Null));
            let refused = manager.submit("0", command).await;
            check(
                matches!(refused, Err(LaneError::ShutdownInProgress)),
                "a late submit is refused",
            )?;
        }
        match self.plan.end {
            End::Drain => {
                manager.start().await.unwrap();
                manager
                    .drain(LONG)
                    .await
                    .map_err(|error| TestCaseError::fail(error.to_string()))?;
                self.note_drained(&manager).await?;
                let (events, events_missed) = buffered(&mut stream).await;
                drop(manager);
                self.report(events, events_missed, dlq.len().await).await
            }
            End::DropManager => {
                drop(manager);
                let report = self.report(Vec::new(), 0, dlq.len().await).await;
                while timeout(LONG, stream.recv())
                    .await
                    .map_err(|_| fail("the stream ends"))?
                    .is_some()
                {}
                report
            }
        }
    }

    async fn step(
        &mut self,
        manager: &QueueManager,
        step: Step,
    ) -> std::result::Result<(), TestCaseError> {
        match step {
            Step::Start => manager.start().await.unwrap(),
            Step::Submit(spec) => self.submit(manager, spec).await,
            Step::SleepMs(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Yield => tokio::task::yield_now().await,
            Step::DropReceiver(pick) if !self.accepted.is_empty() => {
                let pick = pick % self.accepted.len();
                let accepted = &mut self.accepted[pick];
                accepted.receiver_dropped |= accepted.receiver.take().is_some();
            }
            Step::DropReceiver(_) => {}
            Step::DrainMs(ms) => {
                if manager.drain(Duration::from_millis(ms)).await.is_ok() {
                    self.note_drained(manager).await?;
                }
            }
            Step::SetMaximum(lane, max) => {
                let number = lane % self.plan.lanes.len();
                let spec = &self.plan.lanes[number];
                let (id, config) = (number.to_string(), spec.config(max));
                let lane = match self.storage.clone() {
                    Some(storage) => Lane::with_storage(id, config, spec.priority(), storage),
                    None => Lane::new(id, config, spec.priority()),
                };
                manager.queue().register_lane(Arc::new(lane)).await;
            }
        }
        Ok(())
    }

    async fn submit(&mut self, manager: &QueueManager, spec: CommandSpec) {
        let attempts = Arc::new(AtomicU32::new(0));
        let number = self.accepted.len();
        self.alive.fetch_add(1, Ordering::SeqCst);
        let command = Planned {
            spec: spec.clone(),
            number,
            attempts: Arc::clone(&attempts),
            lane: Arc::clone(&self.lanes[spec.lane]),
            alive: Arc::clone(&self.alive),
        };
        let receiver = manager
            .submit(&spec.lane.to_string(), Box::new(command))
            .await
            .unwrap();
        self.accepted.push(Accepted {
            number,
            spec,
            attempts,
            receiver: Some(receiver),
            outcome: None,
            receiver_dropped: false,
        });
    }

    /// Looks at everything at once, without giving the queue another turn.
    async fn note_drained(
        &mut self,
        manager: &QueueManager,
    ) -> std::result::Result<(), TestCaseError> {
        let stats = manager.stats().await.unwrap();
        let mut unanswered = 0;
        for accepted in &mut self.accepted {
            let Some(receiver) = &mut accepted.receiver else {
                continue;
            };
            match receiver.try_recv() {
                Ok(result) => {
                    accepted.outcome = Some(code(accepted.number, result)?);
                    accepted.receiver = None;
                }
                Err(TryRecvError::Empty) => unanswered += 1,
                Err(TryRecvError::Closed) => {
                    return Err(fail("a receiver closed without an answer"));
                }
            }
        }
        self.drains.push(Drained {
            pending: stats.total_pending,
            active: stats.total_active,
            unanswered,
        });
        Ok(())
    }

    async fn report(
        mut self,
        events: Vec<String>,
        events_missed: u64,
        dead_letters: usize,
    ) -> std::result::Result<Played, TestCaseError> {
        for accepted in &mut self.accepted {
            if let Some(receiver) = accepted.receiver.take() {
                let answer = timeout(LONG, receiver)
                    .await
                    .map_err(|_| fail("every receiver resolves"))?;
                let result = answer.map_err(|_| fail("a receiver closed without an answer"))?;
                accepted.outcome = Some(code(accepted.number, result)?);
            }
        }
        // A dropped queue's commands are gone when its runners have ended.
        let gone = async {
            while self.alive.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(LONG, gone).await;
        let settled = self.accepted.into_iter().map(|accepted| Settled {
            attempts: accepted.attempts.load(Ordering::SeqCst),
            spec: accepted.spec,
            receiver_dropped: accepted.receiver_dropped,
            outcome: accepted.outcome,
        });
        Ok(Played {
            settled: settled.collect(),
            drains: self.drains,
            most_running: self
                .lanes
                .iter()
                .map(|lane| lane.most_running.load(Ordering::SeqCst))
                .collect(),
            alive: self.alive.load(Ordering::SeqCst),
            events,
            events_missed,
            dead_letters,
        })
    }
}

/// Everything that the stream has kept.
async fn buffered(stream: &mut EventStream) -> (Vec<String>, u64) {
    let mut keys = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::ZERO, stream.recv()).await {
        keys.push(event.key);
    }
    (keys, stream.missed())
}

fn code(number: usize, result: Result<Value>) -> std::result::Result<Code, TestCaseError> {
    match result {
        Ok(value) => {
            check(
                value == json!(number),
                "a receiver gets the result of its own command",
            )?;
            Ok(Ok(()))
        }
        Err(error) => Ok(Err(error.code())),
    }
}

fn fail(what: &'static str) -> TestCaseError {
    TestCaseError::fail(what)
}

fn check(holds: bool, what: &'static str) -> std::result::Result<(), TestCaseError> {
    if holds { Ok(()) } else { Err(fail(what)) }
}

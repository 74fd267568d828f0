//! A queue manager and what the bindings must know besides it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use a3s_lane::{
    Command, EventEmitter, LaneError, LocalStorage, Overflow, QueueManager, QueueManagerBuilder,
    lane_ids, priorities, testing,
};
use serde_json::Value;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::admission::{Submitting, Ticket};
use crate::bridge::Bridge;
use crate::config::{LaneSettings, NativeLaneConfig};
use crate::fault::Fault;
use crate::lanes::Lanes;
use crate::options::Prepared;
use crate::runtime::runtime;
use crate::storage::Storing;
use crate::subscription::Subscriptions;
use crate::testing::Hooks;
use crate::totals::NativeTotals;

/// Events that the queue buffers for a subscription whose task has not run yet. The subscription has a larger buffer.
const EMITTER_CAPACITY: usize = 8_192;

/// The manager of one JavaScript `Lane`. Handles and pending promises share it, so that their commands outlive the `Lane`
/// object.
pub(crate) struct Queue {
    /// `None` only while it is being dropped.
    manager: Option<QueueManager>,
    pub(crate) started: AtomicBool,
    /// For tests: a submission also waits for room.
    pub(crate) inline: bool,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) lanes: Lanes,
    /// The JavaScript thread as a place where handlers run, once somebody wants it to be one.
    bridge: OnceLock<Arc<Bridge>>,
    pub(crate) storage: Option<Arc<LocalStorage>>,
    storing: Storing,
}

impl Queue {
    /// The lanes of `configs`, or the six default lanes.
    pub(crate) fn new(
        configs: Option<&[NativeLaneConfig]>,
        totals: &NativeTotals,
        hooks: &Hooks<'_>,
    ) -> Result<Self, Fault> {
        let lanes = Lanes::default();
        let builder = QueueManagerBuilder::new(EventEmitter::new(EMITTER_CAPACITY));
        let mut builder = match configs {
            None => add_default_lanes(builder, &lanes),
            Some([]) => {
                return Err(
                    LaneError::ConfigError("configs must name at least one lane".into()).into(),
                );
            }
            Some(configs) => add_lanes(builder, configs, &lanes)?,
        };
        builder = hooks.apply(totals.apply(builder)?);
        let mut storage = None;
        if let Some(settings) = &totals.storage {
            let (with_storage, opened) = settings.apply(builder)?;
            (builder, storage) = (with_storage, Some(opened));
        }
        Ok(Self {
            manager: Some(runtime()?.block_on(builder.build())?),
            started: AtomicBool::new(false),
            inline: hooks.inline,
            subscriptions: Subscriptions::default(),
            lanes,
            bridge: OnceLock::new(),
            storage,
            storing: Storing::default(),
        })
    }

    /// Whether this thread must run something before commands of these types can have run.
    fn needs_this_thread<'a>(&self, types: impl IntoIterator<Item = &'a str>) -> bool {
        self.hosted().is_some_and(|bridge| {
            bridge.calls.count() > 0
                || bridge.kinds.is_busy(None)
                || types.into_iter().any(|name| bridge.kinds.is_handled(name))
        })
    }

    /// Blocks until everything has run that can without time going on, or until this thread must run some of it. Returns
    /// whether it should look for that.
    pub(crate) fn run_ready(&self) -> Result<bool, Fault> {
        let manager = self.manager()?;
        let mut rest = pin!(testing::run_ready(manager));
        let Some(bridge) = self.hosted() else {
            runtime()?.block_on(rest);
            return Ok(false);
        };
        if bridge.calls.count() > 0 {
            return Ok(false);
        }
        let mut asked = pin!(bridge.asked());
        Ok(runtime()?.block_on(poll_fn(|cx| {
            if asked.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            rest.as_mut().poll(cx).map(|()| false)
        })))
    }

    pub(crate) fn set_bridge(&self, bridge: Arc<Bridge>) -> Result<(), Fault> {
        let known = self.bridge.set(bridge);
        known.map_err(|_| LaneError::QueueError("a thread hosts the queue already".into()).into())
    }

    /// An error before [`set_bridge`](Self::set_bridge).
    pub(crate) fn bridge(&self) -> Result<&Arc<Bridge>, Fault> {
        self.hosted()
            .ok_or_else(|| LaneError::QueueError("no thread hosts the queue".into()).into())
    }

    pub(crate) fn hosted(&self) -> Option<&Arc<Bridge>> {
        self.bridge.get()
    }

    /// Calls `call` on the JavaScript thread. What it starts there begins without a wake-up.
    pub(crate) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        match self.hosted() {
            Some(bridge) => bridge.within(call),
            None => call(),
        }
    }

    pub(crate) fn manager(&self) -> Result<&QueueManager, Fault> {
        self.manager
            .as_ref()
            .ok_or_else(|| LaneError::QueueError("the queue is gone".into()).into())
    }

    /// Calls the manager from the JavaScript thread as if from a task: what it starts runs on the runtime.
    pub(crate) fn inside<T>(
        &self,
        work: impl FnOnce(&QueueManager) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let _inside = runtime()?.enter();
        let manager = self.manager()?;
        self.within(|| work(manager))
    }

    /// As [`inside`](Self::inside), for a caller that does not see to it that JavaScript looks.
    pub(crate) fn aside<T>(
        &self,
        work: impl FnOnce(&QueueManager) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let _inside = runtime()?.enter();
        let manager = self.manager()?;
        match self.hosted() {
            Some(bridge) => bridge.aside(|| work(manager)),
            None => work(manager),
        }
    }

    /// Starts the queue; waits only for the start itself.
    pub(crate) fn start(&self) -> Result<(), Fault> {
        let (runtime, manager) = (runtime()?, self.manager()?);
        self.within(|| runtime.block_on(manager.start()))?;
        self.started.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// An error if a result that the caller is about to wait for could never come.
    pub(crate) fn refuse_endless_wait(&self) -> Result<(), Fault> {
        if self.started.load(Ordering::Relaxed) || self.manager()?.is_shutting_down() {
            return Ok(());
        }
        Err(LaneError::NotStarted(
            "call start() before submit(), which waits for the result".into(),
        )
        .into())
    }

    /// Hands a command to a lane without options of its own; waits only for admission.
    pub(crate) async fn submit(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
    ) -> Result<Receipt, Fault> {
        let receiver = self.manager()?.submit(lane_id, command).await?;
        self.subscriptions.collect();
        Ok(Receipt(receiver))
    }

    /// Whether a submission to this lane may have to wait, for room or for the storage.
    fn waits(&self, lane_id: &str) -> bool {
        self.storage.is_some() || self.lanes.waits(lane_id)
    }

    /// Hands a command to a lane and does not wait, not even for room in the lane.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        lane_id: &str,
        command: Prepared,
    ) -> Result<Ticket, Fault> {
        let Prepared {
            body,
            mut options,
            mut id,
        } = command;
        let is_inline = self.inline && !self.needs_this_thread([body.command_type()]);
        if id.is_none() && self.waits(lane_id) {
            // The handle has an id before the core can give one.
            let drawn = Uuid::new_v4().to_string();
            options = options.with_id(&drawn);
            id = Some(drawn);
        }
        let (queue, lane) = (Arc::clone(self), lane_id.to_owned());
        let submitting: Submitting = Box::pin(async move {
            let submitted = queue.manager()?.submit_with(&lane, body, options).await;
            submitted.map_err(|refused| LaneError::from(refused).into())
        });
        let (id, lane) = (id.unwrap_or_default(), lane_id.to_owned());
        let ticket = match is_inline {
            true => runtime()?.block_on(submitting).map(Ticket::In),
            false => {
                let order = self.storage.as_ref().map(|_| &self.storing);
                self.within(|| Ticket::submit(submitting, id, lane, order))
            }
        };
        self.subscriptions.collect();
        ticket
    }

    /// Hands commands to a lane in their order; a refused one does not keep the others out.
    pub(crate) fn enqueue_many(
        self: &Arc<Self>,
        lane_id: &str,
        commands: Vec<Result<Prepared, Fault>>,
    ) -> Result<Vec<Result<Ticket, Fault>>, Fault> {
        if self.storage.is_some() && !self.inline && !self.lanes.waits(lane_id) {
            return self.store_many(lane_id, commands);
        }
        if self.waits(lane_id) {
            // Each waits by itself, and has its handle meanwhile.
            let answers = commands.into_iter();
            return Ok(answers
                .map(|command| self.enqueue(lane_id, command?))
                .collect());
        }
        let mut accepted = Vec::with_capacity(commands.len());
        let answers: Vec<Result<(), Fault>> = commands
            .into_iter()
            .map(|command| command.map(|it| accepted.push((it.body, it.options))))
            .collect();
        let submitting = self.manager()?.submit_many(lane_id, accepted);
        let runtime = runtime()?;
        // No command of this lane waits, so this does not block.
        let submitted = self.within(|| runtime.block_on(submitting));
        let mut submitted = submitted.into_iter();
        self.subscriptions.collect();
        let answers = answers.into_iter().map(|answer| {
            answer?;
            let missing = || LaneError::QueueError("an answer is missing".into());
            let handle = submitted.next().ok_or_else(missing)?;
            Ok(Ticket::In(handle.map_err(LaneError::from)?))
        });
        Ok(answers.collect())
    }

    /// As `enqueue_many`, in one step of the storage: it has all that were not refused at once, or none.
    fn store_many(
        self: &Arc<Self>,
        lane_id: &str,
        commands: Vec<Result<Prepared, Fault>>,
    ) -> Result<Vec<Result<Ticket, Fault>>, Fault> {
        let mut ids = Vec::with_capacity(commands.len());
        let mut accepted = Vec::with_capacity(commands.len());
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(command.map(|Prepared { body, options, id }| {
                // The handle has an id before the core can give one.
                let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
                accepted.push((body, options.with_id(&id)));
                ids.push(id);
            }));
        }
        let refused = Arc::new(Mutex::new(Vec::new()));
        let (queue, lane, told) = (Arc::clone(self), lane_id.to_owned(), Arc::clone(&refused));
        let submitting = Box::pin(async move {
            let count = accepted.len();
            let manager = match queue.manager() {
                Ok(manager) => manager,
                Err(fault) => return vec![Err(fault); count],
            };
            let submitted = manager
                .submit_many_telling(&lane, accepted, |place, error| {
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.push((place, Fault::from(error)));
                })
                .await
                .into_iter();
            submitted
                .map(|answer| answer.map_err(|refused| LaneError::from(refused).into()))
                .collect()
        });
        let submitted =
            self.within(|| Ticket::submit_all(submitting, ids, lane_id, &refused, &self.storing));
        let mut submitted = submitted?.into_iter();
        self.subscriptions.collect();
        let answers = answers.into_iter().map(|answer| {
            answer?;
            let missing = || LaneError::QueueError("an answer is missing".into());
            submitted.next().ok_or_else(missing)?
        });
        Ok(answers.collect())
    }

    /// Adds a lane, or changes one.
    pub(crate) fn set_lane(&self, settings: LaneSettings) -> Result<(), Fault> {
        let LaneSettings {
            id,
            config,
            options,
            priority,
        } = settings;
        let waits = options.overflow() == Overflow::Wait;
        self.inside(|manager| Ok(manager.set_lane(&id, config, options, priority)?))?;
        self.lanes.set(&id, priority, waits);
        Ok(())
    }

    pub(crate) fn remove_lane(&self, id: &str) -> Result<(), Fault> {
        self.inside(|manager| Ok(manager.remove_lane(id)?))?;
        self.lanes.remove(id);
        Ok(())
    }
}

fn add_default_lanes(builder: QueueManagerBuilder, lanes: &Lanes) -> QueueManagerBuilder {
    for (id, priority) in [
        (lane_ids::SYSTEM, priorities::SYSTEM),
        (lane_ids::CONTROL, priorities::CONTROL),
        (lane_ids::QUERY, priorities::QUERY),
        (lane_ids::SESSION, priorities::SESSION),
        (lane_ids::SKILL, priorities::SKILL),
        (lane_ids::PROMPT, priorities::PROMPT),
    ] {
        lanes.set(id, priority, false);
    }
    builder.with_default_lanes()
}

fn add_lanes(
    mut builder: QueueManagerBuilder,
    configs: &[NativeLaneConfig],
    lanes: &Lanes,
) -> Result<QueueManagerBuilder, Fault> {
    for lane in configs {
        let LaneSettings {
            id,
            config,
            options,
            priority,
        } = lane.resolve()?;
        if lanes.contains(&id) {
            let text = format!("lane '{id}': laneId is used by an earlier lane");
            return Err(LaneError::ConfigError(text).into());
        }
        lanes.set(&id, priority, options.overflow() == Overflow::Wait);
        builder = builder
            .with_lane(id.as_str(), config, priority)
            .with_lane_options(id, options);
    }
    Ok(builder)
}

impl Drop for Queue {
    /// Runs in Node's garbage collector or on a worker thread: inside the runtime, and without a panic.
    fn drop(&mut self) {
        let manager = self.manager.take();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _inside = runtime().ok().map(|runtime| runtime.enter());
            drop(manager);
        }));
    }
}

/// The promise of one command's result.
pub(crate) struct Receipt(oneshot::Receiver<a3s_lane::Result<Value>>);

impl Receipt {
    pub(crate) async fn value(self) -> Result<Value, Fault> {
        let result = self
            .0
            .await
            .map_err(|_| LaneError::QueueError("the queue ended before the command".into()))?;
        Ok(result?)
    }

    /// The result as JSON text.
    pub(crate) async fn text(self) -> Result<String, Fault> {
        Ok(self.value().await?.to_string())
    }
}

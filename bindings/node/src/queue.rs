//! A queue manager and what the bindings must know besides it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use a3s_lane::{
    Command, EventEmitter, LaneError, QueueManager, QueueManagerBuilder, lane_ids, priorities,
};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::config::NativeLaneConfig;
use crate::fault::Fault;
use crate::runtime::runtime;
use crate::subscription::Subscriptions;

/// Events that the queue buffers for a subscription whose task has not run yet. The subscription has a larger buffer.
const EMITTER_CAPACITY: usize = 8_192;

/// The manager of one JavaScript `Lane`. Pending promises share it, so that their commands outlive the `Lane` object.
pub(crate) struct Queue {
    /// `None` only while it is being dropped.
    manager: Option<QueueManager>,
    started: AtomicBool,
    pub(crate) subscriptions: Subscriptions,
    /// Most urgent lane first, equal priorities in the order of their configuration.
    pub(crate) lane_ids: Vec<String>,
}

impl Queue {
    /// The lanes of `configs`, or the six default lanes.
    pub(crate) fn new(
        configs: Option<&[NativeLaneConfig]>,
        dlq_size: Option<u32>,
    ) -> Result<Self, Fault> {
        let mut builder = QueueManagerBuilder::new(EventEmitter::new(EMITTER_CAPACITY));
        let mut order: Vec<(u8, String)> = Vec::new();
        match configs {
            None => {
                builder = builder.with_default_lanes();
                order.extend([
                    (priorities::SYSTEM, lane_ids::SYSTEM.to_owned()),
                    (priorities::CONTROL, lane_ids::CONTROL.to_owned()),
                    (priorities::QUERY, lane_ids::QUERY.to_owned()),
                    (priorities::SESSION, lane_ids::SESSION.to_owned()),
                    (priorities::SKILL, lane_ids::SKILL.to_owned()),
                    (priorities::PROMPT, lane_ids::PROMPT.to_owned()),
                ]);
            }
            Some([]) => {
                return Err(
                    LaneError::ConfigError("configs must name at least one lane".into()).into(),
                );
            }
            Some(configs) => {
                for lane in configs {
                    let (config, priority) = lane.resolve()?;
                    builder = builder.with_lane(lane.lane_id.as_str(), config, priority);
                    if order.iter().any(|(_, id)| *id == lane.lane_id) {
                        let text =
                            format!("lane '{}': laneId is used by an earlier lane", lane.lane_id);
                        return Err(LaneError::ConfigError(text).into());
                    }
                    order.push((priority, lane.lane_id.clone()));
                }
                order.sort_by_key(|(priority, _)| *priority);
            }
        }
        if let Some(size) = dlq_size {
            builder = builder.with_dlq(size as usize);
        }
        Ok(Self {
            manager: Some(runtime()?.block_on(builder.build())?),
            started: AtomicBool::new(false),
            subscriptions: Subscriptions::default(),
            lane_ids: order.into_iter().map(|(_, id)| id).collect(),
        })
    }

    pub(crate) fn manager(&self) -> Result<&QueueManager, Fault> {
        self.manager
            .as_ref()
            .ok_or_else(|| LaneError::QueueError("the queue is gone".into()).into())
    }

    /// Starts the queue; waits only for the start itself.
    pub(crate) fn start(&self) -> Result<(), Fault> {
        runtime()?.block_on(self.manager()?.start())?;
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

    /// Hands a command to a lane; waits only for admission.
    pub(crate) fn submit(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
    ) -> Result<Receipt, Fault> {
        let receiver = runtime()?.block_on(self.manager()?.submit(lane_id, command))?;
        self.subscriptions.collect();
        Ok(Receipt(receiver))
    }
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
    /// The result as JSON text.
    pub(crate) async fn text(self) -> Result<String, Fault> {
        let result = self
            .0
            .await
            .map_err(|_| LaneError::QueueError("the queue ended before the command".into()))?;
        Ok(result?.to_string())
    }
}

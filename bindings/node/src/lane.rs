//! The native object behind the JavaScript class `Lane`.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use napi::bindgen_prelude::{Function, Object};
use napi::{Env, Result};
use napi_derive::napi;

use crate::config::NativeLaneConfig;
use crate::event::{NativeLaneStatus, NativeStats, number};
use crate::fault::{Code, Fault, guard};
use crate::handle::{NativeAnswer, NativeHandle};
use crate::options::NativeCommand;
use crate::outcome::promise;
use crate::queue::Queue;
use crate::range::millis;
use crate::runtime::runtime;
use crate::subscription::NativeSubscription;
use crate::testing::{Hooks, NativeClock, NativeLog};
use crate::totals::NativeTotals;

/// A set of lanes. The typed entry wraps it in `Lane`.
#[napi]
pub struct NativeLane {
    pub(crate) queue: Arc<Queue>,
}

#[napi]
impl NativeLane {
    /// The given lanes, or the six default lanes when `configs` is left out.
    #[napi(constructor)]
    pub fn new(
        configs: Option<Vec<NativeLaneConfig>>,
        totals: Option<NativeTotals>,
        clock: Option<&NativeClock>,
        inline: Option<bool>,
        log: Option<&NativeLog>,
    ) -> Result<Self, Code> {
        guard(|| {
            let hooks = Hooks {
                clock,
                inline: inline.unwrap_or_default(),
                log,
            };
            let queue = Queue::new(configs.as_deref(), &totals.unwrap_or_default(), &hooks)?;
            Ok(Self {
                queue: Arc::new(queue),
            })
        })
    }

    /// Begins to run what was submitted.
    #[napi]
    pub fn start(&self) -> Result<(), Code> {
        guard(|| self.queue.start())
    }

    /// Runs a command, and blocks until its result is there.
    #[napi]
    pub fn submit(&self, lane_id: String, command: NativeCommand) -> Result<String, Code> {
        guard(|| {
            let is_plain = command.options.is_none();
            let command_type = command.command_type.clone();
            let command = self.queue.prepare(&lane_id, command)?;
            self.queue.refuse_endless_wait()?;
            self.queue.refuse_to_block(&lane_id, &command_type)?;
            if is_plain {
                let receipt = runtime()?.block_on(self.queue.submit(&lane_id, command.body))?;
                return runtime()?.block_on(receipt.text());
            }
            let ticket = self.queue.enqueue(&lane_id, command)?;
            runtime()?.block_on(ticket.text())
        })
    }

    /// Hands a command to a lane, and does not wait.
    #[napi]
    pub fn enqueue(&self, lane_id: String, command: NativeCommand) -> Result<NativeHandle, Code> {
        guard(|| {
            let ticket = self
                .queue
                .enqueue(&lane_id, self.queue.prepare(&lane_id, command)?)?;
            Ok(NativeHandle::new(&self.queue, ticket))
        })
    }

    /// Hands commands to a lane in their order, and does not wait.
    #[napi]
    pub fn submit_many(
        &self,
        lane_id: String,
        commands: Vec<NativeCommand>,
    ) -> Result<Vec<NativeAnswer>, Code> {
        guard(|| {
            let prepare = |command| self.queue.prepare(&lane_id, command);
            let commands = commands.into_iter().map(prepare).collect();
            let answers = self.queue.enqueue_many(&lane_id, commands)?.into_iter();
            Ok(answers
                .map(|answer| NativeAnswer::new(&self.queue, answer))
                .collect())
        })
    }

    /// Calls `wake` on this JavaScript thread whenever events can be taken from the subscription.
    #[napi]
    pub fn subscribe(
        &self,
        wake: Function<'_, (), ()>,
        keys: Option<Vec<String>>,
    ) -> Result<NativeSubscription, Code> {
        guard(|| {
            let manager = self.queue.manager()?;
            let stream = match keys {
                None => manager.subscribe(),
                Some(keys) => {
                    let keys: HashSet<String> = keys.into_iter().collect();
                    manager.subscribe_filtered(move |event| keys.contains(&event.key))
                }
            };
            NativeSubscription::new(stream, &wake, &self.queue.subscriptions)
        })
    }

    /// The state of all lanes, most urgent first.
    #[napi]
    pub fn stats(&self) -> Result<NativeStats, Code> {
        guard(|| {
            let stats = runtime()?.block_on(self.queue.manager()?.stats())?;
            let lanes = self.queue.lanes.by_urgency().into_iter().filter_map(|id| {
                let status = stats.lanes.get(&id)?;
                Some(NativeLaneStatus::new(id, status))
            });
            Ok(NativeStats {
                total_pending: number(stats.total_pending),
                total_active: number(stats.total_active),
                dead_letter_count: number(stats.dead_letter_count),
                lanes: lanes.collect(),
            })
        })
    }

    /// Stops admission; what was accepted still runs.
    #[napi]
    pub fn shutdown(&self) -> Result<(), Code> {
        guard(|| {
            let (runtime, manager) = (runtime()?, self.queue.manager()?);
            self.queue.within(|| runtime.block_on(manager.shutdown()));
            Ok(())
        })
    }

    /// Blocks until nothing is pending or active, or fails when the time is up.
    #[napi]
    pub fn drain(&self, timeout_ms: f64) -> Result<(), Code> {
        guard(|| {
            let limit = millis("timeoutMs", timeout_ms).map_err(Fault::invalid_argument)?;
            self.queue.refuse_to_drain()?;
            runtime()?.block_on(self.queue.manager()?.drain(limit))?;
            Ok(())
        })
    }

    /// As `drain`, without blocking.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn drain_async<'env>(&self, env: &'env Env, timeout_ms: f64) -> Result<Object<'env>, Code> {
        guard(|| {
            let limit = millis("timeoutMs", timeout_ms).map_err(Fault::invalid_argument)?;
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                queue.manager()?.drain(limit).await?;
                Ok(None)
            })
        })
    }
}

impl Drop for NativeLane {
    /// Nobody will look at the queue from JavaScript any more.
    fn drop(&mut self) {
        if let Some(bridge) = self.queue.hosted() {
            // Runs in Node's garbage collector.
            let _ = catch_unwind(AssertUnwindSafe(|| bridge.close()));
        }
    }
}

//! Control of a queue at run time.

use std::sync::Arc;

use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::admission::begin;
use crate::config::NativeLaneConfig;
use crate::event::number;
use crate::fault::{Code, Fault, guard};
use crate::lane::NativeLane;
use crate::limit::NativeLimiter;
use crate::outcome::promise;
use crate::range::{MAX, millis, whole};
use crate::runtime::runtime;

#[napi]
impl NativeLane {
    /// Cancels the command with this id; false when there is none to cancel.
    #[napi]
    pub fn cancel(&self, id: String) -> Result<bool, Code> {
        guard(|| {
            let cancelled = self.queue.inside(|manager| Ok(manager.cancel(&id)))?;
            self.queue.subscriptions.collect();
            Ok(cancelled)
        })
    }

    /// Cancels every command of a lane; returns how many.
    #[napi]
    pub fn cancel_lane(&self, lane_id: String) -> Result<f64, Code> {
        guard(|| {
            let count = self
                .queue
                .inside(|manager| Ok(manager.cancel_lane(&lane_id)?))?;
            self.queue.subscriptions.collect();
            Ok(number(count))
        })
    }

    /// Cancels every command of a key; returns how many.
    #[napi]
    pub fn cancel_key(&self, key: String) -> Result<f64, Code> {
        guard(|| {
            let count = self.queue.inside(|manager| Ok(manager.cancel_key(&key)))?;
            self.queue.subscriptions.collect();
            Ok(number(count))
        })
    }

    /// Pauses or resumes the starts of a lane.
    #[napi]
    pub fn pause_lane(&self, lane_id: String, paused: bool) -> Result<(), Code> {
        guard(|| {
            self.queue.inside(|manager| {
                match paused {
                    true => manager.pause_lane(&lane_id)?,
                    false => manager.resume_lane(&lane_id)?,
                }
                Ok(())
            })?;
            self.queue.subscriptions.collect();
            Ok(())
        })
    }

    /// Pauses or resumes the starts of a key, in all lanes.
    #[napi]
    pub fn pause_key(&self, key: String, paused: bool) -> Result<(), Code> {
        guard(|| {
            self.queue.inside(|manager| {
                match paused {
                    true => manager.pause_key(&key),
                    false => manager.resume_key(&key),
                }
                Ok(())
            })
        })
    }

    /// Adds a lane, or changes one.
    #[napi]
    pub fn set_lane(&self, config: NativeLaneConfig) -> Result<(), Code> {
        guard(|| self.queue.set_lane(config.resolve()?))
    }

    /// Takes an empty lane out.
    #[napi]
    pub fn remove_lane(&self, lane_id: String) -> Result<(), Code> {
        guard(|| self.queue.remove_lane(&lane_id))
    }

    /// Limits how many commands run at once, over all lanes; left out, nothing does.
    #[napi]
    pub fn set_max_concurrency(&self, total: Option<f64>) -> Result<(), Code> {
        guard(|| {
            let total = total.map(|total| whole("maxConcurrency", total, 0, MAX));
            let total = total.transpose().map_err(Fault::invalid_argument)?;
            let total = total.map(|total| total as usize);
            self.queue
                .inside(|manager| Ok(manager.set_max_concurrency(total)?))
        })
    }

    /// Changes a shared limiter.
    #[napi]
    pub fn set_limiter(&self, limiter: NativeLimiter) -> Result<(), Code> {
        guard(|| {
            let config = limiter.resolve()?;
            self.queue
                .inside(|manager| Ok(manager.set_limiter(&limiter.name, config)?))
        })
    }

    /// Where a command is and why it waits, as JSON text.
    #[napi]
    pub fn explain(&self, id: String) -> Result<Option<String>, Code> {
        guard(|| {
            let explanation = self.queue.manager()?.explain(&id);
            Ok(explanation
                .map(|it| serde_json::to_string(&it))
                .transpose()?)
        })
    }

    /// The whole state as JSON text.
    #[napi]
    pub fn snapshot(&self) -> Result<String, Code> {
        guard(|| Ok(serde_json::to_string(&self.queue.manager()?.snapshot())?))
    }

    /// Ends the queue: nothing new is accepted and nothing more starts from this call on. The promise is that of what was
    /// left, as JSON text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn shutdown_within<'env>(
        &self,
        env: &'env Env,
        timeout_ms: f64,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let limit = millis("timeoutMs", timeout_ms).map_err(Fault::invalid_argument)?;
            let queue = Arc::clone(&self.queue);
            let mut ending = Box::pin(async move {
                let report = queue.manager()?.shutdown_within(limit).await;
                Ok(Some(serde_json::to_string(&report)?))
            });
            let ended = begin(ending.as_mut())?;
            promise(env, runtime()?, async move {
                match ended {
                    Some(report) => report,
                    None => ending.await,
                }
            })
        })
    }
}

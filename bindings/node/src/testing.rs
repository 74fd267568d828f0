//! Tools for tests of code that uses lanes: a clock that is moved by hand and a log of submissions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a3s_lane::{LaneError, QueueManagerBuilder, testing};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::fault::{Code, Fault, guard};
use crate::lane::NativeLane;
use crate::outcome::promise;
use crate::runtime::runtime;

/// The longest time that the clock moves at once: about 317 years.
const MAX_MS: f64 = 1e13;

/// The time of lanes, moved by hand.
#[napi]
pub struct NativeClock {
    clock: testing::ManualClock,
}

#[napi]
impl NativeClock {
    /// A clock at zero.
    #[napi(constructor)]
    pub fn new() -> Result<Self, Code> {
        guard(|| {
            Ok(Self {
                clock: testing::ManualClock::new(),
            })
        })
    }

    /// Moves the time on.
    #[napi]
    pub fn advance(&self, ms: f64) -> Result<(), Code> {
        guard(|| {
            if !(0.0..=MAX_MS).contains(&ms) {
                return Err(Fault::invalid_argument(format!(
                    "ms must be a number from 0 to {MAX_MS} (got {ms})"
                )));
            }
            self.clock.advance(Duration::from_secs_f64(ms / 1e3));
            Ok(())
        })
    }

    /// How far it was moved so far.
    #[napi]
    pub fn elapsed_ms(&self) -> Result<f64, Code> {
        guard(|| Ok(self.clock.elapsed().as_secs_f64() * 1e3))
    }
}

/// What lanes have accepted.
#[napi]
pub struct NativeLog {
    log: testing::SubmissionLog,
}

/// One accepted command.
#[napi(object, object_from_js = false)]
pub struct NativeSubmitted {
    /// Its lane.
    pub lane_id: String,
    /// What kind of work it is.
    pub command_type: String,
    /// JSON text: its payload, or its script.
    pub payload: String,
}

#[napi]
impl NativeLog {
    /// An empty log.
    #[napi(constructor)]
    pub fn new() -> Result<Self, Code> {
        guard(|| {
            Ok(Self {
                log: testing::SubmissionLog::new(),
            })
        })
    }

    /// Everything so far, in the order of acceptance.
    #[napi]
    pub fn submitted(&self) -> Result<Vec<NativeSubmitted>, Code> {
        guard(|| {
            let submitted = self.log.submitted().into_iter().map(|it| NativeSubmitted {
                lane_id: it.lane_id,
                command_type: it.command_type,
                payload: it.payload.unwrap_or_default().to_string(),
            });
            Ok(submitted.collect())
        })
    }
}

/// What a queue of a test does differently.
#[derive(Default)]
pub(crate) struct Hooks<'a> {
    pub(crate) clock: Option<&'a NativeClock>,
    /// Heeded by [`Queue`](crate::queue::Queue): the queue itself would wait for handlers that only its caller can run.
    pub(crate) inline: bool,
    pub(crate) log: Option<&'a NativeLog>,
}

impl Hooks<'_> {
    pub(crate) fn apply(&self, mut builder: QueueManagerBuilder) -> QueueManagerBuilder {
        if let Some(it) = self.clock {
            builder = builder.with_clock(it.clock.clone());
        }
        if let Some(it) = self.log {
            builder = builder.with_submission_log(it.log.clone());
        }
        builder
    }
}

#[napi]
impl NativeLane {
    /// Blocks until everything has run that can without time going on, or until this thread must run some of it. Returns
    /// whether it should look for that with `exchange`.
    #[napi]
    pub fn run_ready(&self) -> Result<bool, Code> {
        guard(|| {
            let again = self.queue.run_ready()?;
            self.queue.subscriptions.collect();
            Ok(again)
        })
    }

    /// Runs everything that waits, and moves a manual clock on; a promise of how many commands are left, as text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn drain_now<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            if !self.queue.started.load(Ordering::Relaxed) {
                let text = "call start() before drainNow()";
                return Err(LaneError::NotStarted(text.into()).into());
            }
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                let left = testing::drain_now(queue.manager()?).await;
                Ok(Some(left.to_string()))
            })
        })
    }
}

//! A command that follows its plan and counts what is seen from inside.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{Command, LaneError, Result};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::plan::{Attempt, CommandSpec};

/// What the commands of one lane see.
#[derive(Debug, Default)]
pub(crate) struct LaneSeen {
    running: AtomicUsize,
    pub(crate) most_running: AtomicUsize,
}

pub(crate) struct Planned {
    pub(crate) spec: CommandSpec,
    pub(crate) number: usize,
    pub(crate) attempts: Arc<AtomicU32>,
    pub(crate) lane: Arc<LaneSeen>,
    /// How many commands exist.
    pub(crate) alive: Arc<AtomicUsize>,
}

/// Panics without the hook's message: hundreds of them are part of the plan.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("as planned"))
}

struct Running<'a>(&'a LaneSeen);

impl<'a> Running<'a> {
    fn new(lane: &'a LaneSeen) -> Self {
        let running = lane.running.fetch_add(1, Ordering::SeqCst) + 1;
        lane.most_running.fetch_max(running, Ordering::SeqCst);
        Self(lane)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Panics when an attempt drops it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_quietly();
    }
}

#[async_trait]
impl Command for Planned {
    async fn execute(&self) -> Result<Value> {
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst);
        let _running = Running::new(&self.lane);
        match self.spec.attempt(attempt) {
            Attempt::Instant => {}
            Attempt::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Attempt::SleepMs(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Attempt::Block => std::thread::yield_now(),
            Attempt::Fail => return Err(LaneError::CommandError("as planned".into())),
            Attempt::Unrecoverable => return Err(LaneError::unrecoverable_job("as planned")),
            Attempt::Panic => panic_quietly(),
            Attempt::PanicAfterSleep => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                panic_quietly();
            }
            Attempt::PanicInDestructor => {
                let _bomb = Bomb;
                tokio::task::yield_now().await;
            }
            Attempt::Hang => pending().await,
            Attempt::HangWithBomb => {
                let _bomb = Bomb;
                pending().await
            }
        }
        Ok(json!(self.number))
    }

    fn command_type(&self) -> &str {
        "planned"
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        if self.spec.destructor_panics && !std::thread::panicking() {
            panic_quietly();
        }
    }
}

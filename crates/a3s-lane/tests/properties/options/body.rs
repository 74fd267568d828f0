//! A command that follows its plan and notes what is seen from inside.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use a3s_lane::{Command, CommandContext, LaneError, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::commands::{Act, CommandPlan};
use super::plan::{LANES, ms};
use super::record::{Book, Holding, Origin, Record, Run, lock};

pub(crate) struct Body {
    record: Arc<Record>,
    book: Arc<Book>,
    /// It was submitted without options, which its metadata would show.
    is_plain: bool,
}

impl Body {
    pub(crate) fn new(book: &Arc<Book>, record: &Arc<Record>, is_plain: bool) -> Box<Self> {
        book.alive.fetch_add(1, SeqCst);
        Box::new(Self {
            record: Arc::clone(record),
            book: Arc::clone(book),
            is_plain,
        })
    }

    /// What the context says is what was asked for.
    fn check(&self, context: &CommandContext) {
        let record = &self.record;
        assert_eq!(context.lane_id(), record.lane.to_string());
        let cost = context.metadata().get("cost").cloned();
        let expected = (!self.is_plain).then(|| json!(record.plan.cost()));
        assert_eq!(cost, expected);
        assert!(context.attempt() >= 1);
    }

    async fn submit_child(
        &self,
        context: &CommandContext,
        lane: usize,
        plan: &CommandPlan,
        waits: bool,
    ) {
        let origin = if waits {
            Origin::WaitingParent
        } else {
            Origin::Parent
        };
        let record = self.book.enter(lane, plan, origin);
        let child = Self::new(&self.book, &record, false);
        let id = lane.to_string();
        let submitted = context.submit_child(&id, child, record.options()).await;
        let handle = match submitted {
            Ok(handle) => handle,
            Err(refused) => return self.book.refuse(&record, refused.error()),
        };
        self.book.accept(&record, handle.clone());
        if waits {
            let _ = handle.await;
        }
    }

    /// It has shown that it gets on.
    fn sign(&self) {
        if let Some(run) = lock(&self.record.runs).last_mut() {
            run.signs.push(Instant::now());
        }
    }

    async fn act(&self, context: &CommandContext) -> Result<Value> {
        let (book, record) = (&*self.book, &*self.record);
        let seen = &record.seen;
        let _holding = Holding::new(book, record);
        for act in record.plan.acts(context.attempt()) {
            match act {
                Act::Yield => tokio::task::yield_now().await,
                Act::SleepMs(time) => tokio::time::sleep(ms(*time)).await,
                Act::Beat => {
                    context.heartbeat();
                    self.sign();
                }
                Act::Report => {
                    self.sign();
                    context.progress(json!(context.attempt()));
                    context.emit("part");
                }
                #[cfg(feature = "distributed")]
                Act::SettleCost(cost) => context.settle_cost(*cost),
                #[cfg(not(feature = "distributed"))]
                Act::SettleCost(_) => {}
                // A body that does this each time it starts could be preempted for its own child again and again.
                Act::Child { .. } if seen.bodies.load(SeqCst) > 1 => {}
                Act::Child {
                    lanes_on,
                    command,
                    waits,
                } => {
                    let lane = (record.lane + lanes_on).min(LANES - 1);
                    Box::pin(self.submit_child(context, lane, command, *waits)).await;
                }
                Act::Fail => {
                    seen.failed.store(true, SeqCst);
                    return Err(LaneError::CommandError("as planned".into()));
                }
                Act::Unrecoverable => {
                    seen.gave_up.store(true, SeqCst);
                    return Err(LaneError::unrecoverable("as planned"));
                }
                Act::Panic => {
                    seen.panicked.store(true, SeqCst);
                    panic_quietly();
                }
                Act::Hang => pending().await,
                Act::HangWithBomb => {
                    let _bomb = Bomb(record);
                    pending().await
                }
                Act::UntilAsked { then_ms, fails } => {
                    context.cancellation().cancelled().await;
                    assert!(context.stop_reason().is_some());
                    tokio::time::sleep(ms(*then_ms)).await;
                    if *fails {
                        seen.failed.store(true, SeqCst);
                        return Err(LaneError::CommandError("asked".into()));
                    }
                }
            }
        }
        seen.returned.store(true, SeqCst);
        Ok(json!(record.number))
    }
}

/// One attempt, until its future is dropped.
struct Attempt<'a>(&'a Record);

impl<'a> Attempt<'a> {
    fn new(record: &'a Record, number: u32) -> Self {
        let seen = &record.seen;
        seen.bodies.fetch_add(1, SeqCst);
        seen.attempt.fetch_max(number, SeqCst);
        if seen.running.swap(true, SeqCst) {
            seen.doubled.store(true, SeqCst);
        }
        lock(&record.runs).push(Run::new(number));
        Self(record)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.seen.running.store(false, SeqCst);
        if let Some(run) = lock(&self.0.runs).last_mut() {
            run.ended = Some(Instant::now());
        }
    }
}

/// Panics when an attempt drops it.
struct Bomb<'a>(&'a Record);

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        self.0.seen.panicked.store(true, SeqCst);
        panic_quietly();
    }
}

/// Panics without the hook's message: hundreds of them are part of the plan.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("as planned"))
}

#[async_trait]
impl Command for Body {
    async fn execute(&self) -> Result<Value> {
        Err(LaneError::Other("the queue calls execute_with".to_owned()))
    }

    async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
        let _attempt = Attempt::new(&self.record, context.attempt());
        self.check(context);
        self.act(context).await
    }

    fn command_type(&self) -> &str {
        "planned"
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.book.alive.fetch_sub(1, SeqCst);
    }
}

//! Commands that give the checker something to choose, and what every model asks of its queue at the end.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{
    Command, CommandQueue, EventEmitter, Lane, LaneConfig, LaneError, Result, RetryPolicy,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use shuttle::sync::Mutex;
use tokio::sync::oneshot::Receiver;

pub(crate) const LANE: &str = "lane";

/// How one attempt behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt {
    /// Returns at once.
    Instant,
    /// Suspends that often, then returns.
    Yield(usize),
    Fail,
    Panic,
    /// Suspends for ever.
    Hang,
    /// Keeps its thread while others run, then returns; cannot be stopped in between.
    Block(usize),
}

/// Counts what happened in a lane, seen from inside its commands.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    running: AtomicUsize,
    pub(crate) most: AtomicUsize,
    pub(crate) attempts: AtomicUsize,
}

/// Runs its attempts in order; the last one repeats.
pub(crate) struct Scripted {
    attempts: Mutex<VecDeque<Attempt>>,
    seen: Arc<Seen>,
    value: usize,
}

impl Scripted {
    pub(crate) fn new(value: usize, attempts: &[Attempt], seen: &Arc<Seen>) -> Box<Self> {
        Box::new(Self {
            attempts: Mutex::new(attempts.iter().copied().collect()),
            seen: Arc::clone(seen),
            value,
        })
    }
}

/// Counts a running attempt while it lives.
struct Running<'a>(&'a Seen);

impl<'a> Running<'a> {
    fn new(seen: &'a Seen) -> Self {
        let running = seen.running.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(running, Ordering::SeqCst);
        seen.attempts.fetch_add(1, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Command for Scripted {
    async fn execute(&self) -> Result<Value> {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap();
            let next = attempts.pop_front().unwrap_or(Attempt::Instant);
            if attempts.is_empty() {
                attempts.push_back(next);
            }
            next
        };
        let _running = Running::new(&self.seen);
        match attempt {
            Attempt::Instant => {}
            Attempt::Yield(times) => {
                for _ in 0..times {
                    shuttle::future::yield_now().await;
                }
            }
            Attempt::Fail => return Err(LaneError::CommandError("as scripted".into())),
            // Without the panic hook, where the checker would take it for a failure.
            Attempt::Panic => std::panic::resume_unwind(Box::new("as scripted")),
            Attempt::Hang => pending().await,
            Attempt::Block(times) => {
                for _ in 0..times {
                    shuttle::thread::yield_now();
                }
            }
        }
        Ok(json!(self.value))
    }

    fn command_type(&self) -> &str {
        "scripted"
    }
}

/// A started queue with one lane.
pub(crate) async fn queue(config: LaneConfig) -> Arc<CommandQueue> {
    let queue = Arc::new(CommandQueue::with_dlq(EventEmitter::new(64), 8));
    queue
        .register_lane(Arc::new(Lane::new(LANE, config, 1)))
        .await;
    Arc::clone(&queue).start_scheduler().await;
    queue
}

/// Retries at once.
pub(crate) fn retries(times: u32) -> RetryPolicy {
    RetryPolicy::fixed(times, Duration::ZERO)
}

pub(crate) async fn submit(
    queue: &CommandQueue,
    command: Box<Scripted>,
) -> Receiver<Result<Value>> {
    queue.submit(LANE, command).await.unwrap()
}

/// Awaits a receiver, which must have an answer.
pub(crate) async fn answer(receiver: Receiver<Result<Value>>) -> Result<Value> {
    receiver
        .await
        .expect("a receiver never closes without an answer")
}

/// The answer must be there already.
pub(crate) fn answer_now(mut receiver: Receiver<Result<Value>>) -> Result<Value> {
    receiver
        .try_recv()
        .expect("the answer is there after a drain")
}

/// Nothing is left in the queue, and it still takes work and runs it: no count was lost on the way.
pub(crate) async fn is_empty_and_alive(queue: &Arc<CommandQueue>) {
    queue.drain(Duration::from_secs(1)).await.unwrap();
    for (lane, status) in queue.status().await {
        assert_eq!((status.pending, status.active), (0, 0), "{lane}");
    }
    let seen = Arc::new(Seen::default());
    let mut receivers = Vec::new();
    for value in 0..3 {
        receivers.push(submit(queue, Scripted::new(value, &[Attempt::Yield(1)], &seen)).await);
    }
    for (value, receiver) in receivers.into_iter().enumerate() {
        assert_eq!(answer(receiver).await.unwrap(), json!(value));
    }
}

/// Runs a model many times, each time with another schedule: uniformly random ones, and ones that follow priorities and
/// change them at few places, which find what only a certain order of few steps shows. `SHUTTLE_ITERATIONS` in the
/// environment replaces the number of runs.
pub(crate) fn check<F>(iterations: usize, model: impl Fn() -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let wanted = std::env::var("SHUTTLE_ITERATIONS").ok();
    let iterations = wanted
        .and_then(|wanted| wanted.parse().ok())
        .unwrap_or(iterations);
    let model = Arc::new(model);
    let random = Arc::clone(&model);
    shuttle::check_random(move || shuttle::future::block_on(random()), iterations);
    shuttle::check_pct(move || shuttle::future::block_on(model()), iterations, 3);
}

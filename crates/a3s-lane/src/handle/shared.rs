//! What a command's queue and its handles share.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use serde_json::Value;

use super::CommandStatus;
use super::chunks::{Chunk, Chunks};
use super::progress::Progress;
use super::wakers::{Place, Wakers, wake_all};
use crate::error::Result;
use crate::explain::Explanation;

/// The queue of a command, as its handles see it.
pub(crate) trait Remote: Send + Sync {
    /// Cancels the command; `false` when its outcome is already decided.
    fn cancel(self: Arc<Self>, serial: u64) -> bool;
    /// Why the command waits; `None` once it has settled.
    fn explain(&self, serial: u64) -> Option<Explanation>;
    /// Whether the command waits for its time.
    fn is_delayed(&self, serial: u64) -> bool;
}

/// One command, between the queue that runs it and the handles that watch it.
///
/// The queue must settle it, whatever happens: until then handles wait.
pub(crate) struct Shared {
    id: Box<str>,
    lane_id: Arc<str>,
    serial: u64,
    /// Weak: who only watches a command does not keep its queue.
    remote: Weak<dyn Remote>,
    state: Mutex<State>,
}

struct State {
    status: CommandStatus,
    outcome: Option<Arc<Result<Value>>>,
    /// It is in its lane, and in its storage; only known of commands that had to wait for that.
    has_entered: bool,
    waiting: Wakers,
    /// Made when it is first needed: most commands report nothing, and nobody asks.
    feed: Option<Box<Feed>>,
}

impl State {
    fn feed(&mut self) -> &mut Feed {
        self.feed.get_or_insert_default()
    }
}

/// What a command reports while it runs.
#[derive(Default)]
struct Feed {
    progress: Progress,
    progress_readers: Wakers,
    chunks: Chunks,
    chunk_readers: Wakers,
}

impl Shared {
    pub(crate) fn new(
        id: impl Into<Box<str>>,
        lane_id: Arc<str>,
        serial: u64,
        remote: Weak<dyn Remote>,
        status: CommandStatus,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            lane_id,
            serial,
            remote,
            state: Mutex::new(State {
                status,
                outcome: None,
                has_entered: false,
                waiting: Wakers::default(),
                feed: None,
            }),
        })
    }

    /// Sets where the command is. Without effect once it has settled.
    pub(crate) fn set_status(&self, status: CommandStatus) {
        debug_assert!(
            !status.is_settled(),
            "only an outcome makes a status final: {status}"
        );
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.status = status;
        }
    }

    /// Tells who waits for it that the command is in its lane.
    pub(crate) fn enter(&self) {
        let woken = {
            let mut state = self.lock();
            state.has_entered = true;
            // Those who wait for the outcome look again, and wait on.
            state.waiting.take()
        };
        wake_all(woken);
    }

    /// Reports how far the command is. Without effect once it has settled.
    pub(crate) fn progress(&self, value: Value) {
        let woken = {
            let mut state = self.lock();
            if state.outcome.is_some() {
                return;
            }
            let feed = state.feed();
            feed.progress.set(value);
            feed.progress_readers.take()
        };
        wake_all(woken);
    }

    /// Adds a partial result. Without effect once the command has settled.
    pub(crate) fn chunk(&self, attempt: u32, value: Value) {
        let woken = {
            let mut state = self.lock();
            if state.outcome.is_some() {
                return;
            }
            let feed = state.feed();
            feed.chunks.push(attempt, value);
            feed.chunk_readers.take()
        };
        wake_all(woken);
    }

    /// Gives the command its final outcome; `false` when it had one, which stays.
    pub(crate) fn settle(&self, status: CommandStatus, result: Result<Value>) -> bool {
        debug_assert!(status.is_settled(), "not a final status: {status}");
        let (waiting, progress, chunks) = {
            let mut state = self.lock();
            if state.outcome.is_some() {
                return false;
            }
            state.status = status;
            state.outcome = Some(Arc::new(result));
            let waiting = state.waiting.take();
            let (progress, chunks) = match &mut state.feed {
                Some(feed) => (feed.progress_readers.take(), feed.chunk_readers.take()),
                None => Default::default(),
            };
            (waiting, progress, chunks)
        };
        wake_all(waiting.into_iter().chain(progress).chain(chunks));
        true
    }
}

/// The side of the handles.
impl Shared {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn lane_id(&self) -> &str {
        &self.lane_id
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn explain(&self) -> Option<Explanation> {
        self.remote.upgrade()?.explain(self.serial)
    }

    pub(super) fn status(&self) -> CommandStatus {
        let status = self.lock().status;
        if status != CommandStatus::Delayed {
            return status;
        }
        // Nobody says when the time has come, as long as nobody asks.
        let remote = self.remote.upgrade();
        if remote.is_some_and(|remote| remote.is_delayed(self.serial)) {
            return CommandStatus::Delayed;
        }
        match self.lock().status {
            CommandStatus::Delayed => CommandStatus::Pending,
            since => since,
        }
    }

    pub(super) fn cancel(&self) -> bool {
        self.remote
            .upgrade()
            .is_some_and(|remote| remote.cancel(self.serial))
    }

    pub(super) fn poll_outcome(
        &self,
        place: &mut Option<Place>,
        cx: &mut Context<'_>,
    ) -> Poll<Arc<Result<Value>>> {
        let replaced = {
            let mut state = self.lock();
            if let Some(outcome) = &state.outcome {
                return Poll::Ready(outcome.clone());
            }
            state.waiting.wait(place, cx.waker())
        };
        drop(replaced);
        Poll::Pending
    }

    /// Ready when the command is in its lane, or has settled, which it also does when it is refused.
    fn poll_entered(&self, place: &mut Option<Place>, cx: &mut Context<'_>) -> Poll<()> {
        let replaced = {
            let mut state = self.lock();
            if state.has_entered || state.outcome.is_some() {
                return Poll::Ready(());
            }
            state.waiting.wait(place, cx.waker())
        };
        drop(replaced);
        Poll::Pending
    }

    /// The newest value, unless its number is `seen`; nothing when none will come.
    pub(super) fn poll_progress(
        &self,
        seen: &mut u64,
        place: &mut Option<Place>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Arc<Value>>> {
        let replaced = {
            let mut state = self.lock();
            let settled = state.outcome.is_some();
            let feed = state.feed();
            if let Some(value) = feed.progress.after(seen) {
                return Poll::Ready(Some(value));
            }
            if settled {
                return Poll::Ready(None);
            }
            feed.progress_readers.wait(place, cx.waker())
        };
        drop(replaced);
        Poll::Pending
    }

    /// The chunk `next` or the oldest after it that is kept; nothing when none will come.
    pub(super) fn poll_chunk(
        &self,
        next: &mut u64,
        place: &mut Option<Place>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Chunk>> {
        let replaced = {
            let mut state = self.lock();
            let settled = state.outcome.is_some();
            let feed = state.feed();
            if let Some(kept) = feed.chunks.at(next) {
                drop(state);
                // Copying a large value must not hold up the command.
                return Poll::Ready(Some(kept.into_chunk()));
            }
            if settled {
                return Poll::Ready(None);
            }
            feed.chunk_readers.wait(place, cx.waker())
        };
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn leave_outcome(&self, place: &mut Option<Place>) {
        if place.is_some() {
            let left = self.lock().waiting.leave(place);
            drop(left);
        }
    }

    pub(super) fn leave_progress(&self, place: &mut Option<Place>) {
        if place.is_some() {
            let left = self.lock().feed().progress_readers.leave(place);
            drop(left);
        }
    }

    pub(super) fn leave_chunks(&self, place: &mut Option<Place>) {
        if place.is_some() {
            let left = self.lock().feed().chunk_readers.leave(place);
            drop(left);
        }
    }

    /// Every critical section leaves the state whole, so a panic of another thread does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a command is in its lane and its storage, or has been refused.
pub(crate) struct Entry {
    shared: Arc<Shared>,
    place: Option<Place>,
}

impl Entry {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            place: None,
        }
    }
}

impl Future for Entry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.poll_entered(&mut this.place, cx)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.leave_outcome(&mut self.place);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .field("lane_id", &self.lane_id)
            .field("serial", &self.serial)
            .field("status", &self.lock().status)
            .finish_non_exhaustive()
    }
}

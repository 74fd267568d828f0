//! One attempt: runs a command's future, catches its panics, and stops it on a signal.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde_json::Value;

use super::sync::{Mutex, lock};
use crate::command::Command;
use crate::error::{LaneError, Result};

/// Why an attempt must stop before its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abort {
    /// Its time limit passed.
    Deadline,
    /// The queue is gone.
    Closed,
    /// Somebody else concluded the command.
    Lost,
}

/// How the engine reaches a suspended attempt. A runner uses one cell for all its attempts in turn.
#[derive(Debug)]
pub(super) struct AttemptCell {
    inner: Mutex<CellState>,
}

#[derive(Debug, Default)]
struct CellState {
    abort: Option<Abort>,
    waker: Option<Waker>,
}

impl AttemptCell {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(CellState::default()),
        }
    }

    /// Tells the attempt to stop and wakes it. The first reason stays.
    pub(super) fn abort(&self, reason: Abort) {
        let waker = {
            let mut state = lock(&self.inner);
            state.abort.get_or_insert(reason);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The reason to stop, if any; otherwise `waker` will be woken when there is one.
    fn check(&self, waker: &Waker) -> Option<Abort> {
        let mut state = lock(&self.inner);
        if state.abort.is_none()
            && !state
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
        {
            state.waker = Some(waker.clone());
        }
        state.abort
    }
}

/// How an attempt ended.
pub(super) enum Ended {
    Returned(Result<Value>),
    Aborted(Abort),
}

/// What came of an attempt.
pub(super) struct Run {
    pub(super) ended: Ended,
    /// The body gave up its thread at least once.
    pub(super) suspended: bool,
}

/// Runs `command` once. `attach` is called when the body suspends for the first time, with a cell through which the
/// attempt can be stopped; it returns a reason to stop at once, if there is one.
///
/// A panic in the body, in the call that makes it or in its destructor becomes [`LaneError::Panicked`].
pub(super) async fn run(
    command: &dyn Command,
    mut attach: impl FnMut(Arc<AttemptCell>) -> Option<Abort>,
) -> Run {
    let mut body = match guarded(|| command.execute()) {
        Ok(body) => body,
        Err(panic) => {
            return Run {
                ended: Ended::Returned(Err(panic)),
                suspended: false,
            };
        }
    };
    let mut cell: Option<Arc<AttemptCell>> = None;
    let ended = poll_fn(|cx| {
        if let Some(cell) = &cell {
            if let Some(reason) = cell.check(cx.waker()) {
                return Poll::Ready(Ended::Aborted(reason));
            }
            return poll_body(body.as_mut(), cx);
        }
        if let Poll::Ready(ended) = poll_body(body.as_mut(), cx) {
            return Poll::Ready(ended);
        }
        let fresh = Arc::new(AttemptCell::new());
        // Register the waker before the cell is known to others, so that no signal is lost.
        fresh.check(cx.waker());
        if let Some(reason) = attach(Arc::clone(&fresh)) {
            return Poll::Ready(Ended::Aborted(reason));
        }
        cell = Some(fresh);
        Poll::Pending
    })
    .await;
    let ended = match (guarded(move || drop(body)), ended) {
        (Err(panic), Ended::Returned(_)) => Ended::Returned(Err(panic)),
        (_, ended) => ended,
    };
    Run {
        ended,
        suspended: cell.is_some(),
    }
}

fn poll_body(
    body: Pin<&mut (dyn Future<Output = Result<Value>> + Send + '_)>,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    match guarded(|| body.poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ended::Returned(result)),
        Err(panic) => Poll::Ready(Ended::Returned(Err(panic))),
    }
}

/// Turns a panic of the user's code into an error.
pub(super) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| LaneError::Panicked(panic_message(&*panic)))
}

/// Turns a panic while the future is polled into an error.
#[cfg(feature = "metrics")]
pub(super) async fn guarded_future<T>(future: impl Future<Output = T>) -> Result<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match guarded(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "no message".to_owned()
    }
}

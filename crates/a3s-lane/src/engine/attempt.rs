//! One attempt: runs a command's future, catches its panics, and stops it on a signal.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::sync::{Mutex, lock};
use crate::command::{Command, StopReason};
use crate::context::CommandContext;
use crate::error::{LaneError, Result};

/// Why the body of an attempt is dropped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abort {
    Stop(StopReason),
    /// The queue is gone.
    Closed,
    /// Somebody else concluded the command.
    Lost,
}

/// How the engine reaches a running attempt.
#[derive(Debug, Default)]
pub(crate) struct AttemptCell {
    inner: Mutex<CellState>,
    /// The engine knows this cell.
    attached: AtomicBool,
}

#[derive(Debug, Default)]
struct CellState {
    abort: Option<Abort>,
    waker: Option<Waker>,
    reason: Option<StopReason>,
    token: Option<CancellationToken>,
}

impl AttemptCell {
    /// Asks the body to stop. The first reason stays.
    pub(super) fn ask(&self, reason: StopReason) {
        let token = {
            let mut state = lock(&self.inner);
            state.reason.get_or_insert(reason);
            state.token.clone()
        };
        if let Some(token) = token {
            token.cancel();
        }
    }

    /// Has the body dropped. The first reason stays.
    pub(super) fn abort(&self, abort: Abort) {
        let (waker, token) = {
            let mut state = lock(&self.inner);
            state.abort.get_or_insert(abort);
            let reason = match abort {
                Abort::Stop(reason) => reason,
                Abort::Closed | Abort::Lost => StopReason::Shutdown,
            };
            state.reason.get_or_insert(reason);
            (state.waker.take(), state.token.clone())
        };
        if let Some(token) = token {
            token.cancel();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        lock(&self.inner).reason
    }

    /// The token that is cancelled when the body is asked to stop.
    pub(crate) fn token(&self) -> CancellationToken {
        let mut state = lock(&self.inner);
        if let Some(token) = &state.token {
            return token.clone();
        }
        let token = CancellationToken::new();
        if state.reason.is_some() {
            token.cancel();
        }
        state.token = Some(token.clone());
        token
    }

    /// Whether this is the first call.
    pub(super) fn attach(&self) -> bool {
        !self.attached.swap(true, Ordering::SeqCst)
    }

    /// Why the body must be dropped, if it must.
    fn aborted(&self) -> Option<Abort> {
        lock(&self.inner).abort
    }

    /// Why the body must be dropped, if it must; otherwise `waker` will be woken when it must.
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

/// Runs `command` once. When the body suspends for the first time the engine learns how to reach it.
///
/// With `late` the command may have been concluded since it was taken: then its body does not begin.
///
/// A panic in the body, in the call that makes it or in its destructor becomes [`LaneError::Panicked`].
pub(super) async fn run(command: &dyn Command, context: &CommandContext, late: bool) -> Run {
    if late {
        let attempt = context.current();
        context.engine().attach(attempt);
        if let Some(abort) = attempt.cell().aborted() {
            return Run {
                ended: Ended::Aborted(abort),
                suspended: false,
            };
        }
    }
    let mut body = match guarded(|| command.execute_with(context)) {
        Ok(body) => body,
        Err(panic) => {
            return Run {
                ended: Ended::Returned(Err(panic)),
                suspended: false,
            };
        }
    };
    let mut cell: Option<&AttemptCell> = None;
    let ended = poll_fn(|cx| {
        if let Some(cell) = cell {
            if let Some(reason) = cell.check(cx.waker()) {
                return Poll::Ready(Ended::Aborted(reason));
            }
            return poll_body(body.as_mut(), cx);
        }
        if let Poll::Ready(ended) = poll_body(body.as_mut(), cx) {
            return Poll::Ready(ended);
        }
        let attempt = context.current();
        let fresh = attempt.cell();
        // Register the waker before the cell is known to others, so that no signal is lost.
        fresh.check(cx.waker());
        context.engine().attach(attempt);
        if let Some(reason) = fresh.check(cx.waker()) {
            return Poll::Ready(Ended::Aborted(reason));
        }
        cell = Some(fresh);
        Poll::Pending
    })
    .await;
    let suspended = cell.is_some();
    let ended = match (guarded(move || drop(body)), ended) {
        (Err(panic), Ended::Returned(_)) => Ended::Returned(Err(panic)),
        (_, ended) => ended,
    };
    Run { ended, suspended }
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
#[inline]
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

#[cold]
fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "no message".to_owned()
    }
}

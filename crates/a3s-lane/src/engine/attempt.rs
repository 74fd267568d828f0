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

/// What a command's attempt does.
pub(super) type Body<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

/// Begins one attempt of `command`: polls its body once. What has not ended then comes back, for [`go_on`].
///
/// A panic in the body, in the call that makes it or in its destructor becomes [`LaneError::Panicked`].
#[inline]
pub(super) fn begin<'a>(
    command: &'a dyn Command,
    context: &'a CommandContext,
    waker: &Waker,
) -> std::result::Result<Result<Value>, Body<'a>> {
    let mut body: Option<Body<'a>> = None;
    let mut polled = Poll::Pending;
    // Mostly it is over at once: it is made, polled and dropped under one guard.
    let guard = guarded(|| {
        let made = body.insert(command.execute_with(context));
        polled = made.as_mut().poll(&mut Context::from_waker(waker));
        if polled.is_ready() {
            drop(body.take());
        }
    });
    match (guard, polled, body) {
        (Ok(()), Poll::Ready(result), _) => Ok(result),
        (Ok(()), Poll::Pending, Some(body)) => Err(body),
        (guard, _, body) => Ok(Err(begin_failed(guard.err(), body))),
    }
}

/// The body has panicked; its destructor may do so too.
#[cold]
fn begin_failed(panic: Option<LaneError>, body: Option<Body<'_>>) -> LaneError {
    let dropped = guarded(move || drop(body));
    let panic = dropped.err().or(panic);
    panic.unwrap_or_else(|| LaneError::Panicked("the body is gone".to_owned()))
}

/// Goes on with a body that was polled once, with `waker`. The engine learns how to reach it.
pub(super) async fn go_on(mut body: Body<'_>, context: &CommandContext, waker: &Waker) -> Run {
    let attempt = context.current();
    let cell = attempt.cell();
    let mut is_attached = false;
    let ended = poll_fn(|cx| {
        let mut is_polled = false;
        if !is_attached {
            // Register the waker before the cell is known to others, so that no signal is lost.
            cell.check(cx.waker());
            context.engine().attach(attempt);
            is_attached = true;
            is_polled = cx.waker().will_wake(waker);
        }
        if let Some(reason) = cell.check(cx.waker()) {
            return Poll::Ready(Ended::Aborted(reason));
        }
        if is_polled {
            return Poll::Pending;
        }
        poll_body(guarded(|| body.as_mut().poll(cx)))
    })
    .await;
    let ended = match (guarded(move || drop(body)), ended) {
        (Err(panic), Ended::Returned(_)) => Ended::Returned(Err(panic)),
        (_, ended) => ended,
    };
    Run {
        ended,
        suspended: true,
    }
}

/// Runs `command` once, as [`begin`] and [`go_on`]. It may have been concluded since it was taken when this is `late`: then its
/// body does not begin.
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
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    match begin(command, context, &waker) {
        Ok(result) => Run {
            ended: Ended::Returned(result),
            suspended: false,
        },
        Err(body) => go_on(body, context, &waker).await,
    }
}

/// How the body ended, if it did.
fn poll_body(polled: Result<Poll<Result<Value>>>) -> Poll<Ended> {
    match polled {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ended::Returned(result)),
        Err(panic) => Poll::Ready(Ended::Returned(Err(panic))),
    }
}

/// Drops a command, or whatever holds one. Its destructor is the user's code: a panic there is logged.
pub(super) fn drop_command<T>(command: T, lane: &str) {
    if let Err(panic) = guarded(|| drop(command)) {
        tracing::error!(lane_id = lane, %panic, "a command's destructor panicked");
    }
}

/// Turns a panic of the user's code into an error.
#[inline]
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let message = panic_message(&*panic);
        // The user's too: its destructor may panic.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        LaneError::Panicked(message)
    })
}

/// Turns a panic while the future is polled into an error.
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

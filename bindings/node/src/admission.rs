//! Commands on their way into a lane.
//!
//! Submission never blocks JavaScript. In a lane that says "wait" when it is full, a command waits for room on the
//! runtime, and JavaScript holds its handle meanwhile.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use a3s_lane::{CommandHandle, LaneError};
use serde_json::Value;
use tokio::sync::watch;

use crate::fault::Fault;
use crate::runtime::runtime;
use crate::storage::Storing;

/// A submission that ends with the command's handle, or with its refusal.
pub(crate) type Submitting = Pin<Box<dyn Future<Output = Result<CommandHandle, Fault>> + Send>>;

/// Does at once what `work` can do without waiting. What is left of it must be driven by the caller.
pub(crate) fn begin<T>(
    work: Pin<&mut (impl Future<Output = T> + ?Sized)>,
) -> Result<Option<T>, Fault> {
    let _inside = runtime()?.enter();
    match work.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(Some(output)),
        Poll::Pending => Ok(None),
    }
}

/// A command that was submitted.
#[derive(Clone)]
pub(crate) enum Ticket {
    /// It is in its lane, or was.
    In(CommandHandle),
    /// Its lane was full when it came.
    Late(Arc<Waiting>),
}

/// A command that waits for room.
pub(crate) struct Waiting {
    pub(crate) id: String,
    pub(crate) lane_id: String,
    state: Mutex<State>,
    /// Becomes true when the command is in its lane or refused.
    decided: watch::Sender<bool>,
}

enum State {
    /// With the waker of the task that drives it.
    Waits(Submitting, Waker),
    In(CommandHandle),
    Refused(Fault),
}

impl Ticket {
    /// Begins a submission; what remains of it goes on by itself, with an `order` after those before it. A refusal at once is an error.
    pub(crate) fn submit(
        mut submitting: Submitting,
        id: String,
        lane_id: String,
        order: Option<&Storing>,
    ) -> Result<Self, Fault> {
        if let Some(answer) = begin(submitting.as_mut())? {
            return answer.map(Self::In);
        }
        let waiting = Arc::new(Waiting {
            id,
            lane_id,
            state: Mutex::new(State::Waits(submitting, Waker::noop().clone())),
            decided: watch::Sender::new(false),
        });
        let driven = Arc::clone(&waiting);
        match order {
            Some(order) => order.drive(driven)?,
            None => _ = runtime()?.spawn(async move { poll_fn(|cx| driven.poll(cx)).await }),
        }
        Ok(Self::Late(waiting))
    }

    /// The core's handle, or why there is none (yet).
    pub(crate) fn now(&self) -> Result<CommandHandle, Option<Fault>> {
        match self {
            Self::In(handle) => Ok(handle.clone()),
            Self::Late(waiting) => waiting.now(),
        }
    }

    /// The core's handle once the command is in its lane.
    pub(crate) async fn handle(&self) -> Result<CommandHandle, Fault> {
        if let Self::Late(waiting) = self {
            // An error would mean that the sender is gone, which `self` holds.
            let _ = waiting
                .decided
                .subscribe()
                .wait_for(|decided| *decided)
                .await;
        }
        self.now().map_err(|refused| {
            refused.unwrap_or_else(|| LaneError::QueueError("the submission is gone".into()).into())
        })
    }

    pub(crate) async fn result(&self) -> Result<Value, Fault> {
        Ok(self.handle().await?.result().await?)
    }

    /// The command's result as JSON text.
    pub(crate) async fn text(&self) -> Result<String, Fault> {
        Ok(self.result().await?.to_string())
    }

    /// Cancels the command; false when its outcome is already decided.
    pub(crate) fn cancel(&self) -> bool {
        match self {
            Self::In(handle) => handle.cancel(),
            Self::Late(waiting) => waiting.cancel(),
        }
    }
}

impl Waiting {
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let State::Waits(submitting, task) = &mut *state else {
            return Poll::Ready(());
        };
        let mut cx = Context::from_waker(cx.waker());
        let polled = catch_unwind(AssertUnwindSafe(|| submitting.as_mut().poll(&mut cx)));
        let decided = match polled {
            Ok(Poll::Pending) => {
                task.clone_from(cx.waker());
                return Poll::Pending;
            }
            Ok(Poll::Ready(Ok(handle))) => State::In(handle),
            Ok(Poll::Ready(Err(fault))) => State::Refused(fault),
            Err(panic) => State::Refused(Fault::panicked(&*panic)),
        };
        self.decide(state, decided);
        Poll::Ready(())
    }

    fn now(&self) -> Result<CommandHandle, Option<Fault>> {
        match &*lock(&self.state) {
            State::In(handle) => Ok(handle.clone()),
            State::Refused(fault) => Err(Some(fault.clone())),
            State::Waits(..) => Err(None),
        }
    }

    fn cancel(&self) -> bool {
        let state = lock(&self.state);
        match &*state {
            State::In(handle) => {
                let handle = handle.clone();
                drop(state);
                handle.cancel()
            }
            State::Refused(_) => false,
            State::Waits(_, task) => {
                let task = task.clone();
                let text = format!("before lane '{}' had room for it", self.lane_id);
                self.decide(state, State::Refused(LaneError::Cancelled(text).into()));
                task.wake();
                true
            }
        }
    }

    fn decide(&self, mut state: MutexGuard<'_, State>, decided: State) {
        let before = std::mem::replace(&mut *state, decided);
        drop(state);
        self.decided.send_replace(true);
        // May give up a place in the lane's queue, and with it wake others: never under the lock.
        let _inside = runtime().ok().map(|runtime| runtime.enter());
        drop(before);
    }
}

/// A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

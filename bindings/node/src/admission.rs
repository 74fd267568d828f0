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

/// A submission of several commands.
pub(crate) type SubmittingAll =
    Pin<Box<dyn Future<Output = Vec<Result<CommandHandle, Fault>>> + Send>>;

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

/// A command that waits for room, or for the storage.
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
    /// With others, which are driven together.
    WaitsWithOthers {
        cancelled: bool,
    },
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
        let rest = async move { poll_fn(|cx| driven.poll(cx)).await };
        match order {
            Some(order) => order.drive(&waiting.lane_id, Box::pin(rest))?,
            None => _ = runtime()?.spawn(rest),
        }
        Ok(Self::Late(waiting))
    }

    /// Begins a submission of commands with these ids that go into the storage together; `refused` has what was refused at once
    /// when that has begun.
    pub(crate) fn submit_all(
        mut submitting: SubmittingAll,
        ids: Vec<String>,
        lane_id: &str,
        refused: &Mutex<Vec<(usize, Fault)>>,
        order: &Storing,
    ) -> Result<Vec<Result<Self, Fault>>, Fault> {
        if let Some(answers) = begin(submitting.as_mut())? {
            let answers = answers.into_iter();
            return Ok(answers.map(|answer| answer.map(Self::In)).collect());
        }
        let mut refused = refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .split_off(0)
            .into_iter()
            .peekable();
        let mut waiting = Vec::with_capacity(ids.len());
        let mut answers = Vec::with_capacity(ids.len());
        for (place, id) in ids.into_iter().enumerate() {
            let one = Arc::new(Waiting {
                id,
                lane_id: lane_id.to_owned(),
                state: Mutex::new(State::WaitsWithOthers { cancelled: false }),
                decided: watch::Sender::new(false),
            });
            waiting.push(Arc::clone(&one));
            answers.push(match refused.next_if(|(at, _)| *at == place) {
                Some((_, fault)) => Err(fault),
                None => Ok(Self::Late(one)),
            });
        }
        let together = Together(waiting);
        order.drive(
            lane_id,
            Box::pin(async move {
                let decided = poll_fn(|cx| {
                    catch_unwind(AssertUnwindSafe(|| submitting.as_mut().poll(cx))).map_or_else(
                        |panic| Poll::Ready(Err(Fault::panicked(&*panic))),
                        |poll| poll.map(Ok),
                    )
                });
                together.decide(decided.await);
            }),
        )?;
        Ok(answers)
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

/// Commands that were submitted together. They are refused when this is dropped before they are decided, as at the end of the runtime.
struct Together(Vec<Arc<Waiting>>);

impl Together {
    fn decide(&self, answers: Result<Vec<Result<CommandHandle, Fault>>, Fault>) {
        match answers {
            Ok(answers) => {
                for (waiting, answer) in self.0.iter().zip(answers) {
                    waiting.arrive(answer);
                }
            }
            Err(fault) => {
                for waiting in &self.0 {
                    waiting.arrive(Err(fault.clone()));
                }
            }
        }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        let gone = LaneError::QueueError("the submission is gone".into());
        self.decide(Err(gone.into()));
    }
}

impl Waiting {
    /// One of several has come into its lane, or was refused.
    fn arrive(&self, answer: Result<CommandHandle, Fault>) {
        let state = lock(&self.state);
        let State::WaitsWithOthers { cancelled } = *state else {
            // Decided before.
            return;
        };
        match answer {
            Ok(handle) => {
                self.decide(state, State::In(handle.clone()));
                if cancelled {
                    handle.cancel();
                }
            }
            Err(fault) => self.decide(state, State::Refused(fault)),
        }
    }

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

    /// Whoever is cancelled among others has not ended yet: it may run already, and complete in its grace.
    fn now(&self) -> Result<CommandHandle, Option<Fault>> {
        match &*lock(&self.state) {
            State::In(handle) => Ok(handle.clone()),
            State::Refused(fault) => Err(Some(fault.clone())),
            State::Waits(..) | State::WaitsWithOthers { .. } => Err(None),
        }
    }

    fn cancel(&self) -> bool {
        let mut state = lock(&self.state);
        match &mut *state {
            State::In(handle) => {
                let handle = handle.clone();
                drop(state);
                handle.cancel()
            }
            State::Refused(_) => false,
            State::Waits(_, task) => {
                let task = task.clone();
                self.decide(state, State::Refused(self.cancelled()));
                task.wake();
                true
            }
            // It may be in its lane already, and begin before its submitter hears of it: so it ends there.
            State::WaitsWithOthers { cancelled } => !std::mem::replace(cancelled, true),
        }
    }

    fn cancelled(&self) -> Fault {
        let text = format!("before lane '{}' had room for it", self.lane_id);
        LaneError::Cancelled(text).into()
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

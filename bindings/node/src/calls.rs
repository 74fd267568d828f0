//! Attempts whose body is a JavaScript function.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use a3s_lane::{CommandContext, LaneError};
use serde_json::Value;

use crate::bridge::{Bridge, Message};
use crate::places::{PlaceId, Places};

/// What a handler is called with.
pub(crate) enum Subject {
    /// The command that JavaScript knows by this number: its payload never left it.
    Token(u32),
    /// The type and the payload, as JSON text; with a number if JavaScript knows the command by one.
    Json(Option<u32>, String, String),
}

/// An attempt that JavaScript runs.
struct Call {
    context: CommandContext,
    /// Until JavaScript has taken it.
    subject: Option<Subject>,
    result: Option<a3s_lane::Result<Value>>,
    waker: Waker,
    /// JavaScript wants to know when the attempt is asked to stop.
    watched: bool,
}

/// Names an attempt that JavaScript runs.
pub(crate) type CallId = PlaceId;

/// The attempts of one JavaScript thread.
///
/// No method calls the queue while it holds the lock: an attempt may be dropped under a lock of the queue.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Places<Call>>);

impl Calls {
    fn open(&self, context: CommandContext, subject: Subject, waker: Waker) -> CallId {
        self.lock().put(Call {
            context,
            subject: Some(subject),
            result: None,
            waker,
            watched: false,
        })
    }

    /// What JavaScript must start: its subject and the number of the attempt. Nothing when the attempt has ended
    /// meanwhile.
    pub(crate) fn deliver(&self, id: CallId) -> Option<(Subject, u32)> {
        let mut table = self.lock();
        let call = table.get_mut(id)?;
        let attempt = call.context.attempt();
        call.subject.take().map(|subject| (subject, attempt))
    }

    /// Ends an attempt; false when it has ended without JavaScript.
    pub(crate) fn finish(&self, id: CallId, result: a3s_lane::Result<Value>) -> bool {
        let waker = match self.lock().get_mut(id) {
            Some(call) => {
                call.result = Some(result);
                std::mem::replace(&mut call.waker, Waker::noop().clone())
            }
            None => return false,
        };
        waker.wake();
        true
    }

    /// The context of an attempt that has not ended.
    pub(crate) fn context(&self, id: CallId) -> Option<CommandContext> {
        self.lock().get(id).map(|call| call.context.clone())
    }

    /// From now on JavaScript is told when the attempt is asked to stop, not only when it is over.
    pub(crate) fn watch(&self, id: CallId) {
        let waker = match self.lock().get_mut(id) {
            Some(call) => {
                call.watched = true;
                call.waker.clone()
            }
            None => return,
        };
        waker.wake();
    }

    /// How many attempts JavaScript runs, or is about to.
    pub(crate) fn count(&self) -> usize {
        self.lock().count()
    }

    fn lock(&self) -> MutexGuard<'_, Places<Call>> {
        // A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of such an attempt: has JavaScript called at its first poll, and waits for the result.
pub(crate) struct Body<'a> {
    bridge: Arc<Bridge>,
    context: &'a CommandContext,
    state: State,
    /// Ready when the attempt is asked to stop; present while JavaScript wants to know.
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    told: bool,
}

enum State {
    New(Subject),
    Running(CallId),
    Over,
}

impl<'a> Body<'a> {
    pub(crate) fn new(bridge: Arc<Bridge>, context: &'a CommandContext, subject: Subject) -> Self {
        Self {
            bridge,
            context,
            state: State::New(subject),
            stop: None,
            told: false,
        }
    }

    fn poll_stop(&mut self, id: CallId, cx: &mut Context<'_>) {
        let context = self.context;
        let stop = self.stop.get_or_insert_with(|| {
            let token = context.cancellation();
            Box::pin(async move { token.cancelled().await })
        });
        if !self.told && stop.as_mut().poll(cx).is_ready() {
            self.told = true;
            self.bridge.push(Message::stop(id, context));
        }
    }
}

impl Future for Body<'_> {
    type Output = a3s_lane::Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let id = match std::mem::replace(&mut this.state, State::Over) {
            State::Over => return Poll::Ready(Err(LaneError::QueueError("polled late".into()))),
            State::New(subject) => {
                let context = this.context.clone();
                let calls = &this.bridge.calls;
                let id = calls.open(context, subject, cx.waker().clone());
                this.state = State::Running(id);
                this.bridge.push(Message::Call(id));
                return Poll::Pending;
            }
            State::Running(id) => id,
        };
        let (ended, watched) = {
            let mut table = this.bridge.calls.lock();
            let Some(call) = table.get_mut(id) else {
                return Poll::Ready(Err(LaneError::QueueError("the call is gone".into())));
            };
            if call.result.is_some() {
                (table.take(id), false)
            } else {
                call.waker.clone_from(cx.waker());
                (None, call.watched)
            }
        };
        if let Some(result) = ended.and_then(|call| call.result) {
            return Poll::Ready(result);
        }
        this.state = State::Running(id);
        if watched {
            this.poll_stop(id, cx);
        }
        Poll::Pending
    }
}

impl Drop for Body<'_> {
    /// The attempt is over before JavaScript has ended it.
    fn drop(&mut self) {
        let State::Running(id) = self.state else {
            return;
        };
        let over = Message::over(id, self.context);
        let call = {
            let mut table = self.bridge.calls.lock();
            let call = table.take(id);
            // JavaScript is not told of what it never began. Under the lock: it is told before another call has the place.
            if call.as_ref().is_some_and(|call| call.subject.is_none()) {
                self.bridge.push(over);
            }
            call
        };
        // Not under the lock.
        drop(call);
    }
}

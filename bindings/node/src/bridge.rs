//! The event loop of a JavaScript thread as an executor of the core.
//!
//! Rust never calls a JavaScript function, except to say that there is something to look at. What JavaScript has to do (calls
//! to begin, attempts that stop, commands that have settled) collects here as messages. JavaScript takes them in batches, in
//! the same call that brings what it has to say itself.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use a3s_lane::{
    CommandContext, CommandHandle, CommandStatus, EventLoop, LaneError, ResultFuture, StopReason,
};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::calls::Calls;
use crate::fault::Fault;
use crate::hosted::Kinds;
use crate::signal::Signal;

/// How often one visit of JavaScript lets the loop turn at most: the rest of the program has its turn too.
const TURNS: usize = 32;

/// How many messages the memory that is kept holds.
const SPARE: usize = 1_024;

/// What JavaScript is told.
pub(crate) enum Message {
    /// An attempt begins.
    Call(u64),
    /// An attempt is asked to stop.
    Stop(u64, StopReason),
    /// An attempt is over. With the command's id and lane: nobody can be asked any more.
    Over(u64, StopReason, Box<(String, String)>),
    /// A command may have settled; its receiver knows.
    Ready(u32),
    /// The next report of a command, asked for under this number; none at the end.
    Report(u32, Option<String>),
    /// A command has settled. Boxed, as all that few messages need.
    Settled(u32, Box<Result<Outcome, Fault>>),
}

/// The result of a command.
pub(crate) enum Outcome {
    /// Its own payload, which JavaScript has.
    Payload,
    /// What this call has returned, which JavaScript has.
    Call(u64),
    /// A JSON text.
    Json(String),
}

impl Outcome {
    /// Of a command whose payload never left JavaScript.
    pub(crate) fn of_token(value: &Value) -> Self {
        match (value, value.as_u64()) {
            (Value::Null, _) => Self::Payload,
            (_, Some(call)) => Self::Call(call),
            _ => Self::Json(value.to_string()),
        }
    }
}

impl Message {
    pub(crate) fn stop(call: u64, context: &CommandContext) -> Self {
        Self::Stop(call, reason_of(context))
    }

    pub(crate) fn over(call: u64, context: &CommandContext) -> Self {
        let names = (context.id(), context.lane_id().to_owned());
        Self::Over(call, reason_of(context), Box::new(names))
    }

    pub(crate) fn settled(token: u32, result: Result<Outcome, Fault>) -> Self {
        Self::Settled(token, Box::new(result))
    }
}

fn reason_of(context: &CommandContext) -> StopReason {
    context.stop_reason().unwrap_or(StopReason::Shutdown)
}

/// One JavaScript thread, seen from the queue of one `Lane`.
pub(crate) struct Bridge {
    pub(crate) event_loop: Arc<EventLoop>,
    pub(crate) calls: Calls,
    pub(crate) kinds: Kinds,
    signal: Arc<Signal>,
    messages: Mutex<VecDeque<Message>>,
    /// An empty list to take messages with: its memory is used again.
    spare: Mutex<VecDeque<Message>>,
    /// What brings the results of commands, by their token.
    waiting: Mutex<Vec<Option<Awaited>>>,
}

/// A command of which JavaScript was not told yet that it has settled.
struct Awaited {
    source: Source,
    waker: Waker,
}

impl Awaited {
    fn poll(&mut self) -> Poll<Result<Outcome, Fault>> {
        self.source.poll(&mut Context::from_waker(&self.waker))
    }
}

/// What brings the result of a command.
enum Source {
    Reply(Receiver),
    Handle(CommandHandle, ResultFuture),
}

type Receiver = oneshot::Receiver<a3s_lane::Result<Value>>;

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Fault>> {
        let result = match self {
            Self::Reply(receiver) => {
                let received = Pin::new(receiver).poll(cx);
                received.map(|result| result.unwrap_or_else(|_| Err(ended_early())))
            }
            Self::Handle(_, result) => Pin::new(result).poll(cx),
        };
        result.map(outcome)
    }
}

impl Bridge {
    pub(crate) fn new(signal: Signal) -> Arc<Self> {
        let signal = Arc::new(signal);
        let wake = Arc::clone(&signal);
        Arc::new(Self {
            event_loop: EventLoop::new(move || wake.ask()),
            calls: Calls::default(),
            kinds: Kinds::default(),
            signal,
            messages: Mutex::default(),
            spare: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// Calls `call` on the JavaScript thread, and runs there what it makes ready.
    pub(crate) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        /// Also after a panic: a thread that is taken for looking is not woken.
        struct Visit<'a>(&'a Bridge);
        impl Drop for Visit<'_> {
            fn drop(&mut self) {
                let more = !lock(&self.0.messages).is_empty();
                self.0.signal.end(more);
            }
        }
        let _visit = Visit(self);
        self.visit(call)
    }

    /// As [`within`](Self::within), without the end.
    fn visit<T>(&self, call: impl FnOnce() -> T) -> T {
        self.signal.begin();
        let result = self.event_loop.within(call);
        for _ in 0..TURNS {
            if !self.signal.again() {
                return result;
            }
            self.event_loop.turn();
        }
        self.signal.ask();
        result
    }

    /// Calls `call` on the JavaScript thread, and then has `take` take as many messages as it wants. Returns what `call`
    /// returned, and whether JavaScript should look again at once.
    pub(crate) fn exchange<T>(
        &self,
        call: impl FnOnce() -> T,
        take: impl FnOnce(&mut VecDeque<Message>),
    ) -> (T, bool) {
        /// Also after a panic.
        struct End<'a>(&'a Bridge);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.signal.end(false);
            }
        }
        let result = self.visit(call);
        let end = End(self);
        let spare = std::mem::take(&mut *lock(&self.spare));
        let mut messages = std::mem::replace(&mut *lock(&self.messages), spare);
        take(&mut messages);
        let more = self.put_back(messages);
        drop(end);
        (result, more)
    }

    /// Returns whether there are messages.
    fn put_back(&self, mut rest: VecDeque<Message>) -> bool {
        let mut messages = lock(&self.messages);
        if rest.is_empty() {
            rest.shrink_to(SPARE);
            *lock(&self.spare) = rest;
        } else {
            rest.append(&mut messages);
            *messages = rest;
        }
        !messages.is_empty()
    }

    /// Tells JavaScript something. Called from any thread, also under a lock of the queue.
    pub(crate) fn push(&self, message: Message) {
        lock(&self.messages).push_back(message);
        self.signal.ask();
    }

    /// Has JavaScript told when the receiver of a command is resolved.
    pub(crate) fn await_receiver(self: &Arc<Self>, token: u32, receiver: Receiver) {
        self.await_source(token, Source::Reply(receiver));
    }

    /// Has JavaScript told when a command has settled, whose handle it may ask for until then.
    pub(crate) fn await_handle(self: &Arc<Self>, token: u32, handle: CommandHandle) {
        let result = handle.clone().into_future();
        self.await_source(token, Source::Handle(handle, result));
    }

    fn await_source(self: &Arc<Self>, token: u32, source: Source) {
        let waker = Waker::from(Arc::new(Settling {
            bridge: Arc::downgrade(self),
            token,
        }));
        // The place is there before the waker can be called.
        let mut waiting = lock(&self.waiting);
        let mut awaited = Awaited { source, waker };
        let polled = awaited.poll();
        let index = token as usize;
        if waiting.len() <= index {
            waiting.resize_with(index + 1, || None);
        }
        // Also when it has settled: JavaScript may ask for the handle until it is told.
        waiting[index] = Some(awaited);
        if let Poll::Ready(result) = polled {
            drop(waiting);
            self.push(Message::settled(token, result));
        }
    }

    /// The handle of a command.
    pub(crate) fn handle(&self, token: u32) -> Option<CommandHandle> {
        match &lock(&self.waiting).get(token as usize)?.as_ref()?.source {
            Source::Reply(_) => None,
            Source::Handle(handle, _) => Some(handle.clone()),
        }
    }

    /// The result of a command whose waker was called.
    pub(crate) fn received(&self, token: u32) -> Option<Result<Outcome, Fault>> {
        let mut waiting = lock(&self.waiting);
        match waiting.get_mut(token as usize)?.as_mut()?.poll() {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// JavaScript is told what became of a command. Returns how it settled, where there was a handle of it.
    pub(crate) fn told(&self, token: u32) -> Option<CommandStatus> {
        let awaited = lock(&self.waiting).get_mut(token as usize)?.take()?;
        match awaited.source {
            Source::Reply(_) => None,
            Source::Handle(handle, _) => Some(handle.status()),
        }
    }

    /// Runs a future on the JavaScript thread, and tells JavaScript what became of a command.
    pub(crate) fn settle_with(
        self: &Arc<Self>,
        token: u32,
        work: impl Future<Output = Result<Outcome, Fault>> + Send + 'static,
    ) {
        let bridge = Arc::downgrade(self);
        self.event_loop.spawn(async move {
            let result = work.await;
            if let Some(bridge) = bridge.upgrade() {
                bridge.push(Message::settled(token, result));
            }
        });
    }

    /// Waits until the JavaScript thread is asked to look. May have happened before.
    pub(crate) async fn asked(&self) {
        self.signal.asked().await;
    }

    /// The JavaScript thread is gone, or nobody there holds the lane any more.
    pub(crate) fn close(&self) {
        self.event_loop.close();
    }
}

/// Tells that a receiver is resolved.
struct Settling {
    bridge: Weak<Bridge>,
    token: u32,
}

impl Wake for Settling {
    fn wake(self: Arc<Self>) {
        if let Some(bridge) = self.bridge.upgrade() {
            bridge.push(Message::Ready(self.token));
        }
    }
}

fn outcome(result: a3s_lane::Result<Value>) -> Result<Outcome, Fault> {
    Ok(Outcome::of_token(&result?))
}

fn ended_early() -> LaneError {
    LaneError::QueueError("the queue ended before the command".into())
}

/// A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

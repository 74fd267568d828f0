//! The event loop of a JavaScript thread as an executor of the core.
//!
//! Rust never calls a JavaScript function, except to say that there is something to look at. What JavaScript has to do (calls
//! to begin, attempts that stop, commands that have settled) collects here as messages. JavaScript takes them in batches, in
//! the same call that brings what it has to say itself.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use a3s_lane::{CommandContext, CommandStatus, EventLoop, ResultSink, StopReason};
use serde_json::Value;

use crate::calls::{CallId, Calls};
use crate::fault::Fault;
use crate::hosted::Kinds;
use crate::signal::Signal;
use crate::tickets::Tickets;

/// How often one visit of JavaScript lets the loop turn at most: the rest of the program has its turn too.
const TURNS: usize = 32;

/// How many messages the memory that is kept holds.
const SPARE: usize = 1_024;

/// What JavaScript is told.
pub(crate) enum Message {
    /// An attempt begins.
    Call(CallId),
    /// An attempt is asked to stop.
    Stop(CallId, StopReason),
    /// An attempt is over. With the command's id and lane: nobody can be asked any more.
    Over(CallId, StopReason, Box<(String, String)>),
    /// The next report of a command, asked for under this number; none at the end.
    Report(u32, Option<String>),
    /// A command has completed with what its newest call has returned, or with its payload: JavaScript has both.
    Completed(u32, bool),
    /// A command has settled otherwise. Boxed, as all that few messages need.
    Settled(u32, Box<Settled>),
}

/// How a command has settled.
pub(crate) struct Settled {
    pub(crate) result: Result<Outcome, Fault>,
    pub(crate) status: CommandStatus,
}

/// The result of a command.
pub(crate) enum Outcome {
    /// Its own payload, which JavaScript has.
    Payload,
    /// What its newest call has returned, which JavaScript has.
    Returned,
    /// A JSON text.
    Json(String),
}

impl Outcome {
    /// Of a command whose payload never left JavaScript.
    pub(crate) fn of_token(value: &Value) -> Self {
        match value {
            Value::Null => Self::Payload,
            Value::Bool(true) => Self::Returned,
            _ => Self::Json(value.to_string()),
        }
    }

    /// The value of a command whose result stays in JavaScript.
    pub(crate) fn returned() -> Value {
        Value::Bool(true)
    }
}

impl Message {
    pub(crate) fn stop(call: CallId, context: &CommandContext) -> Self {
        Self::Stop(call, reason_of(context))
    }

    pub(crate) fn over(call: CallId, context: &CommandContext) -> Self {
        let names = (context.id(), context.lane_id().to_owned());
        Self::Over(call, reason_of(context), Box::new(names))
    }

    /// Of a command of which nobody asks for the status.
    fn settled(token: u32, result: Result<Outcome, Fault>) -> Self {
        let status = match result {
            Ok(_) => CommandStatus::Completed,
            Err(_) => CommandStatus::Failed,
        };
        Self::of(token, status, result)
    }

    fn of(token: u32, status: CommandStatus, result: Result<Outcome, Fault>) -> Self {
        match result {
            Ok(Outcome::Payload) => Self::Completed(token, false),
            Ok(Outcome::Returned) => Self::Completed(token, true),
            result => Self::Settled(token, Box::new(Settled { result, status })),
        }
    }

    /// The status that it tells of this command.
    fn status_of(&self, token: u32) -> Option<CommandStatus> {
        match self {
            Self::Completed(of, _) if *of == token => Some(CommandStatus::Completed),
            Self::Settled(of, settled) if *of == token => Some(settled.status),
            _ => None,
        }
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
    /// Is told what becomes of commands.
    pub(crate) sink: Arc<ResultSink>,
    /// Commands of which JavaScript may ask for a handle.
    pub(crate) tickets: Tickets,
}

impl Bridge {
    pub(crate) fn new(signal: Signal) -> Arc<Self> {
        let signal = Arc::new(signal);
        let wake = Arc::clone(&signal);
        Arc::new_cyclic(|bridge: &Weak<Self>| Self {
            sink: sink(Weak::clone(bridge)),
            tickets: Tickets::default(),
            event_loop: EventLoop::new(move || wake.ask()),
            calls: Calls::default(),
            kinds: Kinds::default(),
            signal,
            messages: Mutex::default(),
            spare: Mutex::default(),
        })
    }

    /// Calls `call` on the JavaScript thread, and runs there what it makes ready. JavaScript takes what there is to tell soon: it
    /// sees to that before each such call.
    pub(crate) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        /// Also after a panic: a thread that is taken for looking is not woken.
        struct Visit<'a>(&'a Bridge);
        impl Drop for Visit<'_> {
            fn drop(&mut self) {
                self.0.signal.leave();
            }
        }
        let _visit = Visit(self);
        self.visit(call)
    }

    /// As [`within`](Self::within), for a caller that does not see to it that JavaScript looks.
    pub(crate) fn aside<T>(&self, call: impl FnOnce() -> T) -> T {
        struct End<'a>(&'a Bridge);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.signal.end();
                let is_empty = lock(&self.0.messages).is_empty();
                if !is_empty {
                    self.0.signal.ask();
                }
            }
        }
        let _end = End(self);
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

    /// Calls `call` on the JavaScript thread, and then has `take`, which is shown what `call` returned, take as many messages as it
    /// wants. Returns that, and whether JavaScript should look again at once.
    pub(crate) fn exchange<T>(
        &self,
        call: impl FnOnce() -> T,
        take: impl FnOnce(&T, &mut VecDeque<Message>),
    ) -> (T, bool) {
        /// Also after a panic.
        struct End<'a>(&'a Bridge);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.signal.end();
            }
        }
        let end = End(self);
        let result = self.visit(call);
        let spare = std::mem::take(&mut *lock(&self.spare));
        let mut messages = std::mem::replace(&mut *lock(&self.messages), spare);
        take(&result, &mut messages);
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

    /// Has JavaScript look again.
    pub(crate) fn remind(&self) {
        self.signal.ask();
    }

    /// Tells JavaScript that a command was refused.
    pub(crate) fn refuse(&self, token: u32, fault: Fault) {
        self.push(Message::settled(token, Err(fault)));
    }

    /// How a command has settled of which JavaScript was not told yet.
    pub(crate) fn untold(&self, token: u32) -> Option<CommandStatus> {
        let messages = lock(&self.messages);
        messages.iter().find_map(|message| message.status_of(token))
    }

    /// Runs a future on the JavaScript thread, and tells JavaScript what became of a command: also when the future panics.
    pub(crate) fn settle_with(
        self: &Arc<Self>,
        token: u32,
        work: impl Future<Output = Result<Outcome, Fault>> + Send + 'static,
    ) {
        let bridge = Arc::downgrade(self);
        self.event_loop.spawn(async move {
            let mut work = pin!(work);
            let result = poll_fn(|cx| {
                catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))
                    .unwrap_or_else(|panic| Poll::Ready(Err(Fault::panicked(&*panic))))
            });
            let result = result.await;
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

fn sink(bridge: Weak<Bridge>) -> Arc<ResultSink> {
    ResultSink::new(move |token, status, result| {
        if let Some(bridge) = bridge.upgrade() {
            let result = result.map(|value| Outcome::of_token(&value));
            bridge.push(Message::of(token, status, result.map_err(Fault::from)));
        }
    })
}

/// A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Events on their way to a JavaScript callback.
//!
//! A task moves events from the queue's stream to `ready` and wakes JavaScript once per batch. JavaScript then takes what
//! is ready, and whatever the stream holds by then. So nothing that happened before a look is missed by it, however late
//! the task runs, and a slow event loop loses events at the stream's end only, where losses are counted and reported.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use a3s_lane::EventStream;
use futures_core::Stream;
use napi::bindgen_prelude::{Function, Object};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result};
use napi_derive::napi;
use tokio::sync::watch;

use crate::event::{NativeBatch, NativeEvent};
use crate::fault::{Code, Fault, guard};
use crate::outcome::promise;
use crate::runtime::runtime;

/// Events that one subscription holds for a busy event loop. Beyond that the queue's own buffer fills and reports losses.
const READY_LIMIT: usize = 32_768;
/// Events that JavaScript takes at once.
const BATCH: usize = 256;

/// Weak: it does not keep the process alive.
type Wake = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

struct Shared {
    /// `None` once the stream has ended or the subscription was closed.
    stream: Option<EventStream>,
    ready: VecDeque<NativeEvent>,
    /// JavaScript was woken and has not looked yet.
    woken: bool,
    /// Wakes the task. Whoever polls the stream leaves this waker there, so that the task never sleeps through an event.
    task: Waker,
}

/// A live subscription.
#[napi]
pub struct NativeSubscription {
    shared: Arc<Mutex<Shared>>,
    /// Becomes true when the task has ended.
    over: watch::Receiver<bool>,
}

/// The subscriptions of one queue.
#[derive(Default)]
pub(crate) struct Subscriptions(Mutex<Vec<Weak<Mutex<Shared>>>>);

impl Subscriptions {
    /// Moves what has happened so far to `ready`, for all subscriptions.
    ///
    /// Called on the JavaScript thread after each submit: a program that submits in a loop cannot outrun the tasks.
    pub(crate) fn collect(&self) {
        self.list().retain(|shared| {
            shared.upgrade().is_some_and(|shared| {
                let mut shared = lock(&shared);
                shared.fill(READY_LIMIT);
                shared.stream.is_some()
            })
        });
    }

    fn add(&self, shared: &Arc<Mutex<Shared>>) {
        let mut list = self.list();
        list.retain(|shared| shared.strong_count() > 0);
        list.push(Arc::downgrade(shared));
    }

    fn list(&self) -> MutexGuard<'_, Vec<Weak<Mutex<Shared>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NativeSubscription {
    pub(crate) fn new(
        stream: EventStream,
        wake: &Function<'_, (), ()>,
        siblings: &Subscriptions,
    ) -> std::result::Result<Self, Fault> {
        let wake: Wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .build()?;
        let shared = Arc::new(Mutex::new(Shared {
            stream: Some(stream),
            ready: VecDeque::new(),
            woken: false,
            task: Waker::noop().clone(),
        }));
        siblings.add(&shared);
        let (ending, over) = watch::channel(false);
        let task = Arc::clone(&shared);
        runtime()?.spawn(async move {
            let mut live = true;
            while live {
                live = poll_fn(|cx| lock(&task).collect(cx)).await;
                if lock(&task).should_wake(live) {
                    // The answer does not matter: a closed environment needs no events.
                    wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
                }
            }
            ending.send_replace(true);
        });
        Ok(Self { shared, over })
    }
}

#[napi]
impl NativeSubscription {
    /// The next events, up to 256, in order.
    #[napi]
    pub fn take(&self) -> Result<NativeBatch, Code> {
        guard(|| Ok(lock(&self.shared).take()))
    }

    /// Stops the subscription and drops what was not taken.
    #[napi]
    pub fn close(&self) -> Result<(), Code> {
        guard(|| {
            lock(&self.shared).close();
            Ok(())
        })
    }

    /// A promise that keeps the process alive until the subscription has ended or was closed.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn ended<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let mut over = self.over.clone();
            promise(env, runtime()?, async move {
                // An error means that the task is gone, which is the end as well.
                let _ = over.wait_for(|over| *over).await;
                Ok(None)
            })
        })
    }
}

impl Drop for NativeSubscription {
    /// Nobody can take the events any more.
    fn drop(&mut self) {
        // Runs in Node's garbage collector.
        let _ = catch_unwind(AssertUnwindSafe(|| lock(&self.shared).close()));
    }
}

impl Shared {
    /// Moves events from the stream to `ready`. Ready with true when there is something new to look at, with false when
    /// the stream has ended and everything was taken.
    fn collect(&mut self, cx: &Context<'_>) -> Poll<bool> {
        self.task.clone_from(cx.waker());
        self.fill(READY_LIMIT);
        match (self.ready.is_empty(), self.stream.is_none()) {
            (true, true) => Poll::Ready(false),
            (false, _) if !self.woken => Poll::Ready(true),
            _ => Poll::Pending,
        }
    }

    /// Polls the stream until it has nothing more or `ready` holds `limit` events.
    fn fill(&mut self, limit: usize) {
        let waker = self.task.clone();
        let mut cx = Context::from_waker(&waker);
        while self.ready.len() < limit {
            let Some(stream) = &mut self.stream else {
                return;
            };
            match Pin::new(stream).poll_next(&mut cx) {
                Poll::Ready(Some(event)) => self.ready.push_back(event.into()),
                Poll::Ready(None) => self.stream = None,
                Poll::Pending => return,
            }
        }
    }

    /// Whether JavaScript must be woken: not when a wake-up is under way already, but always at the end.
    fn should_wake(&mut self, live: bool) -> bool {
        !std::mem::replace(&mut self.woken, true) || !live
    }

    fn take(&mut self) -> NativeBatch {
        self.fill(BATCH);
        let count = self.ready.len().min(BATCH);
        let events: Vec<_> = self.ready.drain(..count).collect();
        let ended = self.stream.is_none() && self.ready.is_empty();
        self.woken = false;
        // The task may wait for room, or for JavaScript to look before it wakes it again.
        self.task.wake_by_ref();
        NativeBatch { events, ended }
    }

    fn close(&mut self) {
        self.stream = None;
        self.ready.clear();
        self.task.wake_by_ref();
    }
}

/// A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

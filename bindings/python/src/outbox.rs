//! What Rust code has for Python code to hear, in order and a little later.
//!
//! Whoever has something may hold a lock of the engine, for which a thread with the GIL may wait. So it only puts it in an
//! outbox. A thread that is there while the outbox is not empty takes the GIL and delivers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Most things that wait to be delivered; then the oldest is lost.
const CAPACITY: usize = 1024;

/// How long the end of the interpreter waits for deliveries.
const EXIT: Duration = Duration::from_secs(2);

/// How many outboxes of this process are being emptied.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// The interpreter is about to end: nothing more is delivered.
static EXITING: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter is about to end, or has.
pub(crate) fn is_exiting() -> bool {
    EXITING.load(Ordering::Acquire)
}

/// Something to deliver.
pub(crate) enum Parcel<T> {
    Item(T),
    /// So many were lost.
    Lost(u64),
}

type Deliver<T> = dyn Fn(Python<'_>, Parcel<T>) + Send + Sync;

/// Items on their way to Python.
pub(crate) struct Outbox<T> {
    state: Mutex<State<T>>,
    deliver: Box<Deliver<T>>,
}

struct State<T> {
    waiting: VecDeque<T>,
    lost: u64,
    /// A thread empties it.
    busy: bool,
}

impl<T: Send + 'static> Outbox<T> {
    /// An outbox that calls `deliver` with one parcel after the other, on a thread that holds no lock.
    pub(crate) fn new(
        deliver: impl Fn(Python<'_>, Parcel<T>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                lost: 0,
                busy: false,
            }),
            deliver: Box::new(deliver),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `item` delivered. Does not take the GIL.
    pub(crate) fn put(self: &Arc<Self>, item: T) {
        if EXITING.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        if state.waiting.len() >= CAPACITY {
            state.waiting.pop_front();
            state.lost += 1;
        }
        state.waiting.push_back(item);
        if std::mem::replace(&mut state.busy, true) {
            return;
        }
        drop(state);
        BUSY.fetch_add(1, Ordering::AcqRel);
        let this = Arc::clone(self);
        let started = thread::Builder::new()
            .name("a3s-lane-outbox".into())
            .spawn(move || this.empty());
        if started.is_err() {
            // The system has no more threads: the next item tries again.
            self.lock().busy = false;
            rest();
        }
    }

    /// Delivers until there is nothing left.
    fn empty(&self) {
        let attached = Python::try_attach(|py| {
            while let Some(parcel) = self.next() {
                // What can fail in Python does not panic; whatever else does must not keep the rest back.
                let _ = catch_unwind(AssertUnwindSafe(|| (self.deliver)(py, parcel)));
            }
        });
        if attached.is_none() {
            // The interpreter has ended.
            let mut state = self.lock();
            state.waiting.clear();
            state.busy = false;
        }
        rest();
    }

    fn next(&self) -> Option<Parcel<T>> {
        let mut state = self.lock();
        // Not for each one: whoever is too slow would have still more to hear.
        if state.lost >= CAPACITY as u64 || (state.lost > 0 && state.waiting.is_empty()) {
            return Some(Parcel::Lost(std::mem::take(&mut state.lost)));
        }
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.busy = false;
        }
        next.map(Parcel::Item)
    }
}

/// One outbox less is being emptied.
fn rest() {
    // Not below zero: a delivery that forked comes back to a child that counts anew.
    let _ = BUSY.fetch_update(Ordering::AcqRel, Ordering::Acquire, |busy| {
        busy.checked_sub(1)
    });
}

/// Delivers what was put so far, and nothing after that: called when the interpreter is about to end.
#[pyfunction(name = "_empty_outboxes")]
pub(crate) fn empty_outboxes(py: Python<'_>) {
    let end = Instant::now() + EXIT;
    py.detach(|| {
        while BUSY.load(Ordering::Acquire) > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    });
    EXITING.store(true, Ordering::Release);
}

/// In a child of `fork` nobody empties the outboxes of the parent.
pub(crate) fn after_fork() {
    BUSY.store(0, Ordering::Release);
}

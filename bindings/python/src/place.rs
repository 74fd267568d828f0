//! An asyncio event loop as a place where handlers run and calls wait.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use a3s_lane::EventLoop;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::anchor::LoopAnchor;
use crate::bell::Bell;
use crate::guarded;
use crate::interned::interned;
use crate::slot::Slot;

/// The number of the next thread that asks for its own.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: u64 = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
    /// The place at which this thread is, as an address.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// An event loop of a program, for one lane set.
///
/// Everything that runs here holds the GIL. Whoever hands something over must not: the engine does so under its lock.
pub(crate) struct Place {
    pub(crate) event_loop: Arc<EventLoop>,
    bell: Arc<Bell>,
    /// The number of its thread; 0 until it has one.
    thread: AtomicU64,
    asyncio_loop: OnceLock<Py<PyAny>>,
    sentinel: Mutex<Option<Py<PyAny>>>,
    closed: AtomicBool,
    /// Nothing of the place is left in the loop.
    left: AtomicBool,
    /// The loop is there for this place alone.
    owns_loop: bool,
    /// Tasks of which nobody waits for the end: they are cancelled on the loop's thread.
    dropped: Mutex<Vec<Py<PyAny>>>,
    /// The handlers that are suspended here, to end them when the loop ends.
    suspended: Mutex<HashMap<usize, Arc<Slot>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    fn new(owns_loop: bool) -> Arc<Self> {
        let bell = Arc::new(Bell::silent());
        let rung = Arc::clone(&bell);
        Arc::new(Self {
            event_loop: EventLoop::new(move || rung.ring()),
            bell,
            thread: AtomicU64::new(0),
            asyncio_loop: OnceLock::new(),
            sentinel: Mutex::default(),
            closed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            owns_loop,
            dropped: Mutex::default(),
            suspended: Mutex::default(),
        })
    }

    /// A place whose loop starts when there is something to do.
    pub(crate) fn lazy() -> Arc<Self> {
        let place = Self::new(true);
        place.bell.starts(&place);
        place
    }

    /// The place of the event loop that runs on this thread.
    pub(crate) fn of(asyncio_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let place = Self::new(false);
        place.settle(asyncio_loop)?;
        Ok(place)
    }

    /// Ties the place to its loop, on the thread of the loop.
    pub(crate) fn settle(self: &Arc<Self>, asyncio_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = asyncio_loop.py();
        let _ = self.asyncio_loop.set(asyncio_loop.clone().unbind());
        self.thread.store(this_thread(), Ordering::Release);
        let anchor = Bound::new(py, LoopAnchor::new(Arc::clone(self)))?;
        self.bell.settle(asyncio_loop, &anchor)?;
        let sentinel = guarded::call_asyncio(py, interned!(py, "watch_end"), (anchor,))?;
        *lock(&self.sentinel) = Some(sentinel.unbind());
        Ok(())
    }

    /// Whether this thread is the one of the loop.
    pub(crate) fn is_here(&self) -> bool {
        self.thread.load(Ordering::Acquire) == this_thread()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.thread.load(Ordering::Acquire) != 0
    }

    /// Whether the loop was started, or is about to be.
    pub(crate) fn is_started(&self) -> bool {
        self.is_settled() || self.bell.has_started()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the loop has ended, also one that told nobody.
    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.is_closed()
            || self.asyncio_loop.get().is_some_and(|asyncio_loop| {
                guarded::call_method(asyncio_loop.bind(py), interned!(py, "is_closed"), ())
                    .and_then(|closed| closed.extract())
                    .unwrap_or(true)
            })
    }

    pub(crate) fn asyncio_loop(&self) -> Option<&Py<PyAny>> {
        self.asyncio_loop.get()
    }

    /// Calls `call`, on the thread of the loop, and runs what it made ready.
    pub(crate) fn within<T>(&self, py: Python<'_>, call: impl FnOnce() -> T) -> T {
        /// Also after a panic.
        struct Leave(usize);
        impl Drop for Leave {
            fn drop(&mut self) {
                INSIDE.set(self.0);
            }
        }
        let here = std::ptr::from_ref(self).addr();
        let leave = Leave(INSIDE.replace(here));
        let answer = self.event_loop.within(call);
        let outermost = leave.0 != here;
        drop(leave);
        if outermost {
            self.cancel_dropped(py);
        }
        answer
    }

    /// Cancels a task of the loop for which nobody waits any more. Does not take the GIL.
    pub(crate) fn cancel_soon(&self, task: Py<PyAny>) {
        lock(&self.dropped).push(task);
        if INSIDE.get() != std::ptr::from_ref(self).addr() {
            self.bell.ring();
        }
    }

    fn cancel_dropped(&self, py: Python<'_>) {
        loop {
            let tasks = std::mem::take(&mut *lock(&self.dropped));
            if tasks.is_empty() {
                return;
            }
            for task in tasks {
                // A loop that was closed meanwhile cannot deliver it, and needs not.
                let _ = task.call_method0(py, interned!(py, "cancel"));
            }
        }
    }

    pub(crate) fn suspend(&self, slot: &Arc<Slot>) {
        lock(&self.suspended).insert(Arc::as_ptr(slot).addr(), Arc::clone(slot));
        if self.is_closed() {
            slot.wake();
        }
    }

    pub(crate) fn resume(&self, slot: &Arc<Slot>) {
        lock(&self.suspended).remove(&Arc::as_ptr(slot).addr());
    }

    /// Ends the place: what waits or runs here settles with an error.
    pub(crate) fn close(&self, py: Python<'_>) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.event_loop.close();
        // Without the lock: whoever is woken leaves the map by itself.
        let suspended = std::mem::take(&mut *lock(&self.suspended));
        for slot in suspended.values() {
            slot.wake();
        }
        if self.is_here() {
            self.cancel_dropped(py);
            self.leave(py);
        } else if !self.is_started() {
            self.bell.close(py, None);
        } else {
            // The loop's own thread does the rest, if it still turns.
            self.bell.ring();
        }
    }

    /// Takes the place's traces out of its loop, on the loop's thread.
    pub(crate) fn leave(&self, py: Python<'_>) {
        if self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        self.bell.close(py, self.asyncio_loop());
        let sentinel = lock(&self.sentinel).take();
        if let Some(sentinel) = sentinel {
            // Its end tells the place, which is closed already.
            let _ = guarded::call_asyncio(py, interned!(py, "forget_end"), (sentinel,));
        }
        if let Some(asyncio_loop) = self.asyncio_loop().filter(|_| self.owns_loop) {
            let _ = guarded::call_method(asyncio_loop.bind(py), interned!(py, "stop"), ());
        }
    }
}

fn this_thread() -> u64 {
    THREAD.with(|number| *number)
}

//! References to Python objects that are given up by threads which do not hold the GIL.
//!
//! PyO3 keeps those in a list behind a lock that knows nothing of `fork`: a child that is made while another thread holds it stands
//! still at its next call. This list has no lock, so it is whole at every moment.

use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::outbox;

struct Released {
    reference: Py<PyAny>,
    before: *mut Released,
}

/// The last one that was released. All are taken at once, none by itself.
static LAST: AtomicPtr<Released> = AtomicPtr::new(ptr::null_mut());

/// Gives up a reference, with the GIL or without. It is dropped at the next call of [`drop_released`].
pub(crate) fn release(reference: Py<PyAny>) {
    let mut before = LAST.load(Ordering::Relaxed);
    let released = Box::into_raw(Box::new(Released { reference, before }));
    while let Err(other) =
        LAST.compare_exchange_weak(before, released, Ordering::Release, Ordering::Relaxed)
    {
        before = other;
        // SAFETY: it came from a box just now, and nobody else knows it before the exchange succeeds.
        unsafe { (*released).before = before };
    }
}

/// Drops what was released.
#[inline]
pub(crate) fn drop_released(_py: Python<'_>) {
    if LAST.load(Ordering::Relaxed).is_null() {
        return;
    }
    let mut last = LAST.swap(ptr::null_mut(), Ordering::Acquire);
    while !last.is_null() {
        // SAFETY: `release` made it from a box, and the swap has given this thread alone the whole list.
        let released = unsafe { Box::from_raw(last) };
        last = released.before;
        // A destructor may be Python code, which may come here again: it finds other ones.
        drop(released.reference);
    }
}

/// A reference that any thread may drop. The object is given up soon after: by the main thread, between two steps of its Python
/// code, or with the next command.
pub(crate) struct Held(ManuallyDrop<Py<PyAny>>);

impl Held {
    pub(crate) fn new(reference: Py<PyAny>) -> Self {
        Self(ManuallyDrop::new(reference))
    }
}

impl Deref for Held {
    type Target = Py<PyAny>;

    fn deref(&self) -> &Py<PyAny> {
        &self.0
    }
}

/// The main thread was asked to call [`drop_released`].
static ASKED: AtomicBool = AtomicBool::new(false);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after this.
        release(unsafe { ManuallyDrop::take(&mut self.0) });
        if outbox::is_exiting() || ASKED.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: it may be called without the GIL as long as there is an interpreter. Its lock is made anew in a child of `fork`.
        let refused = unsafe { ffi::Py_AddPendingCall(Some(drop_soon), ptr::null_mut()) } != 0;
        if refused {
            // The interpreter has too much to do; the next command does the work.
            ASKED.store(false, Ordering::Release);
        }
    }
}

/// In a child: who was about to ask does not exist here.
pub(crate) fn after_fork() {
    ASKED.store(false, Ordering::Release);
}

extern "C" fn drop_soon(_: *mut c_void) -> c_int {
    ASKED.store(false, Ordering::Release);
    Python::try_attach(drop_released);
    0
}

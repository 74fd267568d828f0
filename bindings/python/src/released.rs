//! References to Python objects that are given up by threads which do not hold the GIL.
//!
//! PyO3 keeps those in a list behind a lock that knows nothing of `fork`: a child that is made while another thread holds it stands
//! still at its next call. This list has no lock, so it is whole at every moment.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;

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

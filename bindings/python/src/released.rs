//! References to Python objects that are given up by threads which do not hold the GIL.
//!
//! PyO3 keeps those in a list behind a lock that knows nothing of `fork`: a child that is made while another thread holds it stands
//! still at its next call. This list is locked around every fork.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

static RELEASED: Mutex<Vec<Py<PyAny>>> = Mutex::new(Vec::new());
static IS_THERE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The lock of a thread that forks.
    static FORKING: RefCell<Option<MutexGuard<'static, Vec<Py<PyAny>>>>> = const { RefCell::new(None) };
}

fn lock() -> MutexGuard<'static, Vec<Py<PyAny>>> {
    RELEASED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up a reference, with the GIL or without: at the next call of [`drop_released`].
pub(crate) fn release(reference: Py<PyAny>) {
    lock().push(reference);
    IS_THERE.store(true, Ordering::Release);
}

/// Drops what was released.
#[inline]
pub(crate) fn drop_released(_py: Python<'_>) {
    if IS_THERE.swap(false, Ordering::Acquire) {
        let released = std::mem::take(&mut *lock());
        // Without the lock: a destructor may be Python code.
        drop(released);
    }
}

pub(crate) fn before_fork() {
    let held = lock();
    FORKING.with(|forking| *forking.borrow_mut() = Some(held));
}

/// In the parent and in the child.
pub(crate) fn after_fork() {
    FORKING.with(|forking| drop(forking.borrow_mut().take()));
}

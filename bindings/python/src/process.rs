//! Knowing which process a value belongs to: `fork` copies memory but not threads.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

use a3s_lane::LaneError;
use a3s_lane::forking::{self, Held};
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyCFunction, PyDict, PyMappingProxy};

use crate::imported::Imported;
use crate::{guarded, outbox, released};

/// How many forks lie between this process and the one that imported the module.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// The number that tells this process from its ancestors.
pub(crate) fn generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

thread_local! {
    /// What the fork of this thread holds still.
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// From now on no fork copies a lock that other threads have, and every fork is counted, in the child and before any other
/// Python code runs there.
pub(crate) fn watch_forks(py: Python<'_>) -> PyResult<()> {
    // PyO3 makes sure of the interpreter once, under a lock, on the first thread that takes the GIL from Rust.
    py.detach(|| Python::attach(|_| ()));
    forking::prepare();
    // Kept in a cell of PyO3's, too.
    py.get_type::<PyMappingProxy>();
    let os = py.import("os")?;
    // Windows has neither `fork` nor this function.
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let hold = PyCFunction::new_closure(py, None, None, |args, _kwargs| {
        // Who opens a storage does so without the GIL, and may wait for the disk.
        args.py().detach(|| HELD.set(Some(forking::hold())));
    })?;
    let in_parent = PyCFunction::new_closure(py, None, None, |_args, _kwargs| HELD.set(None))?;
    let in_child = PyCFunction::new_closure(py, None, None, |_args, _kwargs| {
        HELD.set(None);
        FORKS.fetch_add(1, Ordering::Relaxed);
        forking::after_fork();
        outbox::after_fork();
        released::after_fork();
    })?;
    let hooks = PyDict::new(py);
    hooks.set_item("before", hold)?;
    hooks.set_item("after_in_parent", in_parent)?;
    hooks.set_item("after_in_child", in_child)?;
    os.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}

/// Ends the process if it is a child that was forked since `before`, inside of the handler that has now come back with `answer`.
/// What called the handler belongs to the parent, where the handler comes back too.
#[inline]
pub(crate) fn end_child(py: Python<'_>, before: u64, answer: &PyResult<Bound<'_, PyAny>>) {
    if generation() == before {
        return;
    }
    static END: Imported = Imported::new("a3s_lane._handlers", "end_child");
    let error = answer.as_ref().err().map(|error| error.value(py));
    let _ = END.get(py).and_then(|end| guarded::call(end, (error,)));
    // It does not come back.
    std::process::abort();
}

/// Refuses every interpreter but the main one of the process. CPython itself refuses those with a GIL of their own.
pub(crate) fn check_interpreter(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: this thread is attached, so it has an interpreter; the main one has the id 0.
    let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "a3s_lane does not support loading in subinterpreters: its threads call into the main one",
    ))
}

/// A value that works only in the process that made it.
///
/// In a forked child its locks may be held by threads that do not exist there, so the child neither uses nor drops it.
pub(crate) struct ProcessLocal<T> {
    value: ManuallyDrop<T>,
    generation: u64,
}

impl<T> ProcessLocal<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: ManuallyDrop::new(value),
            generation: generation(),
        }
    }

    /// Whether the value belongs to another process.
    pub(crate) fn is_foreign(&self) -> bool {
        self.generation != generation()
    }

    /// The value, or the error that a child of `fork` deserves; `what` is the name of the class.
    pub(crate) fn get(&self, what: &str) -> Result<&T, LaneError> {
        if !self.is_foreign() {
            return Ok(&self.value);
        }
        Err(LaneError::QueueError(format!(
            "this {what} was created before fork and its threads exist only in the parent process; \
             create a new Lane in the child"
        )))
    }

    /// A part of the value that never changes and has no lock: every process may read it.
    pub(crate) fn constant<'a, U>(&'a self, read: impl FnOnce(&'a T) -> U) -> U {
        read(&self.value)
    }
}

impl<T> Drop for ProcessLocal<T> {
    fn drop(&mut self) {
        if !self.is_foreign() {
            // SAFETY: nobody uses the value after this.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

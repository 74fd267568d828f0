//! Calling Python code on threads that an interpreter may leave behind.
//!
//! When an interpreter ends, CPython up to 3.13 kills every daemon thread that wants the GIL back, by unwinding its stack. In a
//! thread that was in Python code called from here, that would run destructors of ours which need the GIL. Instead the
//! thread stops where it is, as it does from CPython 3.14 on, and the process ends without it.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString, PyTuple};

use crate::interned::interned;

/// Stops the thread when its stack is unwound.
struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// What makes a tuple of arguments.
pub(crate) trait Arguments<'py>:
    IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>
{
}

impl<'py, T> Arguments<'py> for T where
    T: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>
{
}

type Object = *mut ffi::PyObject;
type Declared = unsafe extern "C" fn(Object, Object, Object) -> Object;
type Unwinding = unsafe extern "C-unwind" fn(Object, Object, Object) -> Object;

/// Calls `callable`, which may run any Python code.
pub(crate) fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
    // SAFETY: the two types differ only in that the compiler expects the second to unwind; otherwise it leaves out `Stop`.
    let function = unsafe { std::mem::transmute::<Declared, Unwinding>(ffi::PyObject_Call) };
    // The optimizer would see which function it is, and that one is declared not to unwind.
    let function = std::hint::black_box(function);
    // Declared last, so dropped first.
    let stop = Stop;
    // SAFETY: both objects are valid and this thread is attached.
    let answer = unsafe { function(callable.as_ptr(), arguments.as_ptr(), std::ptr::null_mut()) };
    std::mem::forget(stop);
    // SAFETY: a null result means that an exception is set.
    unsafe { Bound::from_owned_ptr_or_err(py, answer) }
}

/// Tells `sys.unraisablehook` of an error that nobody else can be told of.
pub(crate) fn report(py: Python<'_>, error: PyErr, about: Option<&Bound<'_, PyAny>>) {
    type Declared = unsafe extern "C" fn(Object);
    type Unwinding = unsafe extern "C-unwind" fn(Object);
    // SAFETY: as in `call`.
    let function =
        unsafe { std::mem::transmute::<Declared, Unwinding>(ffi::PyErr_WriteUnraisable) };
    let function = std::hint::black_box(function);
    let about = about.map_or(std::ptr::null_mut(), Bound::as_ptr);
    error.restore(py);
    let stop = Stop;
    // SAFETY: the object is valid or null, this thread is attached and an exception is set.
    unsafe { function(about) };
    std::mem::forget(stop);
}

/// Calls the method `name` of `object`.
pub(crate) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(&object.getattr(name)?, arguments)
}

/// Calls a function of `a3s_lane._asyncio`.
pub(crate) fn call_asyncio<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyString>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let module = py.import(interned!(py, "a3s_lane._asyncio"))?;
    call_method(module.as_any(), name, arguments)
}

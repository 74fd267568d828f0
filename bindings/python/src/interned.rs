//! Strings that CPython keeps once.
//!
//! PyO3's own macro for them lets other threads run while its cell is locked: see [`imported`](crate::imported).

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// An interned `str`, made once.
pub(crate) struct Interned {
    text: &'static str,
    made: OnceLock<Py<PyString>>,
}

impl Interned {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self {
            text,
            made: OnceLock::new(),
        }
    }

    #[inline]
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.made.get().unwrap_or_else(|| self.make(py)).bind(py)
    }

    #[cold]
    fn make(&self, py: Python<'_>) -> &Py<PyString> {
        let made = PyString::intern(py, self.text).unbind();
        // The GIL is held all the time that this is locked.
        self.made.get_or_init(|| made)
    }
}

/// The interned `str` of a literal.
macro_rules! interned {
    ($py:expr, $text:literal) => {{
        static TEXT: $crate::interned::Interned = $crate::interned::Interned::new($text);
        TEXT.get($py)
    }};
}

pub(crate) use interned;

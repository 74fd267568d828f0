//! What other modules define, looked up once.
//!
//! PyO3's own cell stays locked while it imports, which may let other threads run. A child that one of those forks meanwhile would
//! wait for it for ever: the thread that imports does not exist there. Here several threads may look up the same thing, and
//! only to keep it takes a lock, for a moment in which no other thread has the GIL.

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyAny;

/// An attribute of a module.
pub(crate) struct Imported {
    module: &'static str,
    name: &'static str,
    found: OnceLock<Py<PyAny>>,
}

impl Imported {
    pub(crate) const fn new(module: &'static str, name: &'static str) -> Self {
        Self {
            module,
            name,
            found: OnceLock::new(),
        }
    }

    #[inline]
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let found = match self.found.get() {
            Some(found) => found,
            None => self.look_up(py)?,
        };
        Ok(found.bind(py))
    }

    #[cold]
    fn look_up(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        let found = py.import(self.module)?.getattr(self.name)?.unbind();
        Ok(self.found.get_or_init(|| found))
    }
}

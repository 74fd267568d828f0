//! What an asyncio event loop holds of a lane set.

use std::sync::Arc;

#[cfg(unix)]
use std::{
    io::Read,
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
};

use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::place::Place;
use crate::process::ProcessLocal;

/// Takes turns for a lane set; the loop calls it when it is woken.
#[pyclass(frozen, name = "_LoopAnchor", module = "a3s_lane")]
pub(crate) struct LoopAnchor {
    place: ProcessLocal<Arc<Place>>,
    #[cfg(unix)]
    watched: Mutex<Option<Arc<UnixStream>>>,
}

impl LoopAnchor {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        Self {
            place: ProcessLocal::new(place),
            #[cfg(unix)]
            watched: Mutex::default(),
        }
    }

    /// Empties this socket at each call.
    #[cfg(unix)]
    pub(crate) fn watch(&self, socket: Arc<UnixStream>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    #[cfg(unix)]
    fn hear(&self) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = &*watched {
            // Whatever does not fit is a reason for one more turn.
            let _ = (&**socket).read(&mut [0; 64]);
        }
    }

    #[cfg(not(unix))]
    fn hear(&self) {}
}

#[pymethods]
impl LoopAnchor {
    /// A turn.
    fn __call__(&self, py: Python<'_>) {
        // In a child of fork the loop of the parent has nothing to do here.
        let Ok(place) = self.place.get("Lane") else {
            return;
        };
        self.hear();
        if place.is_closed() {
            place.leave(py);
        }
        // Also then: tasks may still have to be cancelled.
        place.within(py, || ());
    }

    /// Ties the place to a loop, on the loop's thread.
    fn settle(&self, asyncio_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.place.get("Lane") {
            Ok(place) => place.settle(asyncio_loop),
            Err(_) => Ok(()),
        }
    }

    /// The loop ends.
    fn end(&self, py: Python<'_>) {
        if let Ok(place) = self.place.get("Lane") {
            place.close(py);
        }
    }

    /// Whether nothing runs here any more.
    #[getter]
    fn closed(&self) -> bool {
        self.place
            .get("Lane")
            .map_or(true, |place| place.is_closed())
    }
}

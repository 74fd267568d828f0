//! The event loops that a lane set has to do with.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::imported::Imported;
use crate::place::Place;

/// The number of the next lane set of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The event loops of a lane set: the one of its handlers, and those of calls that wait.
pub(crate) struct Places {
    /// Tells the lane sets of a process apart.
    pub(crate) number: u64,
    state: Mutex<State>,
    /// There is, or was, a handler that runs on a loop.
    has_handlers: AtomicBool,
}

struct State {
    /// Where handlers run.
    home: Arc<Place>,
    all: Vec<Arc<Place>>,
    closed: bool,
}

impl Places {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(State {
                home: Place::lazy(),
                all: Vec::new(),
                closed: false,
            }),
            has_handlers: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where handlers run.
    pub(crate) fn home(&self) -> Arc<Place> {
        Arc::clone(&self.lock().home)
    }

    /// Where handlers run, if that is this thread.
    pub(crate) fn here(&self) -> Option<Arc<Place>> {
        let state = self.lock();
        state.home.is_here().then(|| Arc::clone(&state.home))
    }

    pub(crate) fn note_handler(&self) {
        self.has_handlers.store(true, Ordering::Relaxed);
    }

    /// Whether a call that blocks this thread keeps the handlers from running.
    pub(crate) fn must_not_block(&self, py: Python<'_>) -> bool {
        self.has_handlers.load(Ordering::Relaxed)
            && self.here().is_some_and(|home| !home.has_ended(py))
    }

    /// The place of the event loop that runs on this thread, and whether the handlers have to move there.
    pub(crate) fn running(&self, py: Python<'_>) -> PyResult<(Arc<Place>, bool)> {
        let asyncio_loop = running_loop(py)?;
        let (known, home) = {
            let state = self.lock();
            let same = |place: &&Arc<Place>| {
                !place.is_closed()
                    && place
                        .asyncio_loop()
                        .is_some_and(|known| known.is(&asyncio_loop))
            };
            let known = std::iter::once(&state.home).chain(&state.all).find(same);
            (known.cloned(), Arc::clone(&state.home))
        };
        let place = match known {
            Some(place) => place,
            None => self.add(py, &asyncio_loop)?,
        };
        if Arc::ptr_eq(&place, &home) {
            return Ok((place, false));
        }
        let moves = !home.is_started() || home.has_ended(py);
        if moves {
            let before = {
                let mut state = self.lock();
                let before = std::mem::replace(&mut state.home, Arc::clone(&place));
                // Something may still be on its way there.
                state.all.push(Arc::clone(&before));
                before
            };
            if before.has_ended(py) {
                before.close(py);
            }
        }
        Ok((place, moves))
    }

    fn add(&self, py: Python<'_>, asyncio_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Place>> {
        let place = Place::of(asyncio_loop)?;
        let before = {
            let mut state = self.lock();
            let before = std::mem::take(&mut state.all);
            state.all.push(Arc::clone(&place));
            before
        };
        let (ended, mut alive): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|place| place.has_ended(py));
        self.lock().all.append(&mut alive);
        for place in ended {
            place.close(py);
        }
        Ok(place)
    }

    /// Ends the loop that the lane set has started, and leaves those of others.
    pub(crate) fn close(&self, py: Python<'_>) {
        let places = {
            let mut state = self.lock();
            state.closed = true;
            let mut places = std::mem::take(&mut state.all);
            places.push(Arc::clone(&state.home));
            places
        };
        for place in places {
            place.close(py);
        }
    }
}

fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: Imported = Imported::new("asyncio", "get_running_loop");
    GET.get(py)?.call0()
}

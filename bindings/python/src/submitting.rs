//! Which submissions may wait on the thread of the event loop that runs the handlers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::calls::{blocking, check};
use crate::places::Places;
use crate::queue::LanePlace;
use crate::wait::wait;

/// What a submission to a lane set may wait for.
pub(crate) struct Submitting {
    places: Arc<Places>,
    /// There is a storage: each submission waits for it.
    stored: bool,
    /// A submission waits until its command has run.
    inline: bool,
    /// The lanes where it waits for room.
    waiting: Mutex<HashSet<String>>,
}

impl Submitting {
    pub(crate) fn new(
        places: &Arc<Places>,
        stored: bool,
        inline: bool,
        lanes: &[LanePlace],
    ) -> Arc<Self> {
        let waiting = lanes.iter().filter(|lane| lane.waits);
        let waiting = waiting.map(|lane| lane.id.clone()).collect();
        Arc::new(Self {
            places: Arc::clone(places),
            stored,
            inline,
            waiting: Mutex::new(waiting),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane was added or changed.
    pub(crate) fn set_lane(&self, lane_id: &str, waits: bool) {
        let mut waiting = self.waiting();
        if waits {
            waiting.insert(lane_id.to_owned());
        } else {
            waiting.remove(lane_id);
        }
    }

    /// Waits for a submission to this lane; `instead` is what the error recommends where that could not end.
    pub(crate) fn wait<F>(
        &self,
        py: Python<'_>,
        lane_id: &str,
        instead: &str,
        submission: F,
    ) -> PyResult<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        if !self.stored {
            return blocking(py, &self.places, instead, submission);
        }
        // Before it begins: one that is dropped while the storage writes may be stored all the same.
        if self.inline || self.waiting().contains(lane_id) {
            check(py, &self.places, instead)?;
        }
        wait(py, submission)
    }
}

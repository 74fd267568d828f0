//! What is kept of commands for their storage and their dead letters.

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::storage::{FailedAttempt, Settlement, Storage};

/// The most failed attempts of a command that are kept, the newest ones.
const MAX_FAILURES: usize = 100;

/// Empty in a queue without a storage and dead letters.
#[derive(Default)]
pub(super) struct Kept {
    /// Failed attempts of commands that run again, by serial.
    failures: HashMap<u64, Vec<FailedAttempt>, foldhash::fast::RandomState>,
    /// Chosen ids of commands that have left and may be stored still: what a storage is read for must not enter again. An id
    /// stays here when its command could not be taken out of the storage.
    departed: HashSet<Arc<str>>,
    /// How many read the storage at this moment: they may hold what was taken out since.
    readers: usize,
    /// Ids to forget when nobody reads.
    removed: Vec<Arc<str>>,
    /// Commands that left before there was a runtime to tell their storage.
    untold: Vec<(Arc<dyn Storage>, Settlement)>,
    /// The storage was read since the start.
    pub(super) restored: bool,
}

impl Kept {
    pub(super) fn add_failure(&mut self, serial: u64, failure: FailedAttempt) {
        let failures = self.failures.entry(serial).or_default();
        failures.push(failure);
        shorten(failures);
    }

    pub(super) fn set_failures(&mut self, serial: u64, mut failures: Vec<FailedAttempt>) {
        if !failures.is_empty() {
            shorten(&mut failures);
            self.failures.insert(serial, failures);
        }
    }

    pub(super) fn take_failures(&mut self, serial: u64) -> Vec<FailedAttempt> {
        self.failures.remove(&serial).unwrap_or_default()
    }

    /// A command has left the scheduler.
    #[inline]
    pub(super) fn forget(&mut self, serial: u64) {
        if !self.failures.is_empty() {
            self.failures.remove(&serial);
        }
    }

    pub(super) fn has_departed(&self, id: &str) -> bool {
        self.departed.contains(id)
    }

    pub(super) fn depart(&mut self, id: &Arc<str>) {
        self.departed.insert(Arc::clone(id));
    }

    /// A command that has departed is not stored any more.
    pub(super) fn was_removed(&mut self, id: Arc<str>) {
        if self.readers > 0 {
            self.removed.push(id);
        } else {
            self.departed.remove(&id);
        }
    }

    pub(super) fn begin_reading(&mut self) {
        self.readers += 1;
    }

    pub(super) fn end_reading(&mut self) {
        self.readers -= 1;
        if self.readers == 0 {
            for id in std::mem::take(&mut self.removed) {
                self.departed.remove(&id);
            }
        }
    }

    pub(super) fn tell_later(&mut self, storage: Arc<dyn Storage>, settlement: Settlement) {
        self.untold.push((storage, settlement));
    }

    pub(super) fn take_untold(&mut self) -> Vec<(Arc<dyn Storage>, Settlement)> {
        std::mem::take(&mut self.untold)
    }
}

fn shorten(failures: &mut Vec<FailedAttempt>) {
    let extra = failures.len().saturating_sub(MAX_FAILURES);
    failures.drain(..extra);
}

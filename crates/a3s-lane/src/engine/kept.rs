//! What is kept of commands for their storage and their dead letters.

use std::sync::Arc;

use hashbrown::HashMap;

use super::reserved::Reservation;
use crate::handle::Shared;
use crate::storage::{FailedAttempt, Settlement, Storage};

/// The most failed attempts of a command that are kept, the newest ones.
const MAX_FAILURES: usize = 100;

/// The most settlements that wait until their storage can be told. A command beyond them runs once more after a restart.
const MAX_UNTOLD: usize = 10_000;

/// Empty in a queue without a storage and dead letters.
#[derive(Default)]
pub(super) struct Kept {
    /// Failed attempts of commands that run again, by serial.
    failures: HashMap<u64, Vec<FailedAttempt>, foldhash::fast::RandomState>,
    /// Commands that have left and may be stored still, by id: they must not enter again, and their handles can be asked for. One
    /// stays here when it could not be taken out of its storage. Those with ids that the queue has drawn are here only until
    /// then.
    departed: HashMap<Arc<str>, Arc<Shared>, foldhash::fast::RandomState>,
    /// Those of the departed whose submission was given up while it was stored: whoever wants their id waits until the storage has
    /// forgotten them.
    given_up: HashMap<Arc<str>, Option<Reservation>, foldhash::fast::RandomState>,
    /// How many read the storage at this moment: they may hold what was taken out since.
    readers: usize,
    /// Ids to forget when nobody reads.
    removed: Vec<Arc<str>>,
    /// Commands that have left, and whose storage does not know: there was no runtime to tell it, or it could not be told. It is
    /// tried again.
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
        self.departed.contains_key(id)
    }

    pub(super) fn departed(&self, id: &str) -> Option<&Arc<Shared>> {
        self.departed.get(id)
    }

    pub(super) fn depart(&mut self, id: Arc<str>, handle: &Arc<Shared>) {
        self.departed.insert(id, Arc::clone(handle));
    }

    pub(super) fn give_up(
        &mut self,
        id: Arc<str>,
        handle: &Arc<Shared>,
        reservation: Option<Reservation>,
    ) {
        self.given_up.insert(Arc::clone(&id), reservation);
        self.depart(id, handle);
    }

    pub(super) fn is_given_up(&self, id: &str) -> bool {
        self.given_up.contains_key(id)
    }

    /// Nobody waits for this id any more; true when somebody may have.
    pub(super) fn let_go(&mut self, id: &str) -> bool {
        self.given_up.remove(id).is_some()
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

    /// Keeps a settlement until its storage can be told; false when there are too many.
    pub(super) fn tell_later(&mut self, storage: Arc<dyn Storage>, settlement: Settlement) -> bool {
        let has_room = self.untold.len() < MAX_UNTOLD;
        if has_room {
            self.untold.push((storage, settlement));
        }
        has_room
    }

    pub(super) fn take_untold(&mut self) -> Vec<(Arc<dyn Storage>, Settlement)> {
        std::mem::take(&mut self.untold)
    }
}

fn shorten(failures: &mut Vec<FailedAttempt>) {
    let extra = failures.len().saturating_sub(MAX_FAILURES);
    failures.drain(..extra);
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn failure(attempt: u32) -> FailedAttempt {
        FailedAttempt::new(attempt, "CODE", "text", Utc::now())
    }

    /// I10: a command that is retried for ever keeps its newest failures.
    #[test]
    fn the_newest_failures_of_a_command_are_kept() {
        let mut kept = Kept::default();
        kept.set_failures(1, (1..=150).map(failure).collect());
        kept.add_failure(1, failure(151));
        kept.add_failure(2, failure(1));
        let attempts: Vec<u32> = kept
            .take_failures(1)
            .iter()
            .map(|failure| failure.attempt)
            .collect();
        assert_eq!(attempts, (52..=151).collect::<Vec<_>>());
        kept.forget(2);
        assert!(kept.failures.is_empty(), "who has left leaves nothing");
    }
}

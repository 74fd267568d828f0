//! Ids on their way into a storage that several queues of the process may use: each queue knows only its own.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard};

use crate::forking::PerProcess;
use crate::storage::Storage;

/// An id that no other queue may submit to the storage until this is dropped.
pub(super) struct Reservation(Reserved);

/// The identity of a storage, and an id.
type Reserved = (usize, Arc<str>);

/// There are no more than submissions that wait for a storage.
static RESERVED: PerProcess<HashSet<Reserved>> = PerProcess::new();

pub(super) fn reserved() -> MutexGuard<'static, HashSet<Reserved>> {
    RESERVED.lock()
}

impl Reservation {
    /// Nothing when another submission has the id.
    pub(super) fn of(storage: &dyn Storage, id: &Arc<str>) -> Option<Self> {
        let wanted = (storage.identity(), Arc::clone(id));
        let is_new = reserved().insert(wanted.clone());
        is_new.then(|| Self(wanted))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        reserved().remove(&self.0);
    }
}

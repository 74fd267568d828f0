//! What all queues of a process share, and a process that is copied while it runs.
//!
//! `fork` copies locks as they are, but of the threads only the one that calls it: a lock that another one holds at that moment is
//! locked for ever in the child. So each process has locks of its own. A queue has some too, which a child cannot use: it makes a
//! new queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::{context, engine, event};

/// How many forks lie between this process and the first one.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// A lock that each process makes for itself; a child never looks at what it held in its parent.
pub(crate) struct PerProcess<T: 'static> {
    newest: OnceLock<&'static Node<T>>,
}

/// Never freed: there are as many as forks between this process and the first one.
struct Node<T: 'static> {
    forks: u64,
    value: Mutex<T>,
    newer: OnceLock<&'static Self>,
}

impl<T: Default> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self {
            newest: OnceLock::new(),
        }
    }

    pub(crate) fn lock(&'static self) -> MutexGuard<'static, T> {
        self.lock_after(FORKS.load(Ordering::Relaxed))
    }

    fn lock_after(&'static self, forks: u64) -> MutexGuard<'static, T> {
        let mut cell = &self.newest;
        loop {
            let node = cell.get_or_init(|| {
                Box::leak(Box::new(Node {
                    forks,
                    value: Mutex::default(),
                    newer: OnceLock::new(),
                }))
            });
            if node.forks == forks {
                return node.value.lock().unwrap_or_else(PoisonError::into_inner);
            }
            cell = &node.newer;
        }
    }
}

/// Makes what is made once in each process, so that no thread makes it while another one forks. To be called before there are
/// other threads.
pub fn prepare() {
    context::prepare();
    event::prepare();
    engine::prepare();
}

/// To be called first in each child.
pub fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    prepare();
}

/// While this exists no other thread opens a storage.
#[cfg(feature = "local-storage")]
#[must_use]
pub struct Held {
    _storage: crate::storage::Held,
}

/// Waits for those who open a storage, which they do on threads of the runtime: it may take as long as the disk.
#[cfg(feature = "local-storage")]
pub fn hold() -> Held {
    Held {
        _storage: crate::storage::hold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l20_a_child_has_locks_of_its_own() {
        static LOCK: PerProcess<u32> = PerProcess::new();
        let mut of_parent = LOCK.lock_after(0);
        *of_parent = 1;
        // What `fork` leaves: the lock is held.
        let mut of_child = LOCK.lock_after(1);
        assert_eq!(*of_child, 0);
        *of_child = 2;
        drop(of_child);
        assert_eq!(*LOCK.lock_after(1), 2);
        assert_eq!(*LOCK.lock_after(2), 0);
        drop(of_parent);
        assert_eq!(*LOCK.lock_after(0), 1);
    }

    #[cfg(feature = "local-storage")]
    #[test]
    fn l20_who_forks_waits_for_those_who_open_a_storage_and_they_for_it() {
        use std::sync::mpsc::{RecvTimeoutError, channel};
        use std::time::Duration;

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        let (opened, result) = channel();
        let held = hold();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            let storage = runtime.block_on(crate::LocalStorage::new(path));
            opened.send(storage.is_ok()).expect("the test waits");
        });
        let early = result.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(RecvTimeoutError::Timeout));
        drop(held);
        assert_eq!(result.recv(), Ok(true));
        thread.join().expect("no panic");
    }
}

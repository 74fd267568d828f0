//! What all queues of a process share, for those who copy the process while it runs.
//!
//! `fork` copies locks as they are, but of the threads only the one that calls it: a lock that another one holds at that moment is
//! locked for ever in the child. So whoever forks takes those of the whole process first. A queue has locks of its own, which its
//! child cannot use: it makes a new queue.

use crate::{context, engine, event};

/// While this exists no other thread has one of the locks that all queues share.
#[must_use]
pub struct Held {
    _engine: engine::Held,
    #[cfg(feature = "local-storage")]
    _storage: crate::storage::Held,
}

/// Waits for those who have such a lock, and for what is made on its first use. Nobody keeps one for long, but who opens a storage
/// may wait for the disk.
pub fn hold() -> Held {
    context::prepare();
    event::prepare();
    Held {
        #[cfg(feature = "local-storage")]
        _storage: crate::storage::hold(),
        _engine: engine::hold(),
    }
}

#[cfg(all(test, feature = "local-storage"))]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use crate::{LocalStorage, forking};

    #[test]
    fn l20_who_forks_waits_for_those_who_open_a_storage_and_they_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        let (opened, result) = channel();
        let held = forking::hold();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            let storage = runtime.block_on(LocalStorage::new(path));
            opened.send(storage.is_ok()).expect("the test waits");
        });
        let early = result.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(RecvTimeoutError::Timeout));
        drop(held);
        assert_eq!(result.recv(), Ok(true));
        thread.join().expect("no panic");
    }
}

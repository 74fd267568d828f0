//! The primitives that the model checker replaces (see `tests/shuttle.rs`).

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

use std::sync::PoisonError;

/// Locks, whether or not another thread panicked while it held the lock: every critical section of the engine leaves
/// its state whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime on which an engine runs its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    #[cfg(not(shuttle))]
    handle: tokio::runtime::Handle,
    /// How many tasks can run at the same time.
    pub(crate) workers: usize,
}

#[cfg(not(shuttle))]
impl Runtime {
    pub(crate) fn current() -> Self {
        let handle = tokio::runtime::Handle::current();
        let workers = handle.metrics().num_workers();
        Self { handle, workers }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Detached: a task ends when it has nothing left to do.
        drop(self.handle.spawn(task));
    }
}

#[cfg(shuttle)]
impl Runtime {
    pub(crate) fn current() -> Self {
        Self { workers: 2 }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        shuttle::future::spawn(task);
    }
}

/// Lets other tasks of the runtime run.
pub(crate) async fn yield_now() {
    #[cfg(not(shuttle))]
    tokio::task::yield_now().await;
    #[cfg(shuttle)]
    shuttle::future::yield_now().await;
}

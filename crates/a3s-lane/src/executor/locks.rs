//! The locks of queues that a thread holds, and the tasks that are dropped meanwhile.
//!
//! A queue wakes those who follow its events while it holds its lock. An executor may drop the task that it is handed then, as a closed
//! one does, and what the task holds may call the queue when it is dropped: the thread would wait for itself. So such a task
//! stays until the thread has released its last lock.

use std::cell::{Cell, RefCell};

use async_task::Runnable;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// Whether there may be some in `DROPPED`, which costs more to look at.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static DROPPED: RefCell<Vec<Runnable>> = const { RefCell::new(Vec::new()) };
}

/// This thread has taken a lock, and tells when it has released it by dropping this.
#[derive(Debug)]
pub(crate) struct Lock(());

impl Lock {
    #[inline]
    pub(crate) fn taken() -> Self {
        HELD.set(HELD.get() + 1);
        Self(())
    }
}

impl Drop for Lock {
    #[inline]
    fn drop(&mut self) {
        let held = HELD.get() - 1;
        HELD.set(held);
        if held == 0 && ANY.get() {
            drop_all();
        }
    }
}

#[cold]
fn drop_all() {
    ANY.set(false);
    // Not while the list is borrowed: to drop one may add others, or take a lock.
    while let Some(task) = pop() {
        drop(task);
    }
}

fn pop() -> Option<Runnable> {
    DROPPED.try_with(|tasks| tasks.borrow_mut().pop()).ok()?
}

/// Drops a task that was not run, now or once this thread has released its locks.
pub(super) fn drop_unlocked(task: Runnable) {
    if HELD.get() == 0 {
        return drop(task);
    }
    ANY.set(true);
    // A thread that ends has no list any more.
    let _ = DROPPED.try_with(|tasks| tasks.borrow_mut().push(task));
}

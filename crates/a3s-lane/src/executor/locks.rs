//! The locks of queues that a thread holds, and the tasks that are dropped meanwhile.
//!
//! A queue wakes those who follow its events while it holds its lock. An executor may drop the task that it is handed then, as a closed
//! one does, and what the task holds may call the queue when it is dropped: the thread would wait for itself. So such a task
//! stays until the thread has released its last lock, and has done what it owes for what it did under it.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use async_task::Runnable;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// Whether there is one in `DROPPED`, which costs more to look at.
    static ANY: Cell<bool> = const { Cell::new(false) };
    /// There also while the thread ends. It holds no memory where it is empty.
    static DROPPED: RefCell<ManuallyDrop<Vec<Runnable>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// This thread has taken a lock, or owes something for what it did under one, until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock(PhantomData<*const ()>);

impl Lock {
    #[inline]
    pub(crate) fn taken() -> Self {
        HELD.set(HELD.get() + 1);
        Self(PhantomData)
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
    // Not while the list is borrowed: to drop one may add others, or take a lock.
    while ANY.replace(false) {
        let tasks = DROPPED.with_borrow_mut(|tasks| std::mem::take(&mut **tasks));
        tasks.into_iter().for_each(drop);
    }
}

/// Drops a task that was not run, now or once this thread has released its locks.
pub(super) fn drop_unlocked(task: Runnable) {
    if HELD.get() == 0 {
        return drop(task);
    }
    DROPPED.with_borrow_mut(|tasks| tasks.push(task));
    ANY.set(true);
}

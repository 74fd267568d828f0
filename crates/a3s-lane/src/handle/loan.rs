//! A command that waits for its child lends it its slots.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::scheduler::CommandKey;

/// The queue of a parent and its child.
pub(crate) trait Lender: Send + Sync {
    /// The parent's body waits for the child.
    fn lend(self: Arc<Self>, parent: CommandKey, run: u32, child: u64);
    /// It does not wait any more.
    fn end(self: Arc<Self>, parent: CommandKey, run: u32, child: u64);
}

/// What a handle of a child knows of its parent.
pub(crate) struct Loan {
    lender: Weak<dyn Lender>,
    parent: CommandKey,
    run: u32,
    child: u64,
    /// Futures that wait for the child. Locked while the queue is told, so that it learns of changes in their order.
    waiting: Mutex<usize>,
}

impl Loan {
    pub(crate) fn new(
        lender: Weak<dyn Lender>,
        (parent, run): (CommandKey, u32),
        child: u64,
    ) -> Self {
        Self {
            lender,
            parent,
            run,
            child,
            waiting: Mutex::new(0),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One future's part in the wait.
#[derive(Default)]
pub(super) struct Waiting(Option<Arc<Loan>>);

impl Waiting {
    /// The future has to wait: from now on the child may use its parent's slots.
    pub(super) fn begin(&mut self, loan: Option<&Arc<Loan>>) {
        let Some(loan) = loan.filter(|_| self.0.is_none()) else {
            return;
        };
        self.0 = Some(Arc::clone(loan));
        let mut waiting = loan.waiting();
        *waiting += 1;
        if *waiting == 1
            && let Some(lender) = loan.lender.upgrade()
        {
            lender.lend(loan.parent, loan.run, loan.child);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(loan) = self.0.take() else {
            return;
        };
        let mut waiting = loan.waiting();
        *waiting -= 1;
        if *waiting == 0
            && let Some(lender) = loan.lender.upgrade()
        {
            lender.end(loan.parent, loan.run, loan.child);
        }
    }
}

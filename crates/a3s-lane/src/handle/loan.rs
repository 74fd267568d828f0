//! A command that waits for its child lends it its slots.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::scheduler::CommandKey;

/// The queue of a parent and its child.
pub(crate) trait Lender: Send + Sync {
    /// The parent's body waits for the child.
    fn lend(self: Arc<Self>, parent: CommandKey, run: u32, child: u64);
    /// It does not wait any more.
    fn end(self: Arc<Self>, parent: CommandKey, child: u64);
}

/// What a handle of a child knows of its parent.
pub(crate) struct Loan {
    lender: Weak<dyn Lender>,
    parent: CommandKey,
    run: u32,
    child: u64,
    /// Futures that wait for the child.
    waiting: AtomicUsize,
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
            waiting: AtomicUsize::new(0),
        }
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
        if loan.waiting.fetch_add(1, Ordering::SeqCst) == 0
            && let Some(lender) = loan.lender.upgrade()
        {
            lender.lend(loan.parent, loan.run, loan.child);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(loan) = self.0.take()
            && loan.waiting.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(lender) = loan.lender.upgrade()
        {
            lender.end(loan.parent, loan.child);
        }
    }
}

//! How many steps one call may take. Counted in tests only, where a loop without an end must fail and not hang.

use crate::scheduler::Scheduler;

#[cfg(test)]
thread_local! {
    /// Of all calls of a thread.
    pub(in crate::scheduler) static TAKEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The steps of one call.
#[derive(Debug)]
pub(in crate::scheduler) struct Steps {
    #[cfg(test)]
    left: usize,
}

impl Steps {
    #[inline]
    pub(in crate::scheduler) fn count(&mut self) {
        #[cfg(test)]
        {
            TAKEN.set(TAKEN.get() + 1);
            self.left = self.left.checked_sub(1).expect("the call ends");
        }
    }
}

impl<T> Scheduler<T> {
    /// Enough for every command to be tried again after each other one has left or was refused.
    #[inline]
    pub(in crate::scheduler) fn steps(&self) -> Steps {
        Steps {
            #[cfg(test)]
            left: (self.entries.len() + self.lanes.len() + 2).pow(2),
        }
    }
}

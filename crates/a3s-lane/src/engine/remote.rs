//! What the handles of commands ask of their queue.

use std::sync::Arc;

use super::Engine;
use crate::explain::Explanation;
use crate::handle::{Lender, Remote};
use crate::scheduler::CommandKey;

impl Lender for Engine {
    fn lend(self: Arc<Self>, parent: CommandKey, run: u32, child: u64) {
        let now = self.now();
        let mut state = self.lock();
        *state
            .loans
            .entry((parent.serial(), run, child))
            .or_default() += 1;
        if let Some(&child) = state.tracked.get(&child) {
            state.scheduler.await_child(parent, run, child, now);
        }
        self.release_lock(state);
    }

    fn end(self: Arc<Self>, parent: CommandKey, run: u32, child: u64) {
        let now = self.now();
        let mut state = self.lock();
        let loan = (parent.serial(), run, child);
        let others = state.loans.get_mut(&loan).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if others == 0 {
            state.loans.remove(&loan);
            if let Some(&child) = state.tracked.get(&child) {
                state.scheduler.leave_child(parent, run, child, now);
            }
        }
        self.release_lock(state);
    }
}

impl Remote for Engine {
    fn cancel(self: Arc<Self>, serial: u64) -> bool {
        let key = self.lock().tracked.get(&serial).copied();
        key.is_some_and(|key| self.cancel_commands([key]) > 0)
    }

    fn is_delayed(&self, serial: u64) -> bool {
        let state = self.lock();
        let key = state.tracked.get(&serial);
        let command = key.and_then(|key| state.scheduler.command(*key));
        command.is_some_and(|command| command.delayed)
    }

    fn explain(&self, serial: u64) -> Option<Explanation> {
        let key = self.lock().tracked.get(&serial).copied()?;
        self.explain_command(key)
    }
}

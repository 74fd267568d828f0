//! How long the commands of a lane have been ready: for metrics only.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::scheduler::Arena;
use crate::scheduler::entry::{Entry, State};

/// The ready commands in the order in which they became ready. Those that have left, and what is noted once more because it
/// went from one queue to another, stay until they are the first, or outnumber the others.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Waits(VecDeque<Wait>);

/// That a command became ready.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: u64,
    serial: u64,
    place: u32,
}

impl Wait {
    fn goes_on<T>(&self, entries: &Arena<Entry<T>>) -> bool {
        entries.get(self.place).is_some_and(|entry| {
            entry.serial == self.serial
                && entry.state == State::Ready
                && entry.ready_at() == self.since
        })
    }
}

impl Waits {
    /// Since when the command waits that became ready first.
    #[cfg(feature = "metrics")]
    pub(in crate::scheduler) fn since<T>(&self, entries: &Arena<Entry<T>>) -> Option<u64> {
        let first = self.0.iter().find(|wait| wait.goes_on(entries))?;
        Some(first.since)
    }

    /// One more command is ready: of so many.
    pub(super) fn note<T>(&mut self, entries: &Arena<Entry<T>>, place: u32, ready: usize) {
        let waits = &mut self.0;
        while waits.front().is_some_and(|wait| !wait.goes_on(entries)) {
            waits.pop_front();
        }
        if waits.len() > 2 * ready + 64 {
            let mut noted = HashSet::with_capacity(ready);
            waits.retain(|wait| wait.goes_on(entries) && noted.insert(wait.serial));
        }
        let (since, serial) = (entries[place].ready_at(), entries[place].serial);
        // Mostly the last one; an awaited child goes from one queue to another without becoming ready anew.
        let later = waits.iter().rev().take_while(|wait| wait.since > since);
        let at = waits.len() - later.count();
        let wait = Wait {
            since,
            serial,
            place,
        };
        waits.insert(at, wait);
    }

    #[cfg(all(test, feature = "metrics"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

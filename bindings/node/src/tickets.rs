//! Commands without a handle, of which JavaScript may ask for one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use a3s_lane::CommandTicket;

/// How many places an empty table keeps.
const SPARE: usize = 1_024;

/// The tickets of commands by their tokens, until JavaScript is told that they have settled.
#[derive(Default)]
pub(crate) struct Tickets {
    table: Mutex<Table>,
    /// Nothing was ever put in: most programs want no handles.
    used: AtomicBool,
}

#[derive(Default)]
struct Table {
    by_token: Vec<Option<CommandTicket>>,
    count: usize,
}

impl Tickets {
    pub(crate) fn put(&self, token: u32, ticket: CommandTicket) {
        self.used.store(true, Ordering::Relaxed);
        let mut table = self.lock();
        let index = token as usize;
        if table.by_token.len() <= index {
            table.by_token.resize(index + 1, None);
        }
        let before = table.by_token[index].replace(ticket);
        table.count += usize::from(before.is_none());
    }

    pub(crate) fn get(&self, token: u32) -> Option<CommandTicket> {
        self.lock().by_token.get(token as usize).copied().flatten()
    }

    /// JavaScript is told that a command has settled.
    pub(crate) fn forget(&self, token: u32) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        let mut table = self.lock();
        let Some(place) = table.by_token.get_mut(token as usize) else {
            return;
        };
        if place.take().is_none() {
            return;
        }
        table.count -= 1;
        if table.count == 0 && table.by_token.len() > SPARE {
            // After a burst.
            table.by_token = Vec::new();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

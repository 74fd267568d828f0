//! Unique keys: which command holds each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::job::Extras;

/// The holders of unique keys.
///
/// Holds one entry per command that holds a key, settled ones only until their window ends: an entry that is over
/// leaves with one of the next submissions that name a unique key.
#[derive(Default)]
pub(super) struct Uniques {
    holders: HashMap<Arc<str>, Arc<Extras>>,
    /// Windows of settled holders, by their end: that end, the holder's serial, and the key.
    ends: BinaryHeap<Reverse<(u64, u64, Arc<str>)>>,
}

impl Uniques {
    /// Who holds `key` now.
    pub(super) fn holder(&mut self, key: &str, now: u64) -> Option<&Arc<Extras>> {
        self.expire(now);
        self.holders.get(key)
    }

    pub(super) fn hold(&mut self, key: Arc<str>, extras: Arc<Extras>) {
        self.holders.insert(key, extras);
    }

    /// Whether this command, and no later one, holds its key.
    pub(super) fn is_held_by(&self, extras: &Arc<Extras>) -> bool {
        let holder = extras.unique.as_ref();
        let holder = holder.and_then(|(key, _)| self.holders.get(key));
        holder.is_some_and(|holder| Arc::ptr_eq(holder, extras))
    }

    /// A command has settled: its key is free at once, or when its window ends.
    pub(super) fn release(&mut self, extras: &Arc<Extras>) {
        let Some((key, until)) = &extras.unique else {
            return;
        };
        if !self.is_held_by(extras) {
            return;
        }
        if *until == 0 {
            self.holders.remove(key);
        } else {
            let serial = extras.handle.serial();
            self.ends.push(Reverse((*until, serial, Arc::clone(key))));
        }
    }

    /// A command that was never let in holds nothing.
    pub(super) fn give_up(&mut self, extras: &Arc<Extras>) {
        if let Some((key, _)) = &extras.unique
            && self.is_held_by(extras)
        {
            self.holders.remove(key);
        }
    }

    fn expire(&mut self, now: u64) {
        while let Some(Reverse((until, serial, key))) = self.ends.peek()
            && *until <= now
        {
            // The key may have a later holder by now.
            let holder = self.holders.get(key);
            if holder.is_some_and(|holder| holder.handle.serial() == *serial) {
                self.holders.remove(key);
            }
            self.ends.pop();
        }
    }
}

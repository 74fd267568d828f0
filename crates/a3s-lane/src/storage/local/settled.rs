//! The settlements that were taken last. One whose call was dropped before its answer came is told again: it has been taken, or not.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashSet;

use super::Settlement;
use super::cell::from_time;

/// More than a queue keeps to be told again.
const KEPT: usize = 16_384;

/// The hash of its id, and when it has settled, in nanoseconds.
type Mark = (u64, i64);

#[derive(Default)]
pub(super) struct Settled {
    hasher: foldhash::quality::RandomState,
    known: HashSet<Mark, foldhash::fast::RandomState>,
    order: VecDeque<Mark>,
    /// Those of the present transaction, at the end of the order.
    new: usize,
}

impl Settled {
    /// Notes it; false when it was taken before.
    pub(super) fn is_new(&mut self, settlement: &Settlement) -> bool {
        let id = self.hasher.hash_one(&*settlement.id);
        let mark = (id, from_time(settlement.settled_at));
        let is_new = self.known.insert(mark);
        if is_new {
            self.order.push_back(mark);
            self.new += 1;
        }
        is_new
    }

    /// Ends a transaction: what it has taken counts, or was taken back.
    pub(super) fn end(&mut self, committed: bool) {
        for _ in 0..std::mem::take(&mut self.new) {
            if committed {
                continue;
            }
            if let Some(mark) = self.order.pop_back() {
                self.known.remove(&mark);
            }
        }
        while self.order.len() > KEPT {
            if let Some(mark) = self.order.pop_front() {
                self.known.remove(&mark);
            }
        }
    }
}

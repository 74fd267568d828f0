//! Unusual ways out of the scheduler.

use crate::scheduler::Scheduler;
use crate::scheduler::decision::{CommandKey, LaneKey};

impl<T> Scheduler<T> {
    /// Gives up a command whose run holds a slot, concluded or not, and frees the slot: its runner is gone.
    pub(crate) fn abandon(&mut self, key: CommandKey, run: u32, now: u64) -> Option<(LaneKey, T)> {
        let entry = self.entries.alive(key)?;
        let lane = entry.lane;
        if entry.run != run || !entry.holds_slot() {
            return None;
        }
        self.timers.remove(key.place);
        self.free_slot(key.place, now);
        Some((lane, self.remove(key.place, now)))
    }

    /// Takes out every command that holds no slot, in the order of submission.
    pub(crate) fn take_waiting(&mut self, now: u64) -> Vec<(CommandKey, LaneKey, T)> {
        let waiting = self.entries.iter().filter(|(_, entry)| !entry.holds_slot());
        let mut keys: Vec<CommandKey> = waiting.map(|(place, entry)| entry.key(place)).collect();
        keys.sort_unstable();
        let take = |key: CommandKey| {
            let lane = self.entries[key.place].lane;
            (key, lane, self.take_out(key.place, now))
        };
        keys.into_iter().map(take).collect()
    }

    /// Reports once that the lane's last pending command has left, other than by a start, after pressure was reported.
    pub(crate) fn relieve(&mut self, lane: LaneKey) -> bool {
        self.lanes[lane.index()].relieve()
    }
}

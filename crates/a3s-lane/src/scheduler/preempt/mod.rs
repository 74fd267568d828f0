//! Preemption: a running command makes room for a more urgent one that only the total limit keeps waiting.
//!
//! Somebody is asked to stop as long as more commands wait than shares will be free when all that are stopping have ended. An
//! example, with a total of 5:
//!
//! ```text
//!  lane    priority  min  runs  waits
//!  urgent      0      0    0      2     for nothing but the total
//!  normal      3      1    1      0     preemptible, but its one share is what its minimum is for
//!  batch       9      1    4      0     preemptible
//!
//!  more urgent than batch wait   will be free
//!              2                     0           the last started of batch is asked
//!              2                     1           the one that started before it is asked
//!              2                     2           enough
//! ```
//!
//! What they give up is set aside for nobody: `next` gives the share to the best ranked lane, as always.
//!
//! When the total becomes 4 now, a third one is asked at once: the first that ends leaves nothing free.
//!
//! Nobody is asked for the sake of its own children only, or of theirs. One that submits urgent work and goes on would do so in
//! each run. What a command has submitted that is gone counts as nobody's.

use std::cmp::Reverse;

use super::Scheduler;
use super::decision::{CommandKey, LaneKey, StopReason};
use super::entry::State;
use super::lane::{LaneState, NONE};
use super::ready::Demand;

#[cfg(test)]
mod tests;

impl LaneState {
    /// Its own priority, if a more urgent lane may take a running command from it: it uses more shares than its minimum.
    #[inline]
    pub(super) fn as_giver(&self) -> Option<Reverse<u8>> {
        let gives = self.policy.preemptible && self.shares > self.policy.min;
        gives.then_some(Reverse(self.policy.priority))
    }
}

impl<T> Scheduler<T> {
    /// Whether [`preempt`](Self::preempt) can ever find something to do.
    #[inline]
    pub(crate) fn may_preempt(&self) -> bool {
        self.preemptible_lanes > 0 && self.has_total()
    }

    /// The running command that must make room for a more urgent one, if any: it was asked to stop, and with `true` its
    /// body must be dropped at once. Call until `None`, after [`next`](Self::next) has returned `None`.
    pub(crate) fn preempt(&mut self, now: u64) -> Option<(CommandKey, bool)> {
        if !self.may_preempt() || !self.open {
            return None;
        }
        self.catch_up(now);
        self.shelve_expired(now);
        // Asked at every step: mostly nobody waits who is more urgent than any lane that could give.
        let waiting = [self.ready.common.peek(), self.ready.reserved.peek()];
        let ((most_urgent, _), _) = waiting.into_iter().flatten().min()?;
        let (Reverse(least_urgent), _) = self.givers.peek()?;
        if most_urgent >= least_urgent {
            return None;
        }
        self.note_staying();
        let mut spared = Vec::new();
        loop {
            let (victim, priority) = self.victim(&spared, now)?;
            if !self.is_needed(priority, None, now) {
                return None;
            }
            let entry = &self.entries[victim];
            let key = entry.key(victim);
            let is_parent = entry
                .terms
                .as_ref()
                .is_some_and(|terms| terms.notes.is_parent);
            if is_parent && !self.is_needed(priority, Some(key), now) {
                // They would come again with its next run, and it would be stopped again, for ever.
                spared.push(victim);
                continue;
            }
            return Some((key, self.ask(victim, StopReason::Preempt, now)));
        }
    }

    /// Shelves the ready commands that nobody has looked at since they became too old.
    fn shelve_expired(&mut self, now: u64) {
        if self.timers.peek().is_none_or(|((at, _), _)| at > now) {
            return;
        }
        let mut steps = self.steps();
        let due = self.timers.all_due(|(at, _)| {
            steps.count();
            at <= now
        });
        for place in due {
            let entry = &self.entries[place];
            if entry.state == State::Ready && entry.is_expired(now) {
                self.shelve(place, now);
            }
        }
    }

    /// Whether more commands than shares will be free wait that are more urgent than this. Those below `top` do not count.
    fn is_needed(&mut self, priority: u8, top: Option<CommandKey>, now: u64) -> bool {
        let demand = self.demand_above(priority, top, now);
        demand > 0 && !self.is_spare(demand)
    }

    /// Notes how many shares each lane will have when all have ended that were asked to stop or are concluded.
    fn note_staying(&mut self) {
        for lane in &mut self.lanes {
            lane.staying = lane.shares;
        }
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].stopping == 0 {
                continue;
            }
            let mut place = self.lanes[lane].running.head;
            while place != NONE {
                let entry = &self.entries[place];
                if entry.state != State::Running && entry.owns_share() {
                    self.lanes[lane].staying -= 1;
                    if let Some(heir) = self.nest_heir(place) {
                        self.lanes[heir.index()].staying += 1;
                    }
                }
                place = self.entries[place].next;
            }
        }
    }

    /// Of the commands that lanes may lose, the one that will be the least urgent when it is back, of these the last
    /// started; and how urgent it will be. Not one of those `spared`.
    fn victim(&self, spared: &[u32], now: u64) -> Option<(u32, u8)> {
        let lanes = self.givers.iter().map(|(_, lane)| LaneKey(lane));
        // What a lane has below its minimum would be kept for it again.
        let lanes = lanes.filter(|lane| {
            let state = &self.lanes[lane.index()];
            state.staying > state.policy.min
        });
        let of_lanes = lanes.filter_map(|lane| self.victim_of(lane, spared, now));
        let (priority, _, _, place) = of_lanes.max()?;
        Some((place, priority))
    }

    /// The same for one lane, by how urgent it will be, when it started, and where it is.
    fn victim_of(
        &self,
        lane: LaneKey,
        spared: &[u32],
        now: u64,
    ) -> Option<(u8, u64, LaneKey, u32)> {
        let state = &self.lanes[lane.index()];
        let mut best: Option<(u8, u64, LaneKey, u32)> = None;
        let mut place = state.running.tail;
        while place != NONE {
            let entry = &self.entries[place];
            let willing = entry.terms.as_ref().is_none_or(|terms| terms.preemptible)
                && !spared.contains(&place);
            if entry.state == State::Running && willing && entry.is_alone() {
                let back_at = now.saturating_add(state.policy.grace_ns);
                let urgency = state.urgency_with(entry.waits_since(), back_at);
                // From the last started to the first: of equals the last started stays.
                if best.is_none_or(|best| (urgency, entry.started_at()) > (best.0, best.1)) {
                    best = Some((urgency, entry.started_at(), lane, place));
                }
                if urgency == state.policy.priority {
                    // None is less urgent, and those before it started earlier.
                    break;
                }
            }
            place = entry.prev;
        }
        best
    }

    /// Whether so many shares will be free for any lane when all have ended that are stopping.
    fn is_spare(&self, demand: usize) -> bool {
        // What a lane has below its minimum is kept for it.
        let lanes = self.lanes.iter();
        let taken: usize = lanes.map(|lane| lane.staying.max(lane.policy.min)).sum();
        taken + demand <= self.total
    }

    /// How many commands of lanes that are more urgent than this wait for shares that are not about to be free for them.
    /// Those below `top` do not count.
    fn demand_above(&mut self, priority: u8, top: Option<CommandKey>, now: u64) -> usize {
        let minimums_fit = self.is_spare(0);
        let mut demand = 0;
        for lane in 0..self.lanes.len() as u32 {
            let lane = LaneKey(lane);
            let state = &self.lanes[lane.index()];
            let Demand {
                on_kept, on_common, ..
            } = state.demand;
            if on_kept + on_common == 0
                || state.effective_priority(now) >= priority
                || self.has_share_for(lane)
            {
                continue;
            }
            let startable = on_kept + on_common;
            let waits = top.map_or(startable, |top| {
                state.startable_beside(startable, |parent| self.is_within(parent, top))
            });
            // Kept for this lane: it gets them when those that stop have ended.
            let sure = if minimums_fit { waits.min(on_kept) } else { 0 };
            demand += if !state.policy.is_rated() && state.policy.priority < priority {
                waits - sure
            } else if sure > 0 || self.is_front_below(lane, top, now) {
                0
            } else if state.policy.is_rated() {
                usize::from(self.grants_front(lane, now))
            } else {
                // Its oldest command is as urgent, not those behind it.
                1
            };
        }
        demand
    }

    /// Whether the front of a lane is below `top`.
    fn is_front_below(&self, lane: LaneKey, top: Option<CommandKey>, now: u64) -> bool {
        let parent = || self.entries[self.lanes[lane.index()].front(now)?].parent();
        top.is_some_and(|top| parent().is_some_and(|parent| self.is_within(parent, top)))
    }

    /// Whether a command is `top` or below it, as far as those between them are not gone.
    fn is_within(&self, command: CommandKey, top: CommandKey) -> bool {
        let parent = |key: &CommandKey| self.entries.alive(*key)?.parent();
        // Nobody is above who came later.
        let mut above = std::iter::successors(Some(command), parent).take_while(|key| *key >= top);
        above.any(|key| key == top)
    }

    fn grants_front(&mut self, lane: LaneKey, now: u64) -> bool {
        let Some(place) = self.lanes[lane.index()].front(now) else {
            return false;
        };
        match self.check_limits(lane, place, now) {
            Ok(()) => true,
            Err(due) => {
                self.block(lane, place, due, now);
                false
            }
        }
    }
}

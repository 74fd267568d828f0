//! What may change at run time: lanes, their policies, the total limit, pauses.

use std::sync::Arc;

use hashbrown::HashSet;

use super::decision::LaneKey;
use super::lane::{End, LanePolicy, LaneState, Waits};
use super::ready::ReadySet;
use super::{Arena, IndexedHeap, Scheduler};

impl<T> Scheduler<T> {
    /// Without lanes and without a total limit; nothing starts before [`set_open`](Self::set_open). With `keeps_waits` lanes
    /// know their longest wait.
    pub(crate) fn new(keeps_waits: bool) -> Self {
        Self {
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            entries: Arena::new(),
            ready: ReadySet::new(),
            givers: IndexedHeap::new(),
            boosts: IndexedHeap::new(),
            blocks: IndexedHeap::new(),
            timers: IndexedHeap::new(),
            #[cfg(feature = "distributed")]
            limits: Vec::new(),
            paused_keys: HashSet::new(),
            total: usize::MAX,
            preemptible_lanes: 0,
            open: false,
            serial: 0,
            served: 0,
            pending: 0,
            shares: 0,
            keeps_waits,
            favoured: 0,
            nest_offers: Vec::new(),
            vacated: Vec::new(),
        }
    }

    /// Draws the serial of a command that will be submitted. Of equals the smaller serial goes first.
    pub(crate) fn draw_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Lets commands start, or no more. Before this they only queue.
    pub(crate) fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// Puts the ready commands that `which` means behind the others of their lanes, in the order of submission:
    /// for the start after a restore.
    pub(crate) fn put_behind(&mut self, which: impl Fn(&T) -> bool, now: u64) {
        let entries = self.entries.iter();
        let ready = entries.filter(|(_, entry)| entry.is_in_turn() && which(&entry.job));
        let mut ready: Vec<(u64, u32)> =
            ready.map(|(place, entry)| (entry.serial, place)).collect();
        ready.sort_unstable();
        for (_, place) in ready {
            self.take_from_queue(place);
            let lane = self.entries[place].lane;
            self.lanes[lane.index()].push(&mut self.entries, place, End::Back);
            self.refresh(lane, now);
        }
    }

    /// Takes a lane in, in the place of a removed one where there is one.
    pub(crate) fn add_lane(&mut self, policy: LanePolicy) -> LaneKey {
        self.preemptible_lanes += usize::from(policy.preemptible);
        let mut state = LaneState::new(policy);
        state.waits = self.keeps_waits.then(Waits::default);
        let lane = match self.free_lanes.pop() {
            Some(lane) => {
                self.lanes[lane.index()] = state;
                lane
            }
            None => {
                let number = u32::try_from(self.lanes.len()).expect("fewer than 2^32 lanes");
                self.lanes.push(state);
                LaneKey(number)
            }
        };
        self.refresh(lane, 0);
        lane
    }

    /// Gives a lane a new policy; its pending and running commands stay.
    pub(crate) fn set_policy(&mut self, lane: LaneKey, mut policy: LanePolicy, now: u64) {
        let state = &mut self.lanes[lane.index()];
        debug_assert!(!state.removed, "the lane is there");
        policy.inherit_tokens(&state.policy, now);
        self.preemptible_lanes -= usize::from(state.policy.preemptible);
        self.preemptible_lanes += usize::from(policy.preemptible);
        state.set_policy(&mut self.entries, policy);
        state.block = None;
        state.limits_version += 1;
        self.blocks.remove(lane.0);
        self.refresh(lane, now);
        self.nest_lane_changed(lane, now);
    }

    /// Takes a lane out; false while it has commands. Its key may come to mean a new lane.
    pub(crate) fn remove_lane(&mut self, lane: LaneKey) -> bool {
        let state = &mut self.lanes[lane.index()];
        if state.removed || state.pending() + state.slots > 0 {
            return false;
        }
        self.preemptible_lanes -= usize::from(state.policy.preemptible);
        state.removed = true;
        state.policy.preemptible = false;
        state.policy.min = 0;
        self.free_lanes.push(lane);
        self.refresh(lane, 0);
        true
    }

    /// Limits how many commands run at once, over all lanes. The caller sees to it that no minimum is lost: their sum is at
    /// most the total.
    pub(crate) fn set_total(&mut self, total: Option<usize>, now: u64) {
        self.total = total.unwrap_or(usize::MAX);
        for lane in 0..self.lanes.len() as u32 {
            self.rank_lane(LaneKey(lane), now);
        }
        self.nest_total_changed(now);
    }

    /// Watches a lane without a free slot: [`next_vacated`](Self::next_vacated) tells when it has had one. False where it has one
    /// now, and for a removed lane.
    pub(crate) fn watch_slots(&mut self, lane: LaneKey) -> bool {
        let state = &mut self.lanes[lane.index()];
        state.watched = !state.removed && state.free_slots() == 0;
        state.watched
    }

    /// Whether [`next_vacated`](Self::next_vacated) has something to tell.
    #[inline]
    pub(crate) fn has_vacated(&self) -> bool {
        !self.vacated.is_empty()
    }

    /// A watched lane that had a free slot since, and is watched no more.
    #[inline]
    pub(crate) fn next_vacated(&mut self) -> Option<LaneKey> {
        self.vacated.pop()
    }

    /// Stops or resumes the starts of a lane; says whether it was not so before. What runs goes on.
    pub(crate) fn pause_lane(&mut self, lane: LaneKey, paused: bool, now: u64) -> bool {
        let changed = std::mem::replace(&mut self.lanes[lane.index()].paused, paused) != paused;
        self.refresh(lane, now);
        self.nest_lane_changed(lane, now);
        changed
    }

    /// Stops or resumes the starts of commands of one key in all lanes; says whether it was not so before. What runs goes on.
    pub(crate) fn pause_key(&mut self, key: &Arc<str>, paused: bool, now: u64) -> bool {
        let changed = if paused {
            self.paused_keys.insert(Arc::clone(key))
        } else {
            self.paused_keys.remove(key)
        };
        for lane in 0..self.lanes.len() as u32 {
            if self.lanes[lane as usize].pause_key(key, paused) {
                self.refresh(LaneKey(lane), now);
            }
        }
        changed
    }
}

impl LaneState {
    /// Whether it is watched and has a free slot; then it is watched no more.
    #[inline]
    pub(super) fn take_vacated(&mut self) -> bool {
        self.watched && self.free_slots() > 0 && std::mem::take(&mut self.watched)
    }
}

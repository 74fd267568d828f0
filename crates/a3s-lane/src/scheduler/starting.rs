//! How commands come in and start.

use std::sync::Arc;

use super::Scheduler;
use super::decision::{CommandKey, LaneKey, Start, Submitted};
use super::entry::{Entry, State, Terms};
use super::lane::End;
use crate::config::Overflow;
use crate::hint::{likely, unlikely};

impl<T> Scheduler<T> {
    /// Puts a command into its lane. A lane that is full gives it back (the caller refuses it, or waits), or gives up its oldest
    /// command instead.
    #[inline]
    pub(crate) fn submit(
        &mut self,
        lane: LaneKey,
        serial: u64,
        job: T,
        terms: Option<Box<Terms>>,
        now: u64,
    ) -> Result<Submitted<T>, T> {
        let state = &self.lanes[lane.index()];
        let mut evicted = None;
        // With `Overflow::Wait`, `is_full` says no for a child: the room that it would wait for might come only when its parent ends.
        let is_child = terms.as_ref().is_some_and(|terms| terms.parent.is_some());
        if state.is_full(is_child) {
            let drops = state.policy.overflow == Overflow::DropOldest;
            // None where all that wait are delayed, expired or favoured: those are not given up.
            let Some(place) = state.oldest_of_all().filter(|_| drops) else {
                return Err(job);
            };
            evicted = Some((self.entries[place].key(place), self.take_out(place, now)));
        }
        let (key, pressure) = self.admit(lane, serial, job, terms, now);
        Ok(Submitted {
            key,
            pressure,
            evicted,
        })
    }

    /// As [`submit`](Self::submit), whether or not the lane is full: what was accepted once is not refused. Also says whether
    /// this made the lane pressed (see `Submitted`).
    #[inline]
    pub(crate) fn admit(
        &mut self,
        lane: LaneKey,
        serial: u64,
        job: T,
        terms: Option<Box<Terms>>,
        now: u64,
    ) -> (CommandKey, bool) {
        let is_plain = terms.is_none();
        let entry = Entry::new(job, serial, lane, terms, now);
        let place = self.entries.insert(entry);
        self.pending += 1;
        if likely(is_plain) {
            // Without a key, of priority 0.
            let state = &mut self.lanes[lane.index()];
            state.join(None, 0, |_| false);
            state.push(&mut self.entries, place, End::Back);
            // Mostly more wait than can start: then one more changes nothing for the lane.
            if !state.is_indifferent() {
                self.refresh(lane, now);
            }
        } else {
            self.enter(place, now);
            self.refresh(lane, now);
        }
        let pressure = self.lanes[lane.index()].press();
        (CommandKey { place, serial }, pressure)
    }

    /// A new command with terms is ready, or waits for its time.
    #[inline(never)]
    fn enter(&mut self, place: u32, now: u64) {
        let entry = &mut self.entries[place];
        let state = &mut self.lanes[entry.lane.index()];
        let terms = entry.terms.get_or_insert_default();
        // For when `join` meets this key for the first time: whether it begins paused.
        let paused_keys = &self.paused_keys;
        let paused = |key: &Arc<str>| paused_keys.contains(key);
        terms.notes.key_number = state.join(terms.key.as_ref(), terms.priority, paused);
        let ready_at = Some(terms.delay_until).filter(|at| *at > now);
        let timer = ready_at.into_iter().chain(terms.expires_at).min();
        if let Some(at) = timer {
            self.timers.set(place, (at, entry.serial));
        }
        if ready_at.is_some() {
            entry.state = State::Delayed;
            state.unready += 1;
        } else {
            state.push(&mut self.entries, place, End::Back);
        }
        self.nest_submit(place);
    }

    /// Starts the front of the best ranked lane whose limits let it start, if any. It holds its slot; the caller runs its body.
    pub(crate) fn next(&mut self, now: u64) -> Option<Start> {
        if !self.open {
            return None;
        }
        self.catch_up(now);
        let mut steps = self.steps();
        loop {
            // Counted in tests only, where a loop without an end fails.
            steps.count();
            let lane = self.best_lane()?;
            let state = &self.lanes[lane.index()];
            let Some(place) = state.front(now) else {
                debug_assert!(false, "a lane in the ready set can start a command");
                return None;
            };
            if unlikely(self.entries[place].is_expired(now)) {
                self.shelve(place, now);
                continue;
            }
            // The lane has limits on starts per time.
            if unlikely(state.policy.is_rated()) {
                if let Err(due) = self.check_limits(lane, place, now) {
                    // The lane is left out until then, and a child gets a timer (see `timers`): the next best one is asked.
                    self.block(lane, place, due, now);
                    continue;
                }
                self.charge_limits(lane, place, now);
            }
            return Some(self.start(lane, place, now));
        }
    }

    /// Takes a command that is too old to start out of its lane's queue; it leaves with the next tick, since its timer is due.
    pub(super) fn shelve(&mut self, place: u32, now: u64) {
        let lane = self.entries[place].lane;
        self.take_from_queue(place);
        self.entries[place].state = State::Expired;
        self.lanes[lane.index()].unready += 1;
        self.refresh(lane, now);
    }

    /// The front of a lane starts: it gets a slot and a share.
    fn start(&mut self, lane: LaneKey, place: u32, now: u64) -> Start {
        self.served += 1;
        self.pending -= 1;
        if !self.nest_start(place) {
            self.shares += 1;
            let state = &mut self.lanes[lane.index()];
            state.shares += 1;
            state.start(&mut self.entries, place);
        }
        let state = &mut self.lanes[lane.index()];
        state.running.push_back(&mut self.entries, place);
        state.last_served = self.served;
        let relieved = state.relieve();
        let entry = &mut self.entries[place];
        // Read here: `begin_run` overwrites it with the time of the start.
        let wait_ns = now.saturating_sub(entry.ready_at());
        let (timeout_ns, progress_ns) = entry.begin_run(&state.policy, now);
        let start = Start {
            key: entry.key(place),
            lane,
            run: entry.run,
            attempt: entry.attempt(),
            wait_ns,
            timeout_ns,
            progress_ns,
            may_overlap: timeout_ns.is_some() || progress_ns.is_some() || state.policy.preemptible,
            relieved,
        };
        let limit = timeout_ns
            .unwrap_or(u64::MAX)
            .min(progress_ns.unwrap_or(u64::MAX));
        match now.saturating_add(limit) {
            // No limit: a timer from before the start, such as its expiry, is over. Without terms there is none left.
            u64::MAX if entry.terms.is_some() => self.timers.remove(place),
            u64::MAX => {}
            at => self.timers.set(place, (at, entry.serial)),
        }
        self.refresh(lane, now);
        start
    }
}

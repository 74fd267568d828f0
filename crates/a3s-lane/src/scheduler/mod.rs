//! The pure scheduler: a state machine that decides what runs next.
//!
//! Commands go in with [`submit`](Scheduler::submit), decisions come out of [`next`](Scheduler::next). It never reads
//! a clock (`now` is an argument, in nanoseconds since the queue's epoch), never waits and does no I/O; once its
//! buffers have grown to the load it does not allocate. Everything that the crate promises about order and limits is
//! decided here and tested without a runtime.
//!
//! The life of an entry:
//!
//! ```text
//! submit -> Ready -- next --> Running -- conclude --> Concluded -- release --> gone
//!             ^                                           |
//!             +------- timer ------- Delayed <-- release -+  (retry)
//! ```
//!
//! A slot is held from `next` to `release`. `conclude` decides the outcome and is refused for an entry that is not
//! running, which is what makes every command settle once.

mod arena;
mod decision;
mod entry;
mod heap;
mod lane;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;

use std::time::Duration;

use arena::Arena;
pub(crate) use decision::{
    CommandKey, Due, Ending, LaneCounts, LaneKey, Released, RunningAttempt, Start, Submitted,
    Verdict,
};
use entry::{Entry, State};
use heap::IndexedHeap;
pub(crate) use lane::LanePolicy;
use lane::{LaneState, NONE};

/// How long a timed-out attempt may take to give up its future before its slot is taken away, in nanoseconds.
///
/// An asynchronous body gives up at its next wake-up, far sooner; this bounds a body that blocks its thread.
pub(crate) const OVERRUN_GRACE_NS: u64 = 20_000_000;

/// A duration in the scheduler's unit; 584 years at the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Lanes, their commands, and the order in which they run. `T` is what the caller keeps with each command.
#[derive(Debug)]
pub(crate) struct Scheduler<T> {
    lanes: Vec<LaneState>,
    entries: Arena<Entry<T>>,
    /// Lanes that have a command to start and a slot for it, by effective priority, then longest unserved.
    ready: IndexedHeap<(u8, u64)>,
    /// Lanes by the time when their effective priority changes.
    boosts: IndexedHeap<u64>,
    /// Lanes by the time when their rate limiter grants again.
    limiters: IndexedHeap<u64>,
    /// Commands by the end of their back-off (delayed) or their time limit (running).
    timers: IndexedHeap<(u64, u64)>,
    open: bool,
    serial: u64,
    served: u64,
    pending: usize,
    active: usize,
    startable: usize,
}

impl<T> Scheduler<T> {
    pub(crate) fn new() -> Self {
        Self {
            lanes: Vec::new(),
            entries: Arena::new(),
            ready: IndexedHeap::new(),
            boosts: IndexedHeap::new(),
            limiters: IndexedHeap::new(),
            timers: IndexedHeap::new(),
            open: false,
            serial: 0,
            served: 0,
            pending: 0,
            active: 0,
            startable: 0,
        }
    }

    /// Lets commands start. Before this they only queue.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn add_lane(&mut self, policy: LanePolicy) -> LaneKey {
        let key = LaneKey(u32::try_from(self.lanes.len()).expect("fewer than 2^32 lanes"));
        self.lanes.push(LaneState::new(policy));
        key
    }

    /// Gives a lane a new policy; its pending and running commands stay.
    pub(crate) fn set_policy(&mut self, lane: LaneKey, mut policy: LanePolicy, now: u64) {
        let state = &mut self.lanes[lane.index()];
        policy.inherit_tokens(&state.policy, now);
        state.policy = policy;
        state.blocked_until = None;
        self.limiters.remove(lane.0);
        self.refresh(lane, now);
    }

    /// Draws the serial number of a command that will be submitted.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Puts a command at the back of its lane.
    pub(crate) fn submit(&mut self, lane: LaneKey, serial: u64, job: T, now: u64) -> Submitted {
        let slot = self.entries.insert(Entry {
            job,
            serial,
            submitted_at: now,
            ready_at: now,
            retry_delay: u64::MAX,
            next: NONE,
            lane,
            attempt: 0,
            state: State::Ready,
        });
        self.pending += 1;
        self.push_back(slot, lane);
        self.refresh(lane, now);
        let state = &mut self.lanes[lane.index()];
        let pressure = !state.pressed
            && state
                .policy
                .pressure_threshold
                .is_some_and(|threshold| state.pending() >= threshold);
        state.pressed |= pressure;
        Submitted {
            key: CommandKey { slot, serial },
            pressure,
        }
    }

    /// How many commands could start now, rate limits aside.
    pub(crate) fn startable(&self) -> usize {
        if self.open { self.startable } else { 0 }
    }

    /// The command that starts now, if any: the caller must start it.
    pub(crate) fn next(&mut self, now: u64) -> Option<Start> {
        if !self.open {
            return None;
        }
        while let Some(lane) = self.boosts.pop_if(|at| at <= now) {
            self.refresh(LaneKey(lane), now);
        }
        loop {
            let (_, lane) = self.ready.peek()?;
            let lane = LaneKey(lane);
            let state = &mut self.lanes[lane.index()];
            debug_assert!(
                state.could_start() > 0,
                "a lane in the ready set can start a command"
            );
            if let Err(due) = state.policy.take_token(now) {
                state.blocked_until = Some(due);
                if due != u64::MAX {
                    self.limiters.set(lane.0, due);
                }
                self.refresh(lane, now);
                continue;
            }
            return Some(self.start(lane, now));
        }
    }

    fn start(&mut self, lane: LaneKey, now: u64) -> Start {
        let slot = self.pop_front(lane);
        self.served += 1;
        self.pending -= 1;
        self.active += 1;
        let state = &mut self.lanes[lane.index()];
        state.active += 1;
        state.last_served = self.served;
        let timeout_ns = state.policy.timeout_ns;
        let relieved = state.pressed && state.pending() == 0;
        state.pressed &= !relieved;
        let entry = &mut self.entries[slot];
        entry.state = State::Running;
        entry.attempt = entry.attempt.saturating_add(1);
        let start = Start {
            key: CommandKey {
                slot,
                serial: entry.serial,
            },
            lane,
            attempt: entry.attempt,
            wait_ns: now.saturating_sub(entry.ready_at),
            timeout_ns,
            relieved,
        };
        if let Some(timeout) = timeout_ns {
            self.timers
                .set(slot, (now.saturating_add(timeout), start.key.serial));
        }
        self.refresh(lane, now);
        start
    }

    /// Decides what follows the end of an attempt. `None` when that attempt is not running any more: someone else has
    /// concluded it. The slot stays taken until [`release`](Self::release).
    pub(crate) fn conclude(
        &mut self,
        key: CommandKey,
        attempt: u32,
        ending: Ending,
    ) -> Option<Verdict> {
        let entry = self.entries.get_mut(key.slot)?;
        if !entry.is_running(key, attempt) {
            return None;
        }
        let retry = &self.lanes[entry.lane.index()].policy.retry;
        let retries = entry.attempt - 1;
        entry.state = State::Concluded;
        entry.retry_delay = u64::MAX;
        self.timers.remove(key.slot);
        if ending != Ending::Failed || !retry.should_retry(retries) {
            return Some(Verdict::Settle);
        }
        entry.retry_delay = nanos(retry.delay_for_attempt(entry.attempt)).min(u64::MAX - 1);
        Some(Verdict::Retry {
            attempt: entry.attempt,
        })
    }

    /// Frees the slot of a concluded command and carries out the verdict.
    ///
    /// # Panics
    ///
    /// When the command was not concluded.
    pub(crate) fn release(&mut self, key: CommandKey, now: u64) -> Released<T> {
        let entry = &mut self.entries[key.slot];
        assert!(
            entry.serial == key.serial && entry.state == State::Concluded,
            "only a concluded command is released"
        );
        let lane = entry.lane;
        self.active -= 1;
        self.lanes[lane.index()].active -= 1;
        let released = match entry.retry_delay {
            u64::MAX => Released::Settled(self.remove(key)),
            delay => {
                self.pending += 1;
                if delay == 0 {
                    entry.state = State::Ready;
                    entry.ready_at = now;
                    self.push_back(key.slot, lane);
                } else {
                    entry.state = State::Delayed;
                    self.lanes[lane.index()].delayed += 1;
                    self.timers
                        .set(key.slot, (now.saturating_add(delay), key.serial));
                }
                Released::Requeued
            }
        };
        self.refresh(lane, now);
        released
    }

    /// Gives up a command whose attempt holds a slot, concluded or not, and frees the slot.
    pub(crate) fn abandon(
        &mut self,
        key: CommandKey,
        attempt: u32,
        now: u64,
    ) -> Option<(LaneKey, T)> {
        let entry = self.entries.get(key.slot)?;
        let concluded = entry.serial == key.serial
            && entry.attempt == attempt
            && entry.state == State::Concluded;
        if !concluded && !entry.is_running(key, attempt) {
            return None;
        }
        let lane = entry.lane;
        self.timers.remove(key.slot);
        self.active -= 1;
        self.lanes[lane.index()].active -= 1;
        let job = self.remove(key);
        self.refresh(lane, now);
        Some((lane, job))
    }

    /// Handles what is due. Call until `None`, then [`next`](Self::next) until `None`.
    pub(crate) fn tick(&mut self, now: u64) -> Option<Due> {
        while let Some(lane) = self.limiters.pop_if(|at| at <= now) {
            let lane = LaneKey(lane);
            self.lanes[lane.index()].blocked_until = None;
            self.refresh(lane, now);
        }
        while let Some(slot) = self.timers.pop_if(|(at, _)| at <= now) {
            let entry = &mut self.entries[slot];
            let key = CommandKey {
                slot,
                serial: entry.serial,
            };
            match entry.state {
                State::Delayed => {
                    let lane = entry.lane;
                    entry.state = State::Ready;
                    entry.ready_at = now;
                    self.lanes[lane.index()].delayed -= 1;
                    self.push_back(slot, lane);
                    self.refresh(lane, now);
                }
                State::Running => {
                    entry.state = State::Overdue;
                    self.timers
                        .set(slot, (now.saturating_add(OVERRUN_GRACE_NS), key.serial));
                    return Some(Due::Deadline(key));
                }
                State::Overdue => return Some(Due::Overrun(key, entry.attempt)),
                State::Ready | State::Concluded => {
                    debug_assert!(false, "a ready or concluded command has no timer");
                }
            }
        }
        None
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let limiter = self.limiters.peek().map(|(at, _)| at);
        let timer = self.timers.peek().map(|((at, _), _)| at);
        match (limiter, timer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }

    /// Takes out every command that is not running, in the order of submission.
    pub(crate) fn take_waiting(&mut self, now: u64) -> Vec<(CommandKey, LaneKey, T)> {
        let mut keys: Vec<CommandKey> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Ready | State::Delayed))
            .map(|(slot, entry)| CommandKey {
                slot,
                serial: entry.serial,
            })
            .collect();
        keys.sort_by_key(|key| key.serial);
        for lane in &mut self.lanes {
            lane.head = NONE;
            lane.tail = NONE;
            lane.ready = 0;
            lane.delayed = 0;
        }
        self.pending = 0;
        let taken = keys
            .into_iter()
            .map(|key| {
                self.timers.remove(key.slot);
                let lane = self.entries[key.slot].lane;
                (key, lane, self.remove(key))
            })
            .collect();
        for lane in 0..self.lanes.len() as u32 {
            self.limiters.remove(lane);
            self.lanes[lane as usize].blocked_until = None;
            self.refresh(LaneKey(lane), now);
        }
        taken
    }

    /// Every command that holds a slot.
    pub(crate) fn running(&self) -> impl Iterator<Item = CommandKey> + '_ {
        self.entries
            .iter()
            .filter(|(_, entry)| !matches!(entry.state, State::Ready | State::Delayed))
            .map(|(slot, entry)| CommandKey {
                slot,
                serial: entry.serial,
            })
    }

    /// What the caller keeps with a command; `None` once it is gone.
    pub(crate) fn job_mut(&mut self, key: CommandKey) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot)?;
        (entry.serial == key.serial).then_some(&mut entry.job)
    }

    /// A running attempt; `None` when it is not running any more.
    pub(crate) fn running_attempt(&self, key: CommandKey, attempt: u32) -> Option<RunningAttempt> {
        let entry = self.entries.get(key.slot)?;
        entry.is_running(key, attempt).then(|| RunningAttempt {
            lane: entry.lane,
            overdue: entry.state == State::Overdue,
            timeout_ns: self.lanes[entry.lane.index()].policy.timeout_ns,
        })
    }

    /// Commands that are ready or delayed, over all lanes.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Commands that hold a slot, over all lanes.
    pub(crate) fn active(&self) -> usize {
        self.active
    }

    pub(crate) fn counts(&self, lane: LaneKey) -> LaneCounts {
        let state = &self.lanes[lane.index()];
        LaneCounts {
            pending: state.pending(),
            active: state.active,
            min: state.policy.min,
            max: state.policy.max,
        }
    }

    pub(crate) fn effective_priority(&self, lane: LaneKey, now: u64) -> u8 {
        self.lanes[lane.index()].effective_priority(now)
    }

    fn remove(&mut self, key: CommandKey) -> T {
        let entry = self.entries.remove(key.slot);
        entry.expect("the command is there").job
    }

    fn push_back(&mut self, slot: u32, lane: LaneKey) {
        let state = &mut self.lanes[lane.index()];
        state.ready += 1;
        let tail = state.tail;
        state.tail = slot;
        if tail == NONE {
            state.head = slot;
            state.head_submitted_at = self.entries[slot].submitted_at;
        } else {
            self.entries[tail].next = slot;
        }
        self.entries[slot].next = NONE;
    }

    fn pop_front(&mut self, lane: LaneKey) -> u32 {
        let state = &mut self.lanes[lane.index()];
        let slot = state.head;
        let next = self.entries[slot].next;
        state.ready -= 1;
        state.head = next;
        if next == NONE {
            state.tail = NONE;
        } else {
            state.head_submitted_at = self.entries[next].submitted_at;
        }
        slot
    }

    /// Brings the ready set up to date after anything about `lane` changed.
    fn refresh(&mut self, lane: LaneKey, now: u64) {
        let state = &mut self.lanes[lane.index()];
        let startable = state.could_start();
        self.startable = self.startable - state.startable + startable;
        state.startable = startable;
        if startable == 0 {
            self.ready.remove(lane.0);
            self.boosts.remove(lane.0);
            return;
        }
        let key = (state.effective_priority(now), state.last_served);
        match state.next_boost_at(now) {
            Some(at) => self.boosts.set(lane.0, at),
            None => self.boosts.remove(lane.0),
        }
        self.ready.set(lane.0, key);
    }
}

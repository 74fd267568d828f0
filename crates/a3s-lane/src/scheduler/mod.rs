//! The pure scheduler: a state machine that decides what runs next.
//!
//! Commands go in with [`submit`](Scheduler::submit), decisions come out of [`next`](Scheduler::next). It never reads
//! a clock (`now` is an argument, in nanoseconds since the queue's epoch), never waits and does no I/O; once its
//! buffers have grown to the load, dispatching allocates nothing for commands without terms, in lanes without a progress
//! limit and named limiters. Everything that the crate promises about order, limits and fairness is decided here and
//! tested without a runtime.
//!
//! The life of an entry:
//!
//! ```text
//!            +---- timer ---- Delayed <---- retry after a delay ----+
//!            v                                                      |
//! submit -> Ready -- next --> Running ---- conclude ---------> Concluded -- release --> gone
//!            |   ^               |                              ^   |
//!            |   |               | time limit: Dropped ---------+   |
//!            |   |               | stop: Asked -- grace --> Dropped |
//!            |   +---------------------- retry, preempted ----------+
//!            +-- too old for next: Expired -- tick --> gone
//! ```
//!
//! A command with a delay of its own is Delayed first. `stop` takes out what holds no slot; an Asked body may conclude by
//! itself.
//!
//! A slot is held from `next` to `release`. `conclude` decides the outcome and is refused for a run that is not running,
//! which is what makes every command settle once.
//!
//! What the engine calls, in the order of a command's life:
//!
//! | | |
//! |---|---|
//! | set up | `add_lane`, `set_policy`, `remove_lane`, `set_total`, `set_limiter`, `open`, `close` |
//! | in | `draw_serial`, `submit` |
//! | decide | `next` until it says `None`, then `preempt` until it does; `next_wake` says when to call `tick` |
//! | out | `conclude`, then `release`; `abandon` where the body is lost |
//! | stop | `stop`, `pause_lane`, `pause_key`, `tick` until it says `None` |
//! | from the body | `beat`, `settle_cost`, `await_child`, `leave_child` |
//! | ask | `counts`, `explain`, `commands`, `running`, `running_attempt` and others in `view` |
//!
//! Words. A command that runs holds a *slot* of its lane and a *share* of the total. In this folder a number called `slot` is the
//! entry's place in the `arena`. A parent that waits for a child sets its own slot and share aside for it. A *lent* child uses
//! an ancestor's slot of the lane and its parent's share; an *urged* child takes a slot of its own lane, on its parent's share.
//! Both are *favoured*: they start before the others of their lane. A running one *borrows*. A start that needs no free share
//! is *exempt* from the total.
//!
//! Read on in this order: `decision` (what goes in and out), `entry` (a command), `flow` and `keys` (the order inside a
//! lane), `lane`, this file (in and out), `ready` (the order between lanes), `ending`, `timers`, `stop`, `limits`; beside
//! them `terms`, `policy`, `heap`, `arena`, `explain` and `view`. Skip `nest` on a first reading, and every line that says
//! lent, urged, exempt, borrow or favour: it is about commands that wait for others.

mod arena;
mod decision;
mod ending;
mod entry;
mod explain;
mod flow;
mod heap;
mod keys;
mod lane;
#[cfg(feature = "distributed")]
mod limits;
#[cfg(test)]
#[cfg_attr(
    not(feature = "distributed"),
    allow(dead_code, unused_imports, reason = "part of it is about limiters")
)]
mod model;
mod nest;
mod policy;
#[cfg(test)]
#[cfg_attr(
    not(feature = "distributed"),
    allow(dead_code, unused_imports, reason = "part of it is about limiters")
)]
mod properties;
mod ready;
mod stop;
mod terms;
mod timers;
mod view;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use arena::Arena;
#[cfg(test)]
use decision::StopReason;
pub(crate) use decision::{
    CommandKey, Due, Ending, LaneCounts, LaneKey, Released, Start, Stopped, Submitted, Verdict,
};
use entry::{After, Entry, State};
pub(crate) use explain::{Explained, Obstacle};
use flow::{End, NONE};
use heap::IndexedHeap;
use lane::{Demand, LaneState};
#[cfg(feature = "distributed")]
pub(crate) use limits::{Counts, Limiter, LimiterKey};
use nest::{Favour, Freed};
pub(crate) use policy::LanePolicy;
pub(crate) use terms::Terms;

use crate::config::Overflow;

/// How long a body that must be dropped may take to give up its future before its slot is taken away, in nanoseconds.
///
/// An asynchronous body gives up at its next wake-up, far sooner; this bounds a body that blocks its thread.
pub(crate) const OVERRUN_GRACE_NS: u64 = 20_000_000;

/// A duration in the scheduler's unit; 584 years at the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How a lane ranks among those that can start a command: effective priority, then longest unserved.
type Rank = (u8, u64);

/// Lanes, their commands, and the order in which they run. `T` is what the caller keeps with each command.
#[derive(Debug)]
pub(crate) struct Scheduler<T> {
    lanes: Vec<LaneState>,
    /// Places of removed lanes.
    free_lanes: Vec<LaneKey>,
    entries: Arena<Entry<T>>,
    /// Lanes that have a command to start and a slot for it; under a total limit, those for which no slot is kept.
    ready: IndexedHeap<Rank>,
    /// Under a total limit the others: those below their minimum, for which slots are kept.
    reserved: IndexedHeap<Rank>,
    /// Lanes that have a command to start which the total limit does not concern: an awaited child.
    exempt: IndexedHeap<Rank>,
    /// Lanes that more urgent ones may take a running command from, by their own priority.
    givers: IndexedHeap<Reverse<u8>>,
    /// Ready lanes by the time when their effective priority changes.
    boosts: IndexedHeap<u64>,
    /// Lanes by the time until which a limit has refused them.
    blocks: IndexedHeap<u64>,
    /// Commands by the next time that means something to them, then by serial.
    timers: IndexedHeap<(u64, u64)>,
    #[cfg(feature = "distributed")]
    limits: Vec<Limiter>,
    /// Keys that are paused in all lanes.
    paused_keys: HashSet<Arc<str>>,
    /// The most commands that hold slots at once, over all lanes.
    total: Option<usize>,
    /// Lanes whose policy lets them lose running commands.
    preemptible_lanes: usize,
    open: bool,
    serial: u64,
    /// The number of the last start.
    served: u64,
    pending: usize,
    active: usize,
    /// The sum of what each lane can add.
    demand: Demand,
    /// Somebody asks how long commands wait.
    keeps_waits: bool,
    /// What came back to commands that wait, during a call.
    freed: Vec<Freed>,
}

impl<T> Scheduler<T> {
    pub(crate) fn new() -> Self {
        Self {
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            entries: Arena::new(),
            ready: IndexedHeap::new(),
            reserved: IndexedHeap::new(),
            exempt: IndexedHeap::new(),
            givers: IndexedHeap::new(),
            boosts: IndexedHeap::new(),
            blocks: IndexedHeap::new(),
            timers: IndexedHeap::new(),
            #[cfg(feature = "distributed")]
            limits: Vec::new(),
            paused_keys: HashSet::new(),
            total: None,
            preemptible_lanes: 0,
            open: false,
            serial: 0,
            served: 0,
            pending: 0,
            active: 0,
            demand: Demand::default(),
            keeps_waits: false,
            freed: Vec::new(),
        }
    }

    /// Lets commands start. Before this they only queue.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    /// Lets no more commands start.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn add_lane(&mut self, policy: LanePolicy) -> LaneKey {
        self.preemptible_lanes += usize::from(policy.preemptible);
        let mut state = LaneState::new(policy);
        if self.keeps_waits {
            state.keep_waits();
        }
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
        policy.inherit_tokens(&state.policy, now);
        self.preemptible_lanes -= usize::from(state.policy.preemptible);
        self.preemptible_lanes += usize::from(policy.preemptible);
        state.set_policy(&mut self.entries, policy);
        state.block = None;
        self.blocks.remove(lane.0);
        self.refresh(lane, now);
        self.pass_on(lane, now);
    }

    /// Takes a lane out; false while it has commands.
    pub(crate) fn remove_lane(&mut self, lane: LaneKey) -> bool {
        let state = &mut self.lanes[lane.index()];
        if state.removed || state.pending() + state.active > 0 {
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

    /// Whether `lane` was not removed, or its place has been taken by another one.
    pub(crate) fn has_lane(&self, lane: LaneKey) -> bool {
        !self.lanes[lane.index()].removed
    }

    /// Limits how many commands hold slots at once, over all lanes.
    pub(crate) fn set_total(&mut self, total: Option<usize>, now: u64) {
        self.total = total;
        self.refresh_all(now);
        // Without a total nobody needed a share.
        self.favour_all(now);
    }

    /// Draws the serial number of a command that will be submitted.
    pub(crate) fn draw_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Puts a command into its lane. A lane that is full gives it back, or gives up its oldest command instead.
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
        let is_child = terms.as_ref().is_some_and(|terms| terms.parent.is_some());
        // A child that waited for room might wait for its own parent.
        let waits = state.policy.overflow == Overflow::Wait && is_child;
        if state
            .policy
            .max_pending
            .is_some_and(|max| state.pending() >= max && !waits)
        {
            let oldest = match state.policy.overflow {
                Overflow::DropOldest => state.oldest_of_all(),
                Overflow::Reject | Overflow::Wait => None,
            };
            let Some(place) = oldest else {
                return Err(job);
            };
            evicted = Some((self.entries[place].key(place), self.withdraw(place, now)));
        }
        let (key, pressure) = self.admit(lane, serial, job, terms, now);
        Ok(Submitted {
            key,
            pressure,
            evicted,
        })
    }

    /// As [`submit`](Self::submit), whether or not the lane is full: what was accepted once is not refused. Also says whether the
    /// lane just reached its pressure threshold.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        lane: LaneKey,
        serial: u64,
        job: T,
        terms: Option<Box<Terms>>,
        now: u64,
    ) -> (CommandKey, bool) {
        let place = self.entries.insert(Entry {
            job,
            serial,
            submitted_at: now,
            since: now,
            terms,
            next: NONE,
            prev: NONE,
            lane,
            run: 0,
            state: State::Ready,
            stop: None,
            after: After::Leave,
        });
        self.pending += 1;
        self.enter(place, now);
        self.refresh(lane, now);
        let state = &mut self.lanes[lane.index()];
        let pressure = !state.pressed
            && state
                .policy
                .pressure_threshold
                .is_some_and(|threshold| state.pending() >= threshold);
        state.pressed |= pressure;
        (CommandKey { place, serial }, pressure)
    }

    /// Puts the ready commands that `which` means behind the others of their lanes, in the order of submission.
    pub(crate) fn put_behind(&mut self, which: impl Fn(&T) -> bool, now: u64) {
        let ready = self.entries.iter().filter(|(_, entry)| {
            entry.state == State::Ready && entry.favour() == Favour::None && which(&entry.job)
        });
        let mut ready: Vec<(u64, u32)> = ready.map(|(place, entry)| (entry.serial, place)).collect();
        ready.sort_unstable();
        for (_, place) in ready {
            self.unqueue(place);
            let lane = self.entries[place].lane;
            self.lanes[lane.index()].push(&mut self.entries, place, End::Back);
            self.refresh(lane, now);
        }
    }

    /// Gives a new entry its place: ready, or waiting for its time.
    fn enter(&mut self, place: u32, now: u64) {
        let entry = &mut self.entries[place];
        let state = &mut self.lanes[entry.lane.index()];
        let Some(terms) = &mut entry.terms else {
            state.join(None, 0, |_| false);
            state.push(&mut self.entries, place, End::Back);
            return;
        };
        let paused_keys = &self.paused_keys;
        let paused = |key: &Arc<str>| paused_keys.contains(key);
        terms.key_number = state.join(terms.key.as_ref(), terms.priority, paused);
        let delay = Some(terms.delay_until).filter(|at| *at > now);
        let timer = delay.into_iter().chain(terms.expires_at).min();
        if let Some(at) = timer {
            self.timers.set(place, (at, entry.serial));
        }
        if delay.is_some() {
            entry.state = State::Delayed;
            state.delayed += 1;
        } else {
            state.push(&mut self.entries, place, End::Back);
        }
    }

    /// The command that starts now, if any: the caller must start it.
    pub(crate) fn next(&mut self, now: u64) -> Option<Start> {
        if !self.open {
            return None;
        }
        self.age(now);
        loop {
            let lane = self.best_lane()?;
            let state = &self.lanes[lane.index()];
            let Some(place) = state.front(now) else {
                debug_assert!(false, "a lane in the ready set can start a command");
                return None;
            };
            if self.entries[place].is_expired(now) {
                self.shelve(place, now);
                continue;
            }
            #[cfg(feature = "distributed")]
            if state.policy.is_rated() {
                if let Err(due) = self.check_limits(lane, place, now) {
                    self.block(lane, place, due, now);
                    continue;
                }
                self.charge_limits(lane, place, now);
            }
            return Some(self.start(lane, place, now));
        }
    }

    fn start(&mut self, lane: LaneKey, place: u32, now: u64) -> Start {
        self.served += 1;
        self.pending -= 1;
        let entry = &self.entries[place];
        let (child, favour) = (entry.key(place), entry.favour());
        let state = &mut self.lanes[lane.index()];
        match favour {
            Favour::None => {
                self.active += 1;
                state.shares += 1;
                state.start(&mut self.entries, place);
            }
            Favour::Lent(_) | Favour::Urged => {
                let lent = favour != Favour::Urged;
                state.start_favoured(&mut self.entries, place, lent);
                self.borrow(child, favour);
            }
        }
        let state = &mut self.lanes[lane.index()];
        state.running.push_back(&mut self.entries, place);
        state.last_served = self.served;
        let relieved = state.pressed && state.pending() == 0;
        state.pressed &= !relieved;
        let entry = &mut self.entries[place];
        let wait_ns = now.saturating_sub(entry.since);
        let mut timeout_ns = state.policy.timeout_ns;
        let mut progress_ns = state.policy.progress_ns;
        entry.state = State::Running;
        entry.run = entry.run.saturating_add(1);
        entry.since = now;
        if progress_ns.is_some() {
            entry.terms.get_or_insert_default();
        }
        if let Some(terms) = &mut entry.terms {
            terms.run_timeout_ns = None;
            timeout_ns = terms.timeout_ns.unwrap_or(timeout_ns);
            progress_ns = terms.progress_ns.or(progress_ns);
            terms.silence_ns = progress_ns;
            if terms.expires_at.take().is_some() {
                self.timers.remove(place);
            }
        }
        let after = |limit: Option<u64>| limit.map_or(u64::MAX, |limit| now.saturating_add(limit));
        let until = after(timeout_ns);
        if let (Some(terms), Some(_)) = (&mut entry.terms, progress_ns) {
            terms.beat = now;
        }
        let timer = until.min(after(progress_ns));
        if timer != u64::MAX {
            self.timers.set(place, (timer, entry.serial));
        }
        let start = Start {
            key: entry.key(place),
            lane,
            run: entry.run,
            attempt: entry.attempt(),
            wait_ns,
            timeout_ns,
            progress_ns,
            stoppable: timeout_ns.is_some() || progress_ns.is_some() || state.policy.preemptible,
            relieved,
        };
        self.refresh(lane, now);
        start
    }

    /// Stops or resumes the starts of a lane. What runs goes on.
    pub(crate) fn pause_lane(&mut self, lane: LaneKey, paused: bool, now: u64) -> bool {
        let changed = std::mem::replace(&mut self.lanes[lane.index()].paused, paused) != paused;
        self.refresh(lane, now);
        self.pass_on(lane, now);
        changed
    }

    /// Stops or resumes the starts of commands of one key in all lanes. What runs goes on.
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

    /// Whether [`preempt`](Self::preempt) can ever find something to do.
    #[inline]
    pub(crate) fn may_preempt(&self) -> bool {
        self.preemptible_lanes > 0 && self.total.is_some()
    }
}

//! The pure scheduler: a state machine that decides what runs next.
//!
//! Commands go in with [`submit`](Scheduler::submit), decisions come out of [`next`](Scheduler::next). It never reads a clock
//! (`now` is an argument, in nanoseconds since the queue's epoch), never waits and does no I/O. Once its buffers have grown to
//! the load, dispatching commands without terms allocates nothing, but for progress limits and named limiters.
//!
//! The life of an entry:
//!
//! ```text
//!            +---- timer ---- Delayed <---- retry after a delay ----+
//!            v                                                      |
//! submit -> Ready -- next --> Running ---- conclude ---------> Concluded -- release --> gone
//!            |   ^               |                              ^   |
//!            |   |               | time limit, silence: Dropped +   |
//!            |   |               | stop, preempt: Asked --------+   |
//!            |   |               |         after the grace: Dropped |
//!            |   +---------------------- retry, preempted ----------+
//!            +-- too old for next: Expired -- tick --> gone
//! ```
//!
//! A command with a delay of its own is Delayed first. `stop` takes out what holds no slot; an Asked body may conclude by
//! itself, and without a grace it is Dropped at once. `abandon` takes out what holds a slot, in any state.
//!
//! A slot is held from `next` to `release`. `conclude` decides the outcome and is refused for a run that is not running,
//! which is what makes every command settle once.
//!
//! What the engine calls, in the order of a command's life:
//!
//! | | |
//! |---|---|
//! | set up | `new`, `add_lane`, `set_policy`, `remove_lane`, `set_total`, `add_limiter`, `set_limiter`, `set_open` |
//! | in | `draw_serial`, `submit`; what is restored: `admit`, `put_behind` |
//! | decide | `next` until `None`, at most as often as `startable` says (limits on starts per time may refuse); then, if `may_preempt`, `preempt` until `None`; `tick` until `None` at `next_wake` |
//! | out | `conclude`, then `release`; `abandon` where the body is lost; `take_waiting` at the end; `relieve` |
//! | free slots | `watch_slots`; `next_vacated` until `None`, after whatever may have freed one |
//! | stop | `stop`, `pause_lane`, `pause_key` |
//! | from the body | `beat`, `settle_cost`, `await_child`, `leave_child` |
//! | ask | `overview`, `lane`, `command`, `commands`, `running_attempt`, `job_mut`, `explain` |
//!
//! Words. A command that runs holds a *slot* of its lane and a *share* of the total limit. Of the total, shares are *kept* for
//! lanes below their minimum. A command is an *entry* at a *place* of the arena; lanes, keys and limiters have numbers, too.
//! The *front* of a lane is the command that it starts next; a lane whose front was refused by a limit is *blocked*. *Startable*
//! is how many commands could start, as far as the one who says so knows: a key, a lane, all lanes. A key of which no command is
//! in the lane is *absent*. *Favoured* are awaited children, which start *ahead* of the others in their lane; of these, *exempt*
//! ones could start now, and need no share.
//!
//! The main path, in the order in which to read it:
//!
//! | file | lines | |
//! |---|---|---|
//! | `decision` | 125 | what goes in and out |
//! | `entry` | 250 | a command, its states and times |
//! | this file | 360 | how one comes in and starts |
//! | `ready` | 230 | which lane is next: the example first |
//! | `ending` | 190 | how an attempt ends, and what it held is free again |
//! | `timers` | 125 | what is due when |
//! | `stop` | 75 | how one is asked to stop, and dropped |
//!
//! On it, take lanes at their word (`join`, `push`, `front`, `unlink`, `start`, `vacate`, `leave`), and skip what begins with
//! `nest_`, which does nothing for a command that neither has a parent nor is one. After every change of a lane `refresh` brings up
//! to date what others know of it.
//!
//! The rest is by subject, for when it is needed: `policy` and `terms` (what lanes and commands ask for); `lane`, `flow`, `keys` and
//! `keys/turns` (the order inside a lane); `preempt`; `limits` and `block`; `nest` (commands that wait for others which they
//! submitted); `setup`, `view`, `explain`, `waits`; the containers `heap` and `arena`; `steps` ends endless loops in tests.

mod arena;
mod block;
mod decision;
mod ending;
mod entry;
mod explain;
mod flow;
mod heap;
mod keys;
mod lane;
#[cfg_attr(not(feature = "distributed"), path = "unlimited.rs")]
mod limits;
#[cfg(test)]
#[cfg_attr(
    not(feature = "distributed"),
    allow(dead_code, unused_imports, reason = "part of it is about limiters")
)]
mod model;
mod nest;
mod policy;
mod preempt;
#[cfg(test)]
#[cfg_attr(
    not(feature = "distributed"),
    allow(dead_code, unused_imports, reason = "part of it is about limiters")
)]
mod properties;
mod ready;
mod setup;
mod steps;
mod stop;
mod terms;
mod timers;
mod view;
mod waits;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use arena::Arena;
#[cfg(test)]
use decision::StopReason;
pub(crate) use decision::{
    CommandKey, Due, Ending, LaneKey, Released, Start, Stopped, Submitted, Verdict,
};
use entry::{Entry, State};
pub(crate) use explain::{Explained, Obstacle};
use flow::End;
use heap::IndexedHeap;
use lane::LaneState;
#[cfg(feature = "distributed")]
pub(crate) use limits::{Counts, Limiter, LimiterKey};
use nest::Offer;
pub(crate) use policy::LanePolicy;
use ready::ReadySet;
pub(crate) use terms::Terms;
pub(crate) use view::{LaneCounts, Overview};

use crate::config::Overflow;

/// How long a body that must be dropped may take to give up its future before its slot is taken away, in nanoseconds.
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
    /// Numbers of removed lanes.
    free_lanes: Vec<LaneKey>,
    entries: Arena<Entry<T>>,
    ready: ReadySet,
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
    /// How many shares there are: the most commands that run at once, over all lanes; `usize::MAX` without a limit. A
    /// command that waits for a child does not run.
    total: usize,
    /// Lanes whose policy lets them lose running commands.
    preemptible_lanes: usize,
    open: bool,
    serial: u64,
    /// The number of the last start.
    served: u64,
    pending: usize,
    /// Shares that are in use.
    shares: usize,
    /// Somebody asks how long commands wait.
    keeps_waits: bool,
    /// Awaited children that are to start before the others of their lanes.
    favoured: usize,
    /// What such children may get before the call ends.
    nest_offers: Vec<Offer>,
    /// Lanes that were watched and got a free slot.
    vacated: Vec<LaneKey>,
}

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
        if state.is_full(terms.as_ref().is_some_and(|terms| terms.parent.is_some())) {
            let drops = state.policy.overflow == Overflow::DropOldest;
            let Some(place) = state.oldest_of_all().filter(|_| drops) else {
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
        let entry = Entry::new(job, serial, lane, terms, now);
        let place = self.entries.insert(entry);
        self.pending += 1;
        self.enter(place, now);
        self.refresh(lane, now);
        let pressure = self.lanes[lane.index()].press();
        (CommandKey { place, serial }, pressure)
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
        terms.notes.key_number = state.join(terms.key.as_ref(), terms.priority, paused);
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
        self.nest_submit(place);
    }

    /// The command that starts now, if any: the caller must start it.
    pub(crate) fn next(&mut self, now: u64) -> Option<Start> {
        if !self.open {
            return None;
        }
        self.catch_up(now);
        let mut steps = self.steps();
        loop {
            steps.count();
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

    /// The front of a lane starts: it gets a slot and a share, or uses those that are set aside for it.
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
            stoppable: timeout_ns.is_some() || progress_ns.is_some() || state.policy.preemptible,
            relieved,
        };
        let limit = timeout_ns
            .unwrap_or(u64::MAX)
            .min(progress_ns.unwrap_or(u64::MAX));
        match now.saturating_add(limit) {
            // It may have had a time to live.
            u64::MAX if entry.terms.is_some() => self.timers.remove(place),
            u64::MAX => {}
            at => self.timers.set(place, (at, entry.serial)),
        }
        self.refresh(lane, now);
        start
    }
}

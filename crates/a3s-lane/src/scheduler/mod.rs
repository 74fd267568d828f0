//! The pure scheduler: a state machine that decides what runs next.
//!
//! Commands go in with [`submit`](Scheduler::submit), decisions come out of [`next`](Scheduler::next). It never reads a clock
//! (`now` is an argument, in nanoseconds since the queue's epoch), never waits and does no I/O.
//!
//! The life of a command:
//!
//! ```text
//!            +---- timer ---- Delayed <---- retry after a delay ----+
//!            v                                                      |
//! submit -> Ready -- next --> Running ---- conclude ---------> Concluded -- release --> gone
//!            |   ^               |                              ^   |
//!            |   |               | time limit, silence: Dropped +   |
//!            |   |               | stop, preempt: Asked --------+   |
//!            |   |               | Asked, grace over: Dropped --+   |
//!            |   +---------------------- retry, preempted ----------+
//!            +-- found too old: Expired -- tick --> gone
//! ```
//!
//! A command with a delay of its own is Delayed first. The two ways back go through `release` as well. `stop` takes out a waiting
//! command (Ready, Delayed, Expired) at once, and `tick` one that has waited too long. Without a grace, Asked is left out.
//!
//! A slot is held from `next` to `release`. `conclude` decides the outcome. It refuses a run that is over, so every command settles
//! once. `complete` is `conclude` and `release` in one; `abandon` gives up a command whose runner is gone.
//!
//! Read the files of this folder in this order. Each sub-folder is a subject for when it is needed (the map is in
//! `ARCHITECTURE.md`); `lane` says which command of a lane goes first: its *front*.
//!
//! | file | lines | |
//! |---|---|---|
//! | this one | 170 | words, and what the scheduler holds |
//! | `entry` | 95 | a command and its states; `entry/terms` and `entry/answers` to look things up |
//! | `starting` | 180 | how one comes in and starts; `take_out` and `take_from_queue` are in `stop` |
//! | `ready` | 250 | which lane is next: the example, then `Demand`, then the rest |
//! | `ending` | 150 | how an attempt ends, and what it held is free again |
//! | `stop` | 95 | how one is asked to stop, dropped, or taken out before it starts |
//! | `timers` | 100 | what is due when |
//! | `decision` | 110 | what goes in and out, to look things up |
//!
//! Words. The `T` that the caller keeps with a command is its *job*. What a command asks for beside its lane's policy is in its
//! *terms*; most have none. In the terms, the *notes* are what the scheduler remembers of it. A command is an *entry* at a *place*;
//! its *serial* is its number in the order of submission. A *run* is one start. An *attempt* is a run that counts: a preempted one
//! does not. The *body* is what the caller runs. `beat` is its *sign of life*; *silence* is none for too long. The *grace* is how
//! long the body may go on after it was asked to stop.
//!
//! A command that runs holds a *slot* of its lane and a *share* of the total limit. A lane is *blocked* when a limit on starts per
//! time has refused its front: it starts nothing until the limit grants or its front may have changed. A *fairness key* is a
//! name that commands of a lane may carry; those of different keys take turns. A `CommandKey` says which command and a `LaneKey`
//! which lane: these are no fairness keys.
//!
//! `entries[place]` panics if nothing is there. `alive` is `None` once the command is gone, `running_mut` once that run is over.
//! A local `state` is a lane's; a command's is `entry.state`.
//!
//! To look up, what is asked of a lane:
//!
//! | | |
//! |---|---|
//! | `join`, `leave` | a command belongs to the lane from here to there, which matters to fairness keys |
//! | `push`, `unlink` | it enters the lane's queue, leaves it |
//! | `front` | the one in it that starts next: a favoured child; else, where a long wait raises the lane's priority (a *boost*), the oldest once it has waited so long; else by priority, then by turns of the fairness keys, then first come |
//! | `press`, `relieve` | true once when it becomes *pressed* (its pressure threshold is reached), and once when it is no more (nothing waits in it) |
//! | `start`, `vacate` | it goes from the queue into a slot, gives the slot back |
//! | `unready` | how many wait outside of the queue, delayed or expired |
//! | `startable` | how many could start, as far as slots (its own, and lent ones), keys and pauses go |
//! | `exempt` | how many of these need no free share (see below) |
//! | `urgency` | its effective priority, and when that changes next |
//! | `shares` | how many of the total it uses |
//! | `running` | who holds a slot, in the order of starts; `start` and `vacate` leave it to the caller |
//! | `stopping` | how many of those are not Running any more: Asked, Dropped, Concluded; for `preempt` |
//!
//! Functions that begin with `nest_` are about commands that have a parent or are one. A parent that waits for a child lends it its
//! share and, if the child is in its own lane, its slot (`nest` says when). The child for which it keeps them ready is *favoured*:
//! it goes first in its lane. Favoured ones that could start are *exempt*: they need no free share. Without such ties the functions
//! change nothing. Those that return a bool say whether they have done the step themselves: then the caller leaves it out.
//!
//! After each change of a lane, `refresh` brings up to date what follows from it: its rank and its demand (`ready`), offers to
//! children. `is_indifferent` (one more has joined) and `is_indifferent_to_room` (one has gone) are true where that would find
//! nothing new.
//!
//! The caller: after a call that may let something start, `next` until `None`, then `preempt` until `None`. Then `next_wake` says
//! when to come again, with `tick` until `None`, and the same.

mod collections;
mod decision;
mod ending;
mod entry;
mod lane;
mod limits;
#[cfg(test)]
mod model;
mod nest;
mod preempt;
#[cfg(test)]
mod properties;
mod ready;
mod setup;
mod starting;
mod stop;
mod timers;
mod view;

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::HashSet;

pub(crate) use collections::CommandKey;
use collections::{Arena, IndexedHeap};
pub(crate) use decision::{Due, Ending, Released, Stopped, Verdict};
#[cfg(test)]
use decision::{Start, StopReason};
use entry::Entry;
pub(crate) use entry::Terms;
use lane::LaneState;
pub(crate) use lane::{LaneKey, LanePolicy, nanos};
#[cfg(feature = "distributed")]
pub(crate) use limits::{Counts, Limiter, LimiterKey};
use nest::Offer;
use ready::ReadySet;
pub(crate) use stop::OVERRUN_GRACE_NS;
pub(crate) use view::{Explained, LaneCounts, Obstacle, Overview};

/// Lanes, their commands, and the order in which they run. `T` is what the caller keeps with each command.
#[derive(Debug)]
pub(crate) struct Scheduler<T> {
    lanes: Vec<LaneState>,
    /// Numbers of removed lanes.
    free_lanes: Vec<LaneKey>,
    entries: Arena<Entry<T>>,
    ready: ReadySet,
    /// Lanes in the ready set, by the time when their effective priority changes.
    boosts: IndexedHeap<u64>,
    /// Lanes that a limit has refused, by when to look again: when it grants, or the effective priority changes.
    blocks: IndexedHeap<u64>,
    /// Commands by the next time that means something to them, then by serial.
    timers: IndexedHeap<(u64, u64)>,
    #[cfg(feature = "distributed")]
    limits: Vec<Limiter>,
    /// Keys that are paused in all lanes.
    paused_keys: HashSet<Arc<str>>,
    /// How many shares there are: the most commands that run at once, over all lanes; `usize::MAX` without a limit. A
    /// parent that waits and the child that uses its share count as one.
    total: usize,
    /// Commands may start.
    open: bool,
    /// The last serial that was drawn.
    serial: u64,
    /// The number of the last start.
    served: u64,
    /// Commands that hold no slot.
    pending: usize,
    /// Shares that are in use.
    shares: usize,
    /// For `preempt`: lanes that more urgent ones may take a running command from, by their own priority.
    givers: IndexedHeap<Reverse<u8>>,
    /// For `preempt`: how many lanes there are whose policy lets them lose running commands.
    preemptible_lanes: usize,
    /// For `nest`: how many awaited children are to start before the others of their lanes.
    favoured: usize,
    /// For `nest`: what awaited children may get before the call ends.
    nest_offers: Vec<Offer>,
    /// For the caller: lanes that were watched (`watch_slots`) and got a free slot since.
    vacated: Vec<LaneKey>,
    /// For the caller, who asks how long commands wait: lanes record it.
    keeps_waits: bool,
}

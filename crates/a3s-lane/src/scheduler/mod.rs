//! The pure scheduler: a state machine that decides what runs next.
//!
//! Commands go in with [`submit`](Scheduler::submit), decisions come out of [`next`](Scheduler::next). It never reads a clock
//! (`now` is an argument, in nanoseconds since the queue's epoch), never waits and does no I/O. Once its buffers have grown to
//! the load, dispatching commands without terms allocates nothing, but for progress limits, named limiters, lanes that keep ages
//! (boost, drop-oldest) and runs that are preempted.
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
//!            |   |               |         after the grace: Dropped |
//!            |   +---------------------- retry, preempted ----------+
//!            +-- found too old: Expired -- tick --> gone
//! ```
//!
//! A command with a delay of its own is Delayed first. `release` also takes the ways back. `stop` takes out what holds no slot,
//! and `tick` what is too old, from any state in which it waits. Without a grace Asked is left out. A slot is held from `next` to
//! `release`; `complete` is `conclude` and `release` in one, and `abandon` gives up a run whose runner is gone. `conclude` decides
//! the outcome and is refused for a run that is not running, which is what makes every command settle once.
//!
//! To read it top to bottom, take the files of this folder in this order. Which lane starts next, and its front, is decided in
//! the first five; the others are how it ends. Each folder in it is a subject, for when it is needed (the map in
//! `ARCHITECTURE.md`): the order inside a lane is `lane`, and in there `flow` and `keys`.
//!
//! | file | lines | |
//! |---|---|---|
//! | this one | 180 | words, and what the scheduler holds |
//! | `decision` | 110 | what goes in and out |
//! | `entry` | 95 | a command and its states; `entry/terms` and `entry/answers` to look things up |
//! | `starting` | 180 | how one comes in and starts; of `stop` it uses `withdraw` and `take_from_queue`, whose names say enough |
//! | `ready` | 240 | which lane is next: `Demand`, then the example, then the rest |
//! | `ending` | 150 | how an attempt ends, and what it held is free again |
//! | `stop` | 95 | how one is asked to stop, dropped, or taken out before it starts |
//! | `timers` | 90 | what is due when |
//!
//! Words. The `T` that the caller keeps with a command is its *job*; what few commands ask for is in their *terms*, and what the
//! scheduler remembers of those in its *notes*. A command is an *entry* at a *place*; its *serial* is its number in the order of
//! submission. A *run* is one start; an *attempt* is a run that counts, as one that was preempted does not. What the caller runs is
//! the *body*. `beat` is its *sign of life*, *silence* is none for too long, the *grace* is how long it may go on once it was
//! asked to stop.
//!
//! A command that runs holds a *slot* of its lane and a *share* of the total limit. Of the total, shares are *kept* for lanes below
//! their minimum. A lane is *pressed* from when a submission brings it to its pressure threshold until nothing waits in it, which
//! is its relief. One whose front was refused by a limit on starts per time is *blocked*: it starts nothing until the limit
//! grants, or another command is its front. Its *effective priority* is its own, or a more urgent one (a *boost*) once its oldest
//! command has waited long. A *fairness key* is a name that commands of a lane may carry; those of different keys take turns. In
//! `lane` and `keys` a bare `key` is the number of one; a `CommandKey` says which command, a `LaneKey` which lane.
//!
//! `entries[place]` is there, or it panics; `alive` is `None` once the command is gone, `running_mut` once that run is over.
//!
//! Of a lane the path needs no more than this:
//!
//! | | |
//! |---|---|
//! | `join`, `leave` | a command belongs to the lane from here to there, which matters to fairness keys |
//! | `push`, `unlink` | it enters the lane's queue, leaves it |
//! | `front` | the one in it that starts next: a favoured child; else, with a boost, the oldest once it has waited the boost's deadline; else by priority, then by turns of the keys, then first come (`lane`, and in there `flow` and `keys`) |
//! | `start`, `vacate` | it goes from the queue into a slot, gives the slot back |
//! | `ready`, `unready` | how many are in the queue; how many wait outside of it, delayed or expired |
//! | `startable`, `exempt` | how many could start, as far as slots (its own, and lent ones) and keys go; how many of these are exempt |
//! | `urgency` | its effective priority, and when that changes next |
//! | `slots`, `shares` | how many are in use |
//! | `running` | who holds a slot, in the order of starts; `start` and `vacate` leave it to the caller |
//! | `stopping` | how many of those were asked to stop or are concluded: a count for `preempt` |
//!
//! What begins with `nest_` is about commands that have a parent or are one: a parent that waits for a child lends it its share
//! and, in its own lane, its slot (`nest` says when). A child for which something is set aside is *favoured*: it goes first in its
//! lane. While it could start it is *exempt*: it needs no free share. Without such ties these functions change nothing, and those
//! that answer answer false; one that answers true has done the step itself. After each change of a lane, `refresh` brings up to
//! date what others know of it.
//!
//! In an `IndexedHeap`, the smallest key first, `assign` puts a number in, moves it, or takes it out when it has no key; `pop_if` takes
//! out the first if its key is accepted.
//!
//! What the engine calls, to look up:
//!
//! | | |
//! |---|---|
//! | in | `draw_serial`, `submit`; `admit`, which refuses and gives up nothing |
//! | run | `next`, `startable`; then `complete`, or `conclude` and `release`, or `abandon`; meanwhile `beat`, `running_attempt`, `settle_cost` |
//! | time | `tick`, `next_wake` |
//! | stop | `stop`, `take_waiting`; `may_preempt`, `preempt` |
//! | nested work | `await_child`, `leave_child` |
//! | set up | `new`, `set_open`, `add_lane`, `set_policy`, `remove_lane`, `set_total`, `pause_lane`, `pause_key`, `put_behind`, `add_limiter`, `set_limiter` |
//! | told | `relieve`, `watch_slots`, `has_vacated`, `next_vacated` |
//! | views | `overview`, `lane`, `command`, `commands`, `job_mut`, `explain` |
//!
//! After any of these that may let something start: `next` until `None`, then `preempt` until `None`; the engine's runners share these
//! calls of `next`, and it takes a `startable` of 0 for their `None`. Then `next_wake` may be another; at that time: `tick` until `None`,
//! and the same.

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
    /// command that waits for a child does not run.
    total: usize,
    /// Commands may start.
    open: bool,
    /// The last serial that was drawn.
    serial: u64,
    /// The number of the last start.
    served: u64,
    pending: usize,
    /// Shares that are in use.
    shares: usize,
    /// For `preempt`: lanes that more urgent ones may take a running command from, by their own priority.
    givers: IndexedHeap<Reverse<u8>>,
    /// For `preempt`: how many lanes there are whose policy lets them lose running commands.
    preemptible_lanes: usize,
    /// For `nest`: how many awaited children are to start before the others of their lanes.
    favoured: usize,
    /// For `nest`: what such children may get before the call ends.
    nest_offers: Vec<Offer>,
    /// For the caller: lanes that were watched (`watch_slots`) and got a free slot since.
    vacated: Vec<LaneKey>,
    /// For the caller, who asks how long commands wait.
    keeps_waits: bool,
}

//! Submissions that are left at the door while other threads are busy with the lock.
//!
//! When several threads submit and finish at once, each of them waits for the lock, and then for the other's memory: far longer
//! than its own work takes. Yet some submissions change nothing but the queue of their lane, and whoever takes the lock next may
//! as well put them there. There are two kinds:
//!
//! - into a lane without a free slot;
//! - while more runners are armed than can run at once: they will take the lock, and no more would be armed.
//!
//! > A *door* is open only while that holds, whenever the lock is released with its follow-up done. Whoever takes the lock puts
//! > what is in the inbox into its lanes first.
//!
//! So nobody sees a state without what was submitted before, submissions keep their order, and what could start is never left
//! lying. The first kind may lie there until a slot is free: only while nobody listens or counts. Doors open only where two
//! threads have wanted the lock at once, and only for lanes that refuse no submission ([`Posting`]).
//! [`Engine::review_doors`] shuts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap as FastMap;

use super::admission::{Incoming, Target};
use super::sync::{AtomicUsize, Mutex, lock};
use super::{Engine, State};
use crate::scheduler::LaneKey;

#[cfg(all(test, not(shuttle)))]
mod tests;

/// The most submissions that wait in the inbox: the next submitter takes the lock, and empties it.
const MOST: usize = 64;

/// Which submissions without options may wait in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Posting {
    /// None: some may be refused, or the submitter has something to do when its command has entered.
    Never,
    /// Those that are taken out soon: metrics count them.
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "metrics"))]
    Soon,
    /// All, as long as nobody listens.
    Ever,
}

#[derive(Default)]
pub(super) struct Inbox {
    doors: Mutex<Doors>,
    /// Some door is open. A hint: the doors themselves say which.
    any_open: AtomicBool,
    /// How many submissions wait. Changed under the lock of `doors`.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Doors {
    lanes: FastMap<Arc<str>, Door, foldhash::fast::RandomState>,
    /// How many of them are full.
    full: usize,
    /// More runners are armed than can run at once.
    crowded: bool,
    posts: Vec<Post>,
}

/// The door of one lane.
struct Door {
    lane: LaneKey,
    /// It has no free slot.
    full: bool,
}

/// A submission that was accepted and is not in its lane yet.
struct Post {
    lane: LaneKey,
    incoming: Incoming,
    at: u64,
}

/// What the holder of the lock knows of the inbox.
#[derive(Default)]
pub(super) struct Doorkeeper {
    /// As that of the doors.
    crowded: bool,
    /// A buffer that goes to and fro.
    spare: Vec<Post>,
}

impl Doors {
    fn set_full(&mut self, lane: &Arc<str>, full: bool) {
        if let Some(door) = self.lanes.get_mut(lane) {
            self.full -= usize::from(door.full);
            door.full = full;
            self.full += usize::from(full);
        }
    }

    fn any_open(&self) -> bool {
        self.crowded || self.full > 0
    }
}

impl Engine {
    /// Whether [`post`](Self::post) is worth a try.
    #[inline]
    pub(super) fn may_post(&self) -> bool {
        self.inbox.any_open.load(Ordering::Relaxed)
    }

    /// Leaves a command without options at the door of its lane, if that is open. Gives it back otherwise.
    #[inline(never)]
    pub(super) fn post(
        &self,
        target: Target<'_>,
        incoming: Incoming,
        at: u64,
    ) -> Result<(), Incoming> {
        let inbox = &self.inbox;
        let is_heard = self.emitter.has_listeners();
        let mut doors = lock(&inbox.doors);
        let count = doors.posts.len();
        let door = doors.lanes.get(target.id);
        match door.filter(|door| count < MOST && (doors.crowded || (door.full && !is_heard))) {
            Some(&Door { lane, .. }) => {
                doors.posts.push(Post { lane, incoming, at });
                inbox.waiting.store(count + 1, Ordering::Relaxed);
                Ok(())
            }
            None => Err(incoming),
        }
    }

    /// Whether the inbox holds something. A thread sees what it knows to have been submitted before.
    #[inline]
    pub(super) fn has_posts(&self) -> bool {
        self.inbox.waiting.load(Ordering::Relaxed) > 0
    }

    /// Puts what is in the inbox into its lanes: the first thing under the lock.
    #[inline]
    pub(super) fn collect_posts(&self, state: &mut State) {
        if self.has_posts() {
            self.change_doors(state, |_| {});
        }
    }

    /// Opens the door of a lane, if it may be open. Called under the lock, by a submitter that had to wait for it.
    #[cold]
    pub(super) fn open_door(&self, state: &mut State, lane: LaneKey) {
        let info = Arc::clone(&state.lanes[lane.index()]);
        if info.posting == Posting::Never {
            return;
        }
        let full = info.posting == Posting::Ever && state.scheduler.watch_slots(lane);
        let crowded = self.is_crowded(state);
        if full || crowded {
            state.doorkeeper.crowded = crowded;
            self.change_doors(state, |doors| {
                doors.crowded = crowded;
                let door = doors.lanes.entry(Arc::clone(&info.id));
                door.or_insert(Door { lane, full: false });
                doors.set_full(&info.id, full);
            });
        }
    }

    /// Whether one more submission would call for nothing: enough runners are armed. One that needs a preemption, or a start at
    /// an executor, would.
    fn is_crowded(&self, state: &State) -> bool {
        state.armed > state.workers
            && !state.scheduler.may_preempt()
            && !self.handlers.has_executors()
    }

    /// Whether [`review_doors`](Self::review_doors) would change nothing.
    #[inline]
    pub(super) fn has_doors_right(&self, state: &State) -> bool {
        !state.doorkeeper.crowded && !state.scheduler.has_vacated()
    }

    /// Shuts the doors that may be open no more; true if something came in by them. Part of the follow-up.
    #[inline]
    pub(super) fn review_doors(&self, state: &mut State) -> bool {
        let mut came_in = false;
        while let Some(lane) = state.scheduler.next_vacated() {
            if !state.scheduler.watch_slots(lane) {
                let id = Arc::clone(&state.lanes[lane.index()].id);
                came_in |= self.change_doors(state, |doors| doors.set_full(&id, false));
            }
        }
        if state.doorkeeper.crowded && !self.is_crowded(state) {
            state.doorkeeper.crowded = false;
            came_in |= self.change_doors(state, |doors| doors.crowded = false);
        }
        came_in
    }

    /// Shuts all doors: from here on nothing comes in but under the lock.
    pub(super) fn shut_doors(&self, state: &mut State) {
        state.doorkeeper.crowded = false;
        self.change_doors(state, |doors| {
            doors.lanes.clear();
            doors.full = 0;
            doors.crowded = false;
        });
    }

    /// Changes which doors are open, and empties the inbox; true if something was in it.
    #[inline(never)]
    fn change_doors(&self, state: &mut State, change: impl FnOnce(&mut Doors)) -> bool {
        let mut posts = std::mem::take(&mut state.doorkeeper.spare);
        {
            let mut doors = lock(&self.inbox.doors);
            change(&mut doors);
            std::mem::swap(&mut doors.posts, &mut posts);
            self.inbox.waiting.store(0, Ordering::Relaxed);
            self.inbox
                .any_open
                .store(doors.any_open(), Ordering::Relaxed);
        }
        let came_in = !posts.is_empty();
        for post in posts.drain(..) {
            // Not refused any more: it was accepted when it came.
            state.enter_freely(self, post.lane, post.incoming, post.at);
        }
        state.doorkeeper.spare = posts;
        came_in
    }
}

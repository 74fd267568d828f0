//! Commands of lanes with a storage that have completed: the storage is told of all that complete at about the same time in
//! one call.
//!
//! Each holds its slot until the storage has taken that down, or could not, so there are no more of them than slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Utc;

use super::Engine;
use super::attempt::drop_command;
use super::settle::{Finished, Outcome, Settled};
use super::sync::{Mutex, lock, requeue};
use crate::error::LaneError;
use crate::scheduler::Verdict;
use crate::storage::Storage;

/// How many slots are freed under one lock at most, so that others get it in between.
const FREED_AT_ONCE: usize = 32;

/// Completed commands whose storage nobody has told yet.
#[derive(Default)]
pub(super) struct Ends(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    ends: Vec<Finished>,
    /// The room of an earlier group, for the next: to get as much anew costs as much as a command.
    room: Vec<Finished>,
}

impl Ends {
    /// Adds one; true for the first, after which a [`Group`] must be spawned.
    pub(super) fn add(&self, finished: Finished) -> bool {
        let mut waiting = lock(&self.0);
        waiting.ends.push(finished);
        waiting.ends.len() == 1
    }

    fn take(&self) -> Vec<Finished> {
        let mut waiting = lock(&self.0);
        let room = std::mem::take(&mut waiting.room);
        std::mem::replace(&mut waiting.ends, room)
    }

    /// Keeps what has been emptied.
    fn give_room_back(&self, room: Vec<Finished>) {
        let mut waiting = lock(&self.0);
        if room.is_empty() && room.capacity() > waiting.room.capacity() {
            waiting.room = room;
        }
    }
}

/// A task that tells a storage of completed commands, frees their slots and resolves their receivers. Dropping it before its end,
/// as a runtime does when it shuts down, settles them and closes the engine.
pub(super) struct Group {
    engine: Arc<Engine>,
    /// What it has taken and whose slots are not free yet.
    taken: Vec<Finished>,
    /// It has not taken what waits.
    is_new: bool,
    /// The storage has the word.
    is_telling: bool,
}

impl Group {
    pub(super) fn of(engine: &Arc<Engine>) -> Self {
        let mut group = Self::with(engine, Vec::new());
        group.is_new = true;
        group
    }

    fn with(engine: &Arc<Engine>, taken: Vec<Finished>) -> Self {
        Self {
            engine: Arc::clone(engine),
            taken,
            is_new: false,
            is_telling: false,
        }
    }

    pub(super) async fn run(mut self) {
        // What is about to end goes along.
        requeue().await;
        self.take();
        let Some(storage) = self.send_others_away() else {
            return;
        };
        let engine = Arc::clone(&self.engine);
        let now = Utc::now();
        let settlements = self.taken.iter();
        let settlements = settlements.map(|finished| engine.settlement(finished, now));
        let settlements = settlements.collect();
        self.is_telling = true;
        let told = storage.settle_commands(settlements).await;
        self.is_telling = false;
        match told {
            Ok(()) => {
                // While the slots are held: whoever waits until nothing runs waits for that too.
                if engine.has_untold.load(Ordering::Relaxed) {
                    engine.tell_untold_soon();
                }
                self.free(true);
            }
            // Of several, one alone may be what cannot be done.
            Err(_) if self.taken.len() > 1 => self.part(),
            Err(error) => {
                for finished in &self.taken {
                    engine.keep_untold(&storage, engine.settlement(finished, now), &error);
                }
                self.free(false);
            }
        }
    }

    /// Has the storage told of each alone, at the same time.
    fn part(&mut self) {
        for finished in std::mem::take(&mut self.taken) {
            let alone = Self::with(&self.engine, vec![finished]);
            self.engine.spawn(alone.run());
        }
    }

    /// Frees the slots and resolves the receivers. `told` says that the storage knows.
    fn free(&mut self, told: bool) {
        let engine = Arc::clone(&self.engine);
        let mut settled = Vec::with_capacity(self.taken.len().min(FREED_AT_ONCE));
        while !self.taken.is_empty() {
            let some = self.taken.len().min(FREED_AT_ONCE);
            engine.free_ended(self.taken.drain(..some), told, &mut settled);
        }
        engine.ends.give_room_back(std::mem::take(&mut self.taken));
        engine.check_quiet();
    }

    fn take(&mut self) {
        if std::mem::take(&mut self.is_new) {
            self.taken = self.engine.ends.take();
        }
    }

    /// The storage of the first command. Those of others go to tasks of their own: one storage does not wait for another.
    fn send_others_away(&mut self) -> Option<Arc<dyn Storage>> {
        let storage = self.taken.first()?.lane.storage.clone()?;
        let is_other = |finished: &Finished| {
            let other = finished.lane.storage.as_ref();
            other.is_none_or(|other| other.identity() != storage.identity())
        };
        if self.taken.iter().any(is_other) {
            let (others, own) = self.taken.drain(..).partition(is_other);
            self.taken = own;
            self.engine.spawn(Self::with(&self.engine, others).run());
        }
        Some(storage)
    }
}

impl Engine {
    /// Frees the slots of commands that have completed, under one lock, and resolves their receivers. `settled` is room for them.
    fn free_ended<'a>(
        self: &'a Arc<Self>,
        ended: impl Iterator<Item = Finished>,
        told: bool,
        settled: &mut Vec<Settled<'a>>,
    ) {
        let now = self.now();
        let mut state = self.lock();
        for finished in ended {
            let extras = finished.extras.as_ref().filter(|_| told);
            if let Some(id) = extras.and_then(|extras| extras.id.clone()) {
                state.kept.was_removed(id);
            }
            let outcome = Outcome {
                verdict: Verdict::Settle,
                letter: None,
            };
            settled.push(self.free(&mut state, finished, outcome, now));
        }
        self.release_lock(state);
        for settled in settled.drain(..) {
            settled.trace();
            settled.resolve();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let was_new = self.is_new;
        self.take();
        if self.taken.is_empty() {
            return;
        }
        let gone = "the runtime was shut down";
        let panicked = std::thread::panicking();
        if panicked && (was_new || self.taken.len() > 1) {
            // Of several, one alone may be what the storage cannot bear; a new group has told it of nothing. On a runtime that
            // is gone each of them ends here again, alone.
            return self.part();
        }
        let storage_panicked = panicked && self.is_telling;
        for finished in self.taken.drain(..) {
            let error = if storage_panicked {
                LaneError::Panicked("the storage panicked".to_owned())
            } else {
                LaneError::QueueError(gone.to_owned())
            };
            self.engine.give_up(finished.key, finished.run, error);
            drop_command(finished.work, &finished.lane.id);
        }
        if storage_panicked {
            self.engine.release_lock(self.engine.lock());
        } else {
            self.engine.close(gone);
        }
        self.engine.check_quiet();
    }
}

//! Commands of lanes with a storage that have completed: the storage is told of all that complete at about the same time in
//! one call.
//!
//! Each holds its slot until the storage has taken that down, so there are no more of them than slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Utc;

use super::Engine;
use super::settle::{Finished, Outcome, Settled, drop_command};
use super::sync::{Mutex, lock, yield_now};
use crate::error::LaneError;
use crate::scheduler::Verdict;
use crate::storage::Storage;

/// How many slots are freed under one lock at most, so that others get it in between.
const FREED_AT_ONCE: usize = 32;

/// Completed commands whose storage nobody has told yet.
#[derive(Default)]
pub(super) struct Ends(Mutex<Vec<Finished>>);

impl Ends {
    /// Adds one; true for the first, after which a [`Telling`] must be spawned.
    pub(super) fn add(&self, finished: Finished) -> bool {
        let mut waiting = lock(&self.0);
        waiting.push(finished);
        waiting.len() == 1
    }

    fn take(&self) -> Vec<Finished> {
        let mut waiting = lock(&self.0);
        // As much room as was needed now: the next ones are likely to be as many.
        let room = Vec::with_capacity(waiting.len());
        std::mem::replace(&mut waiting, room)
    }
}

/// A task that tells a storage of completed commands, frees their slots and resolves their receivers. Dropping it before its end,
/// as a runtime does when it shuts down, settles them and closes the engine.
pub(super) struct Telling {
    engine: Arc<Engine>,
    /// What it has taken and not told yet.
    taken: Vec<Finished>,
    /// It has not taken what waits.
    is_new: bool,
}

impl Telling {
    pub(super) fn of(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
            taken: Vec::new(),
            is_new: true,
        }
    }

    fn with(engine: &Arc<Engine>, taken: Vec<Finished>) -> Self {
        Self {
            engine: Arc::clone(engine),
            taken,
            is_new: false,
        }
    }

    pub(super) async fn run(mut self) {
        // What is about to end goes along.
        yield_now().await;
        self.take();
        let Some(storage) = self.send_others_away() else {
            return;
        };
        let engine = Arc::clone(&self.engine);
        let mut at_once = self.taken.len();
        while !self.taken.is_empty() {
            let group = self.taken.iter().take(at_once);
            let now = Utc::now();
            let settlements = group.map(|finished| engine.settlement(finished, now));
            let told = storage.settle_commands(settlements.collect()).await;
            match told {
                Ok(()) => {
                    engine.free_ended(self.taken.drain(..at_once), true);
                    if engine.has_untold.load(Ordering::Relaxed) {
                        engine.tell_untold_soon();
                    }
                }
                // Of several, one alone may be what cannot be done.
                Err(_) if at_once > 1 => at_once = 1,
                Err(error) => {
                    for finished in &self.taken[..1] {
                        engine.keep_untold(&storage, engine.settlement(finished, now), &error);
                    }
                    engine.free_ended(self.taken.drain(..1), false);
                }
            }
        }
    }

    fn take(&mut self) {
        if std::mem::take(&mut self.is_new) {
            self.taken.append(&mut self.engine.ends.take());
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
    /// Frees the slots of commands that have completed, and resolves their receivers. `told` says that their storage knows.
    fn free_ended(self: &Arc<Self>, ended: impl Iterator<Item = Finished>, told: bool) {
        let mut ended = ended.peekable();
        let mut settled: Vec<Settled<'_>> = Vec::with_capacity(FREED_AT_ONCE);
        while ended.peek().is_some() {
            let now = self.now();
            let mut state = self.lock();
            for finished in ended.by_ref().take(FREED_AT_ONCE) {
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
        self.check_quiet();
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.take();
        if self.taken.is_empty() {
            return;
        }
        let gone = "the runtime was shut down";
        let panicked = std::thread::panicking();
        if panicked && self.taken.len() > 1 {
            // Of several, one alone may be what the storage cannot bear.
            for finished in std::mem::take(&mut self.taken) {
                self.engine
                    .spawn(Self::with(&self.engine, vec![finished]).run());
            }
            return;
        }
        for finished in self.taken.drain(..) {
            let error = if panicked {
                LaneError::Panicked("the storage panicked".to_owned())
            } else {
                LaneError::QueueError(gone.to_owned())
            };
            self.engine.give_up(finished.key, finished.run, error);
            drop_command(finished.work, &finished.lane.id);
        }
        if panicked {
            self.engine.release_lock(self.engine.lock());
        } else {
            self.engine.close(gone);
        }
        self.engine.check_quiet();
    }
}

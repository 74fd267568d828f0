//! Commands that leave without having run: cancelled, expired, dropped to make room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::job::{Extras, Job};
use super::observer::Sample;
use super::record;
use super::settle::drop_command;
use super::{Engine, LaneInfo, State};
use crate::error::LaneError;
use crate::event::{CommandName, What};
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, LaneKey};
use crate::storage::{Settlement, Storage};

/// Why a waiting command leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    Cancelled,
    Expired,
    /// Its lane was full, and a newer command came.
    Dropped,
}

impl Departure {
    fn error(self) -> LaneError {
        match self {
            Self::Cancelled => LaneError::Cancelled("before it started".to_owned()),
            Self::Expired => LaneError::Expired("its time to live ran out".to_owned()),
            Self::Dropped => LaneError::LaneFull("dropped for a newer command".to_owned()),
        }
    }

    fn status(self) -> CommandStatus {
        match self {
            Self::Expired => CommandStatus::Expired,
            Self::Cancelled | Self::Dropped => CommandStatus::Cancelled,
        }
    }

    fn sample(self) -> Sample {
        match self {
            Self::Expired => Sample::Expired,
            Self::Cancelled | Self::Dropped => Sample::Cancelled,
        }
    }
}

/// A command that has left the scheduler; whoever waits for it is told when the lock is released.
#[must_use]
pub(super) struct Leaving {
    job: Job,
    name: CommandName,
    lane: Arc<LaneInfo>,
    lane_key: LaneKey,
    why: Departure,
}

impl State {
    /// Takes note of a command that has left the scheduler. Called under the lock.
    pub(super) fn leave(
        &mut self,
        engine: &Engine,
        key: CommandKey,
        lane_key: LaneKey,
        job: Job,
        why: Departure,
    ) -> Leaving {
        let lane = Arc::clone(&self.lanes[lane_key.index()]);
        let name = engine.name(key, job.reply.extras().map(|extras| &**extras));
        self.forget(key, job.reply.extras());
        lane.observer.record(why.sample(), self.counts(lane_key));
        engine.emitter.report(|| {
            let id = Arc::clone(&lane.id);
            match why {
                Departure::Expired => What::Expired(id, name.clone()),
                Departure::Cancelled => {
                    What::Cancelled(id, name.clone(), "before it started".into())
                }
                Departure::Dropped => {
                    What::Cancelled(id, name.clone(), "dropped for a newer command".into())
                }
            }
        });
        if self.scheduler.relieve(lane_key) {
            engine.emitter.report(|| What::Idle(Arc::clone(&lane.id)));
        }
        self.depart(&lane, &job);
        lane.room.freed();
        engine.settling.fetch_add(1, Ordering::SeqCst);
        Leaving {
            job,
            name,
            lane,
            lane_key,
            why,
        }
    }

    /// Keeps the id of a command that has left and may be stored still.
    pub(super) fn depart(&mut self, lane: &LaneInfo, job: &Job) {
        if !lane.has_storage() {
            return;
        }
        if let Some(extras) = job.reply.extras() {
            let id = extras.id.clone();
            let id = id.unwrap_or_else(|| extras.handle.id().into());
            self.kept.depart(id, &extras.handle);
        }
    }

    /// Forgets the ids and keys of a command that has left the scheduler.
    pub(super) fn forget(&mut self, key: CommandKey, extras: Option<&Arc<Extras>>) {
        self.kept.forget(key.serial());
        let Some(extras) = extras else {
            return;
        };
        self.tracked.remove(&key.serial());
        if let Some(id) = &extras.id {
            self.ids.remove(id);
        }
        self.uniques.release(extras);
    }
}

impl Leaving {
    fn settlement(&self) -> Settlement {
        let kind = self.job.command_type();
        record::failed(&self.name, kind, &self.lane, &self.why.error())
    }
}

impl Engine {
    /// Tells whoever waits for these commands. Called without the lock.
    pub(super) fn dismiss(self: &Arc<Self>, leaving: impl IntoIterator<Item = Leaving>) {
        let mut any = false;
        let mut stored = Vec::new();
        for command in leaving {
            any = true;
            let depth = || self.lock().counts(command.lane_key).pending;
            command
                .lane
                .observer
                .watch_depth_of(depth, &command.lane.id);
            if command.lane.storage.is_some() {
                stored.push(command);
            } else {
                self.answer(command);
            }
        }
        if !stored.is_empty() {
            self.dismiss_stored(stored);
        }
        if any {
            self.check_quiet();
        }
    }

    fn dismiss_stored(self: &Arc<Self>, stored: Vec<Leaving>) {
        if self.runtime.get().is_some() {
            let engine = Arc::clone(self);
            self.spawn(async move {
                engine.unstore(&stored).await;
                for command in stored {
                    engine.answer(command);
                }
                engine.check_quiet();
            });
            return;
        }
        let mut state = self.lock();
        for command in &stored {
            if let Some(storage) = &command.lane.storage {
                let storage = Arc::clone(storage);
                state.kept.tell_later(storage, command.settlement());
            }
        }
        drop(state);
        for command in stored {
            self.answer(command);
        }
    }

    /// Takes commands out of their storages. Whoever waits for them is told whatever a storage says.
    async fn unstore(&self, leaving: &[Leaving]) {
        let all = leaving.iter().filter_map(|command| {
            let storage = command.lane.storage.as_ref()?;
            Some((Arc::clone(storage), command.settlement()))
        });
        self.settle_all(all.collect()).await;
    }

    /// Settles commands in their storages, in one call for each.
    pub(super) async fn settle_all(&self, mut all: Vec<(Arc<dyn Storage>, Settlement)>) {
        while let Some((storage, _)) = all.first() {
            let storage = Arc::clone(storage);
            let (own, others): (Vec<_>, Vec<_>) = all
                .into_iter()
                .partition(|(other, _)| other.identity() == storage.identity());
            all = others;
            let own: Vec<Settlement> = own.into_iter().map(|(_, settled)| settled).collect();
            let ids: Vec<Arc<str>> = own
                .iter()
                .map(|settled| settled.id.as_str().into())
                .collect();
            match storage.settle_commands(own).await {
                Ok(()) => {
                    let mut state = self.lock();
                    for id in ids {
                        state.kept.was_removed(id);
                    }
                }
                Err(error) => {
                    for id in ids {
                        tracing::error!(command_id = %id, %error, "failed to remove a settled command from storage");
                    }
                }
            }
        }
    }

    fn answer(&self, leaving: Leaving) {
        let mut work = None;
        let reply = leaving.job.into_reply(&mut work);
        reply.send(Err(leaving.why.error()), leaving.why.status());
        drop_command(work, &leaving.lane.id);
        self.settling.fetch_sub(1, Ordering::SeqCst);
    }
}

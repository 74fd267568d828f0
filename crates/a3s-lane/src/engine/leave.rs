//! Commands that leave without having run: cancelled, expired, dropped to make room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::job::{Extras, Job};
use super::observer::Sample;
use super::settle::drop_command;
use super::{Engine, LaneInfo, State};
use crate::error::LaneError;
use crate::event::{CommandName, What};
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, LaneKey};

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
        lane.room.freed();
        engine.settling.fetch_add(1, Ordering::SeqCst);
        Leaving {
            job,
            name,
            lane,
            why,
        }
    }

    /// Forgets the ids and keys of a command that has left the scheduler.
    pub(super) fn forget(&mut self, key: CommandKey, extras: Option<&Arc<Extras>>) {
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

impl Engine {
    /// Tells whoever waits for these commands. Called without the lock.
    pub(super) fn dismiss(self: &Arc<Self>, leaving: impl IntoIterator<Item = Leaving>) {
        let mut any = false;
        for command in leaving {
            any = true;
            if command.lane.storage.is_some() && self.runtime.get().is_some() {
                let engine = Arc::clone(self);
                self.spawn(async move {
                    if let Some(storage) = &command.lane.storage {
                        engine.unstore(&**storage, &command.name, None).await;
                    }
                    engine.answer(command);
                    engine.check_quiet();
                });
            } else {
                self.answer(command);
            }
        }
        if any {
            self.check_quiet();
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

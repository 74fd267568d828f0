//! Commands that leave without having run: cancelled, expired, dropped to make room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attempt::{drop_command, guarded_future};
use super::job::{Extras, Job};
use super::observer::Sample;
use super::record;
use super::sync::Runtime;
use super::trace;
use super::{Engine, LaneInfo, State};
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, LaneKey};
use crate::storage::{Settlement, Storage};

/// Why a command leaves without its attempt's own result.
#[derive(Debug)]
pub(super) enum Departure {
    Cancelled,
    Expired,
    /// Its lane was full, and a newer command came.
    Dropped,
    /// The queue has ended, or its runner is gone.
    Failed(LaneError),
}

impl Departure {
    fn error(&self) -> LaneError {
        match self {
            Self::Cancelled => LaneError::Cancelled("before it started".to_owned()),
            Self::Expired => LaneError::Expired("its time to live ran out".to_owned()),
            Self::Dropped => LaneError::LaneFull("dropped for a newer command".to_owned()),
            Self::Failed(error) => error.duplicate(),
        }
    }

    fn status(&self) -> CommandStatus {
        match self {
            Self::Expired => CommandStatus::Expired,
            Self::Cancelled | Self::Dropped => CommandStatus::Cancelled,
            Self::Failed(_) => CommandStatus::Failed,
        }
    }

    fn sample(&self) -> Sample {
        match self {
            Self::Expired => Sample::Expired,
            Self::Cancelled | Self::Dropped => Sample::Cancelled,
            Self::Failed(_) => Sample::Failed { run_ns: 0 },
        }
    }

    /// The event that tells of it.
    fn told(&self, lane: Arc<str>, name: CommandName) -> What {
        match self {
            Self::Expired => What::Expired(lane, name),
            Self::Cancelled => What::Cancelled(lane, name, "before it started".into()),
            Self::Dropped => What::Cancelled(lane, name, "dropped for a newer command".into()),
            Self::Failed(error) => What::Failed(lane, name, error.to_string().into()),
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
        mut job: Job,
        why: Departure,
    ) -> Leaving {
        let lane = Arc::clone(&self.lanes[lane_key.index()]);
        let name = engine.name(key, job.reply.extras().map(|extras| &**extras));
        self.forget(key, job.reply.extras());
        lane.observer.record(why.sample(), || self.counts(lane_key));
        engine
            .emitter
            .report(|| why.told(Arc::clone(&lane.id), name.clone()));
        if self.scheduler.relieve(lane_key) {
            engine.emitter.report(|| What::Idle(Arc::clone(&lane.id)));
        }
        self.depart(engine, &lane, key, &mut job);
        self.to_wake.extend(lane.room.first());
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
    pub(super) fn depart(
        &mut self,
        engine: &Engine,
        lane: &LaneInfo,
        key: CommandKey,
        job: &mut Job,
    ) {
        if !lane.has_storage() {
            return;
        }
        let late = || Extras::of_departed(engine, &lane.id, key.serial());
        if let Some(extras) = job.reply.watch(late) {
            let id = extras.id.clone();
            let id = id.unwrap_or_else(|| extras.handle.id().into());
            self.kept.depart(id, &extras.handle);
        }
    }

    /// Forgets the ids and keys of a command that has left the scheduler.
    pub(super) fn forget(&mut self, key: CommandKey, extras: Option<&Arc<Extras>>) {
        self.kept.forget(key.serial());
        if !self.tracked.is_empty() {
            self.tracked.remove(&key.serial());
        }
        let Some(extras) = extras else {
            return;
        };
        if let Some(id) = &extras.id {
            self.ids.remove(id);
        }
        self.uniques.release(extras);
    }
}

impl Leaving {
    /// A command that fails with the queue, or with its runner. Its storage, if any, keeps it. The caller has counted it as
    /// settling.
    pub(super) fn failed(
        engine: &Engine,
        key: CommandKey,
        (lane_key, lane): (LaneKey, &Arc<LaneInfo>),
        job: Job,
        error: LaneError,
    ) -> Self {
        Self {
            name: engine.name(key, job.reply.extras().map(|extras| &**extras)),
            job,
            lane: Arc::clone(lane),
            lane_key,
            why: Departure::Failed(error),
        }
    }

    /// Sends the event that tells of it.
    pub(super) fn report(&self, engine: &Engine) {
        engine.emitter.report(|| {
            let lane = Arc::clone(&self.lane.id);
            self.why.told(lane, self.name.clone())
        });
    }

    fn settlement(&self) -> Settlement {
        let kind = self.job.command_type();
        record::failed(&self.name, kind, &self.lane, &self.why.error())
    }
}

impl Engine {
    /// Tells whoever waits for these commands. Called without the lock.
    pub(super) fn dismiss(self: &Arc<Self>, leaving: impl IntoIterator<Item = Leaving>) {
        let mut any = false;
        let mut awaited = Vec::new();
        for command in leaving {
            any = true;
            let depth = || self.lock().counts(command.lane_key).pending;
            command
                .lane
                .observer
                .watch_depth_of(depth, &command.lane.id);
            if command.lane.must_await() {
                awaited.push(command);
            } else {
                self.answer(command);
            }
        }
        if !awaited.is_empty() {
            self.dismiss_awaited(awaited);
        }
        if any {
            self.check_quiet();
        }
    }

    fn dismiss_awaited(self: &Arc<Self>, awaited: Vec<Leaving>) {
        let all = awaited.iter().filter_map(|command| {
            let storage = command.lane.storage.as_ref()?;
            Some((Arc::clone(storage), command.settlement()))
        });
        self.tell_soon(all.collect(), awaited);
    }

    /// As [`dismiss`](Self::dismiss), for commands that [have failed](Leaving::failed).
    pub(super) fn dismiss_failed(self: &Arc<Self>, failed: impl IntoIterator<Item = Leaving>) {
        let mut awaited = Vec::new();
        for command in failed {
            trace::settled(&command.lane.id, false, 0);
            if command.lane.observer.must_await() {
                awaited.push(command);
            } else {
                self.answer(command);
            }
        }
        if !awaited.is_empty() {
            self.tell_soon(Vec::new(), awaited);
        }
    }

    /// Settles commands in their storages, tells the observers that have to be awaited, then answers those that wait for this.
    /// Without a runtime the storages learn of it when there is one, such observers do not, and the answers come at once.
    pub(super) fn tell_soon(self: &Arc<Self>, all: Vec<Untold>, leaving: Vec<Leaving>) {
        let telling = Telling::task(self, all, leaving);
        let runtime = self.runtime.get().cloned().or_else(Runtime::try_current);
        match runtime {
            Some(runtime) => runtime.spawn(telling.run()),
            None => drop(telling),
        }
    }

    /// Tells storages what they could not be told before. When this future is dropped, the rest is kept.
    pub(super) async fn tell_untold(self: &Arc<Self>) {
        let untold = self.take_untold();
        Telling::awaited(self, untold).run().await;
    }

    /// As [`tell_untold`](Self::tell_untold), soon: a storage that failed before has just taken something down.
    pub(super) fn tell_untold_soon(self: &Arc<Self>) {
        let untold = self.take_untold();
        if !untold.is_empty() {
            self.tell_soon(untold, Vec::new());
        }
    }

    fn take_untold(&self) -> Vec<Untold> {
        let mut state = self.lock();
        self.has_untold.store(false, Ordering::Relaxed);
        state.kept.take_untold()
    }

    fn were_told<'a>(&self, settled: impl Iterator<Item = &'a Settlement>) {
        let mut state = self.lock();
        let mut waited = false;
        for settled in settled {
            waited |= state.kept.let_go(&settled.id);
            state.kept.was_removed(settled.id.as_str().into());
        }
        drop(state);
        if waited {
            self.let_go.notify_waiters();
        }
    }

    /// A command has settled and its storage could not be told: it is tried again when the storage takes something down, and when
    /// the queue ends.
    pub(super) fn keep_untold(
        &self,
        storage: &Arc<dyn Storage>,
        settlement: Settlement,
        error: &LaneError,
    ) {
        let id = settlement.id.clone();
        let mut state = self.lock();
        let waited = state.kept.let_go(&id);
        let kept = state.kept.tell_later(Arc::clone(storage), settlement);
        self.has_untold.store(true, Ordering::Relaxed);
        drop(state);
        if waited {
            self.let_go.notify_waiters();
        }
        if kept {
            tracing::error!(command_id = %id, %error, "failed to remove a settled command from storage");
        } else {
            tracing::error!(command_id = %id, %error, "failed to remove a settled command from storage, where it stays");
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

/// A settled command that its storage is to be told of.
pub(super) type Untold = (Arc<dyn Storage>, Settlement);

/// Tells a storage; that it panics is an error like others.
async fn settle(storage: &dyn Storage, settled: Vec<Settlement>) -> Result<()> {
    guarded_future(async { storage.settle_commands(settled).await })
        .await
        .and_then(|told| told)
}

/// Settlements on their way to their storages. Dropping it keeps for later what was not told, and answers.
struct Telling {
    engine: Arc<Engine>,
    /// In it until the storage has answered.
    all: VecDeque<Untold>,
    /// Whoever waits for them has no answer yet.
    leaving: VecDeque<Leaving>,
    /// A task of its own, which somebody may wait for.
    is_task: bool,
}

impl Telling {
    fn task(engine: &Arc<Engine>, all: Vec<Untold>, leaving: Vec<Leaving>) -> Self {
        engine.settling.fetch_add(1, Ordering::SeqCst);
        Self {
            engine: Arc::clone(engine),
            all: all.into(),
            leaving: leaving.into(),
            is_task: true,
        }
    }

    /// In the hands of a caller, who may never go on with it: nobody waits for that.
    fn awaited(engine: &Arc<Engine>, all: Vec<Untold>) -> Self {
        Self {
            engine: Arc::clone(engine),
            all: all.into(),
            leaving: VecDeque::new(),
            is_task: false,
        }
    }

    /// Settles commands in their storages, in one call for each. Whoever waits for them is told whatever a storage says, after
    /// the observers of the lane.
    async fn run(mut self) {
        self.tell_storages().await;
        while let Some(command) = self.leaving.front() {
            // In the list until it is answered: whatever happens here, it will be.
            let (lane, key) = (Arc::clone(&command.lane), command.lane_key);
            let sample = command.why.sample();
            self.engine.record_awaited(&lane, key, sample).await;
            if let Some(command) = self.leaving.pop_front() {
                self.engine.answer(command);
            }
        }
    }

    async fn tell_storages(&mut self) {
        while let Some((storage, _)) = self.all.front() {
            let storage = Arc::clone(storage);
            let is_other = |(other, _): &Untold| other.identity() != storage.identity();
            // Those of this storage come first, in their order.
            self.all.make_contiguous().sort_by_key(is_other);
            let own = self.all.iter().take_while(|untold| !is_other(untold));
            let own: Vec<_> = own.map(|(_, settlement)| settlement.clone()).collect();
            let count = own.len();
            if count > 1 && settle(&*storage, own).await.is_ok() {
                let told = self.all.iter().take(count);
                self.engine
                    .were_told(told.map(|(_, settlement)| settlement));
                self.all.drain(..count);
                continue;
            }
            // Of several, one alone may be what cannot be done.
            for _ in 0..count {
                self.tell_first().await;
            }
        }
    }

    async fn tell_first(&mut self) {
        let Some((storage, settlement)) = self.all.front() else {
            return;
        };
        let (storage, settled) = (Arc::clone(storage), vec![settlement.clone()]);
        let told = settle(&*storage, settled).await;
        let Some((storage, settlement)) = self.all.pop_front() else {
            return;
        };
        match told {
            Ok(()) => self.engine.were_told([&settlement].into_iter()),
            Err(error) => self.engine.keep_untold(&storage, settlement, &error),
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.all.is_empty() {
            let mut state = self.engine.lock();
            for (storage, settlement) in self.all.drain(..) {
                state.kept.let_go(&settlement.id);
                state.kept.tell_later(storage, settlement);
            }
            self.engine.has_untold.store(true, Ordering::Relaxed);
            drop(state);
            self.engine.let_go.notify_waiters();
        }
        for command in self.leaving.drain(..) {
            self.engine.answer(command);
        }
        if self.is_task {
            self.engine.settling.fetch_sub(1, Ordering::SeqCst);
            self.engine.check_quiet();
        }
    }
}

//! What was stored before enters its lanes again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::calendar::Calendar;
use super::job::{Extras, Job, Reply};
use super::observer::Sample;
use super::restored::{Factories, Kind, Restored};
use super::sync::{Mutex, Runtime, lock};
use super::trace::SubmitSpan;
use super::{Engine, LaneInfo, State, attempt, record};
use crate::command::Command;
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::forking::PerProcess;
use crate::handle::{CommandHandle, CommandStatus, Shared};
use crate::scheduler::LaneKey;
use crate::storage::{
    CommandRecord, Storage, StoredCommand, StoredOutcome, StoredResult, Unclaimed, UnclaimedReason,
};

/// How many commands are read, and enter, at once.
const PAGE: usize = 1024;

/// What restores stored commands.
#[derive(Default)]
pub(crate) struct Restore {
    source: OnceLock<Source>,
    factories: Factories,
    /// One reads the storage at a time.
    turn: tokio::sync::Mutex<Missing>,
    /// Commands that crashed too often and could not be made dead letters, by their ids.
    unburied: Mutex<HashSet<String>>,
    /// Counts what was registered: reading again may find more.
    registered: AtomicU64,
}

pub(super) struct Source {
    pub(super) storage: Arc<dyn Storage>,
    max_crashes: u32,
}

/// The types and lanes of commands that could not enter when the storage was read last.
type Missing = HashSet<Box<str>>;

/// Which engine runs the commands of each storage, by [`Storage::identity`].
type Owners = HashMap<usize, Weak<Engine>>;

static OWNERS: PerProcess<Owners> = PerProcess::new();

pub(super) fn owners() -> std::sync::MutexGuard<'static, Owners> {
    OWNERS.lock()
}

/// A command that can enter.
struct Ready {
    record: CommandRecord,
    command: Box<dyn Command>,
    span: SubmitSpan,
}

/// Somebody reads the storage.
struct Reading<'a>(&'a Engine);

impl<'a> Reading<'a> {
    fn new(engine: &'a Engine) -> Self {
        engine.lock().kept.begin_reading();
        Self(engine)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().kept.end_reading();
    }
}

/// A look for commands that can enter now; the queue is not empty until it has ended.
struct Claim(Arc<Engine>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.lock().admitting -= 1;
        self.0.check_quiet();
    }
}

impl State {
    /// Whether this stored command belongs to this queue already: it is in a lane or on its way, or has settled.
    fn knows(&self, engine: &Engine, id: &str) -> bool {
        self.ids.contains_key(id)
            || self.kept.has_departed(id)
            || CommandName::serial_of(engine.id_space, id).is_some()
    }

    /// The lane of a stored command.
    fn lane_of_record(
        &self,
        record: &CommandRecord,
        storage: &dyn Storage,
    ) -> std::result::Result<LaneKey, UnclaimedReason> {
        let lane = self.names.get(record.command.lane_id.as_str()).copied();
        let lane = lane.filter(|lane| {
            let own = self.lanes[lane.index()].storage.as_ref();
            own.is_some_and(|own| own.identity() == storage.identity())
        });
        let lane = lane.ok_or(UnclaimedReason::NoLane)?;
        self.check_cost(lane, record.options.cost)
            .map_err(|error| UnclaimedReason::Unreadable(error.to_string()))?;
        Ok(lane)
    }

    /// Puts a stored command into its lane, at its back.
    fn enter_restored(
        &mut self,
        engine: &Arc<Engine>,
        lane: LaneKey,
        ready: Ready,
        calendar: &Calendar,
    ) {
        let Ready {
            record,
            command,
            span,
        } = ready;
        let terms = record::terms(&record, calendar);
        let CommandRecord {
            command: stored,
            options,
            failures,
            ..
        } = record;
        let id: Arc<str> = stored.id.as_str().into();
        let serial = self.scheduler.draw_serial();
        let remote: Weak<Engine> = Arc::downgrade(engine);
        let delayed = terms
            .as_ref()
            .is_some_and(|terms| terms.delay_until > calendar.now);
        let status = if delayed {
            CommandStatus::Delayed
        } else {
            CommandStatus::Pending
        };
        let info = Arc::clone(&self.lanes[lane.index()]);
        let unique = options.unique.as_ref();
        let held = unique.map(|unique| {
            let until = unique.until.map_or(0, |until| calendar.time(until));
            (Arc::<str>::from(unique.key.as_str()), until)
        });
        // Another command may have taken the key since the process ended.
        let held = held.filter(|(key, _)| self.uniques.holder(key, calendar.now).is_none());
        let extras = Arc::new(Extras {
            handle: Shared::new(stored.id, Arc::clone(&info.id), serial, remote, status),
            id: Some(Arc::clone(&id)),
            metadata: options.metadata,
            on_conflict: unique.map_or_else(Default::default, |unique| unique.on_conflict),
            unique: held,
            restored: true,
            revives: None,
        });
        self.ids.insert(id, serial);
        if let Some((key, _)) = &extras.unique {
            self.uniques.hold(Arc::clone(key), Arc::clone(&extras));
        }
        self.kept.set_failures(serial, failures);
        let job = Job::new(command, Reply::to_handle(extras), span);
        let (key, pressure) = self.scheduler.admit(lane, serial, job, terms, calendar.now);
        self.tracked.insert(serial, key);
        info.observer
            .record(Sample::Submitted, || self.counts(lane));
        engine
            .emitter
            .report(|| What::Submitted(Arc::clone(&info.told)));
        if pressure {
            engine
                .emitter
                .report(|| What::Pressure(Arc::clone(&info.id)));
        }
    }

    /// The handle of a command that has not settled.
    fn handle_of(&mut self, engine: &Arc<Engine>, id: &str) -> Option<CommandHandle> {
        let key = self.key_of(engine, id);
        let handle = key.and_then(|key| {
            let command = self.scheduler.command(key)?;
            match command.job.reply.extras() {
                Some(extras) => Some(Arc::clone(&extras.handle)),
                None if self.lanes[command.lane.index()].has_storage() => self.watch(engine, key),
                None => None,
            }
        });
        let handle = handle.or_else(|| self.kept.departed(id).cloned())?;
        Some(CommandHandle::new(handle))
    }
}

impl Restore {
    /// Sets where commands are restored from, and how often a process may end while one runs.
    pub(crate) fn set_source(&self, storage: Arc<dyn Storage>, max_crashes: u32) {
        let source = Source {
            storage,
            max_crashes,
        };
        debug_assert!(self.source.get().is_none(), "a queue has one storage");
        self.source.get_or_init(|| source);
    }

    pub(crate) fn factories(&self) -> &Factories {
        &self.factories
    }
}

impl Source {
    fn own(&self, engine: &Arc<Engine>) -> Result<()> {
        let mut owners = owners();
        owners.retain(|_, owner| owner.strong_count() > 0);
        let identity = self.storage.identity();
        let owner = owners.get(&identity).and_then(Weak::upgrade);
        if owner.is_some_and(|owner| !Arc::ptr_eq(&owner, engine) && !owner.is_over()) {
            let text = "the storage belongs to another manager, which has not ended";
            return Err(LaneError::Storage(text.to_owned()));
        }
        owners.insert(identity, Arc::downgrade(engine));
        Ok(())
    }
}

impl Engine {
    pub(crate) fn restoring(&self) -> &Restore {
        &self.restore
    }

    fn is_over(&self) -> bool {
        let state = self.lock();
        state.closed.is_some() || state.announced
    }

    /// Has what is stored enter its lanes, once. Nothing has changed for good when it fails: it can be called again.
    pub(crate) async fn restore(self: &Arc<Self>) -> Result<()> {
        let Some(source) = self.restore.source.get() else {
            return Ok(());
        };
        let mut missing = self.restore.turn.lock().await;
        if self.lock().kept.restored || !self.takes_restored() {
            return Ok(());
        }
        source.own(self)?;
        self.tell_untold().await;
        loop {
            let registered = self.restore.registered.load(Ordering::SeqCst);
            *missing = self.claim(source).await?;
            let mut state = self.lock();
            // Whoever registers after this looks for itself.
            if self.restore.registered.load(Ordering::SeqCst) == registered {
                // Not before: a start that fails may be repeated on another runtime.
                self.runtime.get_or_init(Runtime::current);
                state.kept.restored = true;
                return Ok(());
            }
        }
    }

    fn takes_restored(&self) -> bool {
        let state = self.lock();
        !state.shutting_down && state.closed.is_none()
    }

    /// Something was registered, a type or a lane, of which commands may be stored.
    pub(crate) fn claim_later(self: &Arc<Self>, name: &str) {
        if self.restore.source.get().is_none() {
            return;
        }
        {
            let mut state = self.lock();
            self.restore.registered.fetch_add(1, Ordering::SeqCst);
            if !state.kept.restored || state.shutting_down || state.closed.is_some() {
                return;
            }
            state.admitting += 1;
        }
        let claim = Claim(Arc::clone(self));
        let name: Box<str> = name.into();
        self.spawn(async move {
            let engine = &claim.0;
            let Some(source) = engine.restore.source.get() else {
                return;
            };
            let mut missing = engine.restore.turn.lock().await;
            if !missing.contains(&name) {
                return;
            }
            match engine.claim(source).await {
                Ok(still) => *missing = still,
                Err(error) => {
                    tracing::error!(%name, %error, "failed to read what is stored of it");
                }
            }
        });
    }

    /// Reads the storage and lets in what can enter. Returns what the others miss.
    async fn claim(self: &Arc<Self>, source: &Source) -> Result<Missing> {
        let _reading = Reading::new(self);
        let mut missing = Missing::new();
        let mut kinds = HashMap::new();
        let mut from = None;
        loop {
            let page = source.storage.load_page(from, PAGE).await?;
            self.enter_page(source, page.records, &mut kinds, &mut missing)
                .await;
            from = page.next;
            if from.is_none() || !self.takes_restored() {
                return Ok(missing);
            }
        }
    }

    async fn enter_page(
        self: &Arc<Self>,
        source: &Source,
        records: Vec<CommandRecord>,
        kinds: &mut HashMap<Box<str>, Option<Arc<Kind>>>,
        missing: &mut Missing,
    ) {
        let storage = &source.storage;
        let mut crashed = Vec::new();
        let mut ready = Vec::with_capacity(records.len());
        for record in self.strangers(records) {
            match self.prepare(source, record, kinds) {
                Ok(Prepared::Ready(command)) => ready.push(*command),
                Ok(Prepared::Crashed(record)) => crashed.push(*record),
                Err(other) => note_missing(missing, &other.record, &other.reason),
            }
        }
        let mut entered: Vec<(Arc<LaneInfo>, LaneKey, usize)> = Vec::new();
        // Dropped without the lock: their destructors are the user's code.
        let mut unused = Vec::new();
        {
            let calendar = self.calendar();
            let mut state = self.lock();
            for command in ready {
                if state.knows(self, &command.record.command.id)
                    || state.shutting_down
                    || state.closed.is_some()
                {
                    unused.push(command);
                    continue;
                }
                match state.lane_of_record(&command.record, &**storage) {
                    Ok(lane) => {
                        state.enter_restored(self, lane, command, &calendar);
                        match entered.iter_mut().find(|(_, known, _)| *known == lane) {
                            Some((_, _, count)) => *count += 1,
                            None => {
                                let info = Arc::clone(&state.lanes[lane.index()]);
                                entered.push((info, lane, 1));
                            }
                        }
                    }
                    Err(reason) => {
                        note_missing(missing, &command.record, &reason);
                        unused.push(command);
                    }
                }
            }
            self.release_lock(state);
        }
        drop(unused);
        for (info, lane, count) in entered {
            let depth = || self.lock().counts(lane).pending;
            info.observer.watch_depth_of(depth, &info.id);
            for _ in 0..count {
                self.record_awaited(&info, lane, Sample::Submitted).await;
            }
        }
        let ids: Vec<_> = crashed.iter().map(|it| it.command.id.clone()).collect();
        let unread = self.bury_crashed(source, crashed).await;
        let mut unburied = lock(&self.restore.unburied);
        for id in ids {
            unburied.remove(&id);
        }
        for record in unread {
            await_claim(missing, &record.command);
            unburied.insert(record.command.id);
        }
    }

    /// Those that are not in this queue.
    fn strangers(&self, mut records: Vec<CommandRecord>) -> Vec<CommandRecord> {
        let state = self.lock();
        records.retain(|record| !state.knows(self, &record.command.id));
        records
    }

    /// Makes the command of a record; the user's code is called, so not under the lock.
    fn prepare(
        &self,
        source: &Source,
        mut record: CommandRecord,
        kinds: &mut HashMap<Box<str>, Option<Arc<Kind>>>,
    ) -> std::result::Result<Prepared, Box<Unclaimed>> {
        if let Err(reason) = self.check_record(source, &record, kinds) {
            return Err(Box::new(Unclaimed { record, reason }));
        }
        if record.crashes >= source.max_crashes {
            return Ok(Prepared::Crashed(Box::new(record)));
        }
        let kind = kinds.get(record.command.command_type.as_str());
        let kind = kind.and_then(Option::as_ref).expect("it was looked for");
        let payload = (!record.without_payload).then(|| record.command.payload.take());
        let kept = payload.clone().filter(|_| kind.factory.is_some());
        match attempt::guarded(|| Restored::new(kind, payload)).and_then(|made| made) {
            Ok(command) => {
                let command: Box<dyn Command> = Box::new(command);
                let span = SubmitSpan::new(&record.command.lane_id, &*command);
                Ok(Prepared::Ready(Box::new(Ready {
                    record,
                    command,
                    span,
                })))
            }
            Err(error) => {
                record.command.payload = kept.unwrap_or_default();
                let text = format!("its factory failed: {error}");
                let reason = UnclaimedReason::Unreadable(text);
                Err(Box::new(Unclaimed { record, reason }))
            }
        }
    }

    /// Why a stored command cannot enter, as far as that can be told without its payload.
    fn check_record(
        &self,
        source: &Source,
        record: &CommandRecord,
        kinds: &mut HashMap<Box<str>, Option<Arc<Kind>>>,
    ) -> std::result::Result<(), UnclaimedReason> {
        let name = record.command.command_type.as_str();
        let kind = match kinds.get(name) {
            Some(kind) => kind,
            None => {
                let kind = self.kind_of(source, name);
                kinds.entry(name.into()).or_insert(kind)
            }
        };
        self.lock().lane_of_record(record, &*source.storage)?;
        if kind.is_none() {
            return Err(UnclaimedReason::NoHandler);
        }
        if let Some(policy) = &record.options.retry_policy
            && let Err(text) = policy.validate()
        {
            return Err(UnclaimedReason::Unreadable(text));
        }
        Ok(())
    }

    fn kind_of(&self, source: &Source, command_type: &str) -> Option<Arc<Kind>> {
        let factory = self.restore.factories.get(command_type);
        if factory.is_none() && self.handlers.get(command_type).is_none() {
            return None;
        }
        Some(Arc::new(Kind {
            command_type: command_type.into(),
            storage: Arc::clone(&source.storage),
            factory,
        }))
    }

    /// What is stored and cannot enter.
    pub(crate) async fn unclaimed(self: &Arc<Self>) -> Result<Vec<Unclaimed>> {
        let Some(source) = self.restore.source.get() else {
            return Ok(Vec::new());
        };
        let _reading = Reading::new(self);
        let mut unclaimed = Vec::new();
        let mut kinds = HashMap::new();
        let mut from = None;
        loop {
            let page = source.storage.load_page(from, PAGE).await?;
            for record in self.strangers(page.records) {
                match self.prepare(source, record, &mut kinds) {
                    Err(other) => unclaimed.push(*other),
                    // It could not be made a dead letter.
                    Ok(Prepared::Crashed(record)) if self.is_unburied(&record.command.id) => {
                        let reason = crashed_often(&record);
                        let record = *record;
                        unclaimed.push(Unclaimed { record, reason });
                    }
                    Ok(_) => {}
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(unclaimed);
            }
        }
    }

    fn is_unburied(&self, id: &str) -> bool {
        lock(&self.restore.unburied).contains(id)
    }

    /// The handle of a command that has not settled, or of one whose outcome is kept.
    pub(crate) async fn find(self: &Arc<Self>, id: &str) -> Result<Option<CommandHandle>> {
        if let Some(handle) = self.lock().handle_of(self, id) {
            return Ok(Some(handle));
        }
        let Some(source) = self.restore.source.get() else {
            return Ok(None);
        };
        let kept = source.storage.load_result(id).await?;
        Ok(kept.map(|kept| CommandHandle::new(settled(kept))))
    }
}

/// What became of a record before it enters.
enum Prepared {
    Ready(Box<Ready>),
    Crashed(Box<CommandRecord>),
}

fn note_missing(missing: &mut Missing, record: &CommandRecord, reason: &UnclaimedReason) {
    let command = &record.command;
    await_claim(missing, command);
    if let UnclaimedReason::Unreadable(text) = reason {
        tracing::error!(command_id = %command.id, %text, "a stored command cannot be read and stays stored");
    }
}

/// Registering its type or its lane reads the storage again.
fn await_claim(missing: &mut Missing, command: &StoredCommand) {
    missing.insert(command.command_type.as_str().into());
    missing.insert(command.lane_id.as_str().into());
}

fn crashed_often(record: &CommandRecord) -> UnclaimedReason {
    UnclaimedReason::Unreadable(LaneError::Crashed(record.crashes).to_string())
}

/// What is asked of a command whose outcome is kept.
pub(super) fn settled(kept: StoredResult) -> Arc<Shared> {
    let (status, result) = match kept.outcome {
        StoredOutcome::Completed(value) => (CommandStatus::Completed, Ok(value)),
        StoredOutcome::Failed { code, error } => {
            let status = match code.as_str() {
                "TIMEOUT" | "STALLED" => CommandStatus::TimedOut,
                "CANCELLED" | "LANE_FULL" => CommandStatus::Cancelled,
                "EXPIRED" => CommandStatus::Expired,
                _ => CommandStatus::Failed,
            };
            (status, Err(LaneError::kept(&code, error)))
        }
    };
    let remote: Weak<Engine> = Weak::new();
    let pending = CommandStatus::Pending;
    let handle = Shared::new(kept.id, kept.lane_id.into(), 0, remote, pending);
    handle.settle(status, result);
    handle
}

//! The tokio shell around the pure scheduler.
//!
//! There is no scheduler task. Whoever submits, finishes or configures takes the lock, changes the scheduler and asks
//! it what may start; a *runner* (a task that runs one command after another) takes starts directly from the
//! scheduler, the most urgent first. The rule that keeps work moving:
//!
//! > when the lock is released, either nothing in the lanes can start, or a runner has been spawned or woken that has not taken
//! > a start yet.
//!
//! Such a runner is *armed*. [`arm`](State::arm) keeps the rule and never spawns more runners than can run at once, so
//! a flood of short commands costs no spawn each.
//!
//! No lock is held across an await, a reply or a user's callback. Events are sent and recorders are told under it, so that
//! subscribers see every change in its order; a waker that a subscriber leaves behind must not call the queue, nor must a command that
//! is asked for its type.

mod admission;
mod arrivals;
mod attempt;
mod calendar;
mod carry;
mod control;
mod crash;
mod driven;
mod ends;
mod explain;
mod inbox;
mod job;
mod journal;
mod kept;
mod leave;
mod lifecycle;
#[cfg(feature = "distributed")]
mod limiters;
mod locked;
mod observer;
mod placing;
mod record;
mod remote;
mod reserved;
mod restore;
mod restored;
mod room;
mod runner;
mod settle;
mod sink;
mod submission;
mod sync;
mod taken;
mod timer;
mod trace;
mod unique;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap as FastMap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{LaneConfig, LaneOptions};
use crate::dlq::DeadLetterQueue;
use crate::event::{CommandName, EventEmitter};
use crate::handler::HandlerMap;
#[cfg(feature = "distributed")]
use crate::scheduler::LimiterKey;
use crate::scheduler::{CommandKey, LaneCounts, LaneKey, LanePolicy, Scheduler};
use crate::shutdown::Leftover;
use crate::storage::Storage;
use crate::testing::Hooks;

pub(crate) use admission::Target;
use arrivals::Arrivals;
pub(crate) use attempt::{AttemptCell, guarded};
pub(crate) use control::check_total;
use driven::Held;
use ends::Ends;
use inbox::{Doorkeeper, Inbox, Posting};
pub(crate) use job::Extras;
use job::Job;
use kept::Kept;
#[cfg(feature = "distributed")]
pub(crate) use limiters::unknown as unknown_limiter;
use locked::Locked;
use observer::LaneObserver;
pub(crate) use observer::Observers;
use restore::Restore;
pub(crate) use restored::Factory;
use room::Room;
use runner::RestingRunner;
#[cfg(shuttle)]
pub(crate) use sync::model;
use sync::{AtomicUsize, Clock, Mutex, Runtime, lock};
use timer::TimerState;
use unique::Uniques;

/// Makes what all engines of the process share.
pub(crate) fn prepare() {
    drop(reserved::reserved());
    drop(restore::owners());
}

/// What a lane is made of.
#[derive(Clone)]
pub(crate) struct LaneSpec {
    pub(crate) id: String,
    pub(crate) priority: u8,
    pub(crate) config: LaneConfig,
    pub(crate) options: LaneOptions,
    pub(crate) storage: Option<Arc<dyn Storage>>,
}

/// What the engine keeps of a lane besides the scheduler's part.
pub(crate) struct LaneInfo {
    pub(crate) id: Arc<str>,
    /// A copy of `id` for events. Subscribers on other threads count its uses, which must not slow down those who only
    /// read the name.
    told: Arc<str>,
    storage: Option<Arc<dyn Storage>>,
    observer: LaneObserver,
    room: Arc<Room>,
    posting: Posting,
    arrivals: Arrivals,
    /// The type of the command that was reported last: most lanes run one type again and again.
    last_kind: Mutex<Arc<str>>,
}

impl LaneInfo {
    /// A command type to put into an event.
    fn kind(&self, command_type: &str) -> Arc<str> {
        let mut last = lock(&self.last_kind);
        if **last != *command_type {
            *last = command_type.into();
        }
        Arc::clone(&last)
    }

    fn has_storage(&self) -> bool {
        self.storage.is_some()
    }

    /// Whether a command of this lane has somebody to wait for at submission and at its end.
    fn must_await(&self) -> bool {
        self.storage.is_some() || self.observer.must_await()
    }
}

/// Lanes, their commands and the tasks that run them; shared by every public handle.
pub(crate) struct Engine {
    state: Mutex<State>,
    inbox: Inbox,
    emitter: EventEmitter,
    dlq: Option<DeadLetterQueue>,
    observers: Observers,
    /// Where tasks run; known from the start on.
    runtime: OnceLock<Runtime>,
    clock: Clock,
    hooks: Hooks,
    /// The random half of this queue's command ids.
    id_space: u64,
    /// Commands that have left the scheduler and whose receivers are being resolved.
    settling: AtomicUsize,
    /// Wakes whoever waits for the queue to be empty.
    quiet: Notify,
    /// How many have to learn when the queue is empty: drains, and an end that was begun. While it is 0, nobody looks.
    quiet_waits: AtomicUsize,
    /// Ends the event streams.
    ended: CancellationToken,
    timer_moved: Notify,
    handlers: HandlerMap,
    restore: Restore,
    held: Mutex<Held>,
    /// Wakes whoever waits for the id of a submission that was given up.
    let_go: Notify,
    /// Storages have to be told of settled commands: see [`Kept`].
    has_untold: AtomicBool,
    ends: Ends,
    /// The date of the last command that was stored, in nanoseconds since 1970.
    last_date: AtomicI64,
    /// Somebody has asked for the handle of a command that was submitted without one.
    has_late_handles: AtomicBool,
}

struct State {
    scheduler: Scheduler<Job>,
    names: FastMap<Arc<str>, LaneKey, foldhash::fast::RandomState>,
    lanes: Vec<Arc<LaneInfo>>,
    /// Named limiters.
    #[cfg(feature = "distributed")]
    limiters: FastMap<String, LimiterKey, foldhash::fast::RandomState>,
    /// Commands that are stored or were submitted with options, by serial: so handles and ids reach them.
    tracked: FastMap<u64, CommandKey, foldhash::fast::RandomState>,
    /// How many handles of a child a run of its parent waits for, by the serials: those that joined are several.
    loans: FastMap<(u64, u32, u64), usize, foldhash::fast::RandomState>,
    /// Ids that submitters chose, and the serials of their commands.
    ids: HashMap<Arc<str>, u64>,
    uniques: Uniques,
    doorkeeper: Doorkeeper,
    kept: Kept,
    /// Spreads the delays of retries.
    random: Random,
    /// How many tasks the runtime runs at once; 0 before the start.
    workers: usize,
    /// Runners that were spawned and have not taken a start yet.
    armed: usize,
    /// A runner that has run out of work and waits to be armed again: waking it costs less than spawning another.
    resting: Option<RestingRunner>,
    /// How often a runner went to rest.
    rests: u64,
    /// Submits that were accepted and have not entered their lane yet.
    admitting: usize,
    timer: TimerState,
    shutting_down: bool,
    /// Why the queue takes no more work at all, once it does not.
    closed: Option<&'static str>,
    /// The last event is being sent or was sent.
    announced: bool,
    announcing: bool,
    /// What was stopped at the end; kept from the start of an orderly end on.
    withdrawn: Option<Vec<Leftover>>,
    /// Who waits for what was done under the lock: woken when it is released.
    to_wake: Vec<Arc<Notify>>,
}

impl State {
    /// Counts the runners that must be spawned after the lock is released to keep the rule of this module.
    #[must_use]
    fn arm(&mut self) -> usize {
        let wanted = self.wanted();
        self.armed += wanted;
        wanted
    }

    /// How many runners the rule of this module asks for beside the armed ones.
    #[inline]
    fn wanted(&self) -> usize {
        // One more than can run at once: a runner spawned by a task that goes on to block its thread may be stuck
        // behind it, where no other thread can take it.
        let most = self.scheduler.startable().min(self.workers + 1);
        most.saturating_sub(self.armed)
    }

    /// Draws a random number.
    fn draw(&mut self) -> u64 {
        self.random.next()
    }

    /// The sum of the slots that lanes keep, with the exception of one.
    fn minimums(&self, except: Option<&str>) -> usize {
        let others = self.names.iter().filter(|(id, _)| Some(&***id) != except);
        others.map(|(_, lane)| self.counts(*lane).min).sum()
    }

    fn counts(&self, lane: LaneKey) -> LaneCounts {
        self.scheduler.lane(lane).counts
    }
}

impl Engine {
    pub(crate) fn new(
        emitter: EventEmitter,
        dlq: Option<DeadLetterQueue>,
        observers: Observers,
        hooks: Hooks,
    ) -> Arc<Self> {
        let scheduler = Scheduler::new(observers.want_waits());
        let engine = Arc::new(Self {
            state: Mutex::new(State {
                scheduler,
                names: FastMap::default(),
                lanes: Vec::new(),
                #[cfg(feature = "distributed")]
                limiters: FastMap::default(),
                tracked: FastMap::default(),
                loans: FastMap::default(),
                ids: HashMap::new(),
                uniques: Uniques::default(),
                doorkeeper: Doorkeeper::default(),
                kept: Kept::default(),
                random: Random::new(),
                workers: 0,
                armed: 0,
                resting: None,
                rests: 0,
                admitting: 0,
                timer: TimerState::default(),
                shutting_down: false,
                closed: None,
                announced: false,
                announcing: false,
                withdrawn: None,
                to_wake: Vec::new(),
            }),
            inbox: Inbox::default(),
            emitter,
            dlq,
            observers,
            runtime: OnceLock::new(),
            clock: Clock::new(hooks.clock.clone()),
            hooks,
            id_space: uuid::Uuid::new_v4().as_u64_pair().0,
            settling: AtomicUsize::new(0),
            quiet: Notify::new(),
            quiet_waits: AtomicUsize::new(0),
            ended: CancellationToken::new(),
            timer_moved: Notify::new(),
            handlers: HandlerMap::default(),
            restore: Restore::default(),
            held: Mutex::default(),
            let_go: Notify::new(),
            has_untold: AtomicBool::new(false),
            ends: Ends::default(),
            last_date: AtomicI64::new(0),
            has_late_handles: AtomicBool::new(false),
        });
        engine.observers.watch(&engine);
        engine
    }

    pub(crate) fn emitter(&self) -> &EventEmitter {
        &self.emitter
    }

    pub(crate) fn dlq(&self) -> Option<&DeadLetterQueue> {
        self.dlq.as_ref()
    }

    /// Cancelled when the last event of this queue has been sent.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Nanoseconds since the engine was made.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Everybody's way to the state: with it comes what waits in the inbox.
    fn lock(&self) -> Locked<'_> {
        let mut state = Locked::new(&self.state);
        self.collect_posts(&mut state);
        state
    }

    /// Also says whether somebody else had it. Under the model checker always: doors then open wherever they may.
    #[inline]
    fn lock_noting(&self) -> (Locked<'_>, bool) {
        match Locked::try_new(&self.state) {
            Some(mut state) => {
                self.collect_posts(&mut state);
                (state, cfg!(shuttle))
            }
            None => (self.lock(), true),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            runtime.spawn(task);
        }
    }

    /// The id of a command.
    pub(crate) fn name(&self, key: CommandKey, extras: Option<&Extras>) -> CommandName {
        match extras.and_then(|extras| extras.id.as_ref()) {
            Some(id) => CommandName::Given(Arc::clone(id)),
            None => CommandName::new(self.id_space, key.serial()),
        }
    }

    /// Adds a lane, or gives an existing lane a new configuration; its commands stay.
    pub(crate) fn register(self: &Arc<Self>, spec: &LaneSpec) -> LaneKey {
        let Ok(key) = self.register_if(spec, |_| Ok::<(), Infallible>(()));
        key
    }

    /// As [`register`](Self::register), if `check` agrees, which sees what the lane is added to.
    fn register_if<E>(
        self: &Arc<Self>,
        spec: &LaneSpec,
        check: impl FnOnce(&State) -> Result<(), E>,
    ) -> Result<LaneKey, E> {
        let now = self.now();
        #[cfg_attr(not(feature = "distributed"), expect(unused_mut, reason = "limiters"))]
        let mut policy = LanePolicy::new(&spec.config, &spec.options, spec.priority, now);
        let id: Arc<str> = spec.id.as_str().into();
        let observer = self.observers.for_lane(&id);
        let accepts = spec.storage.is_none()
            && self.hooks.log.is_none()
            && !self.hooks.inline
            && policy.takes_any();
        let posting = match accepts {
            true => observer.posting(),
            false => Posting::Never,
        };
        let mut state = self.lock();
        check(&state)?;
        self.shut_doors(&mut state);
        let known = state.names.get(&id).copied();
        let room = known.map(|lane| Arc::clone(&state.lanes[lane.index()].room));
        let room = room.unwrap_or_default();
        let info = Arc::new(LaneInfo {
            id: Arc::clone(&id),
            told: id.to_string().into(),
            storage: spec.storage.clone(),
            observer,
            room: Arc::clone(&room),
            posting,
            arrivals: Arrivals::default(),
            last_kind: Mutex::new("".into()),
        });
        #[cfg(feature = "distributed")]
        {
            policy.limiters = state.limiter_keys(&spec.options);
        }
        // Of the user's are its recorder and its storage: dropped without the lock.
        let replaced;
        let key = match known {
            Some(key) => {
                state.scheduler.set_policy(key, policy, now);
                replaced = Some(std::mem::replace(&mut state.lanes[key.index()], info));
                key
            }
            None => {
                let key = state.scheduler.add_lane(policy);
                state.names.insert(id, key);
                replaced = match state.lanes.get_mut(key.index()) {
                    // The place of a lane that was removed.
                    Some(place) => Some(std::mem::replace(place, info)),
                    None => {
                        state.lanes.push(info);
                        None
                    }
                };
                key
            }
        };
        self.release_lock(state);
        drop(replaced);
        self.claim_later(&spec.id);
        // A larger limit may have made room.
        room.freed();
        Ok(key)
    }

    pub(crate) fn counts<C: From<LaneCounts>>(&self) -> HashMap<String, C> {
        let state = self.lock();
        state
            .names
            .iter()
            .map(|(id, key)| (id.to_string(), state.counts(*key).into()))
            .collect()
    }

    /// How full a lane is; `None` when it was removed.
    pub(crate) fn lane_counts(&self, lane: Target<'_>) -> Option<LaneCounts> {
        let state = self.lock();
        let lane = state.lane_of(lane)?;
        Some(state.counts(lane))
    }

    /// How urgent a lane is now; `None` when it was removed.
    pub(crate) fn effective_priority(&self, lane: Target<'_>) -> Option<u8> {
        let now = self.now();
        let state = self.lock();
        let lane = state.lane_of(lane)?;
        Some(state.scheduler.lane(lane).effective_priority(now))
    }
}

/// Spreads delays; no secret depends on it.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(uuid::Uuid::new_v4().as_u64_pair().1 | 1)
    }

    /// Xorshift (Marsaglia 2003).
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

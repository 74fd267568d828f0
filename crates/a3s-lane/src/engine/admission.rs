//! How commands come in.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::attempt::guarded;
use super::inbox::Posting;
use super::job::{Job, Reply};
use super::leave::{Departure, Leaving};
use super::locked::Locked;
use super::observer::Sample;
use super::reserved::Reservation;
use super::trace::{self, SubmitSpan};
use super::{Engine, LaneInfo, State};
use crate::command::Command;
use crate::config::Overflow;
use crate::error::{LaneError, Result};
use crate::event::What;
use crate::executor::locks::Lock;
use crate::handle::CommandStatus;
use crate::hint::{likely, unlikely};
use crate::scheduler::{CommandKey, LaneKey, Terms};

/// The lane that a command goes to.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) id: &'a str,
    /// Known to whoever holds the lane; looked up by `id` otherwise.
    pub(crate) key: Option<LaneKey>,
}

/// A command on its way in.
pub(super) struct Incoming {
    pub(super) command: Box<dyn Command>,
    pub(super) reply: Reply,
    pub(super) terms: Option<Box<Terms>>,
    pub(super) span: SubmitSpan,
}

/// Why a command was not accepted, and what comes back.
pub(super) struct Refusal {
    pub(super) error: LaneError,
    pub(super) incoming: Incoming,
}

/// What became of an attempt to let a command in.
pub(super) enum Placed {
    /// It is in its lane.
    Entered(Entered),
    /// It is accepted, and somebody has to be told before it enters. A list of one, as those that go on together are.
    Admitted(Vec<Admitted>),
    /// Its lane is full, and says to wait.
    Full(Box<Incoming>),
}

/// A submission that is not over at once.
enum Late {
    /// It has entered, and runs before its submitter goes on.
    Entered,
    Admitted(Vec<Admitted>),
    Full(Box<Incoming>),
    Refused(Refusal),
}

/// A command that was accepted and is on its way into its lane.
pub(super) struct Admitted {
    pub(super) info: Arc<LaneInfo>,
    pub(super) key: LaneKey,
    pub(super) serial: u64,
    pub(super) incoming: Incoming,
    /// Of an id that its submitter has chosen, once the storage was asked for it.
    pub(super) reservation: Option<Reservation>,
}

impl Admitted {
    /// The id that its submitter has chosen.
    pub(super) fn chosen_id(&self) -> Option<&Arc<str>> {
        self.incoming.reply.extras()?.id.as_ref()
    }

    /// Whether the command comes from the dead letters.
    pub(super) fn revives(&self) -> bool {
        let extras = self.incoming.reply.extras();
        extras.is_some_and(|extras| extras.revives.is_some())
    }
}

/// What is left to do after a command has entered, without the lock.
#[must_use]
pub(super) struct Entered {
    key: CommandKey,
    /// Boxed, as all that few submits need: it is handed on from call to call.
    evicted: Option<Box<Leaving>>,
    /// A lane whose depth is watched, and its depth.
    watched: Option<(Arc<LaneInfo>, usize)>,
}

impl Entered {
    pub(super) fn key(&self) -> CommandKey {
        self.key
    }
}

impl State {
    pub(super) fn admit(&self, target: Target<'_>) -> Result<LaneKey> {
        if self.shutting_down {
            return Err(LaneError::ShutdownInProgress);
        }
        if let Some(reason) = self.closed {
            return Err(LaneError::QueueError(reason.to_owned()));
        }
        self.lane_of(target)
            .ok_or_else(|| LaneError::LaneNotFound(target.id.to_owned()))
    }

    /// The lane that a target means now: whoever holds a lane may hold one that was removed since.
    pub(super) fn lane_of(&self, target: Target<'_>) -> Option<LaneKey> {
        let is_it = |key: &LaneKey| {
            *self.lanes[key.index()].id == *target.id && !self.scheduler.lane(*key).removed
        };
        let known = target.key.filter(is_it);
        known.or_else(|| self.names.get(target.id).copied())
    }

    /// As [`admit`](Self::admit), when that lane refuses no command and nobody has to be told of one: then it may enter as it comes.
    #[inline]
    fn free_lane(&self, target: Target<'_>) -> Option<LaneKey> {
        if self.shutting_down || self.closed.is_some() {
            return None;
        }
        let lane = self.lane_of(target)?;
        (self.lanes[lane.index()].posting != Posting::Never).then_some(lane)
    }

    /// Puts a command without options into a lane that is [free](Self::free_lane).
    #[inline]
    pub(super) fn enter_freely(
        &mut self,
        engine: &Engine,
        lane: LaneKey,
        incoming: Incoming,
        at: u64,
    ) {
        let Incoming {
            command,
            reply,
            span,
            ..
        } = incoming;
        let serial = self.scheduler.draw_serial();
        let job = Job::new(command, reply, span);
        let _: (_, bool) = self.scheduler.admit(lane, serial, job, None, at);
        let info = &self.lanes[lane.index()];
        info.observer
            .record(Sample::Submitted, || self.counts(lane));
        engine
            .emitter
            .report(|| What::Submitted(Arc::clone(&info.told)));
    }

    /// Whether a lane takes one more command now, which takes the place of `replaced`; the error says why it does not.
    pub(super) fn has_room(
        &self,
        lane: LaneKey,
        has_waited: bool,
        replaced: Option<CommandKey>,
    ) -> std::result::Result<(), Crowded> {
        let mut view = self.scheduler.lane(lane);
        let replaced = replaced.and_then(|key| self.scheduler.command(key));
        if let Some(replaced) = replaced.filter(|it| it.lane == lane && !it.holds_slot) {
            view.counts.pending -= 1;
            view.can_drop = view.can_drop.saturating_sub(usize::from(!replaced.delayed));
        }
        let Some((max, overflow)) = view.max_pending else {
            return Ok(());
        };
        let info = &self.lanes[lane.index()];
        let pending = view.counts.pending + info.room.promised();
        let wait = overflow == Overflow::Wait;
        let crowded = pending >= max || (wait && !has_waited && info.room.has_waiters());
        match overflow {
            _ if !crowded => Ok(()),
            Overflow::DropOldest if view.can_drop > 0 => Ok(()),
            Overflow::Wait => Err(Crowded::Wait),
            Overflow::DropOldest | Overflow::Reject => Err(Crowded::Refused(full(&info.id, max))),
        }
    }

    /// Lets a command in that was admitted to `lane`.
    #[inline]
    pub(super) fn place(
        &mut self,
        engine: &Arc<Engine>,
        lane: LaneKey,
        serial: u64,
        incoming: Incoming,
        now: u64,
    ) -> std::result::Result<Placed, Refusal> {
        let info = &self.lanes[lane.index()];
        if info.must_await() {
            info.room.promise();
            let info = Arc::clone(info);
            self.admitting += 1;
            return Ok(Placed::Admitted(vec![Admitted {
                info,
                key: lane,
                serial,
                incoming,
                reservation: None,
            }]));
        }
        self.enter(engine, lane, serial, incoming, now)
            .map(Placed::Entered)
    }

    /// Puts an admitted command into its lane.
    #[inline]
    pub(super) fn enter(
        &mut self,
        engine: &Engine,
        lane: LaneKey,
        serial: u64,
        incoming: Incoming,
        now: u64,
    ) -> std::result::Result<Entered, Refusal> {
        let Incoming {
            command,
            reply,
            terms,
            span,
        } = incoming;
        if let Some(log) = &engine.hooks.log {
            let kind = guarded(|| command.command_type().to_owned());
            let payload = guarded(|| command.payload());
            let lane = self.lanes[lane.index()].id.to_string();
            log.note(lane, kind.unwrap_or_default(), payload.unwrap_or_default());
        }
        let delayed = terms.as_ref().is_some_and(|terms| terms.delay_until > now);
        let job = Job::new(command, reply, span);
        let submitted = match self.scheduler.submit(lane, serial, job, terms, now) {
            Ok(submitted) => submitted,
            Err(job) => {
                let info = &self.lanes[lane.index()];
                let max = self.scheduler.lane(lane).max_pending;
                let error = full(&info.id, max.map_or(0, |(max, _)| max));
                let incoming = job.into_incoming();
                return Err(Refusal { error, incoming });
            }
        };
        let mut is_tracked = self.lanes[lane.index()].has_storage();
        if let Some(job) = self.scheduler.job_mut(submitted.key)
            && let Some(extras) = job.reply.extras()
        {
            if delayed {
                extras.handle.set_status(CommandStatus::Delayed);
            }
            if let Some(kind) = &extras.revives {
                engine.revived(&self.lanes[lane.index()], &extras.handle, kind);
            }
            is_tracked = true;
        }
        if is_tracked {
            self.tracked.insert(serial, submitted.key);
        }
        let evicted = submitted
            .evicted
            .map(|(key, job)| self.leave(engine, key, lane, job, Departure::Dropped))
            .map(Box::new);
        let info = &self.lanes[lane.index()];
        info.observer
            .record(Sample::Submitted, || self.counts(lane));
        engine
            .emitter
            .report(|| What::Submitted(Arc::clone(&info.told)));
        if submitted.pressure {
            engine
                .emitter
                .report(|| What::Pressure(Arc::clone(&info.id)));
        }
        let watched = info.observer.watches_depth();
        Ok(Entered {
            key: submitted.key,
            evicted,
            watched: watched.then(|| (Arc::clone(info), self.counts(lane).pending)),
        })
    }
}

/// Why a lane does not take a command now.
pub(super) enum Crowded {
    Wait,
    Refused(LaneError),
}

fn full(lane: &str, max: usize) -> LaneError {
    LaneError::LaneFull(format!(
        "lane {lane:?} holds {max} pending commands, its max_pending"
    ))
}

impl Engine {
    /// Puts a command into a lane, after the lane's storage has it.
    ///
    /// With a storage: when this future is dropped before it ends, the command does not run, but may stay stored, unless a drain or
    /// an end has gone on with it. One that has entered in this moment is cancelled, and may have begun.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
    ) -> Result<oneshot::Receiver<Result<Value>>> {
        match self.submit_at_once(target, command) {
            (None, receiver) => Ok(receiver),
            (Some(Late::Admitted(admitted)), receiver) if !self.hooks.inline => {
                match self.place_admitted(admitted).await {
                    Ok(()) => Ok(receiver),
                    Err(Refusal { error, incoming }) => {
                        incoming.reply.forget();
                        Err(error)
                    }
                }
            }
            (Some(late), receiver) => Box::pin(self.submit_late(target, late, receiver)).await,
        }
    }

    #[inline(never)]
    fn submit_at_once(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
    ) -> (Option<Late>, oneshot::Receiver<Result<Value>>) {
        let (reply, receiver) = oneshot::channel();
        (self.accept_at_once(target, command, reply), receiver)
    }

    async fn submit_late(
        self: &Arc<Self>,
        target: Target<'_>,
        late: Late,
        receiver: oneshot::Receiver<Result<Value>>,
    ) -> Result<oneshot::Receiver<Result<Value>>> {
        if let Err(Refusal { error, incoming }) = self.accept_later(target, late).await {
            incoming.reply.forget();
            return Err(error);
        }
        if self.hooks.inline {
            self.rest().await;
        }
        Ok(receiver)
    }

    /// As [`submit`](Self::submit); a refusal is sent as the reply.
    pub(crate) async fn submit_with_reply(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
        reply: oneshot::Sender<Result<Value>>,
    ) {
        if let Some(late) = self.accept_at_once(target, command, reply)
            && let Err(refusal) = Box::pin(self.accept_later(target, late)).await
        {
            let reply = refusal.incoming.reply;
            reply.send(Err(refusal.error), CommandStatus::Failed);
        }
    }

    /// Lets a command in without waiting, if that can be: most submits never wait.
    #[inline]
    fn accept_at_once(
        self: &Arc<Self>,
        target: Target<'_>,
        command: Box<dyn Command>,
        reply: oneshot::Sender<Result<Value>>,
    ) -> Option<Late> {
        // The user's code is called before the lock is taken, never under it.
        let span = SubmitSpan::new(target.id, &*command);
        let incoming = Incoming {
            command,
            reply: Reply::new(reply),
            terms: None,
            span,
        };
        let now = self.now();
        let incoming = if unlikely(self.may_post()) {
            match self.post(target, incoming, now) {
                Ok(()) => {
                    trace::submitted(target.id);
                    return None;
                }
                Err(incoming) => incoming,
            }
        } else {
            incoming
        };
        let (mut state, contended) = self.lock_noting();
        let free = state.free_lane(target);
        if likely(free.is_some())
            && let Some(lane) = free
        {
            state.enter_freely(self, lane, incoming, now);
            if unlikely(contended) {
                self.open_door(&mut state, lane);
            }
            self.release_lock(state);
            trace::submitted(target.id);
            return None;
        }
        match self.try_accept(state, target, incoming, false, now) {
            Ok(Placed::Entered(entered)) => {
                self.entered(target.id, entered);
                self.hooks.inline.then_some(Late::Entered)
            }
            Ok(Placed::Admitted(admitted)) => Some(Late::Admitted(admitted)),
            Ok(Placed::Full(incoming)) => Some(Late::Full(incoming)),
            Err(refusal) => Some(Late::Refused(refusal)),
        }
    }

    #[inline(never)]
    fn try_accept(
        self: &Arc<Self>,
        mut state: Locked<'_>,
        target: Target<'_>,
        incoming: Incoming,
        has_waited: bool,
        now: u64,
    ) -> std::result::Result<Placed, Refusal> {
        let lane = match state.admit(target) {
            Ok(lane) => lane,
            Err(error) => return Err(Refusal { error, incoming }),
        };
        match state.has_room(lane, has_waited, None) {
            Ok(()) => {}
            Err(Crowded::Wait) => return Ok(Placed::Full(Box::new(incoming))),
            Err(Crowded::Refused(error)) => return Err(Refusal { error, incoming }),
        }
        let serial = state.scheduler.draw_serial();
        let placed = state.place(self, lane, serial, incoming, now);
        self.release_lock(state);
        placed
    }

    /// Goes on with a command that could not enter at once: waits for its storage, or for room in a full lane.
    async fn accept_later(
        self: &Arc<Self>,
        target: Target<'_>,
        late: Late,
    ) -> std::result::Result<(), Refusal> {
        match late {
            Late::Entered => Ok(()),
            Late::Refused(refusal) => Err(refusal),
            Late::Admitted(admitted) => self.place_admitted(admitted).await,
            // Boxed: it is large, and few lanes are full.
            Late::Full(incoming) => Box::pin(self.accept_in_turn(target, *incoming)).await,
        }
    }

    async fn accept_in_turn(
        self: &Arc<Self>,
        target: Target<'_>,
        mut incoming: Incoming,
    ) -> std::result::Result<(), Refusal> {
        let room = match self.room_of(target) {
            Ok(room) => room,
            Err(error) => return Err(Refusal { error, incoming }),
        };
        let mut place = room.join();
        loop {
            place.wait().await;
            let now = self.now();
            match self.try_accept(self.lock(), target, incoming, true, now)? {
                Placed::Entered(entered) => {
                    self.entered(target.id, entered);
                    return Ok(());
                }
                Placed::Admitted(admitted) => {
                    // It has room: the next in line need not wait for its storage.
                    drop(place);
                    return self.place_admitted(admitted).await;
                }
                Placed::Full(back) => {
                    incoming = *back;
                    match self.room_of(target) {
                        Ok(room) => place.stay_with(&room),
                        Err(error) => return Err(Refusal { error, incoming }),
                    }
                }
            }
        }
    }

    /// Starts what can start, and releases the lock.
    #[inline]
    pub(super) fn release_lock(self: &Arc<Self>, state: Locked<'_>) {
        if unlikely(!self.calls_for_runners_only(&state)) {
            self.release_and_act(state);
        } else if state.wanted() > 0 {
            self.release_and_run(state);
        }
    }

    /// As [`release_and_act`](Self::release_and_act), where nothing but runners can be called for.
    #[inline(never)]
    fn release_and_run(self: &Arc<Self>, mut state: Locked<'_>) {
        let (resting, others) = state.take_runners();
        // What else is dropped waits until the runners are there: it may wait for what they run.
        let _lock = Lock::taken();
        drop(state);
        if let Some(resting) = resting {
            resting.wake();
        }
        self.spawn_runners(others);
    }

    #[inline(never)]
    fn release_and_act(self: &Arc<Self>, mut state: Locked<'_>) {
        let follow_up = self.follow_up(&mut state);
        let _lock = Lock::taken();
        drop(state);
        self.act(follow_up);
    }

    /// Tells those who must be told without the lock that a command has entered.
    pub(super) fn entered(self: &Arc<Self>, lane: &str, entered: Entered) {
        trace::submitted(lane);
        if let Some((info, depth)) = entered.watched {
            info.observer.watch_depth(&info.id, depth);
        }
        if let Some(evicted) = entered.evicted {
            self.dismiss([*evicted]);
        }
    }

    /// Tells the observers that have to be awaited. The counts are read when it is their turn, so that gauges end on
    /// the true value.
    pub(super) async fn record_awaited(&self, info: &LaneInfo, key: LaneKey, sample: Sample) {
        if info.observer.must_await() {
            let counts = || self.lock().counts(key);
            // Boxed: it is large, and in lanes with a storage mostly nobody.
            Box::pin(info.observer.record_awaited(&info.id, sample, counts)).await;
        }
    }
}

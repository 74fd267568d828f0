//! How commands come in with options of their own.

use std::sync::{Arc, Weak};

use chrono::Utc;

use super::admission::{Admitted, Crowded, Entered, Incoming, Placed, Refusal, Target};
use super::attempt::drop_command;
use super::job::{Extras, Reply};
use super::leave::{Departure, Leaving};
use super::timer::Asked;
use super::trace::SubmitSpan;
use super::{Engine, State};
use crate::command::{Command, StopReason};
use crate::error::{LaneError, Result};
use crate::event::CommandName;
use crate::handle::{CommandHandle, CommandStatus, Entry, Loan, Shared};
use crate::scheduler::{CommandKey, LaneKey, Stopped, Terms, nanos};
use crate::submission::{OnConflict, Refused, SubmitOptions};

/// A command with options that asks to be let in.
struct Request {
    parent: Option<CommandKey>,
    command: Box<dyn Command>,
    span: SubmitSpan,
    options: SubmitOptions,
}

/// What became of a request.
enum Answer {
    /// `None` once all was done about it.
    Entered(CommandHandle, Option<Entered>, Replaced),
    Admitted(Arc<Shared>, Vec<Admitted>, Replaced),
    /// As `Admitted`, and on its way into its lane with others.
    Placed(Arc<Shared>),
    /// Another command holds the unique key, and its result is shared. It may be on its way into its lane and its storage still,
    /// which is waited for: a submission is acknowledged when its command is stored.
    ///
    /// The request is not needed any more, and is the user's to drop: not under the lock.
    Joined(CommandHandle, Option<Entry>, Box<Request>),
    Full(Request),
    /// With the span of the submission, which is closed without the lock: whoever collects spans may use the queue.
    Refused(Refused, Replaced, Option<SubmitSpan>),
}

/// The command whose unique key a new one has taken over.
#[derive(Default)]
struct Replaced {
    left: Option<Leaving>,
    asked: Option<Asked>,
}

impl Request {
    fn refuse(self, error: LaneError) -> Answer {
        let refused = Refused::new(error, self.command);
        Answer::Refused(refused, Replaced::default(), Some(self.span))
    }

    /// The terms that the scheduler goes by.
    fn terms(&self, now: u64) -> Terms {
        let options = &self.options;
        let delay = match options.run_at {
            Some(at) => (at - Utc::now()).to_std().ok(),
            None => options.delay,
        };
        let after = |wait| now.saturating_add(nanos(wait));
        Terms {
            priority: options.priority,
            key: options.key.as_deref().map(Into::into),
            delay_until: delay.map_or(0, after),
            expires_at: options.ttl.map(after),
            timeout_ns: options
                .timeout
                .map(|limit| limit.map(nanos).filter(|limit| *limit != u64::MAX)),
            progress_ns: options
                .progress_timeout
                .map(nanos)
                .filter(|limit| *limit != u64::MAX),
            retry: options.retry_policy.clone(),
            jitter: options.jitter,
            cost: options.cost,
            preemptible: options.preemptible,
            parent: self.parent,
            ..Terms::default()
        }
    }
}

impl State {
    /// Forgets the id and the unique key of a command that has not entered.
    pub(super) fn forget_id(&mut self, extras: Option<&Arc<Extras>>) {
        let Some(extras) = extras else {
            return;
        };
        if let Some(id) = &extras.id {
            self.ids.remove(id);
        }
        self.uniques.give_up(extras);
    }

    /// A cost that a limiter of the lane could never grant.
    pub(super) fn check_cost(&self, lane: LaneKey, cost: u64) -> Result<()> {
        #[cfg(feature = "distributed")]
        if let Some((highest, limiter)) = self.scheduler.lane(lane).highest_cost()
            && cost > highest
        {
            let name = self.limiter_name(limiter);
            return Err(LaneError::ConfigError(format!(
                "submit options: cost must be at most {highest}, what limiter {name:?} grants at once (got {cost})"
            )));
        }
        let _ = (lane, cost);
        Ok(())
    }

    /// Lets a command with options in, if it can be let in now.
    fn answer(
        &mut self,
        engine: &Arc<Engine>,
        target: Target<'_>,
        request: Request,
        has_waited: bool,
        now: u64,
    ) -> Answer {
        let lane = match self.admit(target) {
            Ok(lane) => lane,
            Err(error) => return request.refuse(error),
        };
        if let Err(error) = self.check_cost(lane, request.options.cost) {
            return request.refuse(error);
        }
        if let Some(id) = &request.options.id
            && (self.ids.contains_key(id.as_str())
                || (self.kept.has_departed(id) && !self.kept.is_given_up(id)))
        {
            let text = format!("id {id:?} belongs to a command that has not settled");
            return request.refuse(LaneError::Duplicate(text));
        }
        let mut replaced = None;
        if let Some(unique) = &request.options.unique
            && let Some(holder) = self.uniques.holder(&unique.key, now)
        {
            match unique.on_conflict {
                OnConflict::Join => {
                    let shared = Arc::clone(&holder.handle);
                    let entry =
                        (!self.tracked.contains_key(&shared.serial())).then(|| Entry::of(&shared));
                    return Answer::Joined(CommandHandle::new(shared), entry, Box::new(request));
                }
                OnConflict::Replace => replaced = Some(Arc::clone(holder)),
                OnConflict::Reject => {
                    let text = format!(
                        "command {} holds the unique key {:?}",
                        holder.handle.id(),
                        unique.key
                    );
                    return request.refuse(LaneError::Duplicate(text));
                }
            }
        }
        let leaves = replaced.as_ref();
        let leaves = leaves.and_then(|holder| self.tracked.get(&holder.handle.serial()));
        match self.has_room(lane, has_waited, leaves.copied()) {
            Ok(()) => {}
            // The room may only come when its parent ends.
            Err(Crowded::Wait) if request.parent.is_some() => {}
            Err(Crowded::Wait) => return Answer::Full(request),
            Err(Crowded::Refused(error)) => return request.refuse(error),
        }
        let replaced = replaced.map_or_else(Replaced::default, |holder| {
            self.replace(engine, &holder, now)
        });
        let serial = self.scheduler.draw_serial();
        let extras = self.register(engine, lane, serial, &request.options, now);
        let handle = Arc::clone(&extras.handle);
        let incoming = Incoming {
            terms: Some(Box::new(request.terms(now))),
            reply: Reply::to_handle(extras),
            command: request.command,
            span: request.span,
        };
        match self.place(engine, lane, serial, incoming, now) {
            Ok(Placed::Entered(entered)) => {
                Answer::Entered(CommandHandle::new(handle), Some(entered), replaced)
            }
            Ok(Placed::Admitted(admitted)) => Answer::Admitted(handle, admitted, replaced),
            Ok(Placed::Full(incoming)) => unreachable_full(*incoming, replaced),
            Err(Refusal { error, incoming }) => {
                self.forget_id(incoming.reply.extras());
                incoming.reply.forget();
                let refused = Refused::new(error, incoming.command);
                Answer::Refused(refused, replaced, Some(incoming.span))
            }
        }
    }

    /// Makes the handle of a new command, and enters its id and unique key.
    fn register(
        &mut self,
        engine: &Arc<Engine>,
        lane: LaneKey,
        serial: u64,
        options: &SubmitOptions,
        now: u64,
    ) -> Arc<Extras> {
        let id: Option<Arc<str>> = options.id.as_deref().map(Into::into);
        let name = match &id {
            Some(id) => CommandName::Given(Arc::clone(id)),
            None => CommandName::new(engine.id_space, serial),
        };
        let remote: Weak<Engine> = Arc::downgrade(engine);
        let handle = Shared::new(
            name.to_string(),
            Arc::clone(&self.lanes[lane.index()].id),
            serial,
            remote,
            CommandStatus::Pending,
        );
        let unique = options.unique.as_ref().map(|unique| {
            let window = unique
                .window
                .map_or(0, |window| now.saturating_add(nanos(window)));
            (Arc::from(unique.key.as_str()), window)
        });
        let extras = Arc::new(Extras {
            id,
            handle,
            metadata: options.metadata.clone(),
            unique,
            on_conflict: options
                .unique
                .as_ref()
                .map_or_else(OnConflict::default, |unique| unique.on_conflict),
            restored: false,
            revives: options.revives.clone(),
        });
        if let Some(id) = &extras.id {
            self.ids.insert(Arc::clone(id), serial);
        }
        if let Some((key, _)) = &extras.unique {
            self.uniques.hold(Arc::clone(key), Arc::clone(&extras));
        }
        extras
    }

    /// Cancels a command that has entered now, if its unique key was taken over while it was on its way into its storage.
    pub(super) fn leave_if_replaced(
        &mut self,
        engine: &Engine,
        entered: &Entered,
        extras: &Arc<Extras>,
        now: u64,
    ) -> Option<Leaving> {
        if self.uniques.is_held_by(extras) {
            return None;
        }
        let key = entered.key();
        match self.scheduler.stop(key, StopReason::Cancel, now) {
            Stopped::Left(lane, job) => {
                Some(self.leave(engine, key, lane, job, Departure::Cancelled))
            }
            _ => None,
        }
    }

    /// Cancels the command whose unique key is taken over. One that is on its way into its storage leaves when it enters.
    fn replace(&mut self, engine: &Engine, holder: &Arc<Extras>, now: u64) -> Replaced {
        let Some(&key) = self.tracked.get(&holder.handle.serial()) else {
            return Replaced::default();
        };
        match self.scheduler.stop(key, StopReason::Cancel, now) {
            Stopped::Left(lane, job) => Replaced {
                left: Some(self.leave(engine, key, lane, job, Departure::Cancelled)),
                asked: None,
            },
            Stopped::Asked { drop } => Replaced {
                left: None,
                asked: Some(self.asked(key, StopReason::Cancel, drop)),
            },
            Stopped::Gone | Stopped::Already => Replaced::default(),
        }
    }
}

/// What a submitter gets of a command that was admitted.
fn accepted(
    shared: Arc<Shared>,
    placed: std::result::Result<(), Refusal>,
) -> std::result::Result<CommandHandle, Refused> {
    match placed {
        Ok(()) => Ok(CommandHandle::new(shared)),
        Err(Refusal { error, incoming }) => {
            // Another submission may have joined it.
            let told = Err(error.duplicate());
            incoming.reply.send(told, CommandStatus::Failed);
            Err(Refused::new(error, incoming.command))
        }
    }
}

fn unreachable_full(incoming: Incoming, replaced: Replaced) -> Answer {
    debug_assert!(false, "room was looked for before");
    let error = LaneError::QueueError("internal error: a full lane was found late".to_owned());
    let refused = Refused::new(error, incoming.command);
    Answer::Refused(refused, replaced, Some(incoming.span))
}

impl Engine {
    /// Puts a command into a lane, with options of its own.
    pub(crate) async fn submit_with(
        self: &Arc<Self>,
        lane_id: &str,
        command: Box<dyn Command>,
        options: SubmitOptions,
    ) -> std::result::Result<CommandHandle, Refused> {
        let commands = vec![(command, options)];
        let mut answers = self.submit_many(lane_id, commands, |_, _| {}).await;
        answers.pop().expect("one answer for one command")
    }

    /// Puts a command into a lane on behalf of a running one, which lends it its slots while it waits for it.
    pub(crate) async fn submit_child(
        self: &Arc<Self>,
        parent: (CommandKey, u32),
        lane_id: &str,
        command: Box<dyn Command>,
        options: SubmitOptions,
    ) -> std::result::Result<CommandHandle, Refused> {
        let commands = vec![(command, options)];
        let parent_key = Some(parent.0);
        let mut answers = self
            .submit_all(lane_id, commands, parent_key, |_, _| {})
            .await;
        let handle = answers.pop().expect("one answer for one command")?;
        let lender: Weak<Engine> = Arc::downgrade(self);
        let loan = Loan::new(lender, parent, handle.serial());
        Ok(handle.of_child(loan))
    }

    /// Puts commands into a lane in their order, under one lock as far as none has to wait. `refused` is told before anything is
    /// waited for.
    pub(crate) async fn submit_many(
        self: &Arc<Self>,
        lane_id: &str,
        commands: Vec<(Box<dyn Command>, SubmitOptions)>,
        refused: impl FnMut(usize, &LaneError),
    ) -> Vec<std::result::Result<CommandHandle, Refused>> {
        let handles = self.submit_all(lane_id, commands, None, refused).await;
        if self.hooks.inline {
            self.rest().await;
        }
        handles
    }

    async fn submit_all(
        self: &Arc<Self>,
        lane_id: &str,
        commands: Vec<(Box<dyn Command>, SubmitOptions)>,
        parent: Option<CommandKey>,
        mut refused: impl FnMut(usize, &LaneError),
    ) -> Vec<std::result::Result<CommandHandle, Refused>> {
        let target = Target {
            id: lane_id,
            key: None,
        };
        // The user's code is called before the lock is taken, never under it.
        let requests: Vec<_> = commands
            .into_iter()
            .map(|(command, options)| match options.validate() {
                Ok(()) => Ok(Request {
                    parent,
                    span: SubmitSpan::new(lane_id, &*command),
                    command,
                    options,
                }),
                Err(error) => Err(Refused::new(error, command)),
            })
            .collect();
        let (mut answers, admitted) = self.answer_at_once(target, requests);
        // Before the user is called and before anything is waited for: a future that is dropped there must not leave it undone.
        for answer in &mut answers {
            match answer {
                Answer::Entered(_, entered, replaced) => {
                    self.settle_replaced(std::mem::take(replaced));
                    if let Some(entered) = entered.take() {
                        self.entered(lane_id, entered);
                    }
                }
                Answer::Admitted(_, _, replaced) | Answer::Refused(_, replaced, _) => {
                    self.settle_replaced(std::mem::take(replaced));
                }
                _ => {}
            }
        }
        for (place, answer) in answers.iter().enumerate() {
            if let Answer::Refused(answer, ..) = answer {
                refused(place, answer.error());
            }
        }
        drop(refused);
        // Boxed, as all that few lanes need.
        let mut placed = if admitted {
            Box::pin(self.place_admissions(&mut answers)).await
        } else {
            Vec::new().into_iter()
        };
        let mut handles = Vec::with_capacity(answers.len());
        for answer in answers {
            handles.push(match answer {
                Answer::Entered(handle, ..) => Ok(handle),
                Answer::Joined(handle, entry, spent) => {
                    drop_command(spent, lane_id);
                    if let Some(entry) = entry {
                        entry.await;
                    }
                    Ok(handle)
                }
                Answer::Refused(refused, _, _span) => Err(refused),
                Answer::Placed(shared) => {
                    let placed = placed.next().expect("one answer for one admission");
                    accepted(shared, placed)
                }
                Answer::Admitted(..) => unreachable!("all that was admitted was placed"),
                Answer::Full(request) => Box::pin(self.submit_later(target, request)).await,
            });
        }
        handles
    }

    /// Puts all that was admitted into its lane, at once: the lane's storage is asked once.
    async fn place_admissions(
        self: &Arc<Self>,
        answers: &mut [Answer],
    ) -> std::vec::IntoIter<std::result::Result<(), Refusal>> {
        let mut admissions = Vec::new();
        for answer in answers {
            if let Answer::Admitted(shared, ..) = answer {
                let placed = Answer::Placed(Arc::clone(shared));
                if let Answer::Admitted(_, mut admitted, _) = std::mem::replace(answer, placed) {
                    if admissions.is_empty() {
                        admissions = admitted;
                    } else {
                        admissions.append(&mut admitted);
                    }
                }
            }
        }
        self.place_all(admissions).await.into_iter()
    }

    /// Also says whether somebody has to be told of a command before it enters.
    fn answer_at_once(
        self: &Arc<Self>,
        target: Target<'_>,
        requests: Vec<std::result::Result<Request, Refused>>,
    ) -> (Vec<Answer>, bool) {
        let mut answers = Vec::with_capacity(requests.len());
        let now = self.now();
        let mut state = self.lock();
        // Those behind one that waits wait too: the order stays.
        let mut behind = false;
        let mut admitted = false;
        for request in requests {
            answers.push(match request {
                Err(refused) => Answer::Refused(refused, Replaced::default(), None),
                Ok(request) if behind => Answer::Full(request),
                Ok(request) => state.answer(self, target, request, false, now),
            });
            match answers.last() {
                Some(Answer::Full(_)) => behind = true,
                Some(Answer::Admitted(..)) => admitted = true,
                _ => {}
            }
        }
        self.release_lock(state);
        (answers, admitted)
    }

    async fn finish_admission(
        self: &Arc<Self>,
        shared: Arc<Shared>,
        admitted: Vec<Admitted>,
    ) -> std::result::Result<CommandHandle, Refused> {
        accepted(shared, self.place_admitted(admitted).await)
    }

    /// Lets a command in when its lane has room.
    async fn submit_later(
        self: &Arc<Self>,
        target: Target<'_>,
        mut request: Request,
    ) -> std::result::Result<CommandHandle, Refused> {
        let room = match self.room_of(target) {
            Ok(room) => room,
            Err(error) => return Err(Refused::new(error, request.command)),
        };
        let mut place = room.join();
        loop {
            place.wait().await;
            match self.answer_again(target, request) {
                Answer::Entered(handle, entered, replaced) => {
                    self.settle_replaced(replaced);
                    if let Some(entered) = entered {
                        self.entered(target.id, entered);
                    }
                    return Ok(handle);
                }
                Answer::Admitted(shared, admitted, replaced) => {
                    // It has room: the next in line need not wait for its storage.
                    drop(place);
                    self.settle_replaced(replaced);
                    return self.finish_admission(shared, admitted).await;
                }
                Answer::Joined(handle, entry, spent) => {
                    drop(place);
                    drop_command(spent, target.id);
                    if let Some(entry) = entry {
                        entry.await;
                    }
                    return Ok(handle);
                }
                Answer::Refused(refused, replaced, _) => {
                    self.settle_replaced(replaced);
                    return Err(refused);
                }
                Answer::Placed(_) => unreachable!("only batches are placed together"),
                Answer::Full(back) => {
                    request = back;
                    match self.room_of(target) {
                        Ok(room) => place.stay_with(&room),
                        Err(error) => return Err(Refused::new(error, request.command)),
                    }
                }
            }
        }
    }

    fn answer_again(self: &Arc<Self>, target: Target<'_>, request: Request) -> Answer {
        let now = self.now();
        let mut state = self.lock();
        let answer = state.answer(self, target, request, true, now);
        self.release_lock(state);
        answer
    }

    fn settle_replaced(self: &Arc<Self>, replaced: Replaced) {
        if let Some(asked) = replaced.asked {
            asked.tell();
        }
        if replaced.left.is_some() {
            self.dismiss(replaced.left);
        }
    }
}

//! How commands enter lanes that have somebody to wait for: a storage, observers.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::admission::{Admitted, Entered, Incoming, Refusal};
use super::attempt::{self, drop_command};
use super::calendar::Calendar;
use super::driven::Driven;
use super::job::Extras;
use super::leave::Untold;
use super::observer::Sample;
use super::reserved::Reservation;
use super::{Engine, LaneInfo, record};
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::handle;
use crate::scheduler::LaneKey;
use crate::storage::{CommandRecord, Storage};

/// What came of a command that was admitted.
pub(super) type Placed = std::result::Result<(), Refusal>;

/// Accepted submits to one lane that have not entered it. Dropping it gives up their places.
pub(super) struct Admission {
    engine: Arc<Engine>,
    pub(super) admitted: Vec<Admitted>,
    /// The storage was asked to take them down.
    pub(super) may_be_stored: bool,
}

impl Admission {
    pub(super) fn new(engine: &Arc<Engine>, admitted: Vec<Admitted>) -> Self {
        Self {
            engine: Arc::clone(engine),
            admitted,
            may_be_stored: false,
        }
    }

    /// Puts the only one into its lane.
    pub(super) async fn place(self) -> Placed {
        let engine = Arc::clone(&self.engine);
        engine.place_one(self).await
    }

    /// The lane that they go to.
    fn lane(&self) -> Option<(Arc<LaneInfo>, LaneKey)> {
        let first = self.admitted.first()?;
        Some((Arc::clone(&first.info), first.key))
    }

    /// What the storage has to be told of them when they do not enter: they must not run after a restart.
    pub(super) fn give_up(&mut self) -> Vec<Untold> {
        if !std::mem::take(&mut self.may_be_stored) {
            return Vec::new();
        }
        let admitted = self.admitted.iter_mut().filter(|it| !it.revives());
        admitted
            .filter_map(|it| self.engine.give_up_stored(it))
            .collect()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let stored = self.give_up();
        // Before their places are free: whoever waits until nothing is on its way waits for that too.
        if !stored.is_empty() {
            self.engine.tell_soon(stored, Vec::new());
        }
        for admitted in self.admitted.drain(..) {
            self.engine
                .give_place_back(&admitted.info, &admitted.incoming);
            let lane = Arc::clone(&admitted.info);
            drop_command(admitted, &lane.id);
        }
    }
}

impl Engine {
    /// As [`place_admitted`](Self::place_admitted), for commands of one lane in their order: its storage takes down all of
    /// them at once, or none. One whose id it has already is refused.
    pub(super) async fn place_all(self: &Arc<Self>, admitted: Vec<Admitted>) -> Vec<Placed> {
        if admitted.len() == 1 {
            return vec![self.place_admitted(admitted).await];
        }
        let admission = Admission::new(self, admitted);
        let engine = Arc::clone(self);
        Driven::new(self, async move { engine.place_each(admission).await }).await
    }

    async fn place_one(self: &Arc<Self>, mut admission: Admission) -> Placed {
        debug_assert_eq!(admission.admitted.len(), 1, "it is alone");
        // By a group, which has not come to its end.
        let was_asked_before = admission.may_be_stored;
        let (duplicates, stored) = self.store_admitted(&mut admission).await;
        let answer = match (stored, admission.lane()) {
            (Ok(()), Some((info, key))) => {
                let mut placed = None;
                self.enter_admitted(&mut admission, &info, |entered| placed = Some(entered));
                let placed = placed.expect("it is there");
                let placed = placed.map(|entered| self.entered(&info.id, entered));
                return self.answer_stored(&info, key, placed).await;
            }
            (Ok(()), None) => duplicates.into_iter().next().map(|(_, refusal)| refusal),
            (Err(error), _) => {
                let admitted = admission.admitted.pop();
                let names = admitted.as_ref().filter(|_| was_asked_before);
                let name = names.map(|it| (Arc::clone(&it.info), self.incoming_name(it)));
                let refusal = admitted.map(|admitted| self.refuse(admitted, error));
                if let Some((info, name)) = name {
                    Box::pin(self.forget_refused(&info, &name)).await;
                }
                refusal
            }
        };
        Err(answer.expect("one answer for one admission"))
    }

    async fn place_each(self: &Arc<Self>, mut admission: Admission) -> Vec<Placed> {
        let mut answers = Vec::with_capacity(admission.admitted.len());
        let (duplicates, stored) = self.store_admitted(&mut admission).await;
        match stored {
            Ok(()) => {
                if let Some((info, key)) = admission.lane() {
                    let mut all = Vec::with_capacity(admission.admitted.len());
                    self.enter_admitted(&mut admission, &info, |placed| all.push(placed));
                    // Before anybody is waited for: this future may be dropped then.
                    let told = all
                        .into_iter()
                        .map(|placed| placed.map(|entered| self.entered(&info.id, entered)))
                        .collect::<Vec<_>>();
                    for placed in told {
                        answers.push(self.answer_stored(&info, key, placed).await);
                    }
                }
            }
            Err(error) => {
                let refused = std::mem::take(&mut admission.admitted).into_iter();
                answers
                    .extend(refused.map(|admitted| Err(self.refuse(admitted, error.duplicate()))));
            }
        }
        for (place, refusal) in duplicates {
            answers.insert(place, Err(refusal));
        }
        answers
    }

    /// Has the lane's storage take down what was admitted to it. Returns what it has already, with its places, and whether it has
    /// taken the others.
    async fn store_admitted(
        &self,
        admission: &mut Admission,
    ) -> (Vec<(usize, Refusal)>, Result<()>) {
        let mut duplicates = Vec::new();
        let first = admission.admitted.first();
        let Some(storage) = first.and_then(|first| first.info.storage.clone()) else {
            return (duplicates, Ok(()));
        };
        let is_chosen = |admitted: &Admitted| admitted.chosen_id().is_some();
        if admission.admitted.iter().any(is_chosen) {
            // Boxed, as all that few submissions need.
            match Box::pin(self.turn_duplicates_away(admission, &*storage)).await {
                Ok(found) => duplicates = found,
                Err(error) => return (duplicates, Err(error)),
            }
        }
        if admission.admitted.is_empty() {
            return (duplicates, Ok(()));
        }
        admission.may_be_stored = true;
        let records = self.records(admission);
        let stored = if admission.admitted.iter().any(Admitted::revives) {
            // A call retries, or submits.
            storage.revive_dead_letters(records).await
        } else {
            storage.save_commands(records).await
        };
        (duplicates, stored)
    }

    pub(super) fn refuse(&self, admitted: Admitted, error: LaneError) -> Refusal {
        self.give_place_back(&admitted.info, &admitted.incoming);
        Refusal {
            error,
            incoming: admitted.incoming,
        }
    }

    /// Refuses the commands whose ids belong to stored ones that have not entered, such as those of an earlier process before the
    /// start: they would take the place of what was acknowledged. Returns them with their places, in order.
    async fn turn_duplicates_away(
        &self,
        admission: &mut Admission,
        storage: &dyn Storage,
    ) -> Result<Vec<(usize, Refusal)>> {
        let mut stored = Vec::new();
        for (place, admitted) in admission.admitted.iter_mut().enumerate() {
            let Some(id) = admitted.chosen_id().cloned() else {
                continue;
            };
            let departed = self.stays_departed(&id).await;
            admitted.reservation = Reservation::of(storage, &id);
            let text = if admitted.reservation.is_none() {
                format!(
                    "id {id:?} belongs to a command that another queue submits to the same storage"
                )
            } else if departed || storage.has_command(&id).await? {
                format!("id {id:?} belongs to a stored command that has not settled")
            } else {
                continue;
            };
            stored.push((place, LaneError::Duplicate(text)));
        }
        let mut refused: Vec<_> = stored
            .into_iter()
            .rev()
            .map(|(place, error)| {
                let admitted = admission.admitted.remove(place);
                (place, self.refuse(admitted, error))
            })
            .collect();
        refused.reverse();
        Ok(refused)
    }

    /// Waits until a submission with this id that was given up is forgotten; true when the storage could not be told.
    async fn stays_departed(&self, id: &str) -> bool {
        loop {
            let mut let_go = std::pin::pin!(self.let_go.notified());
            let_go.as_mut().enable();
            {
                let state = self.lock();
                if !state.kept.is_given_up(id) {
                    return state.kept.has_departed(id);
                }
            }
            let_go.await;
        }
    }

    /// Tells those who must be awaited of a command that was stored and has entered, or was refused in the end.
    async fn answer_stored(
        self: &Arc<Self>,
        info: &LaneInfo,
        key: LaneKey,
        placed: std::result::Result<(), (CommandName, Refusal)>,
    ) -> Placed {
        match placed {
            Ok(()) => {
                if info.observer.must_await() {
                    Box::pin(self.record_awaited(info, key, Sample::Submitted)).await;
                }
                Ok(())
            }
            Err((name, refusal)) => {
                let extras = refusal.incoming.reply.extras();
                // A dead letter that is one no more would be lost: its command runs after the next start.
                if extras.is_none_or(|extras| extras.revives.is_none()) {
                    Box::pin(self.forget_refused(info, &name)).await;
                }
                Err(refusal)
            }
        }
    }

    /// What a storage is to keep of these.
    fn records(&self, admission: &Admission) -> Vec<CommandRecord> {
        let calendar = self.calendar();
        let admitted = admission.admitted.iter();
        let mut records: Vec<_> = admitted.map(|it| self.record(it, &calendar)).collect();
        self.date(&mut records, calendar.date);
        records
    }

    /// What a storage is to keep of a command, without its date. Asks that, which is the user's code.
    pub(super) fn record(&self, admitted: &Admitted, calendar: &Calendar) -> CommandRecord {
        let incoming = &admitted.incoming;
        record::of_command(
            &admitted.info.id,
            &self.incoming_name(admitted),
            &*incoming.command,
            incoming.terms.as_deref(),
            incoming.reply.extras().map(|extras| &**extras),
            calendar,
        )
    }

    /// Dates what is stored now, in its order.
    pub(super) fn date(&self, records: &mut [CommandRecord], now: DateTime<Utc>) {
        for record in records {
            record.command.created_at = self.next_date(now);
        }
    }

    fn incoming_name(&self, admitted: &Admitted) -> CommandName {
        match admitted.chosen_id() {
            Some(id) => CommandName::Given(Arc::clone(id)),
            None => CommandName::new(self.id_space, admitted.serial),
        }
    }

    /// Takes the command of a dead letter, which has entered its lane, out of the dead letters.
    pub(super) fn revived(&self, lane: &LaneInfo, handle: &handle::Shared, kind: &Arc<str>) {
        if let Some(dlq) = &self.dlq {
            dlq.remove_now(&[handle.id().to_owned()]);
        }
        self.emitter.report(|| {
            let name = CommandName::Given(handle.id().into());
            What::LetterRetried(Arc::clone(&lane.id), name, Arc::clone(kind))
        });
    }

    /// A submission that is given up while its storage takes it down must not run after a restart. Its id is taken until the storage
    /// has forgotten it.
    fn give_up_stored(&self, admitted: &mut Admitted) -> Option<Untold> {
        let storage = admitted.info.storage.as_ref()?;
        let name = self.incoming_name(admitted);
        let late = || Extras::of_departed(self, &admitted.info.id, admitted.serial);
        let extras = admitted.incoming.reply.watch(late)?;
        let id = name.to_string().into();
        let reservation = admitted.reservation.take();
        self.lock().kept.give_up(id, &extras.handle, reservation);
        let kind = attempt::guarded(|| admitted.incoming.command.command_type().to_owned());
        let error = LaneError::Cancelled("its submission was given up".to_owned());
        let kind = kind.unwrap_or_default();
        Some((
            Arc::clone(storage),
            record::failed(&name, &kind, &admitted.info, &error),
        ))
    }

    fn give_place_back(&self, info: &LaneInfo, incoming: &Incoming) {
        let mut state = self.lock();
        state.admitting -= 1;
        state.forget_id(incoming.reply.extras());
        drop(state);
        info.room.keep_promise();
        info.room.freed();
        self.check_quiet();
    }

    /// Puts commands into their lane that its storage has, and hands on what came of each.
    pub(super) fn enter_admitted(
        self: &Arc<Self>,
        admission: &mut Admission,
        info: &LaneInfo,
        mut tell: impl FnMut(std::result::Result<Entered, (CommandName, Refusal)>),
    ) {
        let now = self.now();
        let mut state = self.lock();
        let mut refused = false;
        let mut joined = Vec::new();
        let mut left = Vec::new();
        // One by one: should anything panic, the others are still in it.
        admission.admitted.reverse();
        while let Some(admitted) = admission.admitted.pop() {
            let extras = admitted.incoming.reply.extras();
            // Only these can have been joined, or replaced.
            let unique = extras.filter(|extras| extras.unique.is_some()).cloned();
            let chosen = admitted.chosen_id().cloned();
            let Admitted {
                key,
                serial,
                incoming,
                ..
            } = admitted;
            state.admitting -= 1;
            info.room.keep_promise();
            let entered = match state.closed {
                Some(reason) => Err(Refusal {
                    error: LaneError::QueueError(reason.to_owned()),
                    incoming,
                }),
                None => state.enter(self, key, serial, incoming, now),
            };
            tell(match entered {
                Ok(entered) => {
                    if let Some(unique) = unique {
                        left.extend(state.leave_if_replaced(self, &entered, &unique, now));
                        joined.push(Arc::clone(&unique.handle));
                    }
                    Ok(entered)
                }
                Err(refusal) => {
                    state.forget_id(refusal.incoming.reply.extras());
                    refused = true;
                    let name = match chosen {
                        Some(id) => CommandName::Given(id),
                        None => CommandName::new(self.id_space, serial),
                    };
                    Err((name, refusal))
                }
            });
        }
        self.release_lock(state);
        for handle in joined {
            handle.enter();
        }
        if !left.is_empty() {
            self.dismiss(left);
        }
        if refused {
            info.room.freed();
        }
        // Whoever waits until nothing is on its way has waited for these too.
        self.check_quiet();
    }

    /// A command that was stored and refused in the end must not run after a restart.
    pub(super) async fn forget_refused(&self, info: &LaneInfo, name: &CommandName) {
        if let Some(storage) = &info.storage
            && let Err(error) = storage.remove_command(&name.to_string()).await
        {
            tracing::error!(command_id = %name, %error, "failed to remove a refused command from storage");
        }
    }
}

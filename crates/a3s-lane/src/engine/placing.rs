//! How commands enter lanes that have somebody to wait for: a storage, observers.

use std::sync::Arc;

use super::admission::{Admitted, Entered, Incoming, Refusal};
use super::leave::Untold;
use super::observer::Sample;
use super::reserved::Reservation;
use super::{Engine, LaneInfo, attempt, record};
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::handle;
use crate::scheduler::LaneKey;

/// Accepted submits that have not entered their lane. Dropping it gives up their places.
struct Admission<'a> {
    engine: &'a Arc<Engine>,
    admitted: Vec<Admitted>,
    /// The storage was asked to take them down.
    may_be_stored: bool,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let mut stored = Vec::new();
        for mut admitted in self.admitted.drain(..) {
            if self.may_be_stored && !admitted.revives() {
                stored.extend(self.engine.give_up_stored(&mut admitted));
            }
            self.engine
                .give_place_back(&admitted.info, &admitted.incoming);
        }
        if !stored.is_empty() {
            self.engine.tell_soon(stored, Vec::new());
        }
    }
}

impl Engine {
    /// Puts an admitted command into a lane that has somebody to wait for.
    pub(super) async fn place_admitted(
        self: &Arc<Self>,
        admitted: Box<Admitted>,
    ) -> std::result::Result<(), Refusal> {
        let mut placed = self.place_all(vec![*admitted]).await;
        placed.pop().expect("one answer for one admission")
    }

    /// As [`place_admitted`](Self::place_admitted), for commands of one lane in their order: its storage takes down all of
    /// them at once, or none. One whose id it has already is refused.
    pub(super) async fn place_all(
        self: &Arc<Self>,
        admitted: Vec<Admitted>,
    ) -> Vec<std::result::Result<(), Refusal>> {
        let Some(first) = admitted.first() else {
            return Vec::new();
        };
        let (info, key) = (Arc::clone(&first.info), first.key);
        let mut admission = Admission {
            engine: self,
            admitted,
            may_be_stored: false,
        };
        let (duplicates, stored) = match self.turn_duplicates_away(&mut admission, &info).await {
            Ok(duplicates) => {
                admission.may_be_stored = info.storage.is_some();
                (duplicates, self.store(&admission, &info).await)
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        let mut answers = match stored {
            Ok(()) => self.enter_stored(&mut admission, &info, key).await,
            Err(error) => {
                let refused = std::mem::take(&mut admission.admitted).into_iter();
                let refuse = |admitted| Err(self.refuse(&info, admitted, error.duplicate()));
                refused.map(refuse).collect()
            }
        };
        for (place, refusal) in duplicates {
            answers.insert(place, Err(refusal));
        }
        answers
    }

    fn refuse(&self, info: &LaneInfo, admitted: Admitted, error: LaneError) -> Refusal {
        self.give_place_back(info, &admitted.incoming);
        Refusal {
            error,
            incoming: admitted.incoming,
        }
    }

    /// Refuses the commands whose ids belong to stored ones that have not entered, such as those of an earlier process before the
    /// start: they would take the place of what was acknowledged. Returns them with their places, in order.
    async fn turn_duplicates_away(
        &self,
        admission: &mut Admission<'_>,
        info: &LaneInfo,
    ) -> Result<Vec<(usize, Refusal)>> {
        let mut stored = Vec::new();
        if let Some(storage) = &info.storage {
            for (place, admitted) in admission.admitted.iter_mut().enumerate() {
                let extras = admitted.incoming.reply.extras();
                let Some(id) = extras.and_then(|extras| extras.id.as_ref()) else {
                    continue;
                };
                let departed = self.stays_departed(id).await;
                admitted.reservation = Reservation::of(&**storage, id);
                let text = if admitted.reservation.is_none() {
                    format!(
                        "id {id:?} belongs to a command that another queue submits to the same storage"
                    )
                } else if departed || storage.has_command(id).await? {
                    format!("id {id:?} belongs to a stored command that has not settled")
                } else {
                    continue;
                };
                stored.push((place, LaneError::Duplicate(text)));
            }
        }
        let mut refused: Vec<_> = stored
            .into_iter()
            .rev()
            .map(|(place, error)| {
                let admitted = admission.admitted.remove(place);
                (place, self.refuse(info, admitted, error))
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

    /// Puts commands into their lane that its storage has.
    async fn enter_stored(
        self: &Arc<Self>,
        admission: &mut Admission<'_>,
        info: &Arc<LaneInfo>,
        key: LaneKey,
    ) -> Vec<std::result::Result<(), Refusal>> {
        let placed = self.enter_admitted(admission, info);
        let mut answers = Vec::with_capacity(placed.len());
        for (name, placed) in placed {
            answers.push(match placed {
                Ok(entered) => {
                    self.entered(&info.id, entered);
                    self.record_awaited(info, key, Sample::Submitted).await;
                    Ok(())
                }
                Err(refusal) => {
                    let extras = refusal.incoming.reply.extras();
                    // A dead letter that is one no more would be lost: its command runs after the next start.
                    if extras.is_none_or(|extras| extras.revives.is_none()) {
                        self.forget_refused(info, &name).await;
                    }
                    Err(refusal)
                }
            });
        }
        answers
    }

    /// Has the lane's storage take the commands down.
    async fn store(&self, admission: &Admission<'_>, info: &LaneInfo) -> Result<()> {
        let Some(storage) = &info.storage else {
            return Ok(());
        };
        let calendar = self.calendar();
        let records = admission.admitted.iter().map(|admitted| {
            let incoming = &admitted.incoming;
            let name = self.incoming_name(admitted);
            let extras = incoming.reply.extras().map(|extras| &**extras);
            record::of_command(
                &info.id,
                &name,
                &*incoming.command,
                incoming.terms.as_deref(),
                extras,
                self.next_date(calendar.date),
                &calendar,
            )
        });
        let revives = admission.admitted.iter().any(|admitted| admitted.revives());
        if revives {
            // A call retries, or submits.
            return storage.revive_dead_letters(records.collect()).await;
        }
        storage.save_commands(records.collect()).await
    }

    fn incoming_name(&self, admitted: &Admitted) -> CommandName {
        let extras = admitted.incoming.reply.extras();
        match extras.and_then(|extras| extras.id.as_ref()) {
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
        let extras = admitted.incoming.reply.extras()?;
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

    fn enter_admitted(
        self: &Arc<Self>,
        admission: &mut Admission<'_>,
        info: &LaneInfo,
    ) -> Vec<(CommandName, std::result::Result<Entered, Refusal>)> {
        let now = self.now();
        let mut state = self.lock();
        let mut refused = false;
        let mut joined = Vec::new();
        let mut placed = Vec::with_capacity(admission.admitted.len());
        for admitted in admission.admitted.drain(..) {
            let name = self.incoming_name(&admitted);
            let extras = admitted.incoming.reply.extras();
            // Only these can have been joined.
            let handle = extras.filter(|extras| extras.unique.is_some());
            let handle = handle.map(|extras| Arc::clone(&extras.handle));
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
            if let Err(refusal) = &entered {
                state.forget_id(refusal.incoming.reply.extras());
                refused = true;
            }
            joined.extend(handle.filter(|_| entered.is_ok()));
            placed.push((name, entered));
        }
        self.release_lock(state);
        for handle in joined {
            handle.enter();
        }
        if refused {
            info.room.freed();
            self.check_quiet();
        }
        placed
    }

    /// A command that was stored and refused in the end must not run after a restart.
    async fn forget_refused(&self, info: &LaneInfo, name: &CommandName) {
        if let Some(storage) = &info.storage
            && let Err(error) = storage.remove_command(&name.to_string()).await
        {
            tracing::error!(command_id = %name, %error, "failed to remove a refused command from storage");
        }
    }
}

//! Submissions to a lane with a storage that come at about the same time: the storage is asked to take all of them down in one call,
//! and they enter under one lock.
//!
//! The first of them goes on with what is done for all. The second one spawns a task that does, too, as the first may be held by
//! its owner and not be polled any more. It does so on the runtime of both: submissions from another one do not go along, nor do those
//! that are polled beside a runtime which may stand still, so that nobody waits for one that does. Whatever ends the group early (the
//! end of its runtime, a storage that panics, or one that refuses a call for several) leaves each of them to go on alone, as a [`Driven`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use chrono::Utc;

use super::admission::{Admitted, Refusal};
use super::attempt::{drop_command, guarded};
use super::calendar::Calendar;
use super::driven::{Drive, Driven};
use super::leave::Untold;
use super::placing::{Admission, Placed};
use super::sync::{Mutex, Runtime, lock, requeue};
use super::{Engine, LaneInfo};
use crate::error::LaneError;
use crate::scheduler::CommandKey;
use crate::storage::CommandRecord;

/// How many enter under one lock at most, so that others get it in between.
const ENTERED_AT_ONCE: usize = 32;

/// The submissions to a lane that no group has taken yet.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    arrivals: Vec<Arrival>,
    /// What the storage is to keep of each.
    records: Vec<CommandRecord>,
    /// Where the group will run that takes them.
    runtime: Option<Runtime>,
    /// How many the last group had: there will be as many, and a list that grows is copied again and again.
    last: usize,
}

/// What came of a submission.
enum Answer {
    Entered(CommandKey),
    /// It goes on without the group.
    Alone(Driven<Placed>),
    Refused(Box<Refusal>),
    /// What should have told it has panicked.
    Lost,
}

/// A submission as its submitter and its group see it.
struct Ticket(Mutex<Progress>);

struct Progress {
    /// Until it enters, or is dropped.
    admitted: Option<Admitted>,
    /// The storage was asked to take it down.
    may_be_stored: bool,
    /// Its submitter has dropped it.
    is_dropped: bool,
    answer: Option<Answer>,
    waker: Option<Waker>,
    /// With the first one of a group, as long as it is the only one: what is done for it.
    group: Option<Driven<()>>,
    /// It was dropped while the storage had the word, which is told when that has answered.
    given_up: Option<GivenUp>,
    /// Its group has nothing more to do with it.
    is_over: bool,
}

/// Tells a storage of a submission that was given up, when this is dropped. Ends wait for it.
struct GivenUp {
    engine: Arc<Engine>,
    untold: Vec<Untold>,
}

impl GivenUp {
    fn new(engine: &Arc<Engine>, untold: Vec<Untold>) -> Self {
        engine.settling.fetch_add(1, Ordering::SeqCst);
        Self {
            engine: Arc::clone(engine),
            untold,
        }
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if !untold.is_empty() {
            self.engine.tell_soon(untold, Vec::new());
        }
        self.engine.settling.fetch_sub(1, Ordering::SeqCst);
        self.engine.check_quiet();
    }
}

/// What a group has of a submission. Its submitter has an answer at the latest when this is dropped.
struct Arrival(Arc<Ticket>);

impl Arrival {
    /// The storage is asked now; false where it was dropped.
    fn is_asked_for(&self) -> bool {
        let mut progress = lock(&self.0.0);
        progress.may_be_stored = progress.admitted.is_some() && !progress.is_dropped;
        progress.may_be_stored
    }

    /// The submission, where it was not dropped.
    fn take(&self) -> Option<Admitted> {
        lock(&self.0.0).admitted.take()
    }

    /// As [`take`](Self::take), to be gone on with or given up.
    fn take_up(&self, engine: &Arc<Engine>) -> Option<Admission> {
        self.0.take_up(engine)
    }

    /// What is done for its group, which is not its own any more.
    fn take_group(&self) -> Option<Driven<()>> {
        lock(&self.0.0).group.take()
    }

    /// Answers the submitter. Gives the answer back where it has dropped the submission.
    fn tell(self, answer: Answer) -> Result<(), Answer> {
        self.0.tell(answer)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // Told already, or nobody listens.
        drop(self.0.tell(Answer::Lost));
        let _given_up = {
            let mut progress = lock(&self.0.0);
            progress.is_over = true;
            progress.given_up.take()
        };
    }
}

impl Ticket {
    fn take_up(&self, engine: &Arc<Engine>) -> Option<Admission> {
        let (admitted, may_be_stored) = {
            let mut progress = lock(&self.0);
            (progress.admitted.take(), progress.may_be_stored)
        };
        let mut admission = Admission::new(engine, vec![admitted?]);
        admission.may_be_stored = may_be_stored;
        Some(admission)
    }

    /// The first answer counts.
    fn tell(&self, answer: Answer) -> Result<(), Answer> {
        let waker = {
            let mut progress = lock(&self.0);
            if progress.is_dropped || progress.answer.is_some() {
                return Err(answer);
            }
            progress.answer = Some(answer);
            progress.waker.take()
        };
        if let Some(waker) = waker
            && let Err(panic) = guarded(|| waker.wake())
        {
            // Others are told after this one.
            tracing::error!(%panic, "the waker of a submission panicked");
        }
        Ok(())
    }
}

/// A submission on its way into a lane that has somebody to wait for.
///
/// When it is dropped, its command does not enter. One that has entered in this moment is cancelled, and may have begun.
pub(super) enum Placing {
    Together(Arriving),
    Alone(Driven<Placed>),
}

impl Future for Placing {
    type Output = Placed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Placed> {
        let this = self.get_mut();
        if let Self::Together(arriving) = this {
            match arriving.poll_answer(cx) {
                None => return Poll::Pending,
                Some(Answer::Entered(_)) => return Poll::Ready(Ok(())),
                Some(Answer::Refused(refusal)) => return Poll::Ready(Err(*refusal)),
                Some(Answer::Alone(alone)) => *this = Self::Alone(alone),
                Some(Answer::Lost) => {
                    panic!("the task that puts submissions into their lane has panicked")
                }
            }
        }
        match this {
            Self::Alone(alone) => Pin::new(alone).poll(cx),
            Self::Together(_) => Poll::Pending,
        }
    }
}

/// A submission that goes with others.
pub(super) struct Arriving {
    engine: Arc<Engine>,
    info: Arc<LaneInfo>,
    ticket: Arc<Ticket>,
    /// With the first one, until it is over.
    group: Option<Arc<dyn Drive>>,
    /// It was polled before.
    has_waited: bool,
}

impl Arriving {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<Answer> {
        if let Some(group) = &self.group {
            if !std::mem::replace(&mut self.has_waited, true) {
                // As the task: who is about to come goes along.
                cx.waker().wake_by_ref();
            } else if Arc::clone(group).drive(cx).is_ready() {
                self.group = None;
            }
        }
        // Made and dropped without the lock: it is somebody else's code.
        let waker = cx.waker().clone();
        let _replaced;
        let mut progress = lock(&self.ticket.0);
        let answer = progress.answer.take();
        if answer.is_none() {
            _replaced = progress.waker.replace(waker);
        } else {
            progress.is_dropped = true;
        }
        drop(progress);
        answer
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let (answer, _waker, _group) = {
            let mut progress = lock(&self.ticket.0);
            progress.is_dropped = true;
            (
                progress.answer.take(),
                progress.waker.take(),
                progress.group.take(),
            )
        };
        if let Some(mut admission) = self.ticket.take_up(&self.engine) {
            let untold = admission.give_up();
            let given_up = (!untold.is_empty()).then(|| GivenUp::new(&self.engine, untold));
            // Its place is free again.
            drop(admission);
            let mut progress = lock(&self.ticket.0);
            if !progress.is_over {
                progress.given_up = given_up;
            }
        }
        if let Some(answer) = answer {
            self.engine.give_up_answer(&self.info, answer);
        }
    }
}

impl Engine {
    /// Puts an admitted command into a lane that has somebody to wait for. On the heap: few lanes have, and it is handed on.
    pub(super) fn place_admitted(self: &Arc<Self>, admitted: Vec<Admitted>) -> Box<Placing> {
        Box::new(match self.join_arrivals(Admission::new(self, admitted)) {
            Ok(arriving) => Placing::Together(arriving),
            Err(admission) => Placing::Alone(Driven::new(self, admission.place())),
        })
    }

    /// Lets a submission go with others that come at about the same time. Gives it back where it has to go alone.
    fn join_arrivals(self: &Arc<Self>, mut admission: Admission) -> Result<Arriving, Admission> {
        let Some(admitted) = admission.admitted.first().filter(|it| goes_along(it)) else {
            return Err(admission);
        };
        if !Runtime::goes_on() {
            return Err(admission);
        }
        let asks = admitted.incoming.terms.is_some() || admitted.incoming.reply.extras().is_some();
        let calendar = if asks {
            self.calendar()
        } else {
            Calendar::default()
        };
        let record = self.record(admitted, &calendar);
        let info = Arc::clone(&admitted.info);
        let mut waiting = lock(&info.arrivals.0);
        let is_first = waiting.arrivals.is_empty();
        if is_first {
            let last = waiting.last;
            waiting.arrivals.reserve(last);
            waiting.records.reserve(last);
            waiting.runtime = Runtime::try_current();
        }
        let runtime = waiting.runtime.as_ref();
        let Some(runtime) = runtime.filter(|it| is_first || it.is_current()).cloned() else {
            drop(waiting);
            return Err(admission);
        };
        // The second one sees to it that somebody goes on with the group.
        let first = waiting.arrivals.first();
        let lonely = first.and_then(Arrival::take_group);
        let lonely = lonely.map(|group| (group, runtime.clone()));
        let ticket = Arc::new(Ticket(Mutex::new(Progress {
            admitted: admission.admitted.pop(),
            may_be_stored: false,
            is_dropped: false,
            answer: None,
            waker: None,
            group: None,
            given_up: None,
            is_over: false,
        })));
        waiting.arrivals.push(Arrival(Arc::clone(&ticket)));
        waiting.records.push(record);
        let group = is_first.then(|| {
            let group = Driven::new(self, Group::new(self, &info).run());
            let shared = group.shared();
            lock(&ticket.0).group = Some(group);
            shared
        });
        drop(waiting);
        // Unless the second one has it already.
        if let Some(group) = &mut lock(&ticket.0).group {
            group.note();
        }
        if let Some((mut group, runtime)) = lonely {
            group.note();
            runtime.spawn(async {
                // Who is about to come goes along.
                requeue().await;
                group.await;
            });
        }
        Ok(Arriving {
            engine: Arc::clone(self),
            info,
            ticket,
            group,
            has_waited: false,
        })
    }

    /// A submission was dropped before its submitter has seen this answer.
    fn give_up_answer(self: &Arc<Self>, info: &LaneInfo, answer: Answer) {
        match answer {
            Answer::Entered(key) => {
                self.cancel_commands([key]);
            }
            Answer::Refused(refusal) => drop_command(refusal, &info.id),
            Answer::Alone(_) | Answer::Lost => {}
        }
    }
}

/// Whether it may go with others: it has only its storage to wait for. Others may wait for a unique one, which so does not depend on a
/// single submitter.
fn goes_along(admitted: &Admitted) -> bool {
    let info = &admitted.info;
    let extras = admitted.incoming.reply.extras();
    info.has_storage()
        && !info.observer.must_await()
        && extras.is_none_or(|extras| extras.unique.is_none())
        && admitted.chosen_id().is_none()
        && !admitted.revives()
}

/// Submissions that go together. Dropping it before its end leaves each of them to go on alone.
struct Group {
    engine: Arc<Engine>,
    info: Arc<LaneInfo>,
    /// It has not taken what waits.
    is_new: bool,
    arrivals: Vec<Arrival>,
    records: Vec<CommandRecord>,
}

impl Group {
    fn new(engine: &Arc<Engine>, info: &Arc<LaneInfo>) -> Self {
        Self {
            engine: Arc::clone(engine),
            info: Arc::clone(info),
            is_new: true,
            arrivals: Vec::new(),
            records: Vec::new(),
        }
    }

    async fn run(mut self) {
        self.take();
        self.leave_dropped_out();
        let Some(storage) = self.info.storage.clone() else {
            return;
        };
        if self.arrivals.is_empty() {
            return;
        }
        let mut records = std::mem::take(&mut self.records);
        self.engine.date(&mut records, Utc::now());
        match storage.save_commands(records).await {
            Ok(()) => self.enter(),
            // Of several, one alone may be what cannot be done: each goes on alone.
            Err(_) if self.arrivals.len() > 1 => {}
            Err(error) => self.refuse(&error),
        }
    }

    fn take(&mut self) {
        if std::mem::take(&mut self.is_new) {
            let mut waiting = lock(&self.info.arrivals.0);
            self.arrivals = std::mem::take(&mut waiting.arrivals);
            self.records = std::mem::take(&mut waiting.records);
            waiting.runtime = None;
            waiting.last = self.arrivals.len();
        }
    }

    /// Those whose submitters have dropped them are not stored.
    fn leave_dropped_out(&mut self) {
        let asked: Vec<bool> = self.arrivals.iter().map(Arrival::is_asked_for).collect();
        if asked.contains(&false) {
            let mut is_asked = asked.iter().copied();
            self.arrivals.retain(|_| is_asked.next() == Some(true));
            let mut is_asked = asked.into_iter();
            self.records.retain(|_| is_asked.next() == Some(true));
        }
    }

    fn refuse(&mut self, error: &LaneError) {
        for arrival in self.arrivals.drain(..) {
            if let Some(admitted) = arrival.take() {
                let refusal = self.engine.refuse(admitted, error.duplicate());
                let answer = Answer::Refused(refusal.into());
                tell(&self.engine, &self.info, arrival, answer);
            }
        }
    }

    /// Puts them into their lane: the storage has them.
    fn enter(&mut self) {
        while !self.arrivals.is_empty() {
            let some = self.arrivals.len().min(ENTERED_AT_ONCE);
            self.enter_first(some);
        }
    }

    fn enter_first(&mut self, count: usize) {
        let (engine, info) = (&self.engine, &self.info);
        let mut entering = Admission::new(engine, Vec::with_capacity(count));
        entering.may_be_stored = true;
        let mut arrivals = Vec::with_capacity(count);
        for arrival in self.arrivals.drain(..count) {
            if let Some(admitted) = arrival.take() {
                entering.admitted.push(admitted);
                arrivals.push(arrival);
            }
        }
        let mut placed = Vec::with_capacity(arrivals.len());
        engine.enter_admitted(&mut entering, info, |one| placed.push(one));
        // All of it before anybody is told, which may go wrong.
        let answers = placed.into_iter().map(|placed| match placed {
            Ok(entered) => {
                let key = entered.key();
                engine.entered(&info.id, entered);
                Answer::Entered(key)
            }
            Err((name, refusal)) => {
                let (own, info) = (Arc::clone(engine), Arc::clone(info));
                Answer::Alone(Driven::noted(engine, async move {
                    own.forget_refused(&info, &name).await;
                    Err(refusal)
                }))
            }
        });
        let answers: Vec<_> = answers.collect();
        for (arrival, answer) in arrivals.into_iter().zip(answers) {
            tell(engine, info, arrival, answer);
        }
    }
}

fn tell(engine: &Arc<Engine>, info: &LaneInfo, arrival: Arrival, answer: Answer) {
    if let Err(answer) = arrival.tell(answer) {
        // It was dropped in this moment.
        engine.give_up_answer(info, answer);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.take();
        for arrival in self.arrivals.drain(..) {
            if let Some(admission) = arrival.take_up(&self.engine) {
                let alone = Driven::noted(&self.engine, admission.place());
                tell(&self.engine, &self.info, arrival, Answer::Alone(alone));
            }
        }
    }
}

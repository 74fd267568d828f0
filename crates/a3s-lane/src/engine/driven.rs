//! Submissions that go on although nobody goes on with them.
//!
//! A future does nothing while its owner holds it and does not poll it. A submission that was accepted and has asked its storage
//! is waited for by every end, which would then wait for ever. So an end goes on with those itself: each is polled by its owner
//! and, once an end was begun, by a task too.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio_util::sync::CancellationToken;

use super::sync::{Mutex, Runtime, lock};
use super::{Engine, attempt};

/// Those that have waited for something.
#[derive(Default)]
pub(super) struct Held {
    submissions: BTreeMap<u64, Weak<dyn Drive>>,
    /// Drains and ends that go on: whoever comes now is driven at once, for each.
    drivers: BTreeMap<u64, Driver>,
    /// The number of the next one, of either.
    next: u64,
}

impl Held {
    fn draw_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Where a drain or an end goes on with submissions, and until when.
#[derive(Clone)]
struct Driver {
    runtime: Option<Runtime>,
    over: CancellationToken,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Stage<T> {
    Going(Work<T>),
    /// With what it has panicked with, if it has.
    Over(Result<T, Box<dyn Any + Send>>),
    /// Its owner has taken the output, or dropped it.
    Gone,
}

/// Who polls.
#[derive(Clone, Copy)]
enum Poller {
    Owner,
    End,
}

/// Who waits, and for what.
#[derive(Default)]
struct Waiting {
    owner: Option<Waker>,
    ends: Vec<Waker>,
    /// Somebody polls: nobody else touches the stage. What is polled is the user's code too, for which no lock is held that
    /// others wait for.
    is_polled: bool,
    /// Another one has come meanwhile.
    again: bool,
    /// The owner has dropped it meanwhile.
    is_gone: bool,
}

impl Waiting {
    /// Returns the waker that this one replaces.
    fn keep(&mut self, poller: Poller, waker: &Waker) -> Option<Waker> {
        match poller {
            Poller::Owner => self.owner.replace(waker.clone()),
            Poller::End => {
                if !self.ends.iter().any(|known| known.will_wake(waker)) {
                    self.ends.push(waker.clone());
                }
                None
            }
        }
    }

    fn take_own(&mut self, poller: Poller, waker: &Waker) -> Option<Waker> {
        match poller {
            Poller::Owner => self.owner.take(),
            Poller::End => {
                let place = self.ends.iter().position(|end| end.will_wake(waker))?;
                Some(self.ends.swap_remove(place))
            }
        }
    }

    fn put_own(&mut self, poller: Poller, waker: Waker) {
        match poller {
            Poller::Owner => self.owner = Some(waker),
            Poller::End => self.ends.push(waker),
        }
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        let mut wakers = std::mem::take(&mut self.ends);
        wakers.extend(self.owner.take());
        wakers
    }
}

struct Shared<T> {
    stage: Mutex<Stage<T>>,
    waiting: Mutex<Waiting>,
}

pub(super) trait Drive: Send + Sync {
    fn drive(self: Arc<Self>, cx: &mut Context<'_>) -> Poll<()>;
    /// Whoever has this waker drives it no more.
    fn leave(&self, waker: &Waker);
}

impl<T: Send + 'static> Shared<T> {
    /// Whether it is over.
    fn poll_by(self: &Arc<Self>, poller: Poller, cx: &mut Context<'_>) -> bool {
        // Dropped at the end, without a lock: it is somebody else's code.
        let _replaced;
        {
            let mut waiting = lock(&self.waiting);
            if waiting.is_gone {
                return true;
            }
            _replaced = waiting.keep(poller, cx.waker());
            if waiting.is_polled {
                waiting.again = true;
                return false;
            }
            waiting.is_polled = true;
        }
        let is_over = self.poll_stage();
        let mut others = Vec::new();
        let is_gone = {
            let mut waiting = lock(&self.waiting);
            waiting.is_polled = false;
            if std::mem::take(&mut waiting.again) || is_over {
                // Not this one: it knows, or has been woken since, or waits for what the others wait for.
                let own = waiting.take_own(poller, cx.waker());
                others = waiting.take_wakers();
                if !is_over && let Some(own) = own {
                    waiting.put_own(poller, own);
                }
            }
            waiting.is_gone
        };
        if is_gone {
            self.discard();
        }
        others.into_iter().for_each(Waker::wake);
        is_over || is_gone
    }

    fn poll_stage(self: &Arc<Self>) -> bool {
        let mut stage = lock(&self.stage);
        let Stage::Going(work) = &mut *stage else {
            return true;
        };
        let all = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&all);
        let over = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        let spent = std::mem::replace(&mut *stage, Stage::Over(over));
        drop(stage);
        drop(spent);
        true
    }

    fn take_stage(&self) -> Stage<T> {
        std::mem::replace(&mut *lock(&self.stage), Stage::Gone)
    }

    /// Drops what is left of it: commands of the user, perhaps.
    fn discard(&self) {
        let stage = self.take_stage();
        if let Err(panic) = attempt::guarded(|| drop(stage)) {
            tracing::error!(%panic, "a command's destructor panicked");
        }
        let (_owner, ends) = {
            let mut waiting = lock(&self.waiting);
            (waiting.owner.take(), std::mem::take(&mut waiting.ends))
        };
        ends.into_iter().for_each(Waker::wake);
    }
}

impl<T: Send + 'static> Wake for Shared<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = lock(&self.waiting).take_wakers();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<T: Send + 'static> Drive for Shared<T> {
    fn drive(self: Arc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_by(Poller::End, cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn leave(&self, waker: &Waker) {
        let _own = lock(&self.waiting).take_own(Poller::End, waker);
    }
}

/// A submission, as its owner holds it.
///
/// When it is dropped, what it does is dropped; what has ended until then, as it was driven, has happened.
pub(super) struct Driven<T: Send + 'static> {
    engine: Arc<Engine>,
    shared: Arc<Shared<T>>,
    /// Where an end finds it.
    number: Option<u64>,
}

impl<T: Send + 'static> Driven<T> {
    pub(super) fn new(
        engine: &Arc<Engine>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            shared: Arc::new(Shared {
                stage: Mutex::new(Stage::Going(Box::pin(work))),
                waiting: Mutex::default(),
            }),
            number: None,
        }
    }

    /// One that an end finds before it was ever polled.
    pub(super) fn noted(
        engine: &Arc<Engine>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let mut driven = Self::new(engine, work);
        driven.note();
        driven
    }

    /// What another one goes on with, too.
    pub(super) fn shared(&self) -> Arc<dyn Drive> {
        Arc::clone(&self.shared) as _
    }

    /// Lets an end find it.
    pub(super) fn note(&mut self) {
        if self.number.is_some() {
            return;
        }
        let shared = self.shared();
        let mut held = lock(&self.engine.held);
        let number = held.draw_number();
        self.number = Some(number);
        held.submissions.insert(number, Arc::downgrade(&shared));
        let drivers: Vec<_> = held.drivers.values().cloned().collect();
        drop(held);
        for driver in drivers {
            driver.drive(Arc::clone(&shared));
        }
    }

    fn forget(&mut self) {
        if let Some(number) = self.number.take() {
            lock(&self.engine.held).submissions.remove(&number);
        }
    }
}

impl<T: Send + 'static> Future for Driven<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        if !this.shared.poll_by(Poller::Owner, cx) {
            this.note();
            return Poll::Pending;
        }
        this.forget();
        match this.shared.take_stage() {
            Stage::Over(Ok(output)) => Poll::Ready(output),
            Stage::Over(Err(panic)) => resume_unwind(panic),
            Stage::Going(_) | Stage::Gone => panic!("a submission was polled after its end"),
        }
    }
}

impl<T: Send + 'static> Drop for Driven<T> {
    fn drop(&mut self) {
        self.forget();
        let is_polled = {
            let mut waiting = lock(&self.shared.waiting);
            waiting.is_gone = true;
            waiting.is_polled
        };
        // Else whoever polls it does so.
        if !is_polled {
            self.shared.discard();
        }
    }
}

/// A drain or an end goes on with what others hold, until this is dropped.
pub(super) struct Driving<'a> {
    engine: &'a Engine,
    number: u64,
}

impl Driving<'_> {
    /// Until the end of the queue.
    pub(super) fn forever(self) {
        std::mem::forget(self);
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let driver = lock(&self.engine.held).drivers.remove(&self.number);
        if let Some(driver) = driver {
            driver.over.cancel();
        }
    }
}

impl Engine {
    /// Goes on with every submission that waits for something.
    pub(super) fn drive_held(&self) -> Driving<'_> {
        // That of the queue may have ended.
        let runtime = Runtime::try_current().or_else(|| self.runtime.get().cloned());
        let driver = Driver {
            runtime,
            over: CancellationToken::new(),
        };
        let (number, submissions) = {
            let mut held = lock(&self.held);
            let number = held.draw_number();
            held.drivers.insert(number, driver.clone());
            let submissions = held.submissions.values();
            let submissions: Vec<_> = submissions.filter_map(Weak::upgrade).collect();
            (number, submissions)
        };
        let driving = Driving {
            engine: self,
            number,
        };
        for submission in submissions {
            driver.drive(submission);
        }
        driving
    }
}

impl Driver {
    fn drive(&self, submission: Arc<dyn Drive>) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        let over = self.over.clone();
        runtime.spawn(async move {
            let mut over = pin!(over.cancelled());
            poll_fn(|cx| {
                if over.as_mut().poll(cx).is_ready() {
                    submission.leave(cx.waker());
                    return Poll::Ready(());
                }
                Arc::clone(&submission).drive(cx)
            })
            .await;
        });
    }
}

//! Submissions that go on although nobody goes on with them.
//!
//! A future does nothing while its owner holds it and does not poll it. A submission that was accepted and has asked its storage
//! is waited for by every end, which would then wait for ever. So an end goes on with those itself: each is polled by its owner
//! and, once an end was begun, by a task too.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use super::sync::{Mutex, Runtime, lock};
use super::{Engine, attempt};

/// Those that have waited for something.
#[derive(Default)]
pub(super) struct Held {
    submissions: BTreeMap<u64, Weak<dyn Drive>>,
    /// The number of the next one.
    next: u64,
    /// Drains and ends that go on: whoever comes now is driven at once.
    drivers: usize,
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

trait Drive: Send + Sync {
    fn drive(self: Arc<Self>, cx: &mut Context<'_>) -> Poll<()>;
}

impl<T: Send + 'static> Shared<T> {
    /// Whether it is over.
    fn poll_by(self: &Arc<Self>, poller: Poller, cx: &mut Context<'_>) -> bool {
        let replaced;
        {
            let mut waiting = lock(&self.waiting);
            replaced = waiting.keep(poller, cx.waker());
            if waiting.is_polled {
                waiting.again = true;
                return false;
            }
            waiting.is_polled = true;
        }
        drop(replaced);
        let is_over = self.poll_stage();
        let (wakers, is_gone) = {
            let mut waiting = lock(&self.waiting);
            waiting.is_polled = false;
            let again = std::mem::take(&mut waiting.again);
            if is_over {
                // Whoever polls knows.
                match poller {
                    Poller::Owner => drop(waiting.owner.take()),
                    Poller::End => waiting.ends.retain(|end| !end.will_wake(cx.waker())),
                }
            }
            let wakers = (again || is_over).then(|| waiting.take_wakers());
            (wakers.unwrap_or_default(), waiting.is_gone)
        };
        wakers.into_iter().for_each(Waker::wake);
        if is_gone {
            self.discard();
        }
        is_over
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
        let ends = std::mem::take(&mut lock(&self.waiting).ends);
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

    /// Lets an end find it.
    fn note(&mut self) {
        if self.number.is_some() {
            return;
        }
        let shared: Arc<dyn Drive> = Arc::clone(&self.shared) as _;
        let mut held = lock(&self.engine.held);
        let number = held.next;
        held.next += 1;
        self.number = Some(number);
        held.submissions.insert(number, Arc::downgrade(&shared));
        if held.drivers > 0 {
            drop(held);
            self.engine.drive(shared);
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
pub(super) struct Driving<'a>(&'a Engine);

impl Driving<'_> {
    /// Until the end of the queue.
    pub(super) fn forever(self) {
        std::mem::forget(self);
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        lock(&self.0.held).drivers -= 1;
    }
}

impl Engine {
    /// Goes on with every submission that waits for something.
    pub(super) fn drive_held(&self) -> Driving<'_> {
        let submissions: Vec<_> = {
            let mut held = lock(&self.held);
            held.drivers += 1;
            let submissions = held.submissions.values();
            submissions.filter_map(Weak::upgrade).collect()
        };
        let driving = Driving(self);
        for submission in submissions {
            self.drive(submission);
        }
        driving
    }

    fn drive(&self, submission: Arc<dyn Drive>) {
        // That of the queue may have ended.
        let runtime = Runtime::try_current().or_else(|| self.runtime.get().cloned());
        if let Some(runtime) = runtime {
            runtime.spawn(std::future::poll_fn(move |cx| {
                Arc::clone(&submission).drive(cx)
            }));
        }
    }
}

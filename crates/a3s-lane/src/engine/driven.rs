//! Submissions that go on although nobody goes on with them.
//!
//! A future does nothing while its owner holds it and does not poll it. A submission that was accepted and has asked its storage
//! is waited for by every end, which would then wait for ever. So an end goes on with those itself: each is polled by its owner
//! and, once an end was begun, by a task too.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use super::Engine;
use super::sync::{Mutex, Runtime, lock};

/// Those that have waited for something.
#[derive(Default)]
pub(super) struct Held {
    /// By their addresses.
    submissions: HashMap<usize, Weak<dyn Drive>>,
    /// An end was begun: whoever comes now is driven at once.
    ending: bool,
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

struct Shared<T> {
    stage: Mutex<Stage<T>>,
    /// Of each poller that waits.
    wakers: Mutex<[Option<Waker>; 2]>,
}

trait Drive: Send + Sync {
    fn drive(self: Arc<Self>, cx: &mut Context<'_>) -> Poll<()>;
}

impl<T: Send + 'static> Shared<T> {
    /// Whether it is over.
    fn poll_by(self: &Arc<Self>, poller: Poller, cx: &mut Context<'_>) -> bool {
        lock(&self.wakers)[poller as usize] = Some(cx.waker().clone());
        let mut stage = lock(&self.stage);
        let Stage::Going(work) = &mut *stage else {
            return true;
        };
        let both = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&both);
        let over = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        let spent = std::mem::replace(&mut *stage, Stage::Over(over));
        drop(stage);
        drop(spent);
        let other = match poller {
            Poller::Owner => Poller::End,
            Poller::End => Poller::Owner,
        };
        self.wake_one(other);
        true
    }

    /// What is left of it when its owner has no further need.
    fn take(&self) -> Stage<T> {
        let stage = std::mem::replace(&mut *lock(&self.stage), Stage::Gone);
        self.wake_one(Poller::End);
        stage
    }

    fn wake_one(&self, poller: Poller) {
        let waker = lock(&self.wakers)[poller as usize].take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Send + 'static> Wake for Shared<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().flatten().for_each(Waker::wake);
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
    is_noted: bool,
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
                wakers: Mutex::default(),
            }),
            is_noted: false,
        }
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Lets an end find it.
    fn note(&mut self) {
        if std::mem::replace(&mut self.is_noted, true) {
            return;
        }
        let shared: Arc<dyn Drive> = Arc::clone(&self.shared) as _;
        let mut held = lock(&self.engine.held);
        held.submissions
            .insert(self.address(), Arc::downgrade(&shared));
        if held.ending {
            drop(held);
            self.engine.drive(shared);
        }
    }

    fn forget(&mut self) {
        if std::mem::take(&mut self.is_noted) {
            lock(&self.engine.held).submissions.remove(&self.address());
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
        match this.shared.take() {
            Stage::Over(Ok(output)) => Poll::Ready(output),
            Stage::Over(Err(panic)) => resume_unwind(panic),
            Stage::Going(_) | Stage::Gone => panic!("a submission was polled after its end"),
        }
    }
}

impl<T: Send + 'static> Drop for Driven<T> {
    fn drop(&mut self) {
        self.forget();
        // Dropped without the lock.
        let _stage = self.shared.take();
    }
}

impl Engine {
    /// Goes on with every submission that waits for something, now and, when an end was begun, from now on.
    pub(super) fn drive_held(&self, ending: bool) {
        let submissions: Vec<_> = {
            let mut held = lock(&self.held);
            held.ending |= ending;
            let submissions = held.submissions.values();
            submissions.filter_map(Weak::upgrade).collect()
        };
        for submission in submissions {
            self.drive(submission);
        }
    }

    fn drive(&self, submission: Arc<dyn Drive>) {
        let runtime = self.runtime.get().cloned().or_else(Runtime::try_current);
        if let Some(runtime) = runtime {
            runtime.spawn(std::future::poll_fn(move |cx| {
                Arc::clone(&submission).drive(cx)
            }));
        }
    }
}

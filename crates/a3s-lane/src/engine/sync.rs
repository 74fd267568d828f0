//! The primitives that the model checker replaces (see `tests/shuttle.rs`).

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

use std::sync::PoisonError;
use std::time::Duration;

use crate::testing::ManualClock;

/// Locks, whether or not another thread panicked while it held the lock: every critical section of the engine leaves
/// its state whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime on which an engine runs its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    #[cfg(not(shuttle))]
    handle: tokio::runtime::Handle,
    /// How many tasks can run at the same time.
    pub(crate) workers: usize,
}

#[cfg(not(shuttle))]
impl Runtime {
    pub(crate) fn current() -> Self {
        let handle = tokio::runtime::Handle::current();
        let workers = handle.metrics().num_workers();
        Self { handle, workers }
    }

    /// The runtime of the caller, if it has one.
    pub(crate) fn try_current() -> Option<Self> {
        tokio::runtime::Handle::try_current()
            .is_ok()
            .then(Self::current)
    }

    /// Whether tasks of the caller's runtime go on as long as the caller does: it has threads of its own, or the caller is one of its
    /// tasks.
    pub(crate) fn goes_on() -> bool {
        tokio::task::try_id().is_some()
            || tokio::runtime::Handle::try_current().is_ok_and(|handle| {
                handle.runtime_flavor() != tokio::runtime::RuntimeFlavor::CurrentThread
            })
    }

    /// Whether it is that of the caller.
    pub(crate) fn is_current(&self) -> bool {
        tokio::runtime::Handle::try_current().is_ok_and(|handle| handle.id() == self.handle.id())
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Detached: a task ends when it has nothing left to do.
        drop(self.handle.spawn(task));
    }

    /// What lets a thread of an executor use this runtime's timers.
    pub(crate) fn handle(&self) -> Option<tokio::runtime::Handle> {
        Some(self.handle.clone())
    }
}

#[cfg(shuttle)]
impl Runtime {
    pub(crate) fn current() -> Self {
        Self { workers: 2 }
    }

    pub(crate) fn try_current() -> Option<Self> {
        Some(Self::current())
    }

    pub(crate) fn is_current(&self) -> bool {
        true
    }

    pub(crate) fn goes_on() -> bool {
        true
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if !model::has_ended() {
            // A dropped handle would detach the task; the checker waits for the end of every other one.
            std::mem::forget(shuttle::future::spawn(model::Task::new(task)));
        }
    }

    pub(crate) fn handle(&self) -> Option<tokio::runtime::Handle> {
        None
    }
}

/// Lets other tasks of the runtime run.
pub(crate) async fn yield_now() {
    #[cfg(not(shuttle))]
    tokio::task::yield_now().await;
    #[cfg(shuttle)]
    shuttle::future::yield_now().await;
}

/// Lets other tasks of the runtime run, and waits behind them.
///
/// Not tokio's way, which keeps the task at its thread until that has nothing else to do: a body that blocks the thread meanwhile would
/// hold it up. This way another thread can take it.
pub(crate) async fn requeue() {
    #[cfg(not(shuttle))]
    {
        let mut waited = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
    #[cfg(shuttle)]
    shuttle::future::yield_now().await;
}

/// A place where the model checker may let another task go on, beside a primitive that it does not know.
pub(crate) fn interleave() {
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}

/// The time since the queue was made, in nanoseconds.
#[cfg(not(shuttle))]
pub(crate) enum Clock {
    Tokio { epoch: tokio::time::Instant },
    Manual(ManualClock),
}

#[cfg(not(shuttle))]
impl Clock {
    pub(crate) fn new(manual: Option<ManualClock>) -> Self {
        match manual {
            Some(manual) => Self::Manual(manual),
            None => Self::Tokio {
                epoch: tokio::time::Instant::now(),
            },
        }
    }

    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Tokio { epoch } => crate::scheduler::nanos(epoch.elapsed()),
            Self::Manual(clock) => clock.now_ns(),
        }
    }

    pub(crate) async fn sleep_until(&self, at: u64) {
        match self {
            Self::Tokio { epoch } => {
                tokio::time::sleep_until(*epoch + Duration::from_nanos(at)).await;
            }
            Self::Manual(clock) => clock.sleep_until(at).await,
        }
    }

    /// Waits until `at`; a clock that is moved by hand is moved.
    pub(crate) async fn reach(&self, at: u64) {
        if let Self::Manual(clock) = self {
            clock.advance_to(at);
        }
        self.sleep_until(at).await;
    }
}

/// Under the model checker the time goes on when a sleep ends, and a sleep ends when the checker chooses.
#[cfg(shuttle)]
pub(crate) struct Clock {
    now: std::sync::atomic::AtomicU64,
}

#[cfg(shuttle)]
impl Clock {
    pub(crate) fn new(_manual: Option<ManualClock>) -> Self {
        Self {
            now: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) async fn reach(&self, at: u64) {
        self.sleep_until(at).await;
    }

    pub(crate) async fn sleep_until(&self, at: u64) {
        yield_now().await;
        self.now.fetch_max(at, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Awaits `future` for at most `limit`; under the model checker for ever, so that a wake-up which is lost shows.
pub(crate) async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    #[cfg(not(shuttle))]
    return tokio::time::timeout(limit, future).await.ok();
    #[cfg(shuttle)]
    {
        let _ = limit;
        Some(future.await)
    }
}

/// The end of the runtime, where a model says when: as tokio does, it drops every task that is suspended then or comes later.
#[cfg(shuttle)]
pub(crate) mod model {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    enum Runtime {
        /// It outlives the model.
        Endless,
        /// With what wakes its tasks.
        Running(Vec<Waker>),
        Ended,
    }

    std::thread_local! {
        /// The checker runs all tasks of a model on one thread.
        static RUNTIME: RefCell<Runtime> = const { RefCell::new(Runtime::Endless) };
    }

    /// To be called first by a model that ends its runtime.
    pub(crate) fn begin_runtime() {
        RUNTIME.replace(Runtime::Running(Vec::new()));
    }

    pub(crate) fn end_runtime() {
        if let Runtime::Running(wakers) = RUNTIME.replace(Runtime::Ended) {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn has_ended() -> bool {
        RUNTIME.with_borrow(|runtime| matches!(runtime, Runtime::Ended))
    }

    /// A task of the runtime.
    pub(super) struct Task<F>(Option<Pin<Box<F>>>);

    impl<F> Task<F> {
        pub(super) fn new(task: F) -> Self {
            Self(Some(Box::pin(task)))
        }
    }

    impl<F: Future<Output = ()>> Future for Task<F> {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if has_ended() {
                self.0 = None;
            }
            RUNTIME.with_borrow_mut(|runtime| {
                if let Runtime::Running(wakers) = runtime
                    && !wakers.iter().any(|waker| waker.will_wake(cx.waker()))
                {
                    wakers.push(cx.waker().clone());
                }
            });
            match &mut self.0 {
                Some(task) => task.as_mut().poll(cx),
                None => Poll::Ready(()),
            }
        }
    }
}

//! How a JavaScript thread is woken.

use std::sync::atomic::{AtomicBool, Ordering};

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tokio::sync::Notify;

use crate::fault::Fault;

/// Weak: it does not keep the process alive.
type Wake = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

/// Wakes a JavaScript thread, once for all that it has not looked at, and not while it is looking.
pub(crate) struct Signal {
    wake: Box<dyn Fn() + Send + Sync>,
    /// Somebody wants the thread to look.
    asked: AtomicBool,
    /// The thread is inside a call that looks before it returns.
    looking: AtomicBool,
    /// For the thread itself, where it blocks in a call.
    woken: Notify,
}

impl Signal {
    pub(crate) fn new(wake: &Function<'_, (), ()>) -> Result<Self, Fault> {
        let wake: Wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .build()?;
        Ok(Self::of(move || {
            // The answer does not matter: a closed environment looks at nothing any more.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }))
    }

    fn of(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            wake: Box::new(wake),
            asked: AtomicBool::new(false),
            looking: AtomicBool::new(false),
            woken: Notify::new(),
        }
    }

    /// Has the thread look. Neither waits nor calls JavaScript.
    pub(crate) fn ask(&self) {
        if !self.asked.swap(true, Ordering::SeqCst) && !self.looking.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Waits until the thread is asked to look. May have happened before.
    pub(crate) async fn asked(&self) {
        self.woken.notified().await;
    }

    fn wake(&self) {
        (self.wake)();
        self.woken.notify_one();
    }

    /// The thread begins to look: what is asked for from now on is seen by [`again`](Self::again).
    pub(crate) fn begin(&self) {
        self.looking.store(true, Ordering::SeqCst);
        self.asked.store(false, Ordering::SeqCst);
    }

    /// Whether somebody has asked since the last look.
    pub(crate) fn again(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst)
    }

    /// The thread returns to JavaScript. Whoever has asked meanwhile wakes it.
    pub(crate) fn end(&self) {
        self.looking.store(false, Ordering::SeqCst);
        if self.asked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// As [`end`](Self::end), for a thread that sees to it by itself that it looks again soon.
    pub(crate) fn leave(&self) {
        self.looking.store(false, Ordering::SeqCst);
        if self.asked.load(Ordering::SeqCst) {
            self.woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_thread_is_woken_once_and_not_while_it_looks() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let signal = Signal::of(move || _ = counted.fetch_add(1, Ordering::SeqCst));
        let woken = || count.swap(0, Ordering::SeqCst);
        signal.ask();
        signal.ask();
        assert_eq!(woken(), 1);
        signal.begin();
        assert!(!signal.again());
        signal.ask();
        assert!(signal.again() && !signal.again());
        signal.end();
        assert_eq!(woken(), 0);
        signal.begin();
        signal.ask();
        signal.end();
        assert_eq!(woken(), 1, "asked too late to be seen");
        signal.ask();
        assert_eq!(woken(), 0, "it is on its way");
        signal.begin();
        signal.ask();
        signal.leave();
        signal.ask();
        assert_eq!(woken(), 0, "it looks again by itself");
        signal.begin();
        signal.leave();
        signal.ask();
        assert_eq!(woken(), 1);
    }
}

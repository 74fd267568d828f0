//! Places where handlers run, other than the tokio runtime of the queue.
//!
//! A handler may belong to an [`Executor`]: the event loop of a program, or threads of its own. The queue then hands each
//! start of such a command to that executor. Whoever submits or finishes on a thread of the executor starts what follows
//! there, without a hop.

mod event_loop;
pub(crate) mod locks;

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

pub use event_loop::EventLoop;

use crate::engine::guarded;

/// Runs tasks on threads of its own choice.
///
/// # Examples
///
/// An executor with one thread:
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
///
/// use a3s_lane::{Executor, ExecutorTask};
///
/// struct OneThread(Sender<ExecutorTask>);
///
/// impl OneThread {
///     fn new() -> Self {
///         let (sender, tasks) = channel::<ExecutorTask>();
///         std::thread::spawn(move || tasks.into_iter().for_each(ExecutorTask::run));
///         Self(sender)
///     }
/// }
///
/// impl Executor for OneThread {
///     fn schedule(&self, task: ExecutorTask) {
///         // A task that is dropped because the thread is gone settles its command with an error.
///         let _ = self.0.send(task);
///     }
/// }
/// # let _ = OneThread::new();
/// ```
pub trait Executor: Send + Sync {
    /// Takes a task, to run it once and soon on a thread of this executor.
    ///
    /// Called from any thread, also from one that holds a lock of the queue: it must neither wait nor call the queue.
    /// A command whose task is dropped instead settles with [`LaneError::QueueError`](crate::LaneError::QueueError), and is
    /// not tried again. So does one whose executor panics here; the panic is logged.
    fn schedule(&self, task: ExecutorTask);
}

/// A piece of work for an [`Executor`]: runs until it has to wait. It comes back through
/// [`schedule`](Executor::schedule) when it can go on.
///
/// May be dropped anywhere: what it holds is dropped with it, though not while this thread holds a lock of the queue.
pub struct ExecutorTask(Option<async_task::Runnable>);

impl ExecutorTask {
    /// Runs the task on this thread. Panics of a command's body do not come through.
    pub fn run(self) {
        let mut task = self;
        if let Some(task) = task.0.take() {
            task.run();
        }
    }
}

impl Drop for ExecutorTask {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            locks::drop_unlocked(task);
        }
    }
}

impl fmt::Debug for ExecutorTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorTask").finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Executor>>> = const { RefCell::new(None) };
}

/// Whether this thread runs a task of `executor` now; `None` is the runtime of the queue.
pub(crate) fn is_current(executor: Option<&Arc<dyn Executor>>) -> bool {
    CURRENT.with_borrow(|current| match (current, executor) {
        (None, None) => true,
        (Some(current), Some(executor)) => {
            std::ptr::addr_eq(Arc::as_ptr(current), Arc::as_ptr(executor))
        }
        _ => false,
    })
}

/// A thread's being at an executor.
struct Entered(Option<Arc<dyn Executor>>);

fn enter(executor: &Arc<dyn Executor>) -> Entered {
    Entered(CURRENT.replace(Some(Arc::clone(executor))))
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// A future of an executor. Boxed, so that it is moved once: a runner is large.
struct Hosted<F> {
    /// Until it is dropped.
    future: Option<Pin<Box<F>>>,
    place: Arc<dyn Executor>,
    runtime: Option<Handle>,
}

impl<F: Future<Output = ()>> Future for Hosted<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let _runtime = this.runtime.as_ref().map(Handle::enter);
        let _entered = enter(&this.place);
        match &mut this.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl<F> Drop for Hosted<F> {
    fn drop(&mut self) {
        let future = self.future.take();
        // What drops a task ends the process when that panics.
        if let Err(panic) = guarded(|| drop(future)) {
            tracing::error!(%panic, "the destructor of a task panicked");
        }
    }
}

/// Runs `future` on `executor`. While it is polled, the thread counts as being there, and as one of `runtime`.
pub(crate) fn spawn(
    executor: Arc<dyn Executor>,
    future: impl Future<Output = ()> + Send + 'static,
    runtime: Option<Handle>,
) {
    let hosted = Hosted {
        future: Some(Box::pin(future)),
        place: Arc::clone(&executor),
        runtime,
    };
    // Often called where the queue is in the middle of something: a panic does not get there.
    let schedule = move |runnable| {
        let task = ExecutorTask(Some(runnable));
        if let Err(panic) = guarded(|| executor.schedule(task)) {
            tracing::error!(%panic, "an executor panicked");
        }
    };
    let (runnable, task) = async_task::spawn(hosted, schedule);
    // Detached: a task ends when it has nothing left to do.
    task.detach();
    runnable.schedule();
}

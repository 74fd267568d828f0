//! The threads on which `def` handlers run.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use a3s_lane::{CommandContext, Executor, ExecutorTask};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::guarded;
use crate::imported::Imported;
use crate::process::ProcessLocal;

/// Most handlers that run at once, if nothing else is said.
pub(crate) const DEFAULT_LIMIT: usize = 64;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How often a full pool looks for threads whose attempt is over while they are still busy.
const LOOK: Duration = Duration::from_millis(50);

/// How long a thread runs handlers before it lets others have the GIL. As long as Python's own switch interval.
const TURN: Duration = Duration::from_millis(5);

/// A pool of Python threads.
///
/// While it is open, one thread waits for work that no other thread can take: it starts its successor before it goes to work
/// itself, because only a thread that can take the GIL can start another one. Commands that are handed over wait for a
/// thread while the pool has as many at work as it may. Those that outlive their attempt, and those whose handler waits for
/// other work of a lane, do not count.
pub(crate) struct Threads {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// Threads whose handler waits for other work.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<ExecutorTask>,
    workers: Vec<Arc<Worker>>,
    idle: usize,
    started: u64,
    closed: bool,
    /// Futures of other pools for which nobody waits any more.
    dropped: Vec<Py<PyAny>>,
}

/// One thread.
#[derive(Default)]
struct Worker {
    running: Mutex<Option<CommandContext>>,
}

thread_local! {
    /// The pool and the place in it of this thread.
    static CURRENT: RefCell<Option<(Arc<Threads>, Arc<Worker>)>> = const { RefCell::new(None) };
}

/// What a thread does next.
enum Next {
    Run {
        task: ExecutorTask,
        /// Nobody waits for work any more.
        alone: bool,
    },
    Cancel(Vec<Py<PyAny>>),
    End,
}

impl Threads {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that there is a thread, or raises `RuntimeError`.
    pub(crate) fn open(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let is_new = {
            let state = self.lock();
            state.workers.is_empty() && !state.closed
        };
        if is_new && !self.start(py)? {
            let reason = "no thread can be started for handlers: the interpreter is ending";
            return Err(PyRuntimeError::new_err(reason));
        }
        Ok(())
    }

    /// Starts a thread, which counts as idle from now on; whether it did: not any more when the interpreter ends.
    fn start(self: &Arc<Self>, py: Python<'_>) -> PyResult<bool> {
        let worker = Arc::new(Worker::default());
        let number = {
            let mut state = self.lock();
            state.workers.push(Arc::clone(&worker));
            state.idle += 1;
            state.started += 1;
            state.started
        };
        let main = ThreadMain {
            inner: ProcessLocal::new((Arc::clone(self), Arc::clone(&worker))),
        };
        static START: Imported = Imported::new("a3s_lane._handlers", "start_thread");
        let started = START
            .get(py)
            .and_then(|start| guarded::call(start, (main, number)))
            .and_then(|started| started.is_truthy());
        if !matches!(started, Ok(true)) {
            self.forget(&worker, true);
        }
        started
    }

    fn forget(&self, worker: &Arc<Worker>, idle: bool) {
        let mut state = self.lock();
        state.workers.retain(|other| !Arc::ptr_eq(other, worker));
        if idle {
            state.idle -= 1;
        }
    }

    /// Works until there is nothing left to do.
    fn work(self: &Arc<Self>, py: Python<'_>, worker: &Arc<Worker>) {
        CURRENT.set(Some((Arc::clone(self), Arc::clone(worker))));
        loop {
            match py.detach(|| self.wait()) {
                Next::End => break,
                Next::Cancel(futures) => {
                    for future in futures {
                        let _ = future.call_method0(py, "cancel");
                    }
                }
                Next::Run { task, alone } => {
                    if alone && let Err(error) = self.start(py) {
                        // The system has no more threads. Work waits for one of those there are.
                        guarded::report(py, error, None);
                    }
                    self.run(py, task);
                    self.lock().idle += 1;
                }
            }
        }
        self.forget(worker, true);
        CURRENT.set(None);
    }

    /// Runs a task, and others as long as there are any.
    fn run(&self, py: Python<'_>, first: ExecutorTask) {
        let mut since = Instant::now();
        let mut next = Some(first);
        while let Some(task) = next {
            task.run();
            // A handler that is not made of Python code never offers the GIL by itself.
            if since.elapsed() >= TURN {
                py.detach(std::thread::yield_now);
                since = Instant::now();
            }
            next = self.lock().tasks.pop_front();
        }
    }

    /// Waits for something to do, without the GIL.
    fn wait(&self) -> Next {
        let mut state = self.lock();
        loop {
            if !state.dropped.is_empty() {
                return Next::Cancel(std::mem::take(&mut state.dropped));
            }
            if state.closed {
                return Next::End;
            }
            let ended;
            if state.tasks.is_empty() {
                // The last one stays.
                let alone = state.idle == 1;
                (state, ended) = self.sleep(state, if alone { None } else { Some(IDLE) });
                if ended && state.idle > 1 && state.tasks.is_empty() {
                    return Next::End;
                }
                continue;
            }
            let busy = state.workers.len() - state.idle;
            let waiting = self.waiting.load(Ordering::Acquire);
            if busy < self.limit + waiting {
                return Self::take(state);
            }
            let workers = state.workers.clone();
            drop(state);
            // Without the lock: this asks the engine, which may be handing something over.
            let overrun = workers.iter().filter(|worker| worker.is_overrun()).count();
            state = self.lock();
            let busy = state.workers.len() - state.idle;
            if !state.tasks.is_empty() && busy < self.limit + waiting + overrun {
                return Self::take(state);
            }
            (state, _) = self.sleep(state, Some(LOOK));
        }
    }

    fn take(mut state: MutexGuard<'_, State>) -> Next {
        let Some(task) = state.tasks.pop_front() else {
            return Next::Cancel(Vec::new());
        };
        state.idle -= 1;
        let alone = state.idle == 0 && !state.closed;
        Next::Run { task, alone }
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Option<Duration>,
    ) -> (MutexGuard<'a, State>, bool) {
        match limit {
            None => (
                self.changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                false,
            ),
            Some(limit) => {
                let (state, result) = self
                    .changed
                    .wait_timeout(state, limit)
                    .unwrap_or_else(PoisonError::into_inner);
                (state, result.timed_out())
            }
        }
    }

    /// Calls a handler on this thread.
    pub(crate) fn running<T>(&self, context: &CommandContext, call: impl FnOnce() -> T) -> T {
        /// Also after a panic.
        struct Ended(Option<Arc<Worker>>);
        impl Drop for Ended {
            fn drop(&mut self) {
                if let Some(worker) = &self.0 {
                    worker.set(None);
                }
            }
        }
        let worker = CURRENT.with_borrow(|current| {
            let (_, worker) = current.as_ref()?;
            Some(Arc::clone(worker))
        });
        if let Some(worker) = &worker {
            worker.set(Some(context.clone()));
        }
        let _ended = Ended(worker);
        call()
    }

    /// Cancels a future of another pool for which nobody waits any more. Does not take the GIL.
    pub(crate) fn cancel_soon(&self, future: Py<PyAny>) {
        self.lock().dropped.push(future);
        self.changed.notify_one();
    }

    /// Ends all threads once they have nothing to do. What waits for one settles with an error.
    pub(crate) fn close(&self) {
        let tasks = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.tasks)
        };
        self.changed.notify_all();
        drop(tasks);
    }
}

impl Executor for Threads {
    fn schedule(&self, task: ExecutorTask) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(task);
            return;
        }
        state.tasks.push_back(task);
        drop(state);
        self.changed.notify_one();
    }
}

impl Worker {
    fn set(&self, context: Option<CommandContext>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }

    /// Whether the attempt on this thread was stopped, though its handler goes on.
    fn is_overrun(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let context = running.clone();
        drop(running);
        context.is_some_and(|context| context.is_cancelled())
    }
}

/// The handler of this thread waits for other work: its place in the pool is free meanwhile.
pub(crate) struct Waiting(Option<Arc<Threads>>);

impl Waiting {
    pub(crate) fn begin() -> Self {
        let pool = CURRENT.with_borrow(|current| {
            let (pool, _) = current.as_ref()?;
            Some(Arc::clone(pool))
        });
        if let Some(pool) = &pool {
            pool.waiting.fetch_add(1, Ordering::AcqRel);
            pool.changed.notify_one();
        }
        Self(pool)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What a thread of the pool runs.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct ThreadMain {
    inner: ProcessLocal<(Arc<Threads>, Arc<Worker>)>,
}

#[pymethods]
impl ThreadMain {
    fn __call__(&self, py: Python<'_>) {
        if let Ok((pool, worker)) = self.inner.get("Lane") {
            pool.work(py, worker);
        }
    }
}

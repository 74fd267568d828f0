//! The event loop of a program as an executor.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Executor, ExecutorTask};

/// How many tasks one turn runs at most: the rest of the program has its turn too.
const TURN: usize = 64;

/// The event loop of a program, as a place where handlers run.
///
/// Tasks queue here, and the loop's thread runs them in their order by [`turn`](Self::turn). The loop is woken once for
/// a batch of tasks, and not at all for those that its own thread adds [`within`](Self::within) a call.
///
/// The queue of tasks is bounded by what its lanes let run at once.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use std::sync::mpsc::channel;
///
/// use a3s_lane::{CommandContext, EventEmitter, EventLoop, JsonCommand, QueueManagerBuilder};
/// use serde_json::{Value, json};
///
/// let (wake, woken) = channel();
/// let event_loop = EventLoop::new(move || _ = wake.send(()));
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .with_handler_on(
///         "greet",
///         |name: Value, _context: CommandContext| async move { Ok(json!(["hello", name])) },
///         event_loop.clone(),
///     )
///     .build()
///     .await?;
/// manager.start().await?;
/// let command = Box::new(JsonCommand::new("greet", json!("Ann")));
/// let greeting = manager.submit("query", command).await?;
/// // What a program's event loop does whenever it is woken:
/// woken.recv().expect("the loop is woken");
/// event_loop.turn();
/// assert_eq!(greeting.await.expect("it has run")?, json!(["hello", "Ann"]));
/// # Ok(())
/// # }
/// ```
pub struct EventLoop {
    state: Mutex<State>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<ExecutorTask>,
    /// The loop's thread will look at the tasks without being woken.
    awake: bool,
    turning: bool,
    closed: bool,
}

impl EventLoop {
    /// An event loop that `wake` asks for a [`turn`](Self::turn).
    ///
    /// `wake` is called from any thread, also from one that holds a lock of the queue: it must neither wait nor call the
    /// queue.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            wake: Box::new(wake),
        })
    }

    /// Runs the tasks that are ready, in their order, on this thread: the one of the loop. Asks for another turn when there
    /// are very many. Does nothing inside of another turn, which will run them.
    pub fn turn(&self) {
        {
            let mut state = self.lock();
            if state.turning {
                return;
            }
            state.turning = true;
            state.awake = true;
        }
        for _ in 0..TURN {
            let task = {
                let mut state = self.lock();
                let Some(task) = state.tasks.pop_front() else {
                    state.turning = false;
                    state.awake = false;
                    return;
                };
                task
            };
            // A command's own panic never gets here.
            if catch_unwind(AssertUnwindSafe(|| task.run())).is_err() {
                tracing::error!("a task of an event loop panicked");
            }
        }
        self.lock().turning = false;
        (self.wake)();
    }

    /// Calls `call` on this thread, the one of the loop, and then takes a [`turn`](Self::turn): what the call makes ready
    /// runs without the loop being woken.
    pub fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        /// Also after a panic: a loop that is taken for awake is not woken.
        struct Turn<'a>(&'a EventLoop);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.turn();
            }
        }
        self.lock().awake = true;
        let _turn = Turn(self);
        call()
    }

    /// Runs a future on this loop.
    pub fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        super::spawn(Arc::clone(self) as Arc<dyn Executor>, future, None);
    }

    /// Ends the loop: what waits in it, and all that comes later, is dropped, which settles the commands with an error.
    pub fn close(&self) {
        let tasks = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.tasks)
        };
        drop(tasks);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor for EventLoop {
    fn schedule(&self, task: ExecutorTask) {
        let wake = {
            let mut state = self.lock();
            if state.closed {
                drop(state);
                drop(task);
                return;
            }
            state.tasks.push_back(task);
            !std::mem::replace(&mut state.awake, true)
        };
        if wake {
            (self.wake)();
        }
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("EventLoop")
            .field("tasks", &state.tasks.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

//! The handlers of a lane set: Python functions by command type.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use a3s_lane::{CommandContext, Executor, LaneError, QueueManager, Result, StopReason};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyAny;
use serde_json::Value;

use crate::context::HandlerContext;
use crate::failure::failure;
use crate::from_json::from_json;
use crate::interned::interned;
use crate::link::Link;
use crate::place::Place;
use crate::places::Places;
use crate::released::Held;
use crate::submitting::Submitting;
use crate::threads::Threads;
use crate::to_json::to_json;
use crate::{coroutine, guarded, process, process_task};

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An `async def`, on an event loop.
    Coroutine,
    /// A `def`, on a thread.
    Thread,
    /// A function that starts the work elsewhere and returns a `concurrent.futures.Future`.
    Process,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Coroutine => "coroutine",
            Self::Thread => "thread",
            Self::Process => "process",
        }
    }

    /// Whether middleware that is an `async def`, or is not, goes around it.
    fn takes(self, is_coroutine: bool) -> bool {
        (self == Self::Coroutine) == is_coroutine
    }
}

/// A Python function, and how it is called.
pub(crate) struct Function {
    pub(crate) command_type: String,
    /// With the middleware around it.
    pub(crate) callable: Held,
    pub(crate) takes_context: bool,
    kind: Kind,
    registered: Arc<Plain>,
}

/// A Python function as it was registered, without middleware.
struct Plain {
    callable: Held,
    takes_context: bool,
    kind: Kind,
}

/// A Python function that goes around handlers.
struct Middleware {
    callable: Held,
    is_coroutine: bool,
}

impl Function {
    /// Calls the function, in the context variables if any are given.
    pub(crate) fn call<'py>(
        &self,
        py: Python<'py>,
        payload: &Value,
        variables: Option<&Py<PyAny>>,
        context: impl FnOnce() -> HandlerContext,
    ) -> PyResult<Bound<'py, PyAny>> {
        let callable = self.callable.bind(py);
        let payload = from_json(py, payload)?;
        match (variables, self.takes_context) {
            (None, false) => guarded::call(callable, (payload,)),
            (None, true) => guarded::call(callable, (payload, context())),
            (Some(variables), takes_context) => {
                let run = variables.bind(py).getattr(interned!(py, "run"))?;
                if takes_context {
                    guarded::call(&run, (callable, payload, context()))
                } else {
                    guarded::call(&run, (callable, payload))
                }
            }
        }
    }
}

/// A handler where it runs.
#[derive(Clone)]
pub(crate) struct Handler {
    function: Arc<Function>,
    /// Present for coroutines.
    place: Option<Arc<Place>>,
}

impl Handler {
    /// Does the work of one attempt.
    pub(crate) async fn run(
        self: Arc<Self>,
        payload: &Value,
        variables: Option<&Py<PyAny>>,
        context: &CommandContext,
        handlers: &Arc<Handlers>,
    ) -> Result<Value> {
        let function = &self.function;
        match (function.kind, &self.place) {
            (Kind::Coroutine, Some(place)) => {
                coroutine::run(function, place, payload, variables, context, handlers).await
            }
            (Kind::Process, _) => process_task::run(function, payload, context, handlers).await,
            _ => {
                let outcome = handlers.threads.running(context, || {
                    on_thread(function, payload, variables, context, handlers)
                });
                let stopped = context.stop_reason();
                if outcome.is_err()
                    && matches!(stopped, Some(StopReason::Deadline | StopReason::Stall))
                {
                    // It obeyed its time limit, whatever it raised to do so: the engine has the error for that.
                    return pending().await;
                }
                outcome
            }
        }
    }
}

/// Calls a `def` on this thread, which is one of the pool.
fn on_thread(
    function: &Arc<Function>,
    payload: &Value,
    variables: Option<&Py<PyAny>>,
    context: &CommandContext,
    handlers: &Arc<Handlers>,
) -> Result<Value> {
    let link = function.takes_context.then(|| Link::new(context.clone()));
    let process = process::generation();
    let called = Python::try_attach(|py| {
        // A copy for each attempt, so that none sees what another one has set.
        let variables = variables
            .map(|variables| variables.call_method0(py, interned!(py, "copy")))
            .transpose();
        let answer = variables.and_then(|variables| {
            function.call(py, payload, variables.as_ref(), || {
                let link = link.clone().unwrap_or_else(|| Link::new(context.clone()));
                HandlerContext::new(link, function, None, handlers)
            })
        });
        process::end_child(py, process, &answer);
        finished(py, answer)
    });
    let outcome = called.unwrap_or_else(|| Err(gone()));
    if let (Some(link), Err(_)) = (&link, &outcome) {
        link.end();
    }
    outcome
}

/// What a handler's answer is for the lane.
pub(crate) fn finished(py: Python<'_>, answer: PyResult<Bound<'_, PyAny>>) -> Result<Value> {
    answer
        .and_then(|answer| to_json("the result", &answer))
        .map_err(|error| failure(py, error))
}

/// The error of work whose interpreter has ended.
pub(crate) fn gone() -> LaneError {
    LaneError::QueueError("the interpreter has ended".into())
}

/// The handlers of a lane set, and where they run.
pub(crate) struct Handlers {
    table: RwLock<HashMap<String, Arc<Handler>>>,
    /// In the order of registration.
    middleware: RwLock<Vec<Middleware>>,
    pub(crate) places: Arc<Places>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) submitting: Arc<Submitting>,
}

impl Handlers {
    pub(crate) fn new(
        places: Arc<Places>,
        threads: Arc<Threads>,
        submitting: Arc<Submitting>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: RwLock::default(),
            middleware: RwLock::default(),
            places,
            threads,
            submitting,
        })
    }

    pub(crate) fn get(&self, command_type: &str) -> Option<Arc<Handler>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(command_type).cloned()
    }

    /// The handler of this command type from now on.
    pub(crate) fn register(
        self: &Arc<Self>,
        py: Python<'_>,
        manager: &QueueManager,
        command_type: String,
        (callable, takes_context, kind): (Py<PyAny>, bool, Kind),
    ) -> PyResult<()> {
        let place = match kind {
            Kind::Coroutine => {
                self.places.note_handler();
                Some(self.places.home())
            }
            Kind::Thread | Kind::Process => {
                self.threads.open(py)?;
                None
            }
        };
        let plain = Arc::new(Plain {
            callable: Held::new(callable),
            takes_context,
            kind,
        });
        loop {
            let (function, count) = self.compose(py, &command_type, &plain)?;
            let place = place.clone();
            self.put(manager, Handler { function, place });
            // Middleware that came while Python code ran may have missed this handler.
            if count == self.middleware().len() {
                return Ok(());
            }
        }
    }

    fn middleware(&self) -> RwLockReadGuard<'_, Vec<Middleware>> {
        self.middleware
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A function with the middleware that there is so far, and how much that is.
    fn compose(
        &self,
        py: Python<'_>,
        command_type: &str,
        plain: &Arc<Plain>,
    ) -> PyResult<(Arc<Function>, usize)> {
        let (around, count) = {
            let middleware = self.middleware();
            let around: Vec<Py<PyAny>> = middleware
                .iter()
                .filter(|middleware| plain.kind.takes(middleware.is_coroutine))
                .map(|middleware| middleware.callable.clone_ref(py))
                .collect();
            (around, middleware.len())
        };
        let mut function = Function {
            command_type: command_type.to_owned(),
            callable: Held::new(plain.callable.clone_ref(py)),
            takes_context: plain.takes_context,
            kind: plain.kind,
            registered: Arc::clone(plain),
        };
        if !around.is_empty() {
            let module = py.import(interned!(py, "a3s_lane._middleware"))?;
            let arguments = (
                plain.kind.name(),
                &*plain.callable,
                plain.takes_context,
                around,
            );
            let composed =
                guarded::call_method(module.as_any(), interned!(py, "compose"), arguments)?;
            function.callable = Held::new(composed.unbind());
            function.takes_context = true;
            if plain.kind == Kind::Process {
                // A thread waits for the process.
                function.kind = Kind::Thread;
            }
        }
        Ok((Arc::new(function), count))
    }

    /// Puts `callable` around the handlers there are and those to come, inside of what was added before.
    pub(crate) fn add_middleware(
        self: &Arc<Self>,
        py: Python<'_>,
        manager: &QueueManager,
        callable: Py<PyAny>,
        is_coroutine: bool,
    ) -> PyResult<()> {
        self.middleware
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Middleware {
                callable: Held::new(callable),
                is_coroutine,
            });
        for before in self.all() {
            let plain = &before.function.registered;
            if !plain.kind.takes(is_coroutine) {
                continue;
            }
            let (function, _) = self.compose(py, &before.function.command_type, plain)?;
            let is_current = self
                .get(&function.command_type)
                .is_some_and(|known| Arc::ptr_eq(&known.function.registered, plain));
            if is_current {
                let place = before.place.clone();
                self.put(manager, Handler { function, place });
            }
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<Handler>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().cloned().collect()
    }

    fn put(self: &Arc<Self>, manager: &QueueManager, handler: Handler) {
        let command_type = handler.function.command_type.clone();
        let place = handler.place.clone();
        let before = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            table.insert(command_type.clone(), Arc::new(handler))
        };
        let by_core = Registered {
            handlers: Arc::downgrade(self),
            command_type: command_type.clone(),
        };
        let executor: Arc<dyn Executor> = match place {
            Some(place) => Arc::clone(&place.event_loop) as Arc<dyn Executor>,
            None => Arc::clone(&self.threads) as Arc<dyn Executor>,
        };
        manager.register_handler_on(command_type, by_core, executor);
        // Its function may have been the last to hold something that calls the lanes when it goes.
        drop(before);
    }

    /// Has all coroutines run at the home of the lane set, which has changed.
    pub(crate) fn go_home(self: &Arc<Self>, manager: &QueueManager) {
        let home = self.places.home();
        for handler in self.all() {
            if handler.place.is_some() {
                let place = Some(Arc::clone(&home));
                let function = Arc::clone(&handler.function);
                self.put(manager, Handler { function, place });
            }
        }
    }

    /// No handler for this command type any more; whether there was one.
    pub(crate) fn remove(&self, manager: &QueueManager, command_type: &str) -> bool {
        let before = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            table.remove(command_type)
        };
        manager.remove_handler(command_type);
        before.is_some()
    }

    pub(crate) fn clear(&self) {
        let before = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *table)
        };
        drop(before);
        let before = {
            let mut middleware = self
                .middleware
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *middleware)
        };
        drop(before);
    }

    /// Shows the functions to the garbage collector. They usually lead back to the lane.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        // Locked means in use by another thread, so it is no garbage.
        if let Ok(table) = self.table.try_read() {
            for handler in table.values() {
                visit.call(&*handler.function.callable)?;
                visit.call(&*handler.function.registered.callable)?;
            }
        }
        if let Ok(middleware) = self.middleware.try_read() {
            for each in &*middleware {
                visit.call(&*each.callable)?;
            }
        }
        Ok(())
    }
}

/// A handler as the core knows it. Commands of this package find theirs by themselves.
struct Registered {
    handlers: Weak<Handlers>,
    command_type: String,
}

#[async_trait::async_trait]
impl a3s_lane::Handler for Registered {
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value> {
        let handlers = self.handlers.upgrade().ok_or_else(gone)?;
        match handlers.get(&self.command_type) {
            Some(handler) => handler.run(&payload, None, &context, &handlers).await,
            None => Ok(payload),
        }
    }
}

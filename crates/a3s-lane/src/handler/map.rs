//! Which handler runs which type of command.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashMap;

use super::Handler;
use crate::executor::Executor;

type Handlers = HashMap<Box<str>, Placed, foldhash::fast::RandomState>;

/// A handler, and where it runs.
struct Placed {
    handler: Arc<dyn Handler>,
    /// Absent for the runtime of the queue.
    executor: Option<Arc<dyn Executor>>,
}

/// The handlers of a queue by command type. They may change while commands run: an attempt keeps the handler it began
/// with.
#[derive(Default)]
pub(crate) struct HandlerMap {
    handlers: RwLock<Handlers>,
    /// There is, or was, a handler with an executor.
    has_executors: AtomicBool,
}

impl HandlerMap {
    /// The handler of this command type from now on. Returns the one before.
    pub(crate) fn insert(
        &self,
        command_type: impl Into<Box<str>>,
        handler: Arc<dyn Handler>,
        executor: Option<Arc<dyn Executor>>,
    ) -> Option<Arc<dyn Handler>> {
        if executor.is_some() {
            self.has_executors.store(true, Ordering::Relaxed);
        }
        let placed = Placed { handler, executor };
        let before = self.write().insert(command_type.into(), placed);
        before.map(|placed| placed.handler)
    }

    pub(crate) fn get(&self, command_type: &str) -> Option<Arc<dyn Handler>> {
        let handlers = self.read();
        Some(Arc::clone(&handlers.get(command_type)?.handler))
    }

    /// Whether [`executor`](Self::executor) can have an answer.
    pub(crate) fn has_executors(&self) -> bool {
        self.has_executors.load(Ordering::Relaxed)
    }

    /// Where the handler of this command type runs, if not on the runtime of the queue.
    pub(crate) fn executor(&self, command_type: &str) -> Option<Arc<dyn Executor>> {
        self.read().get(command_type)?.executor.clone()
    }

    /// No handler for this command type any more. Returns the one before.
    pub(crate) fn remove(&self, command_type: &str) -> Option<Arc<dyn Handler>> {
        let before = self.write().remove(command_type);
        before.map(|placed| placed.handler)
    }

    fn read(&self) -> RwLockReadGuard<'_, Handlers> {
        self.handlers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Handlers> {
        self.handlers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HandlerMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.read().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::context::CommandContext;

    fn answering(answer: u32) -> Arc<dyn Handler> {
        Arc::new(move |_: Value, _: CommandContext| async move { Ok(json!(answer)) })
    }

    async fn ask(handlers: &HandlerMap, command_type: &str) -> Option<Value> {
        let handler = handlers.get(command_type)?;
        let answer = handler.handle(Value::Null, CommandContext::idle()).await;
        Some(answer.expect("these handlers do not fail"))
    }

    #[tokio::test]
    async fn handlers_are_found_replaced_and_removed() {
        let handlers = HandlerMap::default();
        assert_eq!(ask(&handlers, "a").await, None);
        assert!(handlers.insert("a", answering(1), None).is_none());
        assert!(handlers.insert("b", answering(2), None).is_none());
        assert_eq!(ask(&handlers, "a").await, Some(json!(1)));
        let begun = handlers.get("a").expect("it is there");
        let before = handlers
            .insert("a", answering(3), None)
            .expect("it was there");
        assert!(Arc::ptr_eq(&begun, &before));
        assert_eq!(ask(&handlers, "a").await, Some(json!(3)));
        assert_eq!(ask(&handlers, "b").await, Some(json!(2)));
        assert!(handlers.remove("a").is_some());
        assert!(handlers.remove("a").is_none());
        assert_eq!(ask(&handlers, "a").await, None);
        assert_eq!(format!("{handlers:?}"), r#"{"b"}"#);
    }
}

//! Which handler runs which type of command.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Handler;

type Handlers = HashMap<Box<str>, Arc<dyn Handler>>;

/// The handlers of a queue by command type. They may change while commands run: an attempt keeps the handler it began
/// with.
#[derive(Default)]
pub(crate) struct HandlerMap {
    handlers: RwLock<Handlers>,
}

impl HandlerMap {
    /// The handler of this command type from now on. Returns the one before.
    pub(crate) fn insert(
        &self,
        command_type: impl Into<Box<str>>,
        handler: Arc<dyn Handler>,
    ) -> Option<Arc<dyn Handler>> {
        self.write().insert(command_type.into(), handler)
    }

    pub(crate) fn get(&self, command_type: &str) -> Option<Arc<dyn Handler>> {
        self.read().get(command_type).cloned()
    }

    /// No handler for this command type any more. Returns the one before.
    pub(crate) fn remove(&self, command_type: &str) -> Option<Arc<dyn Handler>> {
        self.write().remove(command_type)
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
        assert!(handlers.insert("a", answering(1)).is_none());
        assert!(handlers.insert("b", answering(2)).is_none());
        assert_eq!(ask(&handlers, "a").await, Some(json!(1)));
        let begun = handlers.get("a").expect("it is there");
        let before = handlers.insert("a", answering(3)).expect("it was there");
        assert!(Arc::ptr_eq(&begun, &before));
        assert_eq!(ask(&handlers, "a").await, Some(json!(3)));
        assert_eq!(ask(&handlers, "b").await, Some(json!(2)));
        assert!(handlers.remove("a").is_some());
        assert!(handlers.remove("a").is_none());
        assert_eq!(ask(&handlers, "a").await, None);
        assert_eq!(format!("{handlers:?}"), r#"{"b"}"#);
    }
}

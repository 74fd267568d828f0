//! Commands that an earlier process has stored.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use async_trait::async_trait;
use serde_json::Value;

use crate::command::Command;
use crate::context::CommandContext;
use crate::error::{LaneError, Result};
use crate::storage::Storage;

/// Makes the command of a stored payload.
pub(crate) type Factory = Arc<dyn Fn(Value) -> Result<Box<dyn Command>> + Send + Sync>;

/// The factories of a queue by command type.
#[derive(Default)]
pub(crate) struct Factories(RwLock<HashMap<Box<str>, Factory>>);

impl Factories {
    pub(crate) fn insert(&self, command_type: impl Into<Box<str>>, factory: Factory) {
        let mut factories = self.0.write().unwrap_or_else(PoisonError::into_inner);
        factories.insert(command_type.into(), factory);
    }

    pub(crate) fn get(&self, command_type: &str) -> Option<Factory> {
        let factories = self.0.read().unwrap_or_else(PoisonError::into_inner);
        factories.get(command_type).cloned()
    }
}

impl fmt::Debug for Factories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factories = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(factories.keys()).finish()
    }
}

/// What the restored commands of one type share.
pub(super) struct Kind {
    pub(super) command_type: Box<str>,
    pub(super) storage: Arc<dyn Storage>,
    /// Absent where a handler runs the type.
    pub(super) factory: Option<Factory>,
}

/// A stored command. Its payload may be left in the storage until an attempt begins.
pub(super) struct Restored {
    kind: Arc<Kind>,
    /// For a handler.
    payload: Option<Value>,
    /// Of a factory.
    made: OnceLock<Box<dyn Command>>,
}

impl Restored {
    /// A command with its payload, or with one that is in the storage.
    ///
    /// # Errors
    ///
    /// That of the factory.
    pub(super) fn new(kind: &Arc<Kind>, payload: Option<Value>) -> Result<Self> {
        let mut restored = Self {
            kind: Arc::clone(kind),
            payload: None,
            made: OnceLock::new(),
        };
        match (&kind.factory, payload) {
            (Some(factory), Some(payload)) => restored.made = OnceLock::from(factory(payload)?),
            (_, payload) => restored.payload = payload,
        }
        Ok(restored)
    }

    async fn load(&self, context: &CommandContext) -> Result<Value> {
        let id = context.id();
        let record = self.kind.storage.load_command(&id).await?;
        let record = record.ok_or_else(|| {
            LaneError::CommandNotFound(format!("{id} is not in its storage any more"))
        })?;
        Ok(record.command.payload)
    }
}

#[async_trait]
impl Command for Restored {
    async fn execute(&self) -> Result<Value> {
        Err(LaneError::Other("the queue calls execute_with".to_owned()))
    }

    async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
        if let Some(command) = self.made.get() {
            return command.execute_with(context).await;
        }
        let payload = match &self.payload {
            Some(payload) => payload.clone(),
            None => self.load(context).await?,
        };
        let kind = &self.kind;
        if let Some(factory) = &kind.factory {
            let made = match factory(payload) {
                Ok(command) => self.made.get_or_init(|| command),
                // No retry makes the payload better.
                Err(error) => return Err(LaneError::unrecoverable(error.to_string())),
            };
            return made.execute_with(context).await;
        }
        match context.handler(&kind.command_type) {
            Some(handler) => handler.handle(payload, context.clone()).await,
            None => {
                let text = format!("the handler of type {:?} was removed", kind.command_type);
                Err(LaneError::CommandError(text))
            }
        }
    }

    fn command_type(&self) -> &str {
        &self.kind.command_type
    }

    fn payload(&self) -> Option<Value> {
        match self.made.get() {
            Some(command) => command.payload(),
            None => self.payload.clone(),
        }
    }

    fn needs_handler(&self) -> bool {
        match self.made.get() {
            Some(command) => command.needs_handler(),
            None => self.kind.factory.is_none(),
        }
    }
}

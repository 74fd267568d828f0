//! What outlives the process.

use std::sync::Arc;

use serde_json::Value;

use super::QueueManager;
use crate::command::Command;
use crate::error::Result;
use crate::handle::CommandHandle;
use crate::storage::Unclaimed;

impl QueueManager {
    /// Sets what makes the stored commands of a type, as
    /// [`QueueManagerBuilder::with_factory`](crate::QueueManagerBuilder::with_factory). Those that are stored and
    /// [unclaimed](Self::unclaimed) enter their lanes soon, in their order, behind what waits there.
    pub fn register_factory(
        &self,
        command_type: impl Into<String>,
        factory: impl Fn(Value) -> Result<Box<dyn Command>> + Send + Sync + 'static,
    ) {
        let command_type: String = command_type.into();
        let engine = self.queue.engine();
        let factories = engine.restoring().factories();
        factories.insert(command_type.as_str(), Arc::new(factory));
        engine.claim_later(&command_type);
    }

    /// The stored commands that cannot enter their lanes, oldest first, and why: they wait for a handler, a factory or a
    /// lane. Empty without a storage.
    ///
    /// Reads the whole storage.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`](crate::LaneError::Storage) when the storage cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: changes nothing.
    pub async fn unclaimed(&self) -> Result<Vec<Unclaimed>> {
        self.queue.engine().unclaimed().await
    }

    /// A handle of the command with this id, in this process or an earlier one: it waits or runs, or it has settled and the
    /// manager's storage keeps its result. An error that is kept has its code and its text only.
    ///
    /// Of a command that was submitted without a handle, the handle has the progress and the chunks from the first call of this on.
    ///
    /// `None` when there is no such command, also for one that is [unclaimed](Self::unclaimed), and for one that was submitted
    /// without a handle to a lane without a storage.
    ///
    /// # Errors
    ///
    /// [`LaneError::Storage`](crate::LaneError::Storage) when the storage cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: changes nothing.
    pub async fn find(&self, command_id: &str) -> Result<Option<CommandHandle>> {
        self.queue.engine().find(command_id).await
    }
}

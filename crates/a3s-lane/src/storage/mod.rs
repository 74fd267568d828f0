//! Keeps pending commands and dead letters beyond the life of the process.

#[cfg(feature = "local-storage")]
mod local;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;

#[cfg(feature = "local-storage")]
pub use local::{Durability, LocalStorage};

/// The unique name of a stored command.
pub type StoredCommandId = String;

/// What a storage keeps of a pending command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredCommand {
    /// The command's unique name.
    pub id: StoredCommandId,
    /// What kind of work it is.
    pub command_type: String,
    /// The lane it waits in.
    pub lane_id: String,
    /// The data from which it can be rebuilt.
    pub payload: serde_json::Value,
    /// How many retries it has had.
    pub retry_count: u32,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it last ran, if ever.
    pub last_attempt_at: Option<DateTime<Utc>>,
}

/// What a storage keeps of a command that failed for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredDeadLetter {
    /// The command's unique name.
    pub command_id: String,
    /// What kind of work it was.
    pub command_type: String,
    /// The lane it ran in.
    pub lane_id: String,
    /// The error of its last attempt.
    pub error: String,
    /// How often it ran: its retries plus one.
    pub attempts: u32,
    /// When its last attempt failed.
    pub failed_at: DateTime<Utc>,
}

/// A place where pending commands and dead letters survive the process.
///
/// An implementation may be called from many tasks at once. What a call has reported as done must be visible to every later
/// call, and should survive a crash.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Keeps a command, in place of one with the same id.
    ///
    /// # Errors
    ///
    /// Any error means that the command may not be kept.
    async fn save_command(&self, command: StoredCommand) -> Result<()>;

    /// All kept commands, in any order.
    ///
    /// # Errors
    ///
    /// Any error means that what is kept is not known; it never stands for "nothing".
    async fn load_commands(&self) -> Result<Vec<StoredCommand>>;

    /// Forgets a command; does nothing when there is none with this id.
    ///
    /// # Errors
    ///
    /// Any error means that the command may still be kept.
    async fn remove_command(&self, id: &str) -> Result<()>;

    /// Keeps a dead letter.
    ///
    /// # Errors
    ///
    /// Any error means that the letter may not be kept.
    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()>;

    /// All kept dead letters, oldest first.
    ///
    /// # Errors
    ///
    /// Any error means that what is kept is not known; it never stands for "nothing".
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>>;

    /// Forgets all dead letters.
    ///
    /// # Errors
    ///
    /// Any error means that letters may still be kept.
    async fn clear_dead_letters(&self) -> Result<()>;

    /// Forgets all commands and all dead letters.
    ///
    /// # Errors
    ///
    /// Any error means that something may still be kept.
    async fn clear_all(&self) -> Result<()>;
}

//! A submission that was refused.

use std::fmt;

use crate::command::Command;
use crate::error::LaneError;

/// Why a command was not accepted, and the command itself: nothing is lost.
///
/// Turns into its [`LaneError`] with `?`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use a3s_lane::{EventEmitter, JsonCommand, QueueManagerBuilder, SubmitOptions};
///
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .build()
///     .await?;
/// let command = Box::new(JsonCommand::new("greet", "hello".into()));
/// let refused = manager
///     .submit_with("nowhere", command, SubmitOptions::new())
///     .await
///     .expect_err("there is no such lane");
/// assert_eq!(refused.error().code(), "LANE_NOT_FOUND");
/// let command = refused.into_command();
/// manager.submit_with("query", command, SubmitOptions::new()).await?;
/// # Ok(())
/// # }
/// ```
pub struct Refused {
    error: LaneError,
    command: Box<dyn Command>,
}

impl Refused {
    pub(crate) fn new(error: LaneError, command: Box<dyn Command>) -> Self {
        Self { error, command }
    }

    /// Why.
    pub fn error(&self) -> &LaneError {
        &self.error
    }

    /// The command, to be submitted again.
    pub fn into_command(self) -> Box<dyn Command> {
        self.command
    }

    /// Both.
    pub fn into_parts(self) -> (LaneError, Box<dyn Command>) {
        (self.error, self.command)
    }
}

impl From<Refused> for LaneError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {}

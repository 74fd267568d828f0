//! Running everything now.

use crate::manager::QueueManager;

/// Runs everything that waits, without waiting for its time: where only delays, back-offs or rate limits are left, a
/// [`ManualClock`](super::ManualClock) is moved on to the next one. Returns how many commands are left, which nothing but a
/// [resume](crate::QueueManager::resume_lane) or another limit can start.
///
/// With the real clock it waits for delays. Needs a started manager.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use std::time::Duration;
///
/// use a3s_lane::testing::{self, ManualClock};
/// use a3s_lane::{EventEmitter, JsonCommand, QueueManagerBuilder, SubmitOptions};
///
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .with_clock(ManualClock::new())
///     .build()
///     .await?;
/// manager.start().await?;
/// for hours in 0..24 {
///     let command = Box::new(JsonCommand::new("report", hours.into()));
///     let later = SubmitOptions::new().with_delay(Duration::from_secs(3_600 * hours));
///     manager.submit_with("query", command, later).await?;
/// }
/// assert_eq!(testing::drain_now(&manager).await, 0);
/// # Ok(())
/// # }
/// ```
pub async fn drain_now(manager: &QueueManager) -> usize {
    manager.queue().engine().run_out().await
}

/// Waits until everything has run that can without time going on: what an
/// [inline](crate::QueueManagerBuilder::with_inline) manager does after each submission.
///
/// # Cancel safety
///
/// Cancel safe: nothing depends on whether somebody waits.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use std::time::Duration;
///
/// use a3s_lane::testing::{self, ManualClock};
/// use a3s_lane::{CommandStatus, EventEmitter, JsonCommand, QueueManagerBuilder, SubmitOptions};
///
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .with_clock(ManualClock::new())
///     .build()
///     .await?;
/// manager.start().await?;
/// let mut handles = Vec::new();
/// for hours in 0..2 {
///     let command = Box::new(JsonCommand::new("report", hours.into()));
///     let later = SubmitOptions::new().with_delay(Duration::from_secs(3_600 * hours));
///     handles.push(manager.submit_with("query", command, later).await?);
/// }
/// testing::run_ready(&manager).await;
/// assert_eq!(handles[0].status(), CommandStatus::Completed);
/// assert_eq!(handles[1].status(), CommandStatus::Delayed);
/// # Ok(())
/// # }
/// ```
pub async fn run_ready(manager: &QueueManager) {
    manager.queue().engine().rest().await;
}

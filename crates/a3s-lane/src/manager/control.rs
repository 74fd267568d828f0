//! Submission with options, and control at run time.

use std::sync::Arc;
use std::time::Duration;

use super::QueueManager;
use crate::command::{Command, Priority};
use crate::config::{LaneConfig, LaneOptions};
use crate::engine::{Engine, LaneSpec};
use crate::error::{LaneError, Result};
use crate::executor::Executor;
use crate::explain::Explanation;
use crate::handle::CommandHandle;
use crate::handler::Handler;
use crate::shutdown::ShutdownReport;
use crate::snapshot::Snapshot;
use crate::submission::{Refused, SubmitOptions};

#[cfg(feature = "distributed")]
use crate::ratelimit::LimiterConfig;

impl QueueManager {
    fn engine(&self) -> &Arc<Engine> {
        self.queue.engine()
    }

    /// Puts a command into a lane with options of its own, and returns a handle of it.
    ///
    /// Waits only for a lane whose overflow rule is [`Overflow::Wait`](crate::Overflow::Wait), and for a storage.
    ///
    /// # Errors
    ///
    /// [`Refused`] gives the command back with the reason: those of [`submit`](Self::submit), and
    /// [`LaneError::ConfigError`] for options that contradict each other,
    /// [`LaneError::Duplicate`] for an id or unique key that is taken,
    /// [`LaneError::LaneFull`] for a lane that holds its `max_pending`.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped while it waits has submitted nothing. With a storage the command may stay stored, and runs if a drain
    /// or an end has gone on with it meanwhile; one that has entered in this moment is cancelled, and may have begun.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// use std::time::Duration;
    ///
    /// use a3s_lane::{EventEmitter, JsonCommand, QueueManagerBuilder, SubmitOptions};
    ///
    /// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
    ///     .with_default_lanes()
    ///     .build()
    ///     .await?;
    /// manager.start().await?;
    /// let command = Box::new(JsonCommand::new("greet", "hello".into()));
    /// let options = SubmitOptions::new()
    ///     .with_priority(-1)
    ///     .with_ttl(Duration::from_secs(5));
    /// let handle = manager.submit_with("query", command, options).await?;
    /// assert_eq!(handle.await?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit_with(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
        options: SubmitOptions,
    ) -> std::result::Result<CommandHandle, Refused> {
        self.engine().submit_with(lane_id, command, options).await
    }

    /// Puts many commands into a lane, in their order and at once: no other command comes in between unless one has to wait.
    ///
    /// One answer per command, in the same order. A refused command does not keep the others out.
    ///
    /// # Errors
    ///
    /// For each command as [`submit_with`](Self::submit_with).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped while one waits, those before it are in and the others are not.
    pub async fn submit_many(
        &self,
        lane_id: &str,
        commands: impl IntoIterator<Item = (Box<dyn Command>, SubmitOptions)>,
    ) -> Vec<std::result::Result<CommandHandle, Refused>> {
        let commands = commands.into_iter().collect();
        self.engine()
            .submit_many(lane_id, commands, |_, _| {})
            .await
    }

    /// As [`submit_many`](Self::submit_many), for the bindings: tells when it is first polled what is refused at once, by the places of
    /// the commands, so that nobody has to wait for a storage to learn it.
    #[doc(hidden)]
    pub async fn submit_many_telling(
        &self,
        lane_id: &str,
        commands: Vec<(Box<dyn Command>, SubmitOptions)>,
        refused: impl FnMut(usize, &LaneError) + Send,
    ) -> Vec<std::result::Result<CommandHandle, Refused>> {
        self.engine().submit_many(lane_id, commands, refused).await
    }

    /// Sets the code that runs [`JsonCommand`](crate::JsonCommand)s of a type, from their next attempt on. Stored commands of the
    /// type that are [unclaimed](Self::unclaimed) enter their lanes soon, in their order, behind what waits there.
    pub fn register_handler(
        &self,
        command_type: impl Into<String>,
        handler: impl Handler + 'static,
    ) {
        let command_type: String = command_type.into();
        self.engine()
            .handlers()
            .insert(command_type.as_str(), Arc::new(handler), None);
        self.engine().claim_later(&command_type);
    }

    /// As [`register_handler`](Self::register_handler), for a handler that runs on an executor of its own; see
    /// [`QueueManagerBuilder::with_handler_on`](crate::QueueManagerBuilder::with_handler_on).
    pub fn register_handler_on(
        &self,
        command_type: impl Into<String>,
        handler: impl Handler + 'static,
        executor: Arc<dyn Executor>,
    ) {
        let command_type: String = command_type.into();
        self.engine()
            .handlers()
            .insert(command_type.as_str(), Arc::new(handler), Some(executor));
        self.engine().claim_later(&command_type);
    }

    /// Takes the handler of a type away; such commands return their payload again. False when there was none.
    pub fn remove_handler(&self, command_type: &str) -> bool {
        self.engine().handlers().remove(command_type).is_some()
    }

    /// Cancels the command with this id. A waiting one settles at once; a running one is asked to stop and, after its lane's
    /// [grace period](LaneOptions::with_grace), its future is dropped. Either way it ends with
    /// [`LaneError::Cancelled`], unless it completes first.
    ///
    /// False when no command with this id is left to cancel.
    pub fn cancel(&self, command_id: &str) -> bool {
        self.engine().cancel(command_id)
    }

    /// Cancels every command of a lane; returns how many.
    ///
    /// # Errors
    ///
    /// [`LaneError::LaneNotFound`].
    pub fn cancel_lane(&self, lane_id: &str) -> Result<usize> {
        self.engine().cancel_lane(lane_id)
    }

    /// Cancels every command of a fairness key, in all lanes; returns how many.
    pub fn cancel_key(&self, key: &str) -> usize {
        self.engine().cancel_key(key)
    }

    /// Stops the starts of a lane. Running commands go on; time limits, delays and time to live too.
    ///
    /// # Errors
    ///
    /// [`LaneError::LaneNotFound`].
    pub fn pause_lane(&self, lane_id: &str) -> Result<()> {
        self.engine().pause_lane(lane_id, true)
    }

    /// Lets a paused lane start commands again.
    ///
    /// # Errors
    ///
    /// [`LaneError::LaneNotFound`].
    pub fn resume_lane(&self, lane_id: &str) -> Result<()> {
        self.engine().pause_lane(lane_id, false)
    }

    /// Stops the starts of commands of a fairness key, in all lanes, now and later.
    pub fn pause_key(&self, key: &str) {
        self.engine().pause_key(key, true);
    }

    /// Lets a paused key start commands again.
    pub fn resume_key(&self, key: &str) {
        self.engine().pause_key(key, false);
    }

    /// Changes the most commands that run at once, over all lanes; `None` is no limit. Running commands go on.
    ///
    /// # Errors
    ///
    /// [`LaneError::ConfigError`] when it is 0 or below the sum of the lanes' minimums.
    pub fn set_max_concurrency(&self, total: Option<usize>) -> Result<()> {
        self.engine().set_total(total)
    }

    /// Adds a lane, or changes the configuration, options and priority of a live one: its commands stay.
    ///
    /// A live lane keeps its storage; a new one gets that of the manager, and what is stored of it enters soon. A running command keeps the time limits it
    /// started with.
    ///
    /// # Errors
    ///
    /// [`LaneError::ConfigError`] that names the lane and the field; nothing has changed.
    pub fn set_lane(
        &self,
        lane_id: &str,
        config: LaneConfig,
        options: LaneOptions,
        priority: Priority,
    ) -> Result<()> {
        self.engine().set_lane(LaneSpec {
            id: lane_id.to_owned(),
            priority,
            config,
            options,
            storage: self.queue.storage().cloned(),
        })
    }

    /// Takes a lane out.
    ///
    /// # Errors
    ///
    /// [`LaneError::LaneNotFound`], or
    /// [`LaneError::QueueError`] while it has commands: let them end or
    /// [cancel](Self::cancel_lane) them first.
    pub fn remove_lane(&self, lane_id: &str) -> Result<()> {
        self.engine().remove_lane(lane_id)
    }

    /// Changes a named limiter. What was used up under the old limits counts under the new ones.
    ///
    /// # Errors
    ///
    /// [`LaneError::LimiterNotFound`], or
    /// [`LaneError::ConfigError`] that names the field.
    #[cfg(feature = "distributed")]
    pub fn set_limiter(&self, name: &str, config: LimiterConfig) -> Result<()> {
        self.engine().set_limiter(name, &config)
    }

    /// Where a command is and why it waits; `None` when there is no such command, or it has settled.
    ///
    /// Costs a walk through the commands before it.
    pub fn explain(&self, command_id: &str) -> Option<Explanation> {
        self.engine().explain(command_id)
    }

    /// The whole state as data.
    pub fn snapshot(&self) -> Snapshot {
        self.engine().snapshot()
    }

    /// Ends the queue in an orderly way: nothing new is accepted and nothing more starts; what runs may end within `limit`;
    /// then it is asked to stop and, after its lane's grace period, dropped. Returns what was left.
    ///
    /// What was left settles with an error; in a lane with a storage it stays stored, without a counted attempt for what was
    /// stopped, and runs after the next start. A metrics backend without a recorder is told of each before this returns, also
    /// beyond `limit`.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has stopped admission and starts; what runs goes on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn shutdown_within(&self, limit: Duration) -> ShutdownReport {
        self.engine().shutdown_within(limit).await
    }
}

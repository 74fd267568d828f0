//! How a manager is configured.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::QueueManager;
use crate::command::{Command, lane_ids, priorities};
use crate::config::{LaneConfig, LaneOptions};
use crate::dlq::DeadLetterQueue;
#[cfg(feature = "distributed")]
use crate::engine::unknown_limiter;
use crate::engine::{Factory, LaneSpec, Observers, check_total};
use crate::error::{LaneError, Result};
use crate::event::EventEmitter;
use crate::executor::Executor;
use crate::handler::Handler;
use crate::queue::{CommandQueue, Lane};
#[cfg(feature = "distributed")]
use crate::ratelimit::LimiterConfig;
use crate::storage::Storage;
use crate::testing::{Hooks, ManualClock, SubmissionLog};

#[cfg(feature = "monitoring")]
use crate::alerts::AlertManager;
#[cfg(feature = "metrics")]
use crate::metrics::QueueMetrics;

/// How often the process may end while a command runs, where nobody says.
const DEFAULT_MAX_CRASHES: u32 = 3;

/// A handler and the executor that it belongs to, if not the runtime of the queue.
type Registered = (Arc<dyn Handler>, Option<Arc<dyn Executor>>);

/// Configures and makes a [`QueueManager`].
///
/// Nothing is checked before [`build`](Self::build), which names the lane and the field that is wrong.
pub struct QueueManagerBuilder {
    emitter: EventEmitter,
    lanes: Vec<(String, LaneConfig, u8)>,
    options: HashMap<String, LaneOptions>,
    storage: Option<Arc<dyn Storage>>,
    dlq_size: Option<usize>,
    total: Option<usize>,
    #[cfg(feature = "distributed")]
    limiters: Vec<(String, LimiterConfig)>,
    handlers: Vec<(String, Registered)>,
    factories: Vec<(String, Factory)>,
    max_crashes: u32,
    observers: Observers,
    hooks: Hooks,
}

impl QueueManagerBuilder {
    /// A builder for a manager without lanes that reports to `event_emitter`.
    pub fn new(event_emitter: EventEmitter) -> Self {
        Self {
            emitter: event_emitter,
            lanes: Vec::new(),
            options: HashMap::new(),
            storage: None,
            dlq_size: None,
            total: None,
            #[cfg(feature = "distributed")]
            limiters: Vec::new(),
            handlers: Vec::new(),
            factories: Vec::new(),
            max_crashes: DEFAULT_MAX_CRASHES,
            observers: Observers::default(),
            hooks: Hooks::default(),
        }
    }

    /// Adds a lane; 0 is the most urgent priority. The last call for an id wins.
    pub fn with_lane(mut self, id: impl Into<String>, config: LaneConfig, priority: u8) -> Self {
        let id = id.into();
        match self.lanes.iter_mut().find(|(known, _, _)| *known == id) {
            Some(lane) => *lane = (id, config, priority),
            None => self.lanes.push((id, config, priority)),
        }
        self
    }

    /// Sets the further settings of a lane that [`with_lane`](Self::with_lane) adds, before or after this call.
    pub fn with_lane_options(mut self, id: impl Into<String>, options: LaneOptions) -> Self {
        self.options.insert(id.into(), options);
        self
    }

    /// Keeps the pending commands of every lane in `storage`, with their options and attempts, and its dead letters.
    /// [`QueueManager::start`] restores them. A storage serves one manager at a time.
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Sets what makes the stored commands of a type that run themselves, when they are
    /// [restored](QueueManager::start): it gets what [`Command::payload`] gave. The last call for a type wins.
    ///
    /// Types with a handler need none; a factory goes before a handler. Called once for each command, maybe not before its first
    /// attempt. An error leaves the command stored and [unclaimed](QueueManager::unclaimed), or fails it for good where its
    /// payload is only read at the attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{Command, EventEmitter, LaneError, QueueManagerBuilder, Result};
    /// use async_trait::async_trait;
    /// use serde_json::{Value, json};
    ///
    /// struct Mail(String);
    ///
    /// #[async_trait]
    /// impl Command for Mail {
    ///     async fn execute(&self) -> Result<Value> {
    ///         Ok(json!({"sent_to": self.0}))
    ///     }
    ///     fn command_type(&self) -> &str {
    ///         "mail"
    ///     }
    ///     fn payload(&self) -> Option<Value> {
    ///         Some(json!({"to": self.0}))
    ///     }
    /// }
    ///
    /// let builder = QueueManagerBuilder::new(EventEmitter::new(16)).with_factory("mail", |payload| {
    ///     let to = payload["to"].as_str();
    ///     let to = to.ok_or_else(|| LaneError::CommandError("a mail without `to`".into()))?;
    ///     Ok(Box::new(Mail(to.to_owned())) as Box<dyn Command>)
    /// });
    /// # let _ = builder;
    /// ```
    pub fn with_factory(
        mut self,
        command_type: impl Into<String>,
        factory: impl Fn(Value) -> Result<Box<dyn Command>> + Send + Sync + 'static,
    ) -> Self {
        self.factories
            .push((command_type.into(), Arc::new(factory)));
        self
    }

    /// Sets how often the process may end while a stored command runs: after so many times the command is not restored, but
    /// becomes a dead letter with the code `CRASHED`. Default: 3; 0 is an error.
    ///
    /// Ends that the storage cannot tell from a crash count, such as a runtime that is shut down while the command runs; those of
    /// [`shutdown_within`](QueueManager::shutdown_within) do not.
    pub fn with_max_crashes(mut self, max_crashes: u32) -> Self {
        self.max_crashes = max_crashes;
        self
    }

    /// Keeps the last `size` commands that failed for good.
    pub fn with_dlq(mut self, size: usize) -> Self {
        self.dlq_size = Some(size);
        self
    }

    /// Limits how many commands run at once, over all lanes.
    ///
    /// A lane's `min_concurrency` is a reservation then: of the total, so many slots are kept for the lane while it runs
    /// fewer. The sum of the minimums must fit into the total. Default: no limit, and minimums are only information.
    ///
    /// # Examples
    ///
    /// At most three at once, one of them always left for `control`:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// use a3s_lane::{EventEmitter, LaneConfig, QueueManagerBuilder};
    ///
    /// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
    ///     .with_lane("control", LaneConfig::new(1, 2), 0)
    ///     .with_lane("prompt", LaneConfig::new(0, 3), 5)
    ///     .with_max_concurrency(3)
    ///     .build()
    ///     .await?;
    /// # drop(manager);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_max_concurrency(mut self, total: usize) -> Self {
        self.total = Some(total);
        self
    }

    /// Adds a limiter that lanes share by its name; see [`LaneOptions::with_limiter`]. The last call for a name wins.
    #[cfg(feature = "distributed")]
    pub fn with_limiter(mut self, name: impl Into<String>, config: LimiterConfig) -> Self {
        let name = name.into();
        self.limiters.retain(|(known, _)| *known != name);
        self.limiters.push((name, config));
        self
    }

    /// Sets the code that runs [`JsonCommand`](crate::JsonCommand)s of a type. The last call for a type wins.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// use a3s_lane::{CommandContext, EventEmitter, JsonCommand, QueueManagerBuilder};
    /// use serde_json::{Value, json};
    ///
    /// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
    ///     .with_default_lanes()
    ///     .with_handler("greet", |name: Value, _context: CommandContext| async move {
    ///         Ok(json!(format!("hello {}", name.as_str().unwrap_or("you"))))
    ///     })
    ///     .build()
    ///     .await?;
    /// manager.start().await?;
    /// let greeting = manager
    ///     .submit("query", Box::new(JsonCommand::new("greet", json!("Ann"))))
    ///     .await?;
    /// assert_eq!(greeting.await.expect("the queue is alive")?, "hello Ann");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_handler(
        mut self,
        command_type: impl Into<String>,
        handler: impl Handler + 'static,
    ) -> Self {
        let handler = Arc::new(handler);
        self.handlers.push((command_type.into(), (handler, None)));
        self
    }

    /// As [`with_handler`](Self::with_handler), for a handler that runs on an executor of its own, such as an
    /// [`EventLoop`](crate::EventLoop): its futures are polled and dropped on threads of that executor only.
    ///
    /// Lanes, limits and order are the same. What a submitter or a finishing handler makes startable for this executor goes
    /// to it in the same call.
    pub fn with_handler_on(
        mut self,
        command_type: impl Into<String>,
        handler: impl Handler + 'static,
        executor: Arc<dyn Executor>,
    ) -> Self {
        let handler = Arc::new(handler);
        self.handlers
            .push((command_type.into(), (handler, Some(executor))));
        self
    }

    /// Has the queue go by a clock that a test moves; see [`ManualClock`].
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.hooks.clock = Some(clock);
        self
    }

    /// For tests: a submission returns when its command has run, and everything else that could run without time going on.
    ///
    /// Needs a started manager. A body that submits must do so with
    /// [`submit_child`](crate::CommandContext::submit_child): another submission would wait for its own caller.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// use a3s_lane::{CommandStatus, EventEmitter, JsonCommand, QueueManagerBuilder, SubmitOptions};
    ///
    /// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
    ///     .with_default_lanes()
    ///     .with_inline(true)
    ///     .build()
    ///     .await?;
    /// manager.start().await?;
    /// let command = Box::new(JsonCommand::new("greet", 1.into()));
    /// let handle = manager.submit_with("query", command, SubmitOptions::new()).await?;
    /// assert_eq!(handle.status(), CommandStatus::Completed);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_inline(mut self, inline: bool) -> Self {
        self.hooks.inline = inline;
        self
    }

    /// For tests: remembers what is submitted; see [`SubmissionLog`].
    pub fn with_submission_log(mut self, log: SubmissionLog) -> Self {
        self.hooks.log = Some(log);
        self
    }

    /// Records what happens in the queue.
    #[cfg(feature = "metrics")]
    pub fn with_metrics(mut self, metrics: QueueMetrics) -> Self {
        self.observers.metrics = Some(metrics);
        self
    }

    /// Raises alerts when lanes are too deep or commands too slow.
    #[cfg(feature = "monitoring")]
    pub fn with_alerts(mut self, alerts: Arc<AlertManager>) -> Self {
        self.observers.alerts = Some(alerts);
        self
    }

    /// Adds the six default lanes:
    ///
    /// | lane | priority | min | max |
    /// |---|---|---|---|
    /// | `system` | 0 | 1 | 5 |
    /// | `control` | 1 | 1 | 3 |
    /// | `query` | 2 | 1 | 10 |
    /// | `session` | 3 | 1 | 5 |
    /// | `skill` | 4 | 1 | 3 |
    /// | `prompt` | 5 | 1 | 2 |
    pub fn with_default_lanes(self) -> Self {
        [
            (lane_ids::SYSTEM, priorities::SYSTEM, 5),
            (lane_ids::CONTROL, priorities::CONTROL, 3),
            (lane_ids::QUERY, priorities::QUERY, 10),
            (lane_ids::SESSION, priorities::SESSION, 5),
            (lane_ids::SKILL, priorities::SKILL, 3),
            (lane_ids::PROMPT, priorities::PROMPT, 2),
        ]
        .into_iter()
        .fold(self, |builder, (id, priority, max)| {
            builder.with_lane(id, LaneConfig::new(1, max), priority)
        })
    }

    /// Makes the manager. Commands run after [`QueueManager::start`].
    ///
    /// # Errors
    ///
    /// [`LaneError::ConfigError`] for a wrong setting, with the lane and the field in its text.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing has happened when the future is dropped.
    pub async fn build(self) -> Result<QueueManager> {
        self.validate()?;
        let Self {
            emitter,
            lanes,
            mut options,
            storage,
            dlq_size,
            total,
            #[cfg(feature = "distributed")]
            limiters,
            handlers,
            factories,
            max_crashes,
            observers,
            hooks,
        } = self;
        let dlq = dlq_size.map(DeadLetterQueue::new);
        let queue =
            CommandQueue::with_parts(emitter, dlq, storage.clone(), observers.clone(), hooks);
        for (command_type, (handler, executor)) in handlers {
            let known = queue.engine().handlers();
            known.insert(command_type, handler, executor);
        }
        for (command_type, factory) in factories {
            let known = queue.engine().restoring().factories();
            known.insert(command_type, factory);
        }
        if let Some(storage) = &storage {
            let restoring = queue.engine().restoring();
            restoring.set_source(Arc::clone(storage), max_crashes);
        }
        #[cfg(feature = "distributed")]
        for (name, config) in limiters {
            queue.engine().add_limiter(&name, &config);
        }
        for (id, config, priority) in lanes {
            let options = options.remove(&id).unwrap_or_default();
            let lane = Lane::from_spec(LaneSpec {
                id,
                priority,
                config,
                options,
                storage: storage.clone(),
            });
            queue.register_lane(Arc::new(lane)).await;
        }
        queue.engine().set_total(total)?;
        Ok(QueueManager {
            queue: Arc::new(queue),
            #[cfg(feature = "metrics")]
            metrics: observers.metrics,
            #[cfg(feature = "monitoring")]
            alerts: observers.alerts,
        })
    }

    #[cfg(feature = "distributed")]
    fn validate_limiters(&self) -> Result<()> {
        for (name, config) in &self.limiters {
            config.validate(name)?;
        }
        for (id, options) in &self.options {
            let known = |name: &String| self.limiters.iter().any(|(limiter, _)| limiter == name);
            if let Some(name) = options.limiters().iter().find(|name| !known(name)) {
                return Err(unknown_limiter(id, name));
            }
        }
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        if self.dlq_size == Some(0) {
            return Err(LaneError::ConfigError(
                "dlq: size must be at least 1 (got 0)".to_owned(),
            ));
        }
        if self.max_crashes == 0 {
            return Err(LaneError::ConfigError(
                "max_crashes must be at least 1 (got 0)".to_owned(),
            ));
        }
        for (id, config, _) in &self.lanes {
            config.validate(id)?;
            if let Some(options) = self.options.get(id) {
                options.validate(id, config)?;
            }
        }
        let minimums = self
            .lanes
            .iter()
            .map(|(_, config, _)| config.min_concurrency);
        check_total(self.total, minimums.fold(0, usize::saturating_add))?;
        #[cfg(feature = "distributed")]
        self.validate_limiters()?;
        let known = |id: &String| self.lanes.iter().any(|(lane, _, _)| lane == id);
        match self.options.keys().find(|id| !known(id)) {
            Some(id) => Err(LaneError::ConfigError(format!(
                "lane {id:?}: options are set for a lane that was not added"
            ))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for QueueManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueManagerBuilder")
            .field("lanes", &self.lanes)
            .field("dlq_size", &self.dlq_size)
            .finish_non_exhaustive()
    }
}

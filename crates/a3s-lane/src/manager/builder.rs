//! How a manager is configured.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::QueueManager;
use crate::command::{lane_ids, priorities};
use crate::config::{LaneConfig, LaneOptions};
use crate::dlq::DeadLetterQueue;
use crate::engine::{LaneSpec, Observers};
use crate::error::{LaneError, Result};
use crate::event::EventEmitter;
use crate::queue::{CommandQueue, Lane};
use crate::storage::Storage;

#[cfg(feature = "monitoring")]
use crate::alerts::AlertManager;
#[cfg(feature = "metrics")]
use crate::metrics::QueueMetrics;

/// Configures and makes a [`QueueManager`].
///
/// Nothing is checked before [`build`](Self::build), which names the lane and the field that is wrong.
pub struct QueueManagerBuilder {
    emitter: EventEmitter,
    lanes: Vec<(String, LaneConfig, u8)>,
    options: HashMap<String, LaneOptions>,
    storage: Option<Arc<dyn Storage>>,
    dlq_size: Option<usize>,
    observers: Observers,
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
            observers: Observers::default(),
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

    /// Keeps the pending commands of every lane in `storage`.
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Keeps the last `size` commands that failed for good.
    pub fn with_dlq(mut self, size: usize) -> Self {
        self.dlq_size = Some(size);
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
            observers,
        } = self;
        let dlq = dlq_size.map(DeadLetterQueue::new);
        let queue = CommandQueue::with_parts(emitter, dlq, storage.clone(), observers.clone());
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
        Ok(QueueManager {
            queue: Arc::new(queue),
            #[cfg(feature = "metrics")]
            metrics: observers.metrics,
            #[cfg(feature = "monitoring")]
            alerts: observers.alerts,
        })
    }

    fn validate(&self) -> Result<()> {
        if self.dlq_size == Some(0) {
            return Err(LaneError::ConfigError(
                "dlq: size must be at least 1 (got 0)".to_owned(),
            ));
        }
        for (id, config, _) in &self.lanes {
            config.validate(id)?;
            if let Some(options) = self.options.get(id) {
                options.validate(id, config)?;
            }
        }
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

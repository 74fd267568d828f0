//! A lane as its owner holds it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::oneshot;

use super::LaneStatus;
use crate::command::{Command, Priority};
use crate::config::{LaneConfig, LaneOptions};
use crate::engine::{Engine, LaneSpec, Target};
use crate::error::Result;
use crate::scheduler::LaneKey;
use crate::storage::Storage;

/// A named queue with a priority, a concurrency limit and policies.
///
/// A lane starts to run its commands when it is registered with a [`CommandQueue`](super::CommandQueue) that is
/// started; commands that are enqueued before wait.
pub struct Lane {
    spec: LaneSpec,
    place: Mutex<Place>,
}

/// Where a lane's commands are.
enum Place {
    /// In no queue yet: they wait here.
    Outside(Vec<Waiting>),
    Inside(Arc<Engine>, LaneKey),
}

struct Waiting {
    command: Box<dyn Command>,
    reply: oneshot::Sender<Result<Value>>,
}

impl Lane {
    /// A lane that keeps its commands in memory.
    ///
    /// The configuration is not validated here: a `max_concurrency` of 0 acts as 1, a minimum above the maximum as the
    /// maximum. [`QueueManagerBuilder::build`](crate::QueueManagerBuilder::build) refuses such lanes instead.
    pub fn new(id: impl Into<String>, config: LaneConfig, priority: Priority) -> Self {
        Self::from_spec(LaneSpec {
            id: id.into(),
            priority,
            config,
            options: LaneOptions::default(),
            storage: None,
        })
    }

    /// A lane that also keeps its commands in `storage` until they settle.
    pub fn with_storage(
        id: impl Into<String>,
        config: LaneConfig,
        priority: Priority,
        storage: Arc<dyn Storage>,
    ) -> Self {
        let mut lane = Self::new(id, config, priority);
        lane.spec.storage = Some(storage);
        lane
    }

    pub(crate) fn from_spec(spec: LaneSpec) -> Self {
        Self {
            spec,
            place: Mutex::new(Place::Outside(Vec::new())),
        }
    }

    /// The lane's name.
    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// The priority that the lane was made with.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn priority(&self) -> Priority {
        self.spec.priority
    }

    /// The priority at this moment: raised by the age of the first pending command when a boost is configured.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn effective_priority(&self) -> Priority {
        let inside = self.inside();
        let now = inside.and_then(|(engine, key)| engine.effective_priority(self.target(key)));
        now.unwrap_or(self.spec.priority)
    }

    /// Adds a command at the back of the lane. The receiver resolves to its result.
    ///
    /// Dropping the receiver does not cancel the command. When the lane's queue is shut down or the lane's storage
    /// fails, the receiver resolves to that error at once.
    ///
    /// # Cancel safety
    ///
    /// With a storage: when the future is dropped, the command does not run, but may stay stored, unless a drain or an end
    /// has gone on with it. One that has entered in this moment is cancelled, and may have begun.
    pub async fn enqueue(&self, command: Box<dyn Command>) -> oneshot::Receiver<Result<Value>> {
        let (reply, receiver) = oneshot::channel();
        if let Some((engine, key, Waiting { command, reply })) =
            self.enter_or_wait(Waiting { command, reply })
        {
            engine
                .submit_with_reply(self.target(key), command, reply)
                .await;
        }
        receiver
    }

    /// How full the lane is.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: never waits.
    pub async fn status(&self) -> LaneStatus {
        let pending = match &*self.lock() {
            Place::Outside(waiting) => waiting.len(),
            Place::Inside(engine, key) => match engine.lane_counts(self.target(*key)) {
                Some(counts) => return counts.into(),
                None => 0,
            },
        };
        LaneStatus {
            pending,
            active: 0,
            min: self.spec.config.min_concurrency,
            max: self.spec.config.max_concurrency,
        }
    }

    /// Makes the lane part of `engine` and moves its waiting commands there, in their order.
    pub(crate) async fn attach(&self, engine: &Arc<Engine>) {
        let key = engine.register(&self.spec);
        loop {
            let waiting = self.take_waiting_or_enter(engine, key);
            if waiting.is_empty() {
                return;
            }
            for Waiting { command, reply } in waiting {
                engine
                    .submit_with_reply(self.target(key), command, reply)
                    .await;
            }
        }
    }

    /// The commands to move next; when there are none the lane is part of `engine` from now on. Commands enqueued in
    /// between queue up behind those that are moved.
    fn take_waiting_or_enter(&self, engine: &Arc<Engine>, key: LaneKey) -> Vec<Waiting> {
        let mut place = self.lock();
        if let Place::Outside(waiting) = &mut *place
            && !waiting.is_empty()
        {
            return std::mem::take(waiting);
        }
        *place = Place::Inside(Arc::clone(engine), key);
        Vec::new()
    }

    fn target(&self, key: LaneKey) -> Target<'_> {
        Target {
            id: &self.spec.id,
            key: Some(key),
        }
    }

    fn inside(&self) -> Option<(Arc<Engine>, LaneKey)> {
        match &*self.lock() {
            Place::Inside(engine, key) => Some((Arc::clone(engine), *key)),
            Place::Outside(_) => None,
        }
    }

    /// Keeps a command while the lane is in no queue; otherwise hands it back with the queue it belongs to.
    fn enter_or_wait(&self, command: Waiting) -> Option<(Arc<Engine>, LaneKey, Waiting)> {
        match &mut *self.lock() {
            Place::Outside(waiting) => {
                waiting.push(command);
                None
            }
            Place::Inside(engine, key) => Some((Arc::clone(engine), *key, command)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("id", &self.spec.id)
            .field("priority", &self.spec.priority)
            .finish_non_exhaustive()
    }
}

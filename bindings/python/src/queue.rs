//! What stands behind a `Lane`: the manager of the core, and what Python adds to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a3s_lane::{
    Command, CommandHandle, LaneError, LocalStorage, QueueManager, Refused, SubmitOptions,
};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use serde_json::Value;

use crate::alerts::AlertManager;
use crate::calls::try_blocking;
use crate::error::raise;
use crate::handlers::Handlers;
use crate::lane_config::LaneConfig;
use crate::place::Place;
use crate::places::Places;
use crate::submitting::Submitting;
use crate::threads::Threads;
use crate::wait::try_wait;

/// A queue of the core.
pub(crate) struct Queue {
    // Behind an `Arc` for calls that an event loop waits for.
    pub(crate) manager: Arc<QueueManager>,
    pub(crate) places: Arc<Places>,
    pub(crate) handlers: Arc<Handlers>,
    /// Kept for the garbage collector: callbacks usually lead back to the lane.
    pub(crate) alerts: Option<Py<AlertManager>>,
    lanes: Mutex<Vec<LanePlace>>,
    /// Where its commands outlive the process, if they do.
    pub(crate) storage: Option<Arc<LocalStorage>>,
}

/// A lane and its priority, in the order in which lanes were added.
pub(crate) struct LanePlace {
    pub(crate) id: String,
    pub(crate) priority: u8,
    /// A submission waits while it is full.
    pub(crate) waits: bool,
}

impl Queue {
    pub(crate) fn new(
        manager: QueueManager,
        lanes: Vec<LanePlace>,
        handler_threads: usize,
        alerts: Option<Py<AlertManager>>,
        storage: Option<Arc<LocalStorage>>,
        inline: bool,
    ) -> Self {
        let places = Places::new();
        let submitting = Submitting::new(&places, storage.is_some(), inline, &lanes);
        Self {
            manager: Arc::new(manager),
            handlers: Handlers::new(
                Arc::clone(&places),
                Threads::new(handler_threads),
                submitting,
            ),
            places,
            alerts,
            lanes: Mutex::new(lanes),
            storage,
        }
    }

    /// Shows the Python objects to the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(alerts) = &self.alerts {
            visit.call(alerts)?;
        }
        self.handlers.traverse(visit)
    }

    /// The place of the event loop that runs on this thread. It becomes the home of the handlers that have none.
    pub(crate) fn running_place(&self, py: Python<'_>) -> PyResult<Arc<Place>> {
        let (place, moves) = self.places.running(py)?;
        if moves {
            self.handlers.go_home(&self.manager);
        }
        Ok(place)
    }

    /// Ends the threads and the event loop of the handlers. Nothing runs any more.
    pub(crate) fn close_handlers(&self, py: Python<'_>) {
        self.handlers.threads.close();
        self.places.close(py);
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<LanePlace>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lanes, most urgent first; those of equal priority in the order in which they were added.
    pub(crate) fn order(&self) -> Vec<String> {
        let lanes = self.lanes();
        let mut order: Vec<&LanePlace> = lanes.iter().collect();
        order.sort_by_key(|lane| lane.priority);
        order.into_iter().map(|lane| lane.id.clone()).collect()
    }

    /// Waits for what waits for the storage at most, which any thread may.
    pub(crate) fn reading<F, T>(&self, py: Python<'_>, future: F) -> PyResult<T>
    where
        F: Future<Output = a3s_lane::Result<T>> + Send,
        T: Send,
    {
        match &self.storage {
            None => try_blocking(py, &self.places, "nothing", future),
            Some(_) => try_wait(py, future),
        }
    }

    /// Waits for a submission.
    pub(crate) fn submitting<F, T>(
        &self,
        py: Python<'_>,
        lane_id: &str,
        instead: &str,
        submission: F,
    ) -> PyResult<T>
    where
        F: Future<Output = a3s_lane::Result<T>> + Send,
        T: Send,
    {
        let submitting = &self.handlers.submitting;
        submitting
            .wait(py, lane_id, instead, submission)?
            .map_err(|error| raise(py, &error))
    }

    /// Hands a command in.
    pub(crate) async fn enqueue(
        &self,
        lane_id: &str,
        command: Box<dyn Command>,
        options: SubmitOptions,
    ) -> a3s_lane::Result<CommandHandle> {
        Ok(self.manager.submit_with(lane_id, command, options).await?)
    }

    /// Hands many commands in.
    pub(crate) async fn enqueue_many(
        &self,
        lane_id: &str,
        commands: Vec<(Box<dyn Command>, SubmitOptions)>,
    ) -> Vec<a3s_lane::Result<CommandHandle>> {
        let answers = self.manager.submit_many(lane_id, commands).await;
        answers
            .into_iter()
            .map(|answer| answer.map_err(Refused::into))
            .collect()
    }

    /// Adds or changes a lane.
    pub(crate) fn set_lane(&self, config: &LaneConfig) -> a3s_lane::Result<()> {
        // Held while the core changes, so that the two cannot be changed in different orders.
        let mut lanes = self.lanes();
        self.manager.set_lane(
            &config.lane_id,
            config.to_core(),
            config.to_core_options(),
            config.priority,
        )?;
        match lanes.iter_mut().find(|lane| lane.id == config.lane_id) {
            Some(lane) => {
                lane.priority = config.priority;
                lane.waits = config.waits();
            }
            None => lanes.push(LanePlace {
                id: config.lane_id.clone(),
                priority: config.priority,
                waits: config.waits(),
            }),
        }
        let submitting = &self.handlers.submitting;
        submitting.set_lane(&config.lane_id, config.waits());
        Ok(())
    }

    /// Takes a lane out.
    pub(crate) fn remove_lane(&self, lane_id: &str) -> a3s_lane::Result<()> {
        let mut lanes = self.lanes();
        self.manager.remove_lane(lane_id)?;
        lanes.retain(|lane| lane.id != lane_id);
        Ok(())
    }
}

/// Runs a command to its end. Without options it needs no handle, which costs less.
pub(crate) async fn run(
    manager: &QueueManager,
    lane_id: &str,
    command: Box<dyn Command>,
) -> a3s_lane::Result<Value> {
    check_started(manager)?;
    let settled = manager.submit(lane_id, command).await?;
    settled
        .await
        .map_err(|_| LaneError::QueueError("the command was dropped before it ended".into()))?
}

/// As [`run`], with options.
pub(crate) async fn run_with(
    manager: &QueueManager,
    lane_id: &str,
    command: Box<dyn Command>,
    options: SubmitOptions,
) -> a3s_lane::Result<Value> {
    check_started(manager)?;
    let handle = manager.submit_with(lane_id, command, options).await?;
    handle.await
}

fn check_started(manager: &QueueManager) -> a3s_lane::Result<()> {
    if manager.is_started() || manager.is_shutting_down() {
        return Ok(());
    }
    Err(LaneError::NotStarted("call start() before submit()".into()))
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Its last reference goes in a thread with the GIL; elsewhere there is no interpreter left to tell.
        let _ = Python::try_attach(|py| self.close_handlers(py));
    }
}

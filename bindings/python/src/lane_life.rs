//! How a lane set begins and ends, and what its storage knows.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::{HistoryEntry, HistoryFilter, Unclaimed};
use a3s_lane::{LaneError, LocalStorage};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList};

use crate::argument;
use crate::builder::Plan;
use crate::calls::{begin, check, try_blocking};
use crate::error::raise;
use crate::handle::CommandHandle;
use crate::lane::Lane;
use crate::places::Places;
use crate::process::ProcessLocal;
use crate::queue::Queue;
use crate::stored;
use crate::submit_options::moment;
use crate::wait::{try_wait, wait};

/// The longest wait at the end of a `with` block.
pub(crate) const EXIT_DRAIN: Duration = Duration::from_secs(3600);

impl Lane {
    pub(crate) fn build(py: Python<'_>, plan: Plan) -> PyResult<Self> {
        let (builder, storage) = plan.storage.open(py, plan.builder)?;
        let manager = try_wait(py, builder.build())?;
        Ok(Self {
            queue: ProcessLocal::new(Queue::new(
                manager,
                plan.lanes,
                plan.handler_threads,
                plan.alerts,
                storage,
                plan.inline,
            )),
        })
    }

    pub(crate) fn queue(&self, py: Python<'_>) -> PyResult<&Queue> {
        self.queue.get("Lane").map_err(|error| raise(py, &error))
    }

    pub(crate) fn start_now(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.queue(py)?;
        queue.reading(py, queue.manager.start())
    }

    pub(crate) fn drain_for(&self, py: Python<'_>, limit: Duration) -> PyResult<()> {
        let queue = self.queue(py)?;
        let drained = queue.manager.drain(limit);
        try_blocking(py, &queue.places, "`await lane.drain_async()`", drained)?;
        self.end_of_work(py)
    }

    /// Leaves a `with` block; nothing is taken any more.
    pub(crate) fn leave(&self, py: Python<'_>, failed: bool) -> PyResult<()> {
        let ended = if failed {
            Ok(())
        } else {
            self.drain_for(py, EXIT_DRAIN)
        };
        let queue = self.queue(py)?;
        if queue.storage.is_some() && (failed || ended.is_err()) {
            // Else what runs when the process ends would count as crashed.
            let stopped = check(py, &queue.places, "`async with`").and_then(|()| {
                wait(py, queue.manager.shutdown_within(Duration::ZERO))?;
                self.end_of_work(py)
            });
            return ended.and(stopped);
        }
        ended
    }

    /// Nothing is left to do; when nothing can come either, the handlers' threads and loop end.
    pub(crate) fn end_of_work(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.queue(py)?;
        if queue.manager.is_shutting_down() {
            queue.close_handlers(py);
        }
        Ok(())
    }

    /// Begins [`Lane::find_async`].
    pub(crate) fn begin_find(&self, py: Python<'_>, id: String) -> PyResult<Py<PyAny>> {
        type Found = Result<(Option<a3s_lane::CommandHandle>, Arc<Places>), LaneError>;
        let queue = self.queue(py)?;
        let place = queue.running_place(py)?;
        let (manager, places) = (Arc::clone(&queue.manager), Arc::clone(&queue.places));
        let convert = |py: Python<'_>, found: Found| {
            let (found, places) = found.map_err(|error| raise(py, &error))?;
            match found {
                None => Ok(py.None()),
                Some(handle) => Ok(Py::new(py, CommandHandle::new(handle, &places))?.into_any()),
            }
        };
        let found = async move { Ok((manager.find(&id).await?, places)) };
        begin(py, &place, convert, found)
    }

    fn storage(&self, py: Python<'_>) -> PyResult<Arc<LocalStorage>> {
        self.queue(py)?.storage.clone().ok_or_else(|| {
            let text = "there is no history: make it with Lane(storage=..., history=Retention())";
            raise(py, &LaneError::ConfigError(text.into()))
        })
    }

    pub(crate) fn read_history<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let filter = history_filter("load_history()", filter)?;
        let storage = self.storage(py)?;
        let entries = try_wait(py, storage.load_history(&filter))?;
        stored::history_list(py, &entries)
    }

    /// Begins [`Lane::load_history_async`].
    pub(crate) fn begin_history(
        &self,
        py: Python<'_>,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let filter = history_filter("load_history_async()", filter)?;
        let storage = self.storage(py)?;
        let place = self.queue(py)?.running_place(py)?;
        let convert = |py: Python<'_>, entries: Result<Vec<HistoryEntry>, LaneError>| {
            let entries = entries.map_err(|error| raise(py, &error))?;
            Ok(stored::history_list(py, &entries)?.into_any().unbind())
        };
        let loaded = async move { storage.load_history(&filter).await };
        begin(py, &place, convert, loaded)
    }

    /// Begins [`Lane::unclaimed_async`].
    pub(crate) fn begin_unclaimed(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let queue = self.queue(py)?;
        let place = queue.running_place(py)?;
        let manager = Arc::clone(&queue.manager);
        let convert = |py: Python<'_>, unclaimed: Result<Vec<Unclaimed>, LaneError>| {
            let unclaimed = unclaimed.map_err(|error| raise(py, &error))?;
            Ok(stored::unclaimed_list(py, &unclaimed)?.into_any().unbind())
        };
        begin(
            py,
            &place,
            convert,
            async move { manager.unclaimed().await },
        )
    }
}

fn history_filter(callee: &str, filter: Option<&Bound<'_, PyDict>>) -> PyResult<HistoryFilter> {
    let mut read = HistoryFilter::all();
    for (name, value) in filter.into_iter().flatten() {
        let name = argument::text("the name of a filter", &name)?;
        let value = argument::given(&value);
        let text = |value: &Bound<'_, PyAny>| argument::text(&name, value);
        match &*name {
            "command_id" => read.command_id = value.map(text).transpose()?,
            "lane_id" => read.lane_id = value.map(text).transpose()?,
            "since" => {
                read.since = value.map(|value| moment(&name, value)).transpose()?;
            }
            "after" => {
                let after = |value: &Bound<'_, PyAny>| argument::amount(&name, value, 0);
                read.after = value.map(after).transpose()?;
            }
            "limit" => {
                let limit = |value: &Bound<'_, PyAny>| argument::count(&name, value, 0..=u32::MAX);
                read.limit = value.map(limit).transpose()?;
            }
            _ => return Err(argument::unexpected(callee, &name)),
        }
    }
    Ok(read)
}

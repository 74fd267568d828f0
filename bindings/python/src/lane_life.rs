//! How a lane set begins and ends, and what its storage knows.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::{HistoryEntry, HistoryFilter, Unclaimed};
use a3s_lane::{LaneError, LocalStorage};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList};

use crate::argument;
use crate::builder::Plan;
use crate::calls::{begin, blocking, check, try_blocking};
use crate::error::raise;
use crate::handle::CommandHandle;
use crate::lane::Lane;
use crate::places::Places;
use crate::process::ProcessLocal;
use crate::queue::Queue;
use crate::report::ShutdownReport;
use crate::stored;
use crate::submit_options::moment;
use crate::wait::try_wait;

/// The longest wait at the end of a `with` block.
const EXIT_DRAIN: Duration = Duration::from_secs(3600);

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

    pub(crate) fn shutdown_now(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.queue(py)?;
        blocking(py, &queue.places, "nothing", queue.manager.shutdown())
    }

    pub(crate) fn end_within(&self, py: Python<'_>, limit: Duration) -> PyResult<ShutdownReport> {
        let queue = self.queue(py)?;
        let ended = queue.manager.shutdown_within(limit);
        let instead = "`await lane.shutdown_within_async()`";
        check(py, &queue.places, instead)?;
        let report = blocking(py, &queue.places, instead, ended)?;
        self.end_of_work(py)?;
        Ok(ShutdownReport::new(report))
    }

    /// Leaves a `with` block.
    pub(crate) fn leave(&self, py: Python<'_>, failed: bool) -> PyResult<()> {
        if self.queue.is_foreign() {
            // A child of fork leaves the block of its parent; the lanes are not its to end.
            return Ok(());
        }
        self.shutdown_now(py)?;
        let ended = if failed {
            Ok(())
        } else {
            self.drain_for(py, EXIT_DRAIN)
        };
        if self.queue(py)?.storage.is_some() {
            // What still runs would count as crashed when the process ends.
            let closed = self.close_now(py);
            return ended.and(closed);
        }
        ended
    }

    pub(crate) fn close_now(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.queue(py)?;
        let instead = "`await lane.close_async()`";
        check(py, &queue.places, instead)?;
        try_blocking(py, &queue.places, instead, queue.manager.close())?;
        self.end_of_work(py)
    }

    /// Nothing is left to do; when nothing can come either, the handlers' threads and loop end.
    pub(crate) fn end_of_work(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.queue(py)?;
        if queue.manager.is_shutting_down() {
            queue.close_handlers(py);
        }
        Ok(())
    }

    pub(crate) fn find_now(&self, py: Python<'_>, id: &str) -> PyResult<Option<CommandHandle>> {
        let queue = self.queue(py)?;
        let found = queue.reading(py, queue.manager.find(id))?;
        Ok(found.map(|handle| CommandHandle::new(handle, &queue.places)))
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

/// Begins [`Lane::find_async`].
#[pyfunction(name = "_begin_find")]
pub(crate) fn begin_find(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    command_id: &Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    let id = argument::text("command_id", command_id)?;
    type Found = Result<(Option<a3s_lane::CommandHandle>, Arc<Places>), LaneError>;
    let queue = lane.get().queue(py)?;
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

/// Begins [`Lane::load_history_async`].
#[pyfunction(name = "_begin_history", signature = (lane, **filter))]
pub(crate) fn begin_history(
    py: Python<'_>,
    lane: &Bound<'_, Lane>,
    filter: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let filter = history_filter("load_history_async()", filter)?;
    let storage = lane.get().storage(py)?;
    let place = lane.get().queue(py)?.running_place(py)?;
    let convert = |py: Python<'_>, entries: Result<Vec<HistoryEntry>, LaneError>| {
        let entries = entries.map_err(|error| raise(py, &error))?;
        Ok(stored::history_list(py, &entries)?.into_any().unbind())
    };
    let loaded = async move { storage.load_history(&filter).await };
    begin(py, &place, convert, loaded)
}

/// Begins [`Lane::unclaimed_async`].
#[pyfunction(name = "_begin_unclaimed")]
pub(crate) fn begin_unclaimed(py: Python<'_>, lane: &Bound<'_, Lane>) -> PyResult<Py<PyAny>> {
    let queue = lane.get().queue(py)?;
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

/// A coroutine that calls the function `begin` of this module for a lane and waits for what it has begun.
pub(crate) fn later<'py>(
    lane: &Bound<'py, Lane>,
    begin: &str,
    argument: Option<&Bound<'py, PyAny>>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let module = lane.py().import("a3s_lane._a3s_lane")?;
    let mut arguments = vec![lane.as_any().clone()];
    arguments.extend(argument.cloned());
    stored::later(&module, begin, &arguments, keywords)
}

/// A coroutine that leaves an `async with` block.
pub(crate) fn leave_async<'py>(
    lane: &Bound<'py, Lane>,
    exc_type: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = lane.py();
    let is_foreign = lane.get().queue.is_foreign();
    let is_stored = !is_foreign && lane.get().queue(py)?.storage.is_some();
    let limit = EXIT_DRAIN.as_secs();
    let module = py.import("a3s_lane._asyncio")?;
    module.call_method1("exit", (lane, is_foreign, is_stored, exc_type, limit))
}

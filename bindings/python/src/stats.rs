//! What is waiting and running at one moment.

use pyo3::prelude::*;

/// What is waiting and running in one lane.
#[pyclass(frozen, eq, get_all, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct LaneStatus {
    /// The name of the lane.
    lane_id: String,
    /// Commands that wait, those waiting for a retry included.
    pending: usize,
    /// Commands that run.
    active: usize,
    /// The lane's ``min_concurrency``.
    min_concurrency: usize,
    /// The lane's ``max_concurrency``.
    max_concurrency: usize,
}

impl LaneStatus {
    fn new(lane_id: &str, status: &a3s_lane::LaneStatus) -> Self {
        Self {
            lane_id: lane_id.to_owned(),
            pending: status.pending,
            active: status.active,
            min_concurrency: status.min,
            max_concurrency: status.max,
        }
    }
}

#[pymethods]
impl LaneStatus {
    fn __repr__(&self) -> String {
        format!(
            "LaneStatus(lane_id='{}', pending={}, active={}, min={}, max={})",
            self.lane_id, self.pending, self.active, self.min_concurrency, self.max_concurrency
        )
    }
}

/// What is waiting and running in all lanes together.
#[pyclass(frozen, eq, module = "a3s_lane")]
#[derive(PartialEq)]
pub(crate) struct QueueStats {
    /// Commands that wait in all lanes together.
    #[pyo3(get)]
    total_pending: usize,
    /// Commands that run in all lanes together.
    #[pyo3(get)]
    total_active: usize,
    /// Commands in the dead letter queue; 0 without one.
    #[pyo3(get)]
    dead_letter_count: usize,
    lanes: Vec<LaneStatus>,
}

impl QueueStats {
    /// `order` is the order of the lanes; all of them are in `stats`.
    pub(crate) fn new(stats: &a3s_lane::QueueStats, order: &[String]) -> Self {
        Self {
            total_pending: stats.total_pending,
            total_active: stats.total_active,
            dead_letter_count: stats.dead_letter_count,
            lanes: order
                .iter()
                .filter_map(|id| Some(LaneStatus::new(id, stats.lanes.get(id)?)))
                .collect(),
        }
    }
}

#[pymethods]
impl QueueStats {
    /// One entry per lane, the most urgent first, lanes of equal priority in the order they were given.
    #[getter]
    fn lanes(&self) -> Vec<LaneStatus> {
        self.lanes.clone()
    }

    fn __repr__(&self) -> String {
        format!(
            "QueueStats(pending={}, active={}, lanes={})",
            self.total_pending,
            self.total_active,
            self.lanes.len()
        )
    }
}

//! The compiled half of the Python package `a3s_lane`.
//!
//! This crate is glue: it converts arguments, waits without the GIL and turns errors into exceptions. What the lanes
//! do is decided by the `a3s-lane` crate.

mod argument;
mod batch;
mod builder;
mod error;
mod event;
mod feed;
mod from_json;
mod handle;
mod lane;
mod lane_config;
mod lane_options;
mod limiter;
mod priority_boost;
mod process;
mod queue;
mod rate_limit;
mod report;
mod retry_policy;
mod runtime;
mod scripted;
mod stats;
mod stream;
mod submit_options;
mod testing;
mod to_json;
mod wait;

/// The compiled half of `a3s_lane`; import the names from there.
#[pyo3::pymodule]
mod _a3s_lane {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        event::LaneEvent,
        feed::{Chunk, ChunkStream, ProgressStream},
        handle::CommandHandle,
        lane::Lane,
        lane_config::LaneConfig,
        limiter::Limiter,
        priority_boost::PriorityBoost,
        rate_limit::RateLimit,
        report::{Leftover, ShutdownReport},
        retry_policy::RetryPolicy,
        scripted::{ScriptedResult, enqueue_scripted, submit_many_scripted, submit_scripted},
        stats::{LaneStatus, QueueStats},
        stream::EventStream,
        submit_options::Unique,
        testing::{ManualClock, SubmissionLog, Submitted, create_lane, drain_now},
    };

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name Python users look for")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(py: Python<'_>) -> PyResult<()> {
        crate::process::watch_forks(py)
    }
}

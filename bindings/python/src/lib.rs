//! The compiled half of the Python package `a3s_lane`.
//!
//! This crate is glue: it converts arguments, waits without the GIL and turns errors into exceptions. What the lanes
//! do is decided by the `a3s-lane` crate.

mod argument;
mod builder;
mod error;
mod event;
mod from_json;
mod lane;
mod lane_config;
mod process;
mod retry_policy;
mod runtime;
mod scripted;
mod stats;
mod stream;
mod to_json;
mod wait;

/// The compiled half of `a3s_lane`; import the names from there.
#[pyo3::pymodule]
mod _a3s_lane {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        event::LaneEvent,
        lane::Lane,
        lane_config::LaneConfig,
        retry_policy::RetryPolicy,
        scripted::{ScriptedResult, submit_scripted},
        stats::{LaneStatus, QueueStats},
        stream::EventStream,
    };

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name Python users look for")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(py: Python<'_>) -> PyResult<()> {
        crate::process::watch_forks(py)
    }
}

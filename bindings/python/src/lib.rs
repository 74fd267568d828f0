//! The compiled half of the Python package `a3s_lane`.
//!
//! This crate is glue: it converts arguments, waits without the GIL and turns errors into exceptions. What the lanes
//! do is decided by the `a3s-lane` crate.

mod alerts;
mod anchor;
mod argument;
mod batch;
mod bell;
mod builder;
mod calls;
mod command;
mod context;
mod coroutine;
mod dead_letters;
mod error;
mod event;
mod failure;
mod feed;
mod from_json;
mod guarded;
mod handle;
mod handlers;
mod imported;
mod interned;
mod lane;
mod lane_async;
mod lane_config;
mod lane_life;
mod lane_options;
mod limiter;
mod link;
mod log;
mod metrics;
mod names;
mod outbox;
mod place;
mod places;
mod priority_boost;
mod process;
mod process_task;
mod queue;
mod rate_limit;
mod released;
mod report;
mod retry_policy;
mod runtime;
mod scripted;
mod slot;
mod stats;
mod storage;
mod stored;
mod stream;
mod submit_options;
mod submitting;
mod testing;
mod threads;
mod to_json;
mod wait;

/// The compiled half of `a3s_lane`; import the names from there.
// On a free-threaded CPython the GIL comes back. Without it the tests were only run on a 3.13t, which PyO3 does not support.
#[pyo3::pymodule(gil_used = true)]
mod _a3s_lane {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        alerts::{Alert, AlertManager},
        anchor::LoopAnchor,
        calls::Pending,
        context::HandlerContext,
        dead_letters::DeadLetters,
        event::LaneEvent,
        feed::{Chunk, ChunkStream, ProgressStream},
        handle::CommandHandle,
        lane::Lane,
        lane_async::{
            add_middleware, begin_close, begin_drain, begin_enqueue, begin_enter, begin_shutdown,
            begin_submit, end_of_work, register,
        },
        lane_config::LaneConfig,
        lane_life::{begin_find, begin_history, begin_unclaimed},
        limiter::Limiter,
        outbox::empty_outboxes,
        priority_boost::PriorityBoost,
        rate_limit::RateLimit,
        report::{Leftover, ShutdownReport},
        retry_policy::RetryPolicy,
        scripted::{ScriptedResult, enqueue_scripted, submit_many_scripted, submit_scripted},
        stats::{LaneStatus, QueueStats},
        storage::{Retention, inspect},
        stream::EventStream,
        submit_options::Unique,
        testing::{ManualClock, SubmissionLog, Submitted, create_lane, drain_now},
    };

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name Python users look for")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(py: Python<'_>) -> PyResult<()> {
        crate::process::check_interpreter(py)?;
        crate::command::copy_context(py)?;
        crate::log::install();
        crate::process::watch_forks(py)
    }
}

//! The one tokio runtime of the process.

use std::sync::OnceLock;

use a3s_lane::LaneError;
use tokio::runtime::{Builder, Runtime};

use crate::fault::Fault;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime that all lanes share, started on first use.
///
/// It is never shut down: its threads own no JavaScript state and end with the process, so exit needs no order of
/// teardown, and lanes of several worker threads may use it side by side.
pub(crate) fn runtime() -> Result<&'static Runtime, Fault> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread()
        .thread_name("a3s-lane")
        .enable_time()
        .build()
        .map_err(|error| LaneError::QueueError(format!("cannot start worker threads: {error}")))?;
    // Another JavaScript thread may have been faster: its runtime stays, ours has no work and goes.
    if let Err(surplus) = RUNTIME.set(runtime) {
        surplus.shutdown_background();
    }
    RUNTIME
        .get()
        .ok_or_else(|| LaneError::QueueError("the runtime is gone".into()).into())
}

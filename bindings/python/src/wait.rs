//! Waiting for a future without the GIL, with Ctrl-C still working.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use a3s_lane::LaneError;
use pyo3::prelude::*;
use tokio::time::timeout;

use crate::error::raise;
use crate::guarded;
use crate::interned::interned;
use crate::threads::Waiting;
use crate::{process, runtime};

/// How long Ctrl-C may go unnoticed.
const SLICE: Duration = Duration::from_millis(50);
// Longer is felt. Tests do not measure time, so this is checked here.
const _: () = assert!(SLICE.as_millis() <= 100);

/// Runs `future` on this thread until it is ready.
///
/// Python runs signal handlers on its main thread only, so only that thread wakes up to look for them.
pub(crate) fn wait<F>(py: Python<'_>, future: F) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let runtime = runtime::shared().map_err(|error| raise(py, &error))?;
    let mut future = pin!(future);
    // Most calls never wait. They keep the GIL, for which others may be queueing; no lock of the core is held for long, and
    // none while somebody waits for the GIL.
    let first = {
        let _entered = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
    };
    match first {
        Ok(Poll::Ready(output)) => return Ok(output),
        Ok(Poll::Pending) => {}
        Err(panic) => return Err(raise(py, &internal(panic.as_ref()))),
    }
    let watch_signals = is_main_thread(py)?;
    let _waiting = Waiting::begin();
    loop {
        let step = || {
            runtime.block_on(async {
                if watch_signals {
                    timeout(SLICE, future.as_mut()).await.ok()
                } else {
                    Some(future.as_mut().await)
                }
            })
        };
        match py.detach(|| catch_unwind(AssertUnwindSafe(step))) {
            Ok(Some(output)) => return Ok(output),
            Ok(None) => py.check_signals()?,
            Err(panic) => return Err(raise(py, &internal(panic.as_ref()))),
        }
    }
}

/// Like [`wait`], for a future that can fail.
pub(crate) fn try_wait<F, T>(py: Python<'_>, future: F) -> PyResult<T>
where
    F: Future<Output = Result<T, LaneError>> + Send,
    T: Send,
{
    wait(py, future)?.map_err(|error| raise(py, &error))
}

fn internal(panic: &(dyn Any + Send)) -> LaneError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    LaneError::QueueError(format!("internal error, please report it: {text}"))
}

thread_local! {
    /// The answer of `is_main_thread` and the process it holds for: a fork makes the forking thread the main one.
    static IS_MAIN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let generation = process::generation();
    if let Some((known, is_main)) = IS_MAIN.get()
        && known == generation
    {
        return Ok(is_main);
    }
    let threading = py.import("threading")?;
    let this = threading.call_method0("get_ident")?;
    let main = guarded::call_method(threading.as_any(), interned!(py, "main_thread"), ())?;
    let is_main = main.getattr("ident")?.eq(this)?;
    IS_MAIN.set(Some((generation, is_main)));
    Ok(is_main)
}

//! The one tokio runtime that all lanes of a process share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use a3s_lane::LaneError;
use tokio::runtime::{Builder, Runtime};

use crate::process;

struct Shared {
    generation: u64,
    runtime: Runtime,
}

/// The newest runtime. What it points to is never freed: a forked child must not touch its parent's runtime, and at
/// exit a runtime that nobody shuts down is one that nobody can wait for.
static CURRENT: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// The runtime of this process, built on first use and again after a fork.
pub(crate) fn shared() -> Result<&'static Runtime, LaneError> {
    let seen = CURRENT.load(Ordering::Acquire);
    // SAFETY: a non-null pointer here came from `Box::leak` below and is never freed.
    if let Some(shared) = unsafe { seen.as_ref() }
        && shared.generation == process::generation()
    {
        return Ok(&shared.runtime);
    }
    let built = Box::leak(Box::new(Shared {
        generation: process::generation(),
        runtime: build()?,
    }));
    match CURRENT.compare_exchange(seen, built, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(&built.runtime),
        // Another thread was faster: its runtime is used, this one stays unused until the process ends.
        // SAFETY: as above; whoever replaced the pointer stored a leaked box.
        Err(winner) => Ok(unsafe { &(*winner).runtime }),
    }
}

fn build() -> Result<Runtime, LaneError> {
    // tokio panics when the system refuses a thread.
    let built = catch_unwind(AssertUnwindSafe(|| {
        Builder::new_multi_thread()
            .thread_name("a3s-lane")
            .enable_time()
            .build()
    }));
    match built {
        Ok(Ok(runtime)) => Ok(runtime),
        Ok(Err(error)) => Err(LaneError::QueueError(format!(
            "cannot start the worker threads: {error}"
        ))),
        Err(_) => Err(LaneError::QueueError(
            "cannot start the worker threads: the system refused a thread".into(),
        )),
    }
}

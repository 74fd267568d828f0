//! What the operating system says the process used.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

/// Processor time and waits of all threads of this process so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// User plus system time.
    pub(crate) cpu: Duration,
    /// Times a thread gave up the processor to wait (voluntary context switches): a wake-up follows each.
    pub(crate) waits: i64,
}

impl Usage {
    /// The counters now.
    ///
    /// # Panics
    ///
    /// If the system refuses to tell, which it may not for the calling process.
    pub(crate) fn now() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage of this process");
        // getrusage counts processor time in ticks on some kernels; this clock has nanoseconds.
        let clock = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
            .expect("processor time of this process");
        Self {
            cpu: Duration::from(clock),
            waits: usage.voluntary_context_switches(),
        }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            waits: self.waits - earlier.waits,
        }
    }
}

/// Keeps the calling thread on one core until dropped. Does nothing where the system has no such call.
pub(crate) struct Pinned {
    #[cfg(target_os = "linux")]
    before: nix::sched::CpuSet,
}

impl Pinned {
    /// Pins to the last core: the first one serves most interrupts.
    #[cfg(target_os = "linux")]
    pub(crate) fn to_last_core() -> Self {
        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        use nix::unistd::Pid;

        let this_thread = Pid::from_raw(0);
        let before = sched_getaffinity(this_thread).expect("affinity of this thread");
        let last = (0..CpuSet::count())
            .rev()
            .find(|core| before.is_set(*core).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(last.expect("this thread runs somewhere"))
            .expect("the core is in range");
        sched_setaffinity(this_thread, &one).expect("pin this thread to a core it may use");
        Self { before }
    }

    /// Pinning needs Linux.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn to_last_core() -> Self {
        Self {}
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pinned {
    fn drop(&mut self) {
        let this_thread = nix::unistd::Pid::from_raw(0);
        if let Err(error) = nix::sched::sched_setaffinity(this_thread, &self.before) {
            eprintln!("could not undo pinning: {error}");
        }
    }
}

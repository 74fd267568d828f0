//! A clock that tests move by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The time of a queue, for tests: it stands still until [`advance`](Self::advance) moves it.
///
/// Delays, time limits, time to live, rate limits and boosts of a manager that was built
/// [with it](crate::QueueManagerBuilder::with_clock) go by this clock. The bodies of commands do not: a body that sleeps
/// sleeps in tokio's time. Clones are the same clock.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use std::time::Duration;
///
/// use a3s_lane::testing::{self, ManualClock};
/// use a3s_lane::{CommandStatus, EventEmitter, JsonCommand, QueueManagerBuilder, SubmitOptions};
///
/// let clock = ManualClock::new();
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .with_clock(clock.clone())
///     .build()
///     .await?;
/// manager.start().await?;
/// let command = Box::new(JsonCommand::new("report", 1.into()));
/// let tomorrow = SubmitOptions::new().with_delay(Duration::from_secs(86_400));
/// let handle = manager.submit_with("query", command, tomorrow).await?;
/// assert_eq!(handle.status(), CommandStatus::Delayed);
/// clock.advance(Duration::from_secs(86_400));
/// assert_eq!(handle.await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now_ns: AtomicU64,
    moved: Notify,
}

impl ManualClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time on. What becomes due runs as soon as the runtime gets to it; [`drain_now`](super::drain_now) waits
    /// for that.
    pub fn advance(&self, by: Duration) {
        let now = self.now_ns();
        self.advance_to(now.saturating_add(crate::scheduler::nanos(by)));
    }

    /// The time since the clock was made, as moved by hand.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.shared.now_ns.load(Ordering::SeqCst)
    }

    pub(crate) fn advance_to(&self, at_ns: u64) {
        self.shared.now_ns.fetch_max(at_ns, Ordering::SeqCst);
        self.shared.moved.notify_waiters();
    }

    pub(crate) async fn sleep_until(&self, at_ns: u64) {
        loop {
            let mut moved = std::pin::pin!(self.shared.moved.notified());
            // Registered before the look: no move in between is missed.
            moved.as_mut().enable();
            if self.now_ns() >= at_ns {
                return;
            }
            moved.await;
        }
    }
}

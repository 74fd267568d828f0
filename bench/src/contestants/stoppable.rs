//! Work that goes on until somebody stops it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use a3s_lane::{Command, CommandContext, LaneError};
use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// Longer than any sample.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Sleeps until its token fires, and tells when it started and when it noticed.
#[derive(Clone)]
pub(crate) struct Stoppable {
    started: Arc<Semaphore>,
    noticed: UnboundedSender<Instant>,
}

/// The moments at which stopped work noticed.
pub(crate) type Notices = UnboundedReceiver<Instant>;

impl Stoppable {
    /// Work, and where it tells that it noticed; clones tell the same place.
    pub(crate) fn new() -> (Self, Notices) {
        let (noticed, notices) = unbounded_channel();
        let started = Arc::new(Semaphore::new(0));
        (Self { started, noticed }, notices)
    }

    /// The work. It notices either by its token or by being dropped, whichever comes first.
    pub(crate) async fn run(&self, token: CancellationToken) {
        let _told_at_the_end = TellWhenDropped(&self.noticed);
        self.started.add_permits(1);
        tokio::time::timeout(FOR_EVER, token.cancelled())
            .await
            .expect("a sample ends within the hour");
    }

    /// Waits until `count` more of the clones have started.
    pub(crate) async fn wait_started(&self, count: usize) {
        let started = self.started.acquire_many(count as u32).await;
        started.expect("the semaphore is never closed").forget();
    }
}

#[async_trait]
impl Command for Stoppable {
    async fn execute(&self) -> a3s_lane::Result<Value> {
        Err(LaneError::CommandError("needs a context".into()))
    }

    async fn execute_with(&self, context: &CommandContext) -> a3s_lane::Result<Value> {
        self.run(context.cancellation()).await;
        Err(LaneError::CommandError("asked to stop".into()))
    }

    fn command_type(&self) -> &str {
        "stoppable"
    }
}

struct TellWhenDropped<'a>(&'a UnboundedSender<Instant>);

impl Drop for TellWhenDropped<'_> {
    fn drop(&mut self) {
        // A driver that no longer listens has all the moments it wants.
        let _ = self.0.send(Instant::now());
    }
}

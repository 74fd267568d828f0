//! The floor: a task and a channel per job, no lanes, no limits, no order.

use a3s_lane::LaneError;
use tokio::sync::oneshot;

use super::jobs::Job;
use super::{Contestant, NoEvents, Reply, Setup};

/// `tokio::spawn` and a `oneshot` each.
pub(crate) struct BareSpawn;

impl Contestant for BareSpawn {
    type Failure = LaneError;
    type Events = NoEvents;

    async fn build(_: &Setup) -> Self {
        Self
    }

    async fn submit<J: Job>(&self, _: &str, job: J) -> Reply<LaneError> {
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // A driver that no longer listens is not an error of the job.
            let _ = sender.send(job.run().await.map_err(LaneError::CommandError));
        });
        receiver
    }

    fn subscribe(&self) -> NoEvents {
        NoEvents
    }

    async fn completed_by_metrics(&self) -> Option<u64> {
        None
    }
}

//! The floor where a limit matters: what people write by hand instead of a lane.

use std::sync::Arc;

use a3s_lane::LaneError;
use tokio::sync::{Semaphore, oneshot};

use super::jobs::Job;
use super::{Contestant, NoEvents, Reply, Setup};

/// A task and a `oneshot` each; the task waits for a permit of its lane's semaphore before it runs the job.
pub(crate) struct SemaphoreOfN {
    lanes: Vec<(String, Arc<Semaphore>)>,
}

impl Contestant for SemaphoreOfN {
    type Failure = LaneError;
    type Events = NoEvents;

    async fn build(setup: &Setup) -> Self {
        let lanes = setup.lanes.iter();
        Self {
            lanes: lanes
                .map(|lane| (lane.id.clone(), Arc::new(Semaphore::new(lane.slots))))
                .collect(),
        }
    }

    async fn submit<J: Job>(&self, lane: &str, job: J) -> Reply<LaneError> {
        let (_, slots) = self
            .lanes
            .iter()
            .find(|(id, _)| id == lane)
            .expect("a lane of the setup");
        let slots = Arc::clone(slots);
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let permit = slots.acquire_owned().await;
            let result = job.run().await.map_err(LaneError::CommandError);
            drop(permit);
            // A driver that no longer listens is not an error of the job.
            let _ = sender.send(result);
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

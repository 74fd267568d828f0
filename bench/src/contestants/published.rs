//! The published crate, driven through the same public interface.

use std::hint::black_box;
use std::sync::Arc;

use a3s_lane_published::metric_names::COMMANDS_COMPLETED;
use a3s_lane_published::{
    EventEmitter, EventPayload, EventStream, LaneConfig, LaneError, LaneEvent, LocalStorage,
    QueueManager, QueueManagerBuilder, QueueMetrics, RetryPolicy,
};
use chrono::{DateTime, Utc};

use super::jobs::Job;
use super::{Contestant, Events, Reply, Setup};

/// A started `QueueManager` of the published crate.
pub(crate) struct Published(QueueManager);

impl Contestant for Published {
    type Failure = LaneError;
    type Events = EventStream;

    async fn build(setup: &Setup) -> Self {
        let mut builder = QueueManagerBuilder::new(EventEmitter::new(setup.event_capacity));
        for lane in &setup.lanes {
            let mut config = LaneConfig::new(1, lane.slots);
            if let Some(delay) = lane.retry_after {
                config = config.with_retry_policy(RetryPolicy::fixed(1, delay));
            }
            builder = builder.with_lane(lane.id.as_str(), config, lane.priority);
        }
        if setup.metrics {
            builder = builder.with_metrics(QueueMetrics::local());
        }
        if let Some(stored) = &setup.storage {
            let storage = LocalStorage::new(stored.directory.clone()).await;
            builder = builder.with_storage(Arc::new(storage.expect("a directory of its own")));
        }
        let manager = builder.build().await.expect("a valid set of lanes");
        manager.start().await.expect("a fresh manager starts");
        Self(manager)
    }

    async fn submit<J: Job>(&self, lane: &str, job: J) -> Reply<LaneError> {
        self.0
            .submit(lane, Box::new(job))
            .await
            .expect("an open queue accepts a command for its lane")
    }

    fn subscribe(&self) -> EventStream {
        self.0.subscribe()
    }

    async fn completed_by_metrics(&self) -> Option<u64> {
        let snapshot = self.0.metrics()?.snapshot().await;
        snapshot.counters.get(COMMANDS_COMPLETED).copied()
    }
}

impl Events for EventStream {
    async fn recv(&mut self) -> bool {
        EventStream::recv(self).await.is_some()
    }

    fn missed(&self) -> u64 {
        // It loses events silently.
        0
    }
}

/// Emits `times` events that own no memory to an emitter that nobody listens to.
pub(crate) fn emit_unheard(times: usize, timestamp: DateTime<Utc>) {
    let emitter = EventEmitter::new(1024);
    for _ in 0..times {
        emitter.emit(black_box(LaneEvent {
            key: String::new(),
            payload: EventPayload::Empty,
            timestamp,
        }));
    }
}

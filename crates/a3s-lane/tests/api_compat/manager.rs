use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "local-storage")]
use a3s_lane::{CommandQueue, LaneConfig};
use a3s_lane::{
    EventEmitter, EventStream, JsonCommand, QueueManager, QueueManagerBuilder, QueueStats, Result,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::{outcome, within};

#[test]
fn traits() {
    crate::is_shared::<QueueManager>();
    fn is_send<T: Send + 'static>() {}
    is_send::<QueueManagerBuilder>();
}

#[tokio::test]
async fn the_default_lanes() {
    let manager: Result<QueueManager> = crate::send(
        QueueManagerBuilder::new(EventEmitter::new(10))
            .with_default_lanes()
            .build(),
    )
    .await;
    let stats = manager.expect("built").stats().await.expect("never fails");
    let mut lanes: Vec<(String, usize, usize)> = stats
        .lanes
        .into_iter()
        .map(|(id, lane)| (id, lane.min, lane.max))
        .collect();
    lanes.sort();
    let expected = [
        ("control", 1, 3),
        ("prompt", 1, 2),
        ("query", 1, 10),
        ("session", 1, 5),
        ("skill", 1, 3),
        ("system", 1, 5),
    ];
    assert_eq!(
        lanes,
        expected.map(|(id, min, max)| (id.to_owned(), min, max))
    );
}

#[cfg(feature = "local-storage")]
#[tokio::test]
async fn every_setting_of_the_builder() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = a3s_lane::LocalStorage::new(folder.path().join("q")).await;
    let manager = QueueManagerBuilder::new(EventEmitter::new(10))
        .with_lane("a", LaneConfig::new(1, 9), 3)
        .with_lane("a".to_owned(), LaneConfig::new(1, 2), 0)
        .with_storage(Arc::new(storage.expect("opens")))
        .with_dlq(7)
        .build()
        .await
        .expect("built");
    let queue: Arc<CommandQueue> = manager.queue();
    assert!(queue.dlq().is_some() && queue.storage().is_some());
    let status = queue.status().await;
    assert_eq!(
        (status.len(), status["a"].max),
        (1, 2),
        "the last call wins"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_of_a_manager() {
    let manager = QueueManagerBuilder::new(EventEmitter::new(100))
        .with_default_lanes()
        .build()
        .await
        .expect("built");
    let manager = Arc::new(manager);
    let mut stream: EventStream = manager.subscribe();
    let mut filtered: EventStream =
        manager.subscribe_filtered(|event| event.key.contains("started"));
    assert!(!manager.is_started() && !manager.is_shutting_down());
    assert!(!manager.queue().is_shutting_down());
    // All futures can be spawned.
    let own = Arc::clone(&manager);
    let worked = tokio::spawn(async move {
        own.start().await?;
        let receiver: oneshot::Receiver<Result<Value>> = own
            .submit("query", Box::new(JsonCommand::new("t", json!(1))))
            .await?;
        let value = outcome(receiver).await?;
        let stats: QueueStats = own.stats().await?;
        own.shutdown().await;
        own.drain(Duration::from_secs(30)).await?;
        Ok::<_, a3s_lane::LaneError>((value, stats))
    });
    let (value, stats) = worked.await.expect("no panic").expect("no error");
    assert_eq!(value, 1);
    assert_eq!((stats.lanes.len(), stats.dead_letter_count), (6, 0));
    assert!(manager.is_started() && manager.is_shutting_down());
    assert!(manager.queue().is_shutting_down());
    let first = within(stream.recv()).await.expect("an event");
    assert_eq!(first.key, "queue.command.submitted");
    let first = within(filtered.recv()).await.expect("an event");
    assert_eq!(first.key, "queue.command.started");
    #[cfg(feature = "metrics")]
    assert!(manager.metrics().is_none());
    #[cfg(feature = "monitoring")]
    assert!(manager.alerts().is_none());
}

#[cfg(feature = "monitoring")]
#[tokio::test]
async fn observers_of_the_builder() {
    use a3s_lane::{AlertManager, QueueMetrics};
    let alerts = Arc::new(AlertManager::new());
    let metrics = QueueMetrics::local();
    let manager = QueueManagerBuilder::new(EventEmitter::new(10))
        .with_lane("a", LaneConfig::default(), 0)
        .with_metrics(metrics.clone())
        .with_alerts(Arc::clone(&alerts))
        .build()
        .await
        .expect("built");
    let known: Option<&QueueMetrics> = manager.metrics();
    assert!(known.is_some_and(|known| Arc::ptr_eq(known.backend(), metrics.backend())));
    let known: Option<&Arc<AlertManager>> = manager.alerts();
    assert!(known.is_some_and(|known| Arc::ptr_eq(known, &alerts)));
}

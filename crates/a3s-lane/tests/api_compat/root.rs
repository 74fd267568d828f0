//! Every name at the root, at its module path, and that both are the same thing.

use std::any::TypeId;

fn same<A: ?Sized + 'static, B: ?Sized + 'static>() {
    assert_eq!(TypeId::of::<A>(), TypeId::of::<B>());
}

#[test]
fn what_is_always_there() {
    same::<a3s_lane::LaneConfig, a3s_lane::config::LaneConfig>();
    same::<a3s_lane::DeadLetter, a3s_lane::dlq::DeadLetter>();
    same::<a3s_lane::DeadLetterQueue, a3s_lane::dlq::DeadLetterQueue>();
    same::<a3s_lane::LaneError, a3s_lane::error::LaneError>();
    same::<a3s_lane::Result<u8>, a3s_lane::error::Result<u8>>();
    same::<a3s_lane::Result<u8>, Result<u8, a3s_lane::LaneError>>();
    same::<a3s_lane::EventEmitter, a3s_lane::event::EventEmitter>();
    same::<a3s_lane::EventPayload, a3s_lane::event::EventPayload>();
    same::<a3s_lane::EventStream, a3s_lane::event::EventStream>();
    same::<a3s_lane::LaneEvent, a3s_lane::event::LaneEvent>();
    same::<a3s_lane::event::EventKey, String>();
    same::<a3s_lane::QueueManager, a3s_lane::manager::QueueManager>();
    same::<a3s_lane::QueueManagerBuilder, a3s_lane::manager::QueueManagerBuilder>();
    same::<dyn a3s_lane::Command, dyn a3s_lane::queue::Command>();
    same::<a3s_lane::CommandId, a3s_lane::queue::CommandId>();
    same::<a3s_lane::CommandId, String>();
    same::<a3s_lane::CommandQueue, a3s_lane::queue::CommandQueue>();
    same::<a3s_lane::JsonCommand, a3s_lane::queue::JsonCommand>();
    same::<a3s_lane::Lane, a3s_lane::queue::Lane>();
    same::<a3s_lane::LaneId, a3s_lane::queue::LaneId>();
    same::<a3s_lane::LaneId, String>();
    same::<a3s_lane::LaneStatus, a3s_lane::queue::LaneStatus>();
    same::<a3s_lane::Priority, a3s_lane::queue::Priority>();
    same::<a3s_lane::Priority, u8>();
    same::<a3s_lane::RetryPolicy, a3s_lane::retry::RetryPolicy>();
    #[cfg(feature = "local-storage")]
    same::<a3s_lane::LocalStorage, a3s_lane::storage::LocalStorage>();
    same::<dyn a3s_lane::Storage, dyn a3s_lane::storage::Storage>();
    same::<a3s_lane::StoredCommand, a3s_lane::storage::StoredCommand>();
    same::<a3s_lane::StoredDeadLetter, a3s_lane::storage::StoredDeadLetter>();
    same::<a3s_lane::storage::StoredCommandId, String>();
    same::<a3s_lane::PriorityItem<u8>, a3s_lane::priority_queue::PriorityItem<u8>>();
    same::<a3s_lane::PriorityQueue<u8>, a3s_lane::priority_queue::PriorityQueue<u8>>();
    assert_eq!(a3s_lane::lane_ids::QUERY, a3s_lane::queue::lane_ids::QUERY);
    assert_eq!(
        a3s_lane::priorities::QUERY,
        a3s_lane::queue::priorities::QUERY
    );
}

#[cfg(feature = "monitoring")]
#[test]
fn what_monitoring_adds() {
    same::<a3s_lane::Alert, a3s_lane::alerts::Alert>();
    same::<a3s_lane::AlertLevel, a3s_lane::alerts::AlertLevel>();
    same::<a3s_lane::AlertManager, a3s_lane::alerts::AlertManager>();
    same::<a3s_lane::LatencyAlertConfig, a3s_lane::alerts::LatencyAlertConfig>();
    same::<a3s_lane::QueueDepthAlertConfig, a3s_lane::alerts::QueueDepthAlertConfig>();
    same::<a3s_lane::MonitorConfig, a3s_lane::monitor::MonitorConfig>();
    same::<a3s_lane::QueueMonitor, a3s_lane::monitor::QueueMonitor>();
}

#[cfg(feature = "distributed")]
#[test]
fn what_distributed_adds() {
    same::<a3s_lane::PriorityBoostConfig, a3s_lane::boost::PriorityBoostConfig>();
    same::<a3s_lane::PriorityBooster, a3s_lane::boost::PriorityBooster>();
    same::<a3s_lane::CommandEnvelope, a3s_lane::distributed::CommandEnvelope>();
    same::<a3s_lane::CommandResult, a3s_lane::distributed::CommandResult>();
    same::<dyn a3s_lane::DistributedQueue, dyn a3s_lane::distributed::DistributedQueue>();
    same::<a3s_lane::LocalDistributedQueue, a3s_lane::distributed::LocalDistributedQueue>();
    same::<a3s_lane::WorkerId, a3s_lane::distributed::WorkerId>();
    same::<a3s_lane::WorkerId, String>();
    same::<a3s_lane::WorkerPool, a3s_lane::distributed::WorkerPool>();
    type Func = fn(&str) -> usize;
    same::<a3s_lane::CustomPartitioner<Func>, a3s_lane::partition::CustomPartitioner<Func>>();
    same::<a3s_lane::HashPartitioner, a3s_lane::partition::HashPartitioner>();
    same::<a3s_lane::PartitionConfig, a3s_lane::partition::PartitionConfig>();
    same::<a3s_lane::PartitionId, a3s_lane::partition::PartitionId>();
    same::<a3s_lane::PartitionId, usize>();
    same::<a3s_lane::PartitionStrategy, a3s_lane::partition::PartitionStrategy>();
    same::<dyn a3s_lane::Partitioner, dyn a3s_lane::partition::Partitioner>();
    same::<a3s_lane::RoundRobinPartitioner, a3s_lane::partition::RoundRobinPartitioner>();
    same::<a3s_lane::RateLimitConfig, a3s_lane::ratelimit::RateLimitConfig>();
    same::<a3s_lane::RateLimiter, a3s_lane::ratelimit::RateLimiter>();
    same::<a3s_lane::SlidingWindowLimiter, a3s_lane::ratelimit::SlidingWindowLimiter>();
    same::<a3s_lane::TokenBucketLimiter, a3s_lane::ratelimit::TokenBucketLimiter>();
}

#[cfg(feature = "metrics")]
#[test]
fn what_metrics_adds() {
    same::<a3s_lane::HistogramPercentiles, a3s_lane::metrics::HistogramPercentiles>();
    same::<a3s_lane::HistogramStats, a3s_lane::metrics::HistogramStats>();
    same::<a3s_lane::LocalMetrics, a3s_lane::metrics::LocalMetrics>();
    same::<dyn a3s_lane::MetricsBackend, dyn a3s_lane::metrics::MetricsBackend>();
    same::<a3s_lane::MetricsSnapshot, a3s_lane::metrics::MetricsSnapshot>();
    same::<a3s_lane::QueueMetrics, a3s_lane::metrics::QueueMetrics>();
    assert_eq!(
        a3s_lane::metric_names::QUEUE_DEPTH,
        a3s_lane::metrics::metric_names::QUEUE_DEPTH
    );
}

#[cfg(feature = "telemetry")]
#[test]
fn what_telemetry_adds() {
    same::<a3s_lane::OtelMetricsBackend, a3s_lane::telemetry::OtelMetricsBackend>();
}

#[test]
fn queue_stats() {
    use a3s_lane::{LaneStatus, QueueStats};
    crate::is_value::<QueueStats>();
    crate::is_serde::<QueueStats>();
    let stats = QueueStats {
        total_pending: 1,
        total_active: 2,
        dead_letter_count: 3,
        lanes: std::collections::HashMap::from([(
            "a".to_owned(),
            LaneStatus {
                pending: 1,
                active: 2,
                min: 3,
                max: 4,
            },
        )]),
    };
    let json = serde_json::to_value(&stats).expect("it can be written");
    assert_eq!(
        json,
        serde_json::json!({"total_pending": 1, "total_active": 2, "dead_letter_count": 3,
            "lanes": {"a": {"pending": 1, "active": 2, "min": 3, "max": 4}}})
    );
    assert_eq!(crate::through_json(&stats).lanes["a"].max, 4);
    let QueueStats {
        total_pending,
        total_active,
        dead_letter_count,
        lanes,
    } = QueueStats::default();
    assert_eq!((total_pending, total_active, dead_letter_count), (0, 0, 0));
    assert!(lanes.is_empty());
}

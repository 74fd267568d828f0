//! Priority lanes for asynchronous work.
//!
//! A **lane** is a named queue with a priority, a concurrency limit and policies: time limit, retries, rate limit,
//! boost. The most urgent lane with runnable work always goes next, so that *cancel* beats *generate*.
//!
//! ```
//! use std::time::Duration;
//!
//! use a3s_lane::{Command, EventEmitter, LaneConfig, QueueManagerBuilder, Result};
//! use async_trait::async_trait;
//! use serde_json::{Value, json};
//!
//! struct Greet(&'static str);
//!
//! #[async_trait]
//! impl Command for Greet {
//!     async fn execute(&self) -> Result<Value> {
//!         Ok(json!(format!("hello {}", self.0)))
//!     }
//!     fn command_type(&self) -> &str {
//!         "greet"
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! let manager = QueueManagerBuilder::new(EventEmitter::new(100))
//!     .with_lane("people", LaneConfig::new(1, 4), 0)
//!     .build()
//!     .await?;
//! manager.start().await?;
//! let greeting = manager.submit("people", Box::new(Greet("you"))).await?;
//! assert_eq!(greeting.await.expect("the queue is alive")?, json!("hello you"));
//! manager.shutdown().await;
//! manager.drain(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! All are on by default; without them the crate is the core queue.
//!
//! | feature | what it adds |
//! |---|---|
//! | `metrics` | counters, gauges and histograms of each lane |
//! | `monitoring` | alerts on depth and latency, a monitor (implies `metrics`) |
//! | `telemetry` | `tracing` spans and OpenTelemetry instruments (implies `metrics`) |
//! | `distributed` | rate limits, priority boost, partitions and worker pools |
//! | `local-storage` | pending commands and dead letters in a SQLite file, which is compiled in |
#![forbid(unsafe_code)]

mod command;
mod context;
mod engine;
mod explain;
#[doc(hidden)]
pub mod forking;
mod hint;
mod scheduler;
mod shutdown;
mod snapshot;

#[cfg(feature = "monitoring")]
pub mod alerts;
#[cfg(feature = "distributed")]
pub mod boost;
pub mod config;
#[cfg(feature = "distributed")]
pub mod distributed;
pub mod dlq;
pub mod error;
pub mod event;
pub mod executor;
pub mod handle;
pub mod handler;
pub mod manager;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "monitoring")]
pub mod monitor;
#[cfg(feature = "distributed")]
pub mod partition;
pub mod priority_queue;
pub mod queue;
#[cfg(feature = "distributed")]
pub mod ratelimit;
pub mod retry;
#[cfg(test)]
mod seeds;
mod stats;
pub mod storage;
pub mod submission;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod testing;

pub use explain::{Explanation, WaitReason};
pub use shutdown::{Leftover, ShutdownReport};
pub use snapshot::{CommandSnapshot, LaneSnapshot, Snapshot};

pub use command::StopReason;
pub use config::{LaneConfig, LaneOptions, Overflow};
pub use context::CommandContext;
pub use dlq::{DeadLetter, DeadLetterQueue};
pub use error::{LaneError, Raised, Result};
pub use event::{EventEmitter, EventPayload, EventStream, LaneEvent};
pub use executor::{EventLoop, Executor, ExecutorTask};
pub use handle::{Chunk, ChunkStream, CommandHandle, CommandStatus, ProgressStream, ResultFuture};
pub use handler::{Handler, HandlerCall, typed};
pub use manager::{DeadLetters, QueueManager, QueueManagerBuilder};
pub use priority_queue::{PriorityItem, PriorityQueue};
pub use queue::{
    Command, CommandId, CommandQueue, JsonCommand, Lane, LaneId, LaneStatus, Priority, lane_ids,
    priorities,
};
pub use retry::{Jitter, RetryPolicy};
pub use stats::QueueStats;
pub use storage::{
    DeadLetterFilter, DeadLetterRecord, Storage, StoredCommand, StoredDeadLetter, Unclaimed,
    UnclaimedReason,
};
pub use submission::{CommandTicket, OnConflict, Refused, ResultSink, SubmitOptions, Unique};

#[cfg(feature = "monitoring")]
pub use alerts::{Alert, AlertLevel, AlertManager, LatencyAlertConfig, QueueDepthAlertConfig};
#[cfg(feature = "distributed")]
pub use boost::{PriorityBoostConfig, PriorityBooster};
#[cfg(feature = "distributed")]
pub use distributed::{
    CommandEnvelope, CommandResult, DistributedQueue, LocalDistributedQueue, WorkerId, WorkerPool,
};
#[cfg(feature = "metrics")]
pub use metrics::{
    HistogramPercentiles, HistogramStats, LaneRecorder, LaneSample, LocalMetrics, MetricsBackend,
    MetricsSnapshot, QueueMetrics, metric_names,
};
#[cfg(feature = "monitoring")]
pub use monitor::{MonitorConfig, QueueMonitor};
#[cfg(feature = "distributed")]
pub use partition::{
    CustomPartitioner, HashPartitioner, PartitionConfig, PartitionId, PartitionStrategy,
    Partitioner, RoundRobinPartitioner,
};
#[cfg(feature = "distributed")]
pub use ratelimit::{
    LimiterConfig, RateLimitConfig, RateLimiter, SlidingWindowLimiter, TokenBucketLimiter,
};
#[cfg(feature = "local-storage")]
pub use storage::{Durability, LocalStorage};
#[cfg(feature = "telemetry")]
pub use telemetry::OtelMetricsBackend;

/// The Rust snippets of the guides, run as doc tests.
#[cfg(all(doctest, feature = "monitoring", feature = "distributed"))]
mod guides {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/reliability.md")]
    struct Reliability;
    #[doc = include_str!("../../../docs/observability.md")]
    struct Observability;
    #[cfg(feature = "local-storage")]
    #[doc = include_str!("../../../docs/storage.md")]
    struct LocalStorage;
    #[doc = include_str!("../../../docs/scheduling.md")]
    struct Scheduling;
    #[doc = include_str!("../../../docs/submission.md")]
    struct Submission;
    #[doc = include_str!("../../../docs/testing.md")]
    struct Testing;
}

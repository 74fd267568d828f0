//! What happens to commands when the runtime that runs them ends, or an observer fails, while a handle lives on.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    Command, EventEmitter, LaneConfig, LaneError, QueueManager, QueueManagerBuilder, Result,
};
use async_trait::async_trait;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::sync::oneshot::Receiver;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn started(builder: QueueManagerBuilder) -> QueueManager {
    let manager = builder.build().await.unwrap();
    manager.start().await.unwrap();
    manager
}

async fn outcome(receiver: Receiver<Result<Value>>) -> Result<Value> {
    timeout(LONG, receiver)
        .await
        .expect("the receiver resolves")
        .expect("with an answer")
}

/// Never ends. Its destructor tells, or panics.
struct Suspended {
    running: Arc<Semaphore>,
    destructor_panics: bool,
}

impl Suspended {
    fn boxed(running: &Arc<Semaphore>) -> Box<Self> {
        Box::new(Self {
            running: Arc::clone(running),
            destructor_panics: false,
        })
    }
}

#[async_trait]
impl Command for Suspended {
    async fn execute(&self) -> Result<Value> {
        self.running.add_permits(1);
        pending().await
    }

    fn command_type(&self) -> &str {
        "suspended"
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        assert!(!self.destructor_panics, "the destructor panics");
    }
}

#[test]
fn every_command_settles_and_every_waiter_wakes_when_the_runtime_ends() {
    let first = runtime();
    let running = Arc::new(Semaphore::new(0));
    let (manager, mut stream, receivers) = first.block_on(async {
        let builder = QueueManagerBuilder::new(EventEmitter::new(100));
        let manager = started(builder.with_lane("lane", LaneConfig::new(1, 3), 0)).await;
        let stream = manager.subscribe();
        let mut receivers = Vec::new();
        for _ in 0..5 {
            receivers.push(
                manager
                    .submit("lane", Suspended::boxed(&running))
                    .await
                    .unwrap(),
            );
        }
        let _three = running.acquire_many(3).await.unwrap();
        (manager, stream, receivers)
    });
    let other = runtime();
    let drained = std::thread::scope(|scope| {
        let drained = scope.spawn(|| other.block_on(manager.drain(LONG)));
        drop(first);
        drained.join().unwrap()
    });
    drained.expect("the last runner wakes those who wait for an empty queue");
    other.block_on(async {
        for receiver in receivers {
            let error = outcome(receiver).await.unwrap_err();
            assert!(matches!(error, LaneError::QueueError(_)), "{error}");
        }
        let mut ends = 0;
        while let Some(event) = timeout(LONG, stream.recv()).await.expect("the stream ends") {
            ends += u32::from(event.key == "queue.command.failed");
        }
        assert_eq!(
            ends, 5,
            "each command that was started or waited has its last event"
        );
        let stats = manager.stats().await.unwrap();
        assert_eq!((stats.total_pending, stats.total_active), (0, 0));
    });
}

/// With a time limit the queue shares the command with its runner, and may be the last to drop it.
#[test]
fn a_panicking_destructor_does_not_keep_the_others_when_the_runtime_ends() {
    for limit in [None, Some(Duration::from_secs(3_600))] {
        let first = runtime();
        let running = Arc::new(Semaphore::new(0));
        let mut config = LaneConfig::new(1, 1);
        config.default_timeout = limit;
        let (manager, receivers) = first.block_on(async {
            let builder = QueueManagerBuilder::new(EventEmitter::new(100));
            let manager = started(builder.with_lane("lane", config, 0)).await;
            let mut bad = Suspended::boxed(&running);
            bad.destructor_panics = true;
            let mut receivers = vec![manager.submit("lane", bad).await.unwrap()];
            for _ in 0..3 {
                receivers.push(
                    manager
                        .submit("lane", Suspended::boxed(&running))
                        .await
                        .unwrap(),
                );
            }
            let _one = running.acquire().await.unwrap();
            (manager, receivers)
        });
        drop(first);
        runtime().block_on(async {
            for receiver in receivers {
                outcome(receiver).await.unwrap_err();
            }
            manager.drain(LONG).await.unwrap();
        });
    }
}

#[cfg(feature = "metrics")]
mod awaited_metrics {
    use std::sync::atomic::{AtomicU32, Ordering};

    use a3s_lane::metrics::metric_names::COMMANDS_COMPLETED;
    use a3s_lane::{HistogramStats, JsonCommand, MetricsBackend, MetricsSnapshot, QueueMetrics};

    use serde_json::json;

    use super::*;

    /// What the backend does when it is told that a command is complete.
    enum OnComplete {
        Panic(AtomicU32),
        Hang(Arc<Semaphore>),
    }

    struct Backend(OnComplete);

    #[async_trait]
    impl MetricsBackend for Backend {
        async fn increment_counter(&self, name: &str, _value: u64) {
            if name != COMMANDS_COMPLETED {
                return;
            }
            match &self.0 {
                OnComplete::Panic(times) => {
                    times.fetch_add(1, Ordering::SeqCst);
                    panic!("the backend panics");
                }
                OnComplete::Hang(reached) => {
                    reached.add_permits(1);
                    pending::<()>().await;
                }
            }
        }

        async fn set_gauge(&self, _name: &str, _value: f64) {}
        async fn record_histogram(&self, _name: &str, _value: f64) {}
        async fn get_counter(&self, _name: &str) -> Option<u64> {
            None
        }
        async fn get_gauge(&self, _name: &str) -> Option<f64> {
            None
        }
        async fn get_histogram_stats(&self, _name: &str) -> Option<HistogramStats> {
            None
        }
        async fn reset(&self) {}
        async fn snapshot(&self) -> MetricsSnapshot {
            MetricsSnapshot::default()
        }
    }

    async fn manager(backend: Arc<Backend>) -> QueueManager {
        let builder = QueueManagerBuilder::new(EventEmitter::new(100))
            .with_lane("lane", LaneConfig::new(1, 1), 0)
            .with_metrics(QueueMetrics::new(backend));
        started(builder).await
    }

    async fn submit(manager: &QueueManager, n: u32) -> Receiver<Result<Value>> {
        let command = Box::new(JsonCommand::new("number", json!(n)));
        manager.submit("lane", command).await.unwrap()
    }

    /// More commands than a runner takes before it gives way.
    #[tokio::test]
    async fn a_panicking_backend_costs_no_command_its_result() {
        let backend = Arc::new(Backend(OnComplete::Panic(AtomicU32::new(0))));
        let manager = manager(Arc::clone(&backend)).await;
        let mut receivers = Vec::new();
        for n in 0..200 {
            receivers.push(submit(&manager, n).await);
        }
        for (n, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(outcome(receiver).await.unwrap(), json!(n));
        }
        manager.drain(LONG).await.unwrap();
        let OnComplete::Panic(times) = &backend.0 else {
            unreachable!()
        };
        assert_eq!(times.load(Ordering::SeqCst), 200);
    }

    /// The runner has settled one command and holds the next one when it is dropped.
    #[test]
    fn a_runtime_that_ends_while_a_backend_hangs_loses_no_command() {
        let first = runtime();
        let reached = Arc::new(Semaphore::new(0));
        let (manager, mut receivers) = first.block_on(async {
            let manager = manager(Arc::new(Backend(OnComplete::Hang(Arc::clone(&reached))))).await;
            let mut receivers = Vec::new();
            for n in 0..3 {
                receivers.push(submit(&manager, n).await);
            }
            let _one = reached.acquire().await.unwrap();
            (manager, receivers)
        });
        drop(first);
        runtime().block_on(async {
            assert_eq!(
                outcome(receivers.remove(0)).await.unwrap(),
                json!(0),
                "it was complete"
            );
            for receiver in receivers {
                outcome(receiver).await.unwrap_err();
            }
            manager.drain(LONG).await.unwrap();
        });
    }
}

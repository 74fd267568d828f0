//! The work that is submitted. The same types are commands of both crates and plain futures for the floors.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Semaphore;

/// One unit of work.
pub(crate) trait Job:
    a3s_lane::Command + a3s_lane_published::Command + Send + Sync + 'static
{
    /// Does the work.
    fn run(&self) -> impl Future<Output = Result<Value, String>> + Send;
}

macro_rules! commands {
    ($($job:ident => $name:literal),* $(,)?) => {$(
        #[async_trait]
        impl a3s_lane::Command for $job {
            async fn execute(&self) -> a3s_lane::Result<Value> {
                self.run().await.map_err(a3s_lane::LaneError::CommandError)
            }

            fn command_type(&self) -> &str {
                $name
            }
        }

        #[async_trait]
        impl a3s_lane_published::Command for $job {
            async fn execute(&self) -> a3s_lane_published::Result<Value> {
                self.run().await.map_err(a3s_lane_published::LaneError::CommandError)
            }

            fn command_type(&self) -> &str {
                $name
            }
        }
    )*};
}

commands! {
    Noop => "noop",
    SleepFor => "sleep",
    Hold => "hold",
    Probe => "probe",
    Spin => "spin",
    Fail => "fail",
}

/// Returns its number, so that the driver can check by a sum that every command really ran once.
pub(crate) struct Noop(pub(crate) u64);

impl Job for Noop {
    async fn run(&self) -> Result<Value, String> {
        Ok(Value::from(self.0))
    }
}

/// Sleeps on the runtime's timer.
pub(crate) struct SleepFor(pub(crate) Duration);

impl Job for SleepFor {
    async fn run(&self) -> Result<Value, String> {
        tokio::time::sleep(self.0).await;
        Ok(Value::Null)
    }
}

/// Reports that it runs, then keeps its slot until the gate opens.
pub(crate) struct Hold {
    pub(crate) running: Arc<Semaphore>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Job for Hold {
    async fn run(&self) -> Result<Value, String> {
        self.running.add_permits(1);
        match self.gate.acquire().await {
            Ok(permit) => permit.forget(),
            Err(closed) => return Err(closed.to_string()),
        }
        Ok(Value::Null)
    }
}

/// Returns the nanoseconds from its creation to its start.
pub(crate) struct Probe(pub(crate) Instant);

impl Job for Probe {
    async fn run(&self) -> Result<Value, String> {
        Ok(Value::from(self.0.elapsed().as_nanos() as u64))
    }
}

/// Keeps a core busy for a time without awaiting, or sleeps for it; counts itself when done.
pub(crate) struct Spin {
    pub(crate) time: Duration,
    pub(crate) asleep: bool,
    pub(crate) done: Arc<AtomicUsize>,
}

impl Job for Spin {
    async fn run(&self) -> Result<Value, String> {
        if self.asleep {
            tokio::time::sleep(self.time).await;
        } else {
            let begin = Instant::now();
            while begin.elapsed() < self.time {
                black_box(());
            }
        }
        self.done.fetch_add(1, Relaxed);
        Ok(Value::Null)
    }
}

/// Fails at once and says that it was tried.
pub(crate) struct Fail(pub(crate) Arc<Semaphore>);

impl Job for Fail {
    async fn run(&self) -> Result<Value, String> {
        self.0.add_permits(1);
        Err("meant to fail".into())
    }
}

//! The work that is submitted. The same types are commands of both crates and plain futures for the floors.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

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
    Recorded => "recorded",
    Tick => "tick",
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

/// Writes its key into the log when it starts.
pub(crate) struct Recorded {
    pub(crate) key: u32,
    pub(crate) log: Arc<StartLog>,
}

impl Job for Recorded {
    async fn run(&self) -> Result<Value, String> {
        self.log.note(self.key);
        Ok(Value::Null)
    }
}

/// The keys of commands in the order in which they started.
pub(crate) struct StartLog {
    started: AtomicUsize,
    keys: Vec<AtomicU32>,
    all: Notify,
}

impl StartLog {
    /// A log of so many starts.
    pub(crate) fn new(starts: usize) -> Arc<Self> {
        Arc::new(Self {
            started: AtomicUsize::new(0),
            keys: (0..starts).map(|_| AtomicU32::new(0)).collect(),
            all: Notify::new(),
        })
    }

    fn note(&self, key: u32) {
        let place = self.started.fetch_add(1, Relaxed);
        // Past the end it panics: a command ran twice.
        self.keys[place].store(key, Relaxed);
        if place + 1 == self.keys.len() {
            self.all.notify_one();
        }
    }

    /// Waits for the last start.
    pub(crate) async fn full(&self) {
        self.all.notified().await;
    }

    /// The keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u32> {
        self.keys.iter().map(|key| key.load(Relaxed))
    }
}

/// Notes how late it runs.
pub(crate) struct Tick {
    pub(crate) index: usize,
    pub(crate) due: Instant,
    pub(crate) arrivals: Arc<Arrivals>,
}

impl Job for Tick {
    async fn run(&self) -> Result<Value, String> {
        self.arrivals.note(self.index, self.due);
        Ok(Value::Null)
    }
}

/// How late each of many ticks was.
pub(crate) struct Arrivals {
    missing: AtomicUsize,
    late_nanos: Vec<AtomicU64>,
    all: Notify,
}

/// In a place whose tick has not come.
const MISSING: u64 = u64::MAX;

impl Arrivals {
    /// Waits for so many ticks.
    pub(crate) fn of(ticks: usize) -> Arc<Self> {
        Arc::new(Self {
            missing: AtomicUsize::new(ticks),
            late_nanos: (0..ticks).map(|_| AtomicU64::new(MISSING)).collect(),
            all: Notify::new(),
        })
    }

    fn note(&self, index: usize, due: Instant) {
        let late = Instant::now()
            .checked_duration_since(due)
            .expect("nothing runs before its time");
        let before = self.late_nanos[index].swap(late.as_nanos() as u64, Relaxed);
        assert_eq!(before, MISSING, "every tick comes once");
        if self.missing.fetch_sub(1, Relaxed) == 1 {
            self.all.notify_one();
        }
    }

    /// Waits for the last tick.
    pub(crate) async fn complete(&self) {
        self.all.notified().await;
    }

    /// Nanoseconds after its time at which each tick came.
    pub(crate) fn late_nanos(&self) -> Vec<f64> {
        let late = self.late_nanos.iter().map(|late| late.load(Relaxed));
        late.inspect(|late| assert_ne!(*late, MISSING, "every tick came"))
            .map(|late| late as f64)
            .collect()
    }
}

//! Who is measured: ours, the published crate, and the floors, all behind one interface.
//!
//! Everything is resolved at compile time, so that the interface costs nobody anything.

mod append;
mod bare;
pub(crate) mod jobs;
mod ours;
mod published;
mod semaphore;
mod stoppable;

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot::Receiver;

pub(crate) use append::Append;
pub(crate) use bare::BareSpawn;
use jobs::Job;
pub(crate) use ours::{Ours, builder, emit_unheard as emit_unheard_ours};
pub(crate) use published::{Published, emit_unheard as emit_unheard_published};
pub(crate) use semaphore::SemaphoreOfN;
pub(crate) use stoppable::{Notices, Stoppable};

/// The names used in contests.
pub(crate) mod names {
    pub(crate) const OURS: &str = "ours";
    pub(crate) const FLOOR: &str = "floor";
    pub(crate) const PUBLISHED: &str = "published";
}

/// One lane, in terms that every contestant understands.
#[derive(Debug, Clone)]
pub(crate) struct LaneSetup {
    pub(crate) id: String,
    pub(crate) slots: usize,
    pub(crate) priority: u8,
    /// One retry after this long.
    pub(crate) retry_after: Option<Duration>,
}

impl LaneSetup {
    /// A lane without retries.
    pub(crate) fn new(id: impl Into<String>, slots: usize, priority: u8) -> Self {
        Self {
            id: id.into(),
            slots,
            priority,
            retry_after: None,
        }
    }
}

/// What to build.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) lanes: Vec<LaneSetup>,
    /// Events that the emitter holds for a slow subscriber.
    pub(crate) event_capacity: usize,
    pub(crate) metrics: bool,
    /// Where commands are stored, if anywhere.
    pub(crate) storage: Option<Stored>,
}

/// How commands are stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// An empty directory.
    pub(crate) directory: PathBuf,
    /// With an fsync before a command counts as stored, where there is a choice.
    pub(crate) fsync: bool,
}

impl Setup {
    /// Lanes with nobody looking.
    pub(crate) fn new(lanes: Vec<LaneSetup>) -> Self {
        Self {
            lanes,
            event_capacity: 1024,
            metrics: false,
            storage: None,
        }
    }

    /// `count` lanes of ten slots. Their priorities differ, as far as a byte can tell them apart.
    pub(crate) fn lanes_of_ten(count: usize) -> Self {
        let lane = |index: usize| LaneSetup::new(format!("lane-{index}"), 10, (index % 256) as u8);
        Self::new((0..count).map(lane).collect())
    }

    /// One lane.
    pub(crate) fn one_lane(slots: usize) -> Self {
        Self::new(vec![LaneSetup::new("lane-0", slots, 0)])
    }

    /// The ids of the lanes, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lanes.iter().map(|lane| lane.id.clone()).collect()
    }
}

/// What came out of a submitted job.
pub(crate) type Reply<F> = Receiver<Result<Value, F>>;

/// Something that runs jobs.
pub(crate) trait Contestant: Send + Sync + Sized + 'static {
    /// Why a job failed.
    type Failure: Debug + Send + 'static;
    /// A subscription to all events.
    type Events: Events;

    /// Ready to run jobs, on the current runtime.
    fn build(setup: &Setup) -> impl Future<Output = Self> + Send;

    /// Hands over one job.
    fn submit<J: Job>(
        &self,
        lane: &str,
        job: J,
    ) -> impl Future<Output = Reply<Self::Failure>> + Send;

    /// All events from now on.
    fn subscribe(&self) -> Self::Events;

    /// How many commands the queue's own metrics counted as completed; `None` when it keeps no such count.
    fn completed_by_metrics(&self) -> impl Future<Output = Option<u64>> + Send;
}

/// A stream of events.
pub(crate) trait Events: Send + 'static {
    /// Waits for one event; false when there will be no more.
    fn recv(&mut self) -> impl Future<Output = bool> + Send;

    /// Events lost so far because the reader was too slow, where the contestant says so.
    fn missed(&self) -> u64;
}

/// The events of a contestant that has none.
pub(crate) struct NoEvents;

impl Events for NoEvents {
    async fn recv(&mut self) -> bool {
        false
    }

    fn missed(&self) -> u64 {
        0
    }
}

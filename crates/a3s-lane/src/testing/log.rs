//! What was submitted, for assertions.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::command::LaneId;

/// Remembers what a manager accepts, so that a test can ask whether code under test has submitted something.
///
/// Grows with each command: for tests only. Clones are the same log.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use a3s_lane::testing::SubmissionLog;
/// use a3s_lane::{EventEmitter, JsonCommand, QueueManagerBuilder};
///
/// let log = SubmissionLog::new();
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .with_submission_log(log.clone())
///     .build()
///     .await?;
/// manager.submit("query", Box::new(JsonCommand::new("greet", "Ann".into()))).await?;
/// let submitted = log.assert_submitted("query", "greet");
/// assert_eq!(submitted.payload, Some("Ann".into()));
/// log.assert_not_submitted("query", "part");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct SubmissionLog {
    submitted: Arc<Mutex<Vec<Submitted>>>,
}

/// One accepted command.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Submitted {
    /// Its lane.
    pub lane_id: LaneId,
    /// What kind of work it is.
    pub command_type: String,
    /// Its payload, when it has one.
    pub payload: Option<Value>,
}

impl SubmissionLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything so far, in the order of acceptance.
    pub fn submitted(&self) -> Vec<Submitted> {
        self.lock().clone()
    }

    /// The first command of this type that was submitted to this lane.
    ///
    /// # Panics
    ///
    /// When there is none; the text says what was submitted instead.
    #[track_caller]
    pub fn assert_submitted(&self, lane_id: &str, command_type: &str) -> Submitted {
        match self.find(lane_id, command_type) {
            Some(found) => found,
            None => panic!("no {command_type:?} was submitted to {lane_id:?}, only {self:?}"),
        }
    }

    /// # Panics
    ///
    /// When a command of this type was submitted to this lane.
    #[track_caller]
    pub fn assert_not_submitted(&self, lane_id: &str, command_type: &str) {
        if let Some(found) = self.find(lane_id, command_type) {
            panic!("{found:?} was submitted");
        }
    }

    pub(crate) fn note(&self, lane_id: LaneId, command_type: String, payload: Option<Value>) {
        let submitted = Submitted {
            lane_id,
            command_type,
            payload,
        };
        self.lock().push(submitted);
    }

    fn find(&self, lane_id: &str, command_type: &str) -> Option<Submitted> {
        let submitted = self.lock();
        let mut found = submitted.iter();
        found
            .find(|entry| entry.lane_id == lane_id && entry.command_type == command_type)
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Submitted>> {
        self.submitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SubmissionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let submitted = self.lock();
        let entries = submitted.iter();
        let names = entries.map(|entry| (&entry.lane_id, &entry.command_type));
        f.debug_list().entries(names).finish()
    }
}

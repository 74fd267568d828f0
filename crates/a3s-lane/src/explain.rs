//! Why a command waits.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::command::{CommandId, LaneId};
use crate::handle::CommandStatus;

/// Where a command is, and every reason why it does not start.
///
/// From [`CommandHandle::explain`](crate::CommandHandle::explain) and
/// [`QueueManager::explain`](crate::QueueManager::explain). Its text form is one line for a person:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use a3s_lane::{EventEmitter, JsonCommand, LaneConfig, QueueManagerBuilder, SubmitOptions};
///
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_lane("reports", LaneConfig::new(0, 1), 5)
///     .build()
///     .await?;
/// manager.pause_lane("reports")?;
/// manager.start().await?;
/// let command = Box::new(JsonCommand::new("weekly", 1.into()));
/// let handle = manager
///     .submit_with("reports", command, SubmitOptions::new().with_id("w1"))
///     .await?;
/// let explanation = handle.explain().expect("it waits");
/// assert_eq!(explanation.to_string(), "w1 in reports is pending: the lane is paused");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The command.
    pub command_id: CommandId,
    /// Its lane.
    pub lane_id: LaneId,
    /// Where it is.
    pub status: CommandStatus,
    /// Attempts so far, the running one included.
    pub attempts: u32,
    /// How long ago it was submitted, in milliseconds.
    pub age_ms: f64,
    /// What it waits for; empty for a command that runs, or that starts as soon as a worker thread is free.
    pub reasons: Vec<WaitReason>,
}

/// One thing that a command waits for. All of them must pass before it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitReason {
    /// The queue was not started, or starts nothing any more.
    NotStarted,
    /// Its lane is paused.
    LanePaused,
    /// Its key is paused.
    KeyPaused {
        /// The key.
        key: String,
    },
    /// It is not ready before a time: its own delay, or that of a retry.
    Delayed {
        /// That time.
        until: DateTime<Utc>,
    },
    /// Its time to live has run out; it is about to leave.
    Expired,
    /// Other commands of its lane go first; in a lane with keys, of its key.
    Behind {
        /// How many.
        commands: usize,
    },
    /// All slots of its lane are taken.
    LaneFull {
        /// How many slots the lane has.
        max: usize,
        /// Who holds them, at most 16 ids, in the order of their starts.
        running: Vec<CommandId>,
    },
    /// Its key holds as many slots as one key may.
    KeyBusy {
        /// The key.
        key: String,
        /// How many it holds.
        active: usize,
    },
    /// All slots of the manager's total limit are taken.
    TotalReached {
        /// The limit.
        total: usize,
    },
    /// The slots of the total limit that are free are kept for other lanes.
    Reserved {
        /// How many are kept.
        slots: usize,
    },
    /// A rate limit refuses its lane.
    RateLimited {
        /// Until when; `None` is for ever, as with a limit of zero.
        until: Option<DateTime<Utc>>,
    },
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {} is {}",
            self.command_id, self.lane_id, self.status
        )?;
        for (index, reason) in self.reasons.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("the queue starts no commands"),
            Self::LanePaused => f.write_str("the lane is paused"),
            Self::KeyPaused { key } => write!(f, "key {key:?} is paused"),
            Self::Delayed { until } => write!(f, "delayed until {}", until.to_rfc3339()),
            Self::Expired => f.write_str("its time to live has run out"),
            Self::Behind { commands } => write!(f, "behind {commands} commands"),
            Self::LaneFull { max, running } => {
                write!(
                    f,
                    "the lane's {max} slots are held by {}",
                    running.join(", ")
                )
            }
            Self::KeyBusy { key, active } => {
                write!(f, "key {key:?} holds {active} slots, its most")
            }
            Self::TotalReached { total } => write!(f, "all {total} slots of the manager are taken"),
            Self::Reserved { slots } => {
                write!(f, "the free slots are kept for other lanes ({slots})")
            }
            Self::RateLimited { until: Some(until) } => {
                write!(
                    f,
                    "a rate limit refuses the lane until {}",
                    until.to_rfc3339()
                )
            }
            Self::RateLimited { until: None } => f.write_str("a rate limit allows nothing"),
        }
    }
}

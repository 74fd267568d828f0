//! Stored commands that do not run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CommandRecord;

/// A stored command that has not entered its lane.
///
/// It stays stored, and enters when what it misses is registered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unclaimed {
    /// What is stored of it; maybe [without its payload](CommandRecord::without_payload).
    pub record: CommandRecord,
    /// Why it has not entered.
    pub reason: UnclaimedReason,
}

/// Why a stored command does not enter its lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnclaimedReason {
    /// Its type has no handler and no factory.
    NoHandler,
    /// There is no lane of its name that uses this storage.
    NoLane,
    /// What is stored of it cannot be used; says why.
    Unreadable(String),
}

impl fmt::Display for UnclaimedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler => f.write_str("its type has no handler and no factory"),
            Self::NoLane => f.write_str("its lane does not exist"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

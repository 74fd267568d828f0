//! What one command asks for, beside its lane's policy.

use std::sync::Arc;

use crate::retry::{Jitter, RetryPolicy};
use crate::scheduler::decision::CommandKey;
#[cfg(feature = "distributed")]
use crate::scheduler::limits::Charges;
use crate::scheduler::nest::Nest;

/// The terms of one command. The default asks for nothing: such a command is submitted without terms.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Inside the lane, lower first.
    pub(crate) priority: i32,
    /// Shares the lane with other keys.
    pub(crate) key: Option<Arc<str>>,
    /// Not ready before.
    pub(crate) delay_until: u64,
    /// Leaves if it was not started by then.
    pub(crate) expires_at: Option<u64>,
    /// Instead of the lane's time limit; `Some(None)` is no limit.
    pub(crate) timeout_ns: Option<Option<u64>>,
    /// Instead of the lane's longest time without a sign of life.
    pub(crate) progress_ns: Option<u64>,
    /// Instead of the lane's retry policy.
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) jitter: Option<Jitter>,
    /// What limiters that count cost are charged.
    pub(crate) cost: u64,
    /// May be stopped for a more urgent lane, where its lane allows it.
    pub(crate) preemptible: bool,
    /// The running command that submitted it.
    pub(crate) parent: Option<CommandKey>,
    /// Attempts before the command was restored.
    pub(crate) earlier: u32,
    pub(crate) notes: Notes,
}

/// What the scheduler notes of a command that has terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// The number of its key in the lane; 0 for none.
    pub(in crate::scheduler) key_number: u32,
    /// Runs that were preempted: they are no attempts.
    pub(in crate::scheduler) uncounted: u32,
    /// The time limit of the present run, where the lane's has changed since it began.
    pub(in crate::scheduler) timeout_ns: Option<Option<u64>>,
    /// How long the present run may give no sign of life, and, where that is limited, its last one.
    pub(in crate::scheduler) progress_ns: Option<u64>,
    pub(in crate::scheduler) beat: u64,
    /// What the present run was charged.
    #[cfg(feature = "distributed")]
    pub(in crate::scheduler) charges: Charges,
    /// It has submitted children.
    pub(in crate::scheduler) is_parent: bool,
    /// The parent's body waits for it.
    pub(in crate::scheduler) awaited: bool,
    /// What it shares with its parent and its children.
    pub(in crate::scheduler) nest: Option<Box<Nest>>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            priority: 0,
            key: None,
            delay_until: 0,
            expires_at: None,
            timeout_ns: None,
            progress_ns: None,
            retry: None,
            jitter: None,
            cost: 1,
            preemptible: true,
            parent: None,
            earlier: 0,
            notes: Notes::default(),
        }
    }
}

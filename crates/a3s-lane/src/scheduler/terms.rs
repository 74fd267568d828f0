//! What one command asks for, beside its lane's policy.

use std::sync::Arc;

use super::CommandKey;
#[cfg(feature = "distributed")]
use super::limits::LimiterKey;
use super::nest::Nest;
#[cfg(feature = "distributed")]
use crate::ratelimit::Charge;
use crate::retry::{Jitter, RetryPolicy};

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
    // ---- kept by the scheduler ----
    /// It has submitted children.
    pub(crate) is_parent: bool,
    /// The parent's body waits for it.
    pub(crate) awaited: bool,
    /// What it shares with its parent and its children.
    pub(crate) nest: Option<Box<Nest>>,
    /// The number of `key` in the lane; 0 for none.
    pub(crate) key_number: u32,
    /// Runs that were preempted: they are no attempts.
    pub(crate) uncounted: u32,
    /// The time limit of the present run, where the lane's has changed since it began.
    pub(crate) run_timeout_ns: Option<Option<u64>>,
    /// How long the present run may give no sign of life, and, where that is limited, its last one.
    pub(crate) run_progress_ns: Option<u64>,
    pub(crate) beat: u64,
    /// What the present run was charged.
    #[cfg(feature = "distributed")]
    pub(crate) charges: Vec<(LimiterKey, Charge)>,
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
            is_parent: false,
            awaited: false,
            nest: None,
            key_number: 0,
            uncounted: 0,
            earlier: 0,
            run_timeout_ns: None,
            run_progress_ns: None,
            beat: 0,
            #[cfg(feature = "distributed")]
            charges: Vec::new(),
        }
    }
}

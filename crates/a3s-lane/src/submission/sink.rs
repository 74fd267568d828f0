//! Where the results of many commands go.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::Result;
use crate::handle::CommandStatus;
use crate::scheduler::CommandKey;

type Tell = dyn Fn(u32, CommandStatus, Result<Value>) + Send + Sync;

/// One place for the results of many commands, which costs less than a receiver or a handle for each.
///
/// See [`QueueManager::submit_to`](crate::QueueManager::submit_to).
pub struct ResultSink {
    tell: Box<Tell>,
}

impl ResultSink {
    /// A sink that `tell` learns from how commands have settled: each once, by the token that was given at its submission.
    ///
    /// `tell` is called from any thread, also under a lock of the queue: it must neither wait nor call the queue.
    pub fn new(
        tell: impl Fn(u32, CommandStatus, Result<Value>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            tell: Box::new(tell),
        })
    }

    pub(crate) fn tell(&self, token: u32, status: CommandStatus, result: Result<Value>) {
        (self.tell)(token, status, result);
    }
}

impl fmt::Debug for ResultSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultSink").finish_non_exhaustive()
    }
}

/// Names a command of one queue that was submitted without a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandTicket(pub(crate) CommandKey);

impl CommandTicket {
    /// The number of the command, of which [`QueueManager::id_of`](crate::QueueManager::id_of) makes its id.
    pub fn serial(self) -> u64 {
        self.0.serial()
    }
}

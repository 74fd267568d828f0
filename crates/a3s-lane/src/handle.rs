//! What a submitter holds of a command: its status, its result, and what it reports while it runs.

mod chunks;
mod loan;
mod progress;
mod shared;
mod status;
mod wakers;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde_json::Value;

use crate::error::Result;
use crate::explain::Explanation;
use loan::Waiting;
pub(crate) use loan::{Lender, Loan};
use wakers::Place;

pub use chunks::{Chunk, ChunkStream};
pub use progress::ProgressStream;
pub(crate) use shared::{Entry, Remote, Shared};
pub use status::CommandStatus;

/// One submitted command, in the hands of whoever waits for it.
///
/// Waiting is not running: dropping a handle, or a future or stream of it, never cancels the command. Only
/// [`cancel`](Self::cancel) does. Clones are cheap and are handles of the same command. What a command has reported and
/// its result are kept as long as a handle or a stream of it is.
///
/// # Examples
///
/// ```
/// use a3s_lane::{CommandHandle, Result};
/// use serde_json::Value;
///
/// async fn watched(handle: CommandHandle) -> Result<Value> {
///     let mut progress = handle.progress();
///     while let Some(value) = progress.recv().await {
///         println!("{} is at {value}", handle.id());
///     }
///     handle.await
/// }
/// ```
#[derive(Clone)]
pub struct CommandHandle {
    shared: Arc<Shared>,
    /// Present where the command's parent has it.
    loan: Option<Arc<Loan>>,
}

impl CommandHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, loan: None }
    }

    /// The handle of a child, in the hands of its parent.
    pub(crate) fn of_child(mut self, loan: Loan) -> Self {
        self.loan = Some(Arc::new(loan));
        self
    }

    pub(crate) fn serial(&self) -> u64 {
        self.shared.serial()
    }

    /// The command's id: the submitter's own, or a UUID.
    ///
    /// # Examples
    ///
    /// ```
    /// fn shown(handle: &a3s_lane::CommandHandle) -> String {
    ///     format!("{} in {}: {}", handle.id(), handle.lane_id(), handle.status())
    /// }
    /// ```
    pub fn id(&self) -> &str {
        self.shared.id()
    }

    /// The id of the command's lane.
    pub fn lane_id(&self) -> &str {
        self.shared.lane_id()
    }

    /// Where the command is at this moment.
    ///
    /// Once it [is settled](CommandStatus::is_settled) it never changes again, and [`result`](Self::result) returns at
    /// once.
    pub fn status(&self) -> CommandStatus {
        self.shared.status()
    }

    /// Waits for the command to settle and returns its result.
    ///
    /// May be called any number of times, also at the same time and after the command has settled: every call returns a
    /// copy of the same result. Awaiting the handle itself is the same.
    ///
    /// # Errors
    ///
    /// The error with which the command settled, such as [`LaneError::Cancelled`](crate::LaneError::Cancelled).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future changes nothing for the command and loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{CommandHandle, Result};
    ///
    /// async fn answer(handle: &CommandHandle) -> Result<String> {
    ///     Ok(handle.result().await?["answer"].to_string())
    /// }
    /// ```
    pub async fn result(&self) -> Result<Value> {
        ResultFuture::new(self.shared.clone(), self.loan.clone()).await
    }

    /// Cancels the command; returns whether it could be.
    ///
    /// A pending command leaves its lane and settles at once. A running one is asked to stop, and settles when it has
    /// stopped: a command that completes all the same is completed. `false` when the outcome is already decided.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{CommandHandle, Result};
    ///
    /// async fn stopped(handle: CommandHandle) -> Result<serde_json::Value> {
    ///     handle.cancel();
    ///     // `LaneError::Cancelled`, unless it completed before it could be stopped.
    ///     handle.await
    /// }
    /// ```
    pub fn cancel(&self) -> bool {
        self.shared.cancel()
    }

    /// Where the command is and why it waits; `None` once it has settled.
    pub fn explain(&self) -> Option<Explanation> {
        self.shared.explain()
    }

    /// How far the command is, as it reports itself: the newest value, then every newer one.
    ///
    /// # Examples
    ///
    /// ```
    /// async fn print_progress(handle: &a3s_lane::CommandHandle) {
    ///     let mut progress = handle.progress();
    ///     while let Some(value) = progress.recv().await {
    ///         println!("{value}");
    ///     }
    /// }
    /// ```
    pub fn progress(&self) -> ProgressStream {
        ProgressStream::new(self.shared.clone(), self.loan.clone())
    }

    /// The command's partial results, from the first one, however late this is called.
    ///
    /// # Examples
    ///
    /// ```
    /// async fn print_answer(handle: &a3s_lane::CommandHandle) {
    ///     let mut chunks = handle.chunks();
    ///     while let Some(chunk) = chunks.recv().await {
    ///         print!("{}", chunk.value.as_str().unwrap_or_default());
    ///     }
    /// }
    /// ```
    pub fn chunks(&self) -> ChunkStream {
        ChunkStream::new(self.shared.clone(), self.loan.clone())
    }
}

impl fmt::Debug for CommandHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandle")
            .field("id", &self.id())
            .field("lane_id", &self.lane_id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl IntoFuture for CommandHandle {
    type Output = Result<Value>;
    type IntoFuture = ResultFuture;

    /// The same as [`result`](CommandHandle::result), without borrowing the handle.
    fn into_future(self) -> ResultFuture {
        ResultFuture::new(self.shared, self.loan)
    }
}

/// Waits for the result of a command: what awaiting a [`CommandHandle`] polls.
///
/// # Cancel safety
///
/// Cancel safe: dropping it never cancels the command.
///
/// # Examples
///
/// ```
/// use a3s_lane::CommandHandle;
///
/// async fn both(first: CommandHandle, second: CommandHandle) -> a3s_lane::Result<()> {
///     tokio::try_join!(first.into_future(), second.into_future())?;
///     Ok(())
/// }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct ResultFuture {
    shared: Arc<Shared>,
    place: Option<Place>,
    loan: Option<Arc<Loan>>,
    waiting: Waiting,
}

impl ResultFuture {
    fn new(shared: Arc<Shared>, loan: Option<Arc<Loan>>) -> Self {
        Self {
            shared,
            place: None,
            loan,
            waiting: Waiting::default(),
        }
    }
}

impl Future for ResultFuture {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Poll::Ready(outcome) = this.shared.poll_outcome(&mut this.place, cx) else {
            this.waiting.begin(this.loan.as_ref());
            return Poll::Pending;
        };
        this.waiting = Waiting::default();
        Poll::Ready(match &*outcome {
            Ok(value) => Ok(value.clone()),
            Err(error) => Err(error.duplicate()),
        })
    }
}

impl Drop for ResultFuture {
    fn drop(&mut self) {
        self.shared.leave_outcome(&mut self.place);
    }
}

impl fmt::Debug for ResultFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultFuture")
            .field("id", &self.shared.id())
            .field("status", &self.shared.status())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

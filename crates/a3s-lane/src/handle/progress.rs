//! How far a command is: only the newest value counts.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde_json::Value;
use tokio::task::coop::cooperative;

use super::loan::{Loan, Waiting};
use super::shared::Shared;
use super::wakers::Place;

/// The newest value that a command reported.
#[derive(Default)]
pub(super) struct Progress {
    /// How many values were reported; 0 means none.
    number: u64,
    newest: Arc<Value>,
}

impl Progress {
    pub(super) fn set(&mut self, value: Value) {
        self.number += 1;
        self.newest = Arc::new(value);
    }

    /// The newest value if its number is not `seen`, which it then is.
    pub(super) fn after(&self, seen: &mut u64) -> Option<Arc<Value>> {
        if *seen == self.number {
            return None;
        }
        *seen = self.number;
        Some(self.newest.clone())
    }
}

/// How far a command is, as it reports itself.
///
/// The first value is the newest one at that time, if the command has reported any. A reader that is slower than the
/// command skips values: it always sees the newest. A new attempt starts nothing over: the value of the attempt before
/// stays until there is a newer one. The stream ends when the command has settled and the last value was read.
///
/// # Examples
///
/// ```
/// async fn print_progress(mut progress: a3s_lane::ProgressStream) {
///     while let Some(value) = progress.recv().await {
///         println!("{value}");
///     }
/// }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct ProgressStream {
    shared: Arc<Shared>,
    seen: u64,
    place: Option<Place>,
    loan: Option<Arc<Loan>>,
}

impl ProgressStream {
    pub(super) fn new(shared: Arc<Shared>, loan: Option<Arc<Loan>>) -> Self {
        Self {
            shared,
            seen: 0,
            place: None,
            loan,
        }
    }

    /// Waits for the next value; `None` when the command has settled.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no value is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Value> {
        let (loan, mut waiting) = (self.loan.clone(), Waiting::default());
        poll_fn(|cx| {
            let polled = self.poll_value(cx);
            if polled.is_pending() {
                waiting.begin(loan.as_ref());
            }
            polled
        })
        .await
    }

    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Option<Value>> {
        let next = poll_fn(|cx| {
            self.shared
                .poll_progress(&mut self.seen, &mut self.place, cx)
        });
        // A command that reports without end does not keep its reader's thread to itself.
        let value = std::task::ready!(pin!(cooperative(next)).poll(cx));
        Poll::Ready(value.map(|value| Value::clone(&value)))
    }
}

impl Stream for ProgressStream {
    type Item = Value;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Value>> {
        self.poll_value(cx)
    }
}

impl Drop for ProgressStream {
    fn drop(&mut self) {
        self.shared.leave_progress(&mut self.place);
    }
}

impl fmt::Debug for ProgressStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressStream")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

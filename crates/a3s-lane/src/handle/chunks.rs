//! The partial results of a command: kept from the first one, within bounds.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;
use serde_json::Value;
use tokio::task::coop::cooperative;

use super::loan::{Loan, Waiting};
use super::shared::Shared;
use super::wakers::Place;

/// Most chunks of a command that are kept.
pub(super) const MAX_CHUNKS: usize = 1_024;
/// Most bytes of all chunks of a command that are kept, as JSON text.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// One partial result of a command.
///
/// # Examples
///
/// ```
/// use a3s_lane::Chunk;
///
/// /// The answer so far, without what failed attempts have said.
/// fn append(answer: &mut String, attempt: &mut u32, chunk: &Chunk) {
///     if chunk.attempt != *attempt {
///         answer.clear();
///         *attempt = chunk.attempt;
///     }
///     if chunk.missed > 0 {
///         answer.push('…');
///     }
///     answer.push_str(chunk.value.as_str().unwrap_or_default());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Chunk {
    /// The attempt that gave it, counted from 1.
    pub attempt: u32,
    /// Its number among all chunks of the command, those of earlier attempts included, counted from 0.
    pub index: u64,
    /// How many chunks right before this one the reader was too late for; 0 when it follows on the one before.
    pub missed: u64,
    /// What the command gave.
    pub value: Value,
}

/// The chunks of a command that are still kept.
#[derive(Default)]
pub(super) struct Chunks {
    kept: VecDeque<Kept>,
    /// The index of the oldest one that is kept.
    first: u64,
    bytes: usize,
}

struct Kept {
    attempt: u32,
    value: Arc<Value>,
    bytes: usize,
}

impl Chunks {
    pub(super) fn push(&mut self, attempt: u32, value: Value) {
        let bytes = json_bytes(&value);
        self.bytes = self.bytes.saturating_add(bytes);
        self.kept.push_back(Kept {
            attempt,
            value: Arc::new(value),
            bytes,
        });
        // The newest stays even when it is too large by itself, so that whoever missed something learns of it.
        while self.kept.len() > MAX_CHUNKS || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            let Some(dropped) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= dropped.bytes;
            self.first += 1;
        }
    }

    /// The chunk `next`, or the oldest after it that is kept; `next` is then the one behind it.
    pub(super) fn at(&self, next: &mut u64) -> Option<Found> {
        let index = self.first.max(*next);
        let kept = self.kept.get(usize::try_from(index - self.first).ok()?)?;
        let missed = index - *next;
        *next = index + 1;
        Some(Found {
            attempt: kept.attempt,
            index,
            missed,
            value: kept.value.clone(),
        })
    }
}

/// A chunk whose value is still shared.
pub(super) struct Found {
    attempt: u32,
    index: u64,
    missed: u64,
    value: Arc<Value>,
}

impl Found {
    pub(super) fn into_chunk(self) -> Chunk {
        Chunk {
            attempt: self.attempt,
            index: self.index,
            missed: self.missed,
            value: Arc::unwrap_or_clone(self.value),
        }
    }
}

/// About how long a value is as JSON text: numbers count 8 bytes, escapes nothing.
fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| json_bytes(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| name.len() + json_bytes(value) + 4;
            fields.iter().map(field).sum::<usize>() + 2
        }
    }
}

/// The partial results of a command, in order, from the first one.
///
/// Every reader gets them all, however late it comes, within bounds: the newest 1024 chunks are kept, or fewer when they
/// are more than about 1 MiB as JSON text together, though always the newest one. A reader that comes too late for a
/// dropped chunk is told by [`Chunk::missed`] of the next one.
///
/// A failed attempt's chunks stay, and a retry adds its own: [`Chunk::attempt`] tells them apart. The stream ends when
/// the command has settled and the last chunk was read. Chunks are kept until the last handle and the last stream of the
/// command are dropped.
///
/// # Examples
///
/// ```
/// async fn print_answer(mut chunks: a3s_lane::ChunkStream) {
///     while let Some(chunk) = chunks.recv().await {
///         print!("{}", chunk.value.as_str().unwrap_or_default());
///     }
/// }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct ChunkStream {
    shared: Arc<Shared>,
    next: u64,
    missed: u64,
    place: Option<Place>,
    loan: Option<Arc<Loan>>,
}

impl ChunkStream {
    pub(super) fn new(shared: Arc<Shared>, loan: Option<Arc<Loan>>) -> Self {
        Self {
            shared,
            next: 0,
            missed: 0,
            place: None,
            loan,
        }
    }

    /// Waits for the next chunk; `None` when the command has settled and all were read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no chunk is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Chunk> {
        let (loan, mut waiting) = (self.loan.clone(), Waiting::default());
        poll_fn(|cx| {
            let polled = self.poll_chunk(cx);
            if polled.is_pending() {
                waiting.begin(loan.as_ref());
            }
            polled
        })
        .await
    }

    /// How many chunks this stream has missed so far because it came too late for them.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let next = poll_fn(|cx| self.shared.poll_chunk(&mut self.next, &mut self.place, cx));
        // A command that streams without end does not keep its reader's thread to itself.
        let chunk = std::task::ready!(pin!(cooperative(next)).poll(cx));
        self.missed += chunk.as_ref().map_or(0, |chunk| chunk.missed);
        Poll::Ready(chunk)
    }
}

impl Stream for ChunkStream {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.poll_chunk(cx)
    }
}

impl Drop for ChunkStream {
    fn drop(&mut self) {
        self.shared.leave_chunks(&mut self.place);
    }
}

impl fmt::Debug for ChunkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkStream")
            .field("shared", &self.shared)
            .field("next", &self.next)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_about_those_of_the_text() {
        for value in [
            json!(null),
            json!(false),
            json!("hello"),
            json!(["a", "bc", null]),
            json!({"a": "b", "name": ["x"], "empty": {}}),
        ] {
            let (estimate, text) = (json_bytes(&value), value.to_string().len());
            assert!(estimate.abs_diff(text) <= 2, "{value}: {estimate} {text}");
        }
        assert_eq!(json_bytes(&json!(1)), 8);
    }
}

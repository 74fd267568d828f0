//! Where events come out.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use tokio::task::coop::{cooperative, unconstrained};
use tokio_util::sync::{CancellationToken, ReusableBoxFuture, WaitForCancellationFutureOwned};

use super::record::Record;
use super::{EventEmitter, LaneEvent, events};

type Filter = Box<dyn Fn(&LaneEvent) -> bool + Send + Sync>;
type Received = (Result<Record, RecvError>, broadcast::Receiver<Record>);

/// The events of a queue, in order, from the moment of subscription.
///
/// A stream that falls behind by more than the emitter's capacity loses the oldest events and then yields one
/// [`queue.events.lagged`](events::QUEUE_EVENTS_LAGGED) that says how many. A stream from a manager or queue ends after
/// `queue.shutdown.complete`, or when the queue is dropped; a stream from an [`EventEmitter`] ends when the last
/// emitter is dropped.
pub struct EventStream {
    /// Absent while `waiting` has it.
    receiver: Option<broadcast::Receiver<Record>>,
    waiting: ReusableBoxFuture<'static, Received>,
    filter: Option<Filter>,
    closed: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// The queue has ended: what is buffered is still delivered.
    ending: bool,
    ended: bool,
    missed: u64,
}

impl EventStream {
    pub(super) fn new(
        receiver: broadcast::Receiver<Record>,
        filter: Option<Filter>,
        closed: Option<CancellationToken>,
    ) -> Self {
        Self {
            receiver: None,
            waiting: ReusableBoxFuture::new(receive(receiver)),
            filter,
            closed: closed.map(|token| Box::pin(token.cancelled_owned())),
            ending: false,
            ended: false,
            missed: 0,
        }
    }

    /// A stream that ends when `closed` is cancelled and all events before that were delivered.
    pub(crate) fn until(
        emitter: &EventEmitter,
        closed: CancellationToken,
        filter: Option<Filter>,
    ) -> Self {
        Self::new(emitter.receiver(), filter, Some(closed))
    }

    /// Waits for the next event; `None` when the stream has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<LaneEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// How many events this stream has lost so far because it was too slow.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<LaneEvent>> {
        while !self.ended {
            let received = if self.ending {
                self.poll_record(cx)
            } else {
                // Takes part in tokio's cooperative budget: a busy stream does not keep a worker thread to itself.
                pin!(cooperative(poll_fn(|cx| self.poll_record(cx)))).poll(cx)
            };
            let event = match received {
                Poll::Ready(Ok(record)) => record.into_event(),
                Poll::Ready(Err(RecvError::Lagged(missed))) => {
                    self.missed = self.missed.saturating_add(missed);
                    return Poll::Ready(Some(lagged(missed)));
                }
                Poll::Ready(Err(RecvError::Closed)) => {
                    self.ended = true;
                    continue;
                }
                Poll::Pending if self.ending => {
                    self.ended = true;
                    continue;
                }
                Poll::Pending => {
                    let Some(closed) = &mut self.closed else {
                        return Poll::Pending;
                    };
                    std::task::ready!(closed.as_mut().poll(cx));
                    // Look once more: the last events came before the end.
                    self.ending = true;
                    continue;
                }
            };
            if self.filter.as_ref().is_none_or(|accepts| accepts(&event)) {
                return Poll::Ready(Some(event));
            }
        }
        Poll::Ready(None)
    }

    /// Pending means that nothing is buffered, never that the cooperative budget is spent.
    #[inline]
    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Result<Record, RecvError>> {
        if let Some(receiver) = &mut self.receiver {
            match receiver.try_recv() {
                Ok(record) => return Poll::Ready(Ok(record)),
                Err(TryRecvError::Lagged(missed)) => {
                    return Poll::Ready(Err(RecvError::Lagged(missed)));
                }
                Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError::Closed)),
                Err(TryRecvError::Empty) => {}
            }
        }
        if let Some(receiver) = self.receiver.take() {
            self.waiting.set(receive(receiver));
        }
        self.poll_waiting(cx)
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<Record, RecvError>> {
        let (received, receiver) = std::task::ready!(self.waiting.poll(cx));
        self.receiver = Some(receiver);
        Poll::Ready(received)
    }
}

async fn receive(mut receiver: broadcast::Receiver<Record>) -> Received {
    let received = unconstrained(receiver.recv()).await;
    (received, receiver)
}

fn lagged(missed: u64) -> LaneEvent {
    LaneEvent::with_map(
        events::QUEUE_EVENTS_LAGGED,
        HashMap::from([("missed".to_owned(), missed.into())]),
    )
}

impl Stream for EventStream {
    type Item = LaneEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LaneEvent>> {
        self.poll_event(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("missed", &self.missed)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

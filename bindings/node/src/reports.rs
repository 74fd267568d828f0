//! Progress and chunks on their way to a JavaScript iterator.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use a3s_lane::{Chunk, ChunkStream, ProgressStream};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use crate::admission::Ticket;
use crate::bridge::Message;
use crate::fault::{Code, guard};
use crate::outcome::promise;
use crate::queue::Queue;
use crate::runtime::runtime;

/// What one command reports, until it has settled.
#[napi]
pub struct NativeReports {
    queue: Arc<Queue>,
    /// Asked for one report at a time, in the order of the calls.
    source: Arc<Mutex<Source>>,
    /// Becomes true when JavaScript wants no more.
    closed: Arc<watch::Sender<bool>>,
}

/// Where reports come from.
pub(crate) enum Source {
    Progress(ProgressStream),
    Chunks(ChunkStream),
    /// The command is not in its lane yet; then the stream is made by the function.
    Late(Ticket, fn(&Ticket) -> Source),
    Ended,
}

impl Source {
    pub(crate) fn progress(ticket: &Ticket) -> Self {
        match ticket.now() {
            Ok(handle) => Self::Progress(handle.progress()),
            Err(None) => Self::Late(ticket.clone(), Self::progress),
            Err(Some(_)) => Self::Ended,
        }
    }

    pub(crate) fn chunks(ticket: &Ticket) -> Self {
        match ticket.now() {
            Ok(handle) => Self::Chunks(handle.chunks()),
            Err(None) => Self::Late(ticket.clone(), Self::chunks),
            Err(Some(_)) => Self::Ended,
        }
    }

    /// The next report as JSON text; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Self::Late(ticket, make) = self {
            // A refusal is told by the result; here it is the end.
            let _ = ticket.handle().await;
            *self = make(ticket);
        }
        match self {
            Self::Progress(stream) => stream.recv().await.map(|value| value.to_string()),
            Self::Chunks(stream) => stream.recv().await.map(|chunk| text(&chunk)),
            Self::Late(..) | Self::Ended => None,
        }
    }
}

/// The value stays text, as results do, so that its integers stay exact.
fn text(chunk: &Chunk) -> String {
    let Chunk {
        attempt,
        index,
        missed,
        value,
        ..
    } = chunk;
    let value = value.to_string();
    json!({"attempt": attempt, "index": index, "missed": missed, "value": value}).to_string()
}

impl NativeReports {
    pub(crate) fn new(queue: &Arc<Queue>, source: Source) -> Self {
        Self {
            queue: Arc::clone(queue),
            source: Arc::new(Mutex::new(source)),
            closed: Arc::new(watch::Sender::new(false)),
        }
    }
}

#[napi]
impl NativeReports {
    /// A promise of the next report as JSON text, without a value when no more will come. Keeps the process alive until
    /// then.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn next<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, source) = (Arc::clone(&self.queue), Arc::clone(&self.source));
            let closed = Arc::clone(&self.closed);
            promise(env, runtime()?, async move {
                let report = unless_closed(&closed, async { source.lock().await.next().await });
                let report = report.await;
                // The queue lives at least as long as the command.
                drop(queue);
                Ok(report)
            })
        })
    }

    /// As `next`, for a thread that hosts the queue: the report is told by `exchange`, under this number.
    #[napi]
    pub fn next_hosted(&self, number: u32) -> Result<(), Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let (source, closed) = (Arc::clone(&self.source), Arc::clone(&self.closed));
            let teller = Arc::downgrade(bridge);
            let next = async move {
                let report = unless_closed(&closed, async { source.lock().await.next().await });
                let report = report.await;
                if let Some(bridge) = teller.upgrade() {
                    bridge.push(Message::Report(number, report));
                }
            };
            self.queue.inside(|_| {
                bridge.event_loop.spawn(next);
                Ok(())
            })
        })
    }

    /// Ends the reports, those that are waited for included. The command goes on.
    #[napi]
    pub fn close(&self) -> Result<(), Code> {
        guard(|| {
            self.closed.send_replace(true);
            Ok(())
        })
    }
}

/// What `work` returns, or `None` once `closed` is true.
async fn unless_closed<T>(
    closed: &watch::Sender<bool>,
    work: impl Future<Output = Option<T>>,
) -> Option<T> {
    let mut closed = closed.subscribe();
    let mut closed = pin!(closed.wait_for(|closed| *closed));
    let mut work = pin!(work);
    poll_fn(|cx| match closed.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx),
    })
    .await
}

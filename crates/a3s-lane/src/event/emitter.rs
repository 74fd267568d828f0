//! Where events go in.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;

use super::record::Record;
use super::{EventStream, LaneEvent, What};
use crate::hint::unlikely;

/// The most events that an emitter holds for a slow subscriber, however large the capacity asked for.
const MAX_CAPACITY: usize = 1 << 20;

/// Sends events to any number of subscribers. Clones share their subscribers.
///
/// Each subscriber may lag behind by `capacity` events; after that it loses the oldest and learns how many.
/// Sending never waits. With nobody listening, sending does nothing.
#[derive(Clone)]
pub struct EventEmitter {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    /// False only while nobody listens. A hint that is put right by the next event after the last listener left.
    listening: AtomicBool,
    records: broadcast::Sender<Record>,
    /// For subscribers that asked for tokio's own receiver; made for the first of them.
    events: OnceLock<broadcast::Sender<LaneEvent>>,
}

impl EventEmitter {
    /// An emitter whose subscribers may lag behind by `capacity` events.
    ///
    /// 0 means 1; more than 2^20 (1,048,576) means 2^20. The buffer is allocated at once, rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MAX_CAPACITY);
        Self {
            shared: Arc::new(Shared {
                capacity,
                listening: AtomicBool::new(false),
                records: broadcast::Sender::new(capacity),
                events: OnceLock::new(),
            }),
        }
    }

    /// Sends an event to all current subscribers. Never waits; with no subscriber the event is dropped.
    pub fn emit(&self, event: LaneEvent) {
        if self.shared.listening.load(Ordering::Relaxed) {
            self.send(Record::now(What::Custom(Arc::new(event))));
        }
    }

    /// Sends what `what` makes, if anybody listens. `what` is not called otherwise.
    #[inline]
    pub(crate) fn report(&self, what: impl FnOnce() -> What) {
        if unlikely(self.shared.listening.load(Ordering::Relaxed)) {
            self.send_what(what);
        }
    }

    /// Whether an event would be sent.
    #[inline]
    pub(crate) fn has_listeners(&self) -> bool {
        self.shared.listening.load(Ordering::Relaxed)
    }

    /// Out of line: what is not sent must not cost room where it is not.
    #[inline(never)]
    fn send_what(&self, what: impl FnOnce() -> What) {
        self.send(Record::now(what()));
    }

    /// Stops building events after the last listener has left.
    #[cold]
    fn stop_listening(&self) {
        self.shared.listening.store(false, Ordering::SeqCst);
        // A subscriber that came in between may have set the flag before this store: look again.
        if self.shared.has_receivers() {
            self.shared.listening.store(true, Ordering::SeqCst);
        }
    }

    fn send(&self, record: Record) {
        let events = self.shared.events.get();
        let mut received = false;
        if let Some(events) = events.filter(|events| events.receiver_count() > 0) {
            received = events.send(record.clone().into_event()).is_ok();
        }
        received |= self.shared.records.send(record).is_ok();
        if !received {
            self.stop_listening();
        }
    }

    /// A receiver of the events from now on, as tokio's broadcast receiver.
    ///
    /// [`subscribe_stream`](Self::subscribe_stream) costs the queue less.
    pub fn subscribe(&self) -> broadcast::Receiver<LaneEvent> {
        let capacity = self.shared.capacity;
        let events = self
            .shared
            .events
            .get_or_init(|| broadcast::Sender::new(capacity));
        let receiver = events.subscribe();
        self.shared.listening.store(true, Ordering::SeqCst);
        receiver
    }

    /// A stream of the events from now on that `filter` accepts.
    ///
    /// The filter runs in the subscriber, on each event.
    pub fn subscribe_filtered(
        &self,
        filter: impl Fn(&LaneEvent) -> bool + Send + Sync + 'static,
    ) -> EventStream {
        EventStream::new(self.receiver(), Some(Box::new(filter)), None)
    }

    /// A stream of the events from now on.
    pub fn subscribe_stream(&self) -> EventStream {
        EventStream::new(self.receiver(), None, None)
    }

    pub(super) fn receiver(&self) -> broadcast::Receiver<Record> {
        let receiver = self.shared.records.subscribe();
        self.shared.listening.store(true, Ordering::SeqCst);
        receiver
    }
}

impl Shared {
    fn has_receivers(&self) -> bool {
        self.records.receiver_count() > 0
            || self
                .events
                .get()
                .is_some_and(|events| events.receiver_count() > 0)
    }
}

impl fmt::Debug for EventEmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventEmitter")
            .field("capacity", &self.shared.capacity)
            .finish_non_exhaustive()
    }
}

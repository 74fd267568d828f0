//! Collects what a queue writes to `tracing` on this thread.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A line of the log.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<String, String>,
    /// The span that it was written in.
    pub(crate) span: Option<String>,
}

impl Line {
    pub(crate) fn message(&self) -> &str {
        self.field("message")
    }

    /// A field's value as it is shown; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// A span.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) parent: Option<u64>,
    pub(crate) follows: Vec<u64>,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) closed: bool,
}

#[derive(Default)]
struct Collected {
    lines: Vec<Line>,
    spans: Vec<Seen>,
}

/// Collects as long as it lives, on the thread that made it.
#[derive(Clone)]
pub(crate) struct Trace {
    collected: Arc<Mutex<Collected>>,
    _guard: Arc<DefaultGuard>,
}

impl Trace {
    pub(crate) fn start() -> Self {
        // With one subscriber in the process, `tracing` asks the thread that comes to a line first whether anybody wants it, and
        // remembers the answer for all threads. With two it asks the subscribers.
        static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
        LazyLock::force(&OTHER);
        let collected = Arc::new(Mutex::new(Collected::default()));
        let layer = Collector(Arc::clone(&collected));
        let guard = tracing::subscriber::set_default(Registry::default().with(layer));
        Self {
            collected,
            _guard: Arc::new(guard),
        }
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.collected.lock().expect("not poisoned").lines.clone()
    }

    /// The lines with this message.
    pub(crate) fn said(&self, message: &str) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|line| line.message() == message);
        lines
    }

    /// The spans of this name, in the order of their creation.
    pub(crate) fn spans(&self, name: &str) -> Vec<Seen> {
        let collected = self.collected.lock().expect("not poisoned");
        let mut spans = collected.spans.clone();
        spans.retain(|span| span.name == name);
        spans
    }
}

struct Collector(Arc<Mutex<Collected>>);

impl Collector {
    fn change(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
        let id = id.into_u64();
        let mut collected = self.0.lock().expect("not poisoned");
        // The registry reuses the ids of closed spans.
        let mut open = collected.spans.iter_mut().rev();
        if let Some(span) = open.find(|span| span.id == id) {
            change(span);
        }
    }
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Seen {
            id: id.into_u64(),
            name: attributes.metadata().name().to_owned(),
            parent: context
                .span(id)
                .and_then(|span| Some(span.parent()?.id().into_u64())),
            ..Seen::default()
        };
        attributes.record(&mut Fields(&mut seen.fields));
        self.0.lock().expect("not poisoned").spans.push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.change(id, |span| values.record(&mut Fields(&mut span.fields)));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        self.change(id, |span| span.follows.push(follows.into_u64()));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(&id, |span| span.closed = true);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let line = Line {
            level: *event.metadata().level(),
            fields,
            span: context.event_span(event).map(|span| span.name().to_owned()),
        };
        self.0.lock().expect("not poisoned").lines.push(line);
    }
}

//! What the core writes to its log, in Python's `logging`.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::guarded;
use crate::interned::interned;
use crate::outbox::{Outbox, Parcel};
use crate::process;

/// One line of the log.
struct Line {
    level: Level,
    text: String,
    file: &'static str,
    line: u32,
    /// Seconds since 1970.
    at: f64,
}

struct Shared {
    generation: u64,
    outbox: Arc<Outbox<Line>>,
}

/// The outbox of this process. What it points to is never freed: a child of `fork` must not touch that of its parent.
static CURRENT: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

/// Writes what the core logs to the logger `a3s_lane`, from now on.
pub(crate) fn install() {
    // Refused where another interpreter of this process has done it: there is one log for the process.
    let _ = tracing::subscriber::set_global_default(Bridge);
}

fn outbox() -> &'static Arc<Outbox<Line>> {
    let seen = CURRENT.load(Ordering::Acquire);
    // SAFETY: a non-null pointer here came from `Box::leak` below and is never freed.
    if let Some(shared) = unsafe { seen.as_ref() }
        && shared.generation == process::generation()
    {
        return &shared.outbox;
    }
    let made = Box::leak(Box::new(Shared {
        generation: process::generation(),
        outbox: Outbox::new(deliver),
    }));
    match CURRENT.compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => &made.outbox,
        // SAFETY: as above; whoever replaced the pointer stored a leaked box.
        Err(winner) => unsafe { &(*winner).outbox },
    }
}

fn deliver(py: Python<'_>, parcel: Parcel<Line>) {
    let delivered = py
        .import(interned!(py, "a3s_lane._logging"))
        .and_then(|module| {
            let module = module.as_any();
            match parcel {
                Parcel::Item(line) => {
                    let level = level_number(line.level);
                    let arguments = (level, line.text, line.file, line.line, line.at);
                    guarded::call_method(module, interned!(py, "write"), arguments)
                }
                Parcel::Lost(count) => {
                    guarded::call_method(module, interned!(py, "note_lost"), (count,))
                }
            }
        });
    if let Err(error) = delivered {
        guarded::report(py, error, None);
    }
}

/// The level as `logging` numbers it.
fn level_number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        _ => 10,
    }
}

/// Puts every line of the core into the outbox. Its callers may hold locks of the engine.
struct Bridge;

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::INFO
            && metadata.target().starts_with("a3s_lane")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        outbox().put(Line {
            level: *metadata.level(),
            text: text.message + &text.fields,
            file: metadata.file().unwrap_or("a3s_lane"),
            line: metadata.line().unwrap_or_default(),
            at: now.map_or(0.0, |since| since.as_secs_f64()),
        });
    }

    // Spans are not enabled.
    fn new_span(&self, _attributes: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

/// A message, and `name=value` for each field.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

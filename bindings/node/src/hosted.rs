//! Commands that a JavaScript function runs.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a3s_lane::{Command, CommandContext, Handler, LaneError};
use serde_json::Value;

use crate::bridge::Bridge;
use crate::calls::{Body, Subject};

/// The most pairs of a lane and a command type that are remembered.
const KINDS: usize = 4_096;

/// A lane and a command type.
pub(crate) struct Kind {
    pub(crate) lane_id: String,
    pub(crate) command_type: String,
    /// JavaScript has a handler for the type.
    handled: AtomicBool,
    /// Commands of this kind that have not settled.
    live: AtomicUsize,
    /// Beyond the bound: counted together with others.
    overflow: Option<Arc<AtomicUsize>>,
}

impl Kind {
    fn new(lane_id: &str, command_type: &str, handled: bool) -> Self {
        Self {
            lane_id: lane_id.to_owned(),
            command_type: command_type.to_owned(),
            handled: AtomicBool::new(handled),
            live: AtomicUsize::new(0),
            overflow: None,
        }
    }

    fn live(&self) -> &AtomicUsize {
        self.overflow.as_deref().unwrap_or(&self.live)
    }
}

/// The kinds of one queue.
#[derive(Default)]
pub(crate) struct Kinds {
    known: Mutex<Known>,
    /// Live commands of kinds that are not remembered.
    others: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Known {
    /// The command types that have a handler.
    handled: HashSet<String>,
    kinds: Vec<Arc<Kind>>,
    /// The number of each, by its lane and its type.
    numbers: HashMap<String, HashMap<String, usize>>,
}

impl Kinds {
    /// The number of a kind that JavaScript will use often; nothing when there are too many.
    pub(crate) fn number(&self, lane_id: &str, command_type: &str) -> Option<usize> {
        let mut known = self.known();
        let of_lane = known.numbers.get(lane_id);
        let number = of_lane.and_then(|types| types.get(command_type)).copied();
        if number.is_some() || known.kinds.len() >= KINDS {
            return number;
        }
        let number = known.kinds.len();
        let handled = known.handled.contains(command_type);
        let kind = Kind::new(lane_id, command_type, handled);
        known.kinds.push(Arc::new(kind));
        let of_lane = known.numbers.entry(lane_id.to_owned()).or_default();
        of_lane.insert(command_type.to_owned(), number);
        Some(number)
    }

    pub(crate) fn get(&self, number: usize) -> Option<Arc<Kind>> {
        self.known().kinds.get(number).cloned()
    }

    /// A kind by its names.
    pub(crate) fn find(&self, lane_id: &str, command_type: &str) -> Arc<Kind> {
        let number = self.number(lane_id, command_type);
        number
            .and_then(|number| self.get(number))
            .unwrap_or_else(|| {
                let handled = self.is_handled(command_type);
                Arc::new(Kind {
                    overflow: Some(Arc::clone(&self.others)),
                    ..Kind::new(lane_id, command_type, handled)
                })
            })
    }

    pub(crate) fn is_handled(&self, command_type: &str) -> bool {
        self.known().handled.contains(command_type)
    }

    pub(crate) fn set_handled(&self, command_type: &str, is_handled: bool) {
        let mut known = self.known();
        if is_handled {
            known.handled.insert(command_type.to_owned());
        } else {
            known.handled.remove(command_type);
        }
        let kinds = known.kinds.iter();
        for kind in kinds.filter(|kind| kind.command_type == command_type) {
            kind.handled.store(is_handled, Ordering::Relaxed);
        }
    }

    /// Whether any type has a handler.
    pub(crate) fn has_handlers(&self) -> bool {
        !self.known().handled.is_empty()
    }

    /// Whether commands that this thread must run have not settled: in one lane, or in any.
    pub(crate) fn is_busy(&self, lane_id: Option<&str>) -> bool {
        let busy = |kind: &Arc<Kind>| {
            kind.live.load(Ordering::Relaxed) > 0
                && kind.handled.load(Ordering::Relaxed)
                && lane_id.is_none_or(|id| kind.lane_id == id)
        };
        self.others.load(Ordering::Relaxed) > 0 || self.known().kinds.iter().any(busy)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a command is called with.
pub(crate) enum Payload {
    /// JavaScript keeps the payload under this number, and the result under that of the call that gave it.
    Token(u32),
    /// As `Token`, with the payload for a dead letter.
    Kept(u32, Value),
    /// The payload and the result leave JavaScript, which may know the command by a number all the same.
    Json(Option<u32>, Value),
}

/// A command from JavaScript: its handler runs it. Without one it returns its payload.
pub(crate) struct HostedCommand {
    bridge: Arc<Bridge>,
    kind: Arc<Kind>,
    payload: Payload,
}

impl HostedCommand {
    pub(crate) fn new(bridge: &Arc<Bridge>, kind: Arc<Kind>, payload: Payload) -> Box<Self> {
        kind.live().fetch_add(1, Ordering::Relaxed);
        Box::new(Self {
            bridge: Arc::clone(bridge),
            kind,
            payload,
        })
    }

    /// What it returns without a handler. `null` stands for a payload that never left JavaScript.
    fn echo(&self) -> Value {
        match &self.payload {
            Payload::Token(_) | Payload::Kept(..) => Value::Null,
            Payload::Json(_, value) => value.clone(),
        }
    }
}

impl Drop for HostedCommand {
    fn drop(&mut self) {
        self.kind.live().fetch_sub(1, Ordering::Relaxed);
    }
}

type BoxFuture<'a> = Pin<Box<dyn Future<Output = a3s_lane::Result<Value>> + Send + 'a>>;

impl Command for HostedCommand {
    fn execute<'life0, 'async_trait>(&'life0 self) -> BoxFuture<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(Ok(self.echo())))
    }

    fn execute_with<'life0, 'life1, 'async_trait>(
        &'life0 self,
        context: &'life1 CommandContext,
    ) -> BoxFuture<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if !self.kind.handled.load(Ordering::Relaxed) {
            return self.execute();
        }
        let subject = match &self.payload {
            Payload::Token(token) | Payload::Kept(token, _) => Subject::Token(*token),
            Payload::Json(token, value) => {
                Subject::Json(*token, self.kind.command_type.clone(), value.to_string())
            }
        };
        Box::pin(Body::new(Arc::clone(&self.bridge), context, subject))
    }

    fn command_type(&self) -> &str {
        &self.kind.command_type
    }

    fn payload(&self) -> Option<Value> {
        match &self.payload {
            Payload::Token(_) => None,
            Payload::Kept(_, value) | Payload::Json(_, value) => Some(value.clone()),
        }
    }

    fn needs_handler(&self) -> bool {
        true
    }
}

/// The handler of a type, for commands of others.
pub(crate) struct HostedHandler {
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) command_type: String,
}

impl Handler for HostedHandler {
    fn handle<'life0, 'async_trait>(
        &'life0 self,
        payload: Value,
        context: CommandContext,
    ) -> BoxFuture<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let subject = Subject::Json(None, self.command_type.clone(), payload.to_string());
        let bridge = Arc::clone(&self.bridge);
        Box::pin(async move { Body::new(bridge, &context, subject).await })
    }
}

/// The error of a handler that failed. `code` is that of the `LaneError` that it has thrown, if it was one.
pub(crate) fn failure(code: Option<&str>, message: &str) -> LaneError {
    let make: fn(String) -> LaneError = match code {
        None | Some("COMMAND_ERROR") => LaneError::CommandError,
        Some("UNRECOVERABLE") => LaneError::UnrecoverableJob,
        Some("CANCELLED") => LaneError::Cancelled,
        Some("EXPIRED") => LaneError::Expired,
        Some("LANE_NOT_FOUND") => LaneError::LaneNotFound,
        Some("QUEUE_ERROR") => LaneError::QueueError,
        Some("CONFIG_ERROR") => LaneError::ConfigError,
        Some("PANICKED") => LaneError::Panicked,
        Some("LANE_FULL") => LaneError::LaneFull,
        Some("NOT_STARTED") => LaneError::NotStarted,
        Some("STORAGE_ERROR") => LaneError::Storage,
        Some("DUPLICATE") => LaneError::Duplicate,
        Some("COMMAND_NOT_FOUND") => LaneError::CommandNotFound,
        Some("LIMITER_NOT_FOUND") => LaneError::LimiterNotFound,
        // Those of a time limit are about the limit of another command, not of this one.
        Some(_) => LaneError::Other,
    };
    // The message of an error that came from the core has the prefix that its text will be given.
    let prefix = make(String::new()).to_string();
    let text = message.strip_prefix(&prefix).unwrap_or(message);
    make(text.to_owned())
}

/// As [`failure`], with the text that shows where it was thrown.
pub(crate) fn failure_at(code: Option<&str>, message: &str, stack: Option<String>) -> LaneError {
    let error = failure(code, message);
    match stack {
        Some(_) => LaneError::raised_at(error.code(), error.to_string(), stack, ()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_and_is_not_prefixed_twice() {
        for (code, message, text) in [
            (None, "boom", "Command execution error: boom"),
            (
                Some("COMMAND_ERROR"),
                "boom",
                "Command execution error: boom",
            ),
            (Some("UNRECOVERABLE"), "no account", "no account"),
            (Some("LANE_FULL"), "Lane is full: x", "Lane is full: x"),
            (
                Some("CANCELLED"),
                "Command was cancelled: x",
                "Command was cancelled: x",
            ),
        ] {
            let error = failure(code, message);
            assert_eq!(error.code(), code.unwrap_or("COMMAND_ERROR"));
            assert_eq!(error.to_string(), text);
        }
        let other = failure(Some("TIMEOUT"), "Command timed out after 1s");
        assert_eq!(other.code(), "OTHER");
        assert_eq!(other.to_string(), "Command timed out after 1s");
    }

    #[test]
    fn a_stack_goes_with_the_error() {
        let stack = Some("at a.js:1".to_owned());
        let error = failure_at(Some("UNRECOVERABLE"), "no account", stack);
        assert_eq!(
            (error.code(), &*error.to_string()),
            ("UNRECOVERABLE", "no account")
        );
        assert_eq!(error.traceback(), Some("at a.js:1"));
        assert!(error.is_unrecoverable());
    }

    #[test]
    fn kinds_are_numbered_once_and_bounded() {
        let kinds = Kinds::default();
        assert_eq!(kinds.number("a", "x"), Some(0));
        assert_eq!(kinds.number("a", "y"), Some(1));
        assert_eq!(kinds.number("a", "x"), Some(0));
        for number in 2..KINDS {
            assert_eq!(kinds.number("b", &number.to_string()), Some(number));
        }
        assert_eq!(kinds.number("c", "x"), None);
        let unknown = kinds.find("c", "x");
        assert_eq!(
            (unknown.lane_id.as_str(), unknown.command_type.as_str()),
            ("c", "x")
        );
        unknown.live().fetch_add(1, Ordering::Relaxed);
        assert!(kinds.is_busy(None), "it may have a handler");
        unknown.live().fetch_sub(1, Ordering::Relaxed);
        assert!(!kinds.is_busy(None));
    }

    #[test]
    fn only_kinds_with_a_handler_keep_their_thread_busy() {
        let kinds = Kinds::default();
        kinds.find("a", "y").live().fetch_add(1, Ordering::Relaxed);
        assert!(!kinds.is_busy(None));
        kinds.set_handled("y", true);
        assert!(kinds.is_busy(None) && kinds.is_busy(Some("a")) && !kinds.is_busy(Some("b")));
        kinds.find("b", "y").live().fetch_add(1, Ordering::Relaxed);
        assert!(
            kinds.is_busy(Some("b")),
            "a kind that is new has the handler too"
        );
        kinds.set_handled("y", false);
        assert!(!kinds.is_busy(None) && !kinds.is_handled("y"));
    }
}

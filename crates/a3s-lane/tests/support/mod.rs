//! What the tests of this folder share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod shelf;
pub(crate) mod trace;
pub(crate) mod vault;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::event::{EventPayload, events};
use a3s_lane::{
    Command, CommandContext, CommandHandle, CommandStatus, EventEmitter, EventStream, LaneConfig,
    LaneError, LaneEvent, LaneOptions, QueueManager, QueueManagerBuilder, Result, SubmitOptions,
    WaitReason,
};
use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

/// What `submit` returns.
pub(crate) type Receiver = oneshot::Receiver<Result<Value>>;

/// Waits for `work`; fails after a minute of tokio's time.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("this takes no minute")
}

/// Runs a test that would block its thread for ever, were it to fail: it gets a thread and a runtime of its own.
pub(crate) fn ends(test: impl AsyncFnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(test());
        done.send(())
    });
    let ended = ended.recv_timeout(Duration::from_secs(60));
    ended.expect("it ends, and does not panic");
}

/// Looks until `holds` is true; fails after a minute of tokio's time.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), look)
        .await
        .is_err()
    {
        panic!("never came true: {what}");
    }
}

/// The result of a command.
pub(crate) async fn outcome(receiver: Receiver) -> Result<Value> {
    within(receiver)
        .await
        .expect("a receiver is always resolved")
}

/// A manager that is not started, with these lanes.
pub(crate) async fn manager_with(lanes: &[(&str, LaneConfig, u8)]) -> QueueManager {
    builder_with(lanes)
        .build()
        .await
        .expect("the settings are right")
}

/// As [`manager_with`], to be configured further.
pub(crate) fn builder_with(lanes: &[(&str, LaneConfig, u8)]) -> QueueManagerBuilder {
    let emitter = EventEmitter::new(1 << 14);
    lanes.iter().fold(
        QueueManagerBuilder::new(emitter),
        |builder, (id, config, priority)| builder.with_lane(*id, config.clone(), *priority),
    )
}

/// A started manager with one lane, `only`.
pub(crate) async fn started(config: LaneConfig) -> QueueManager {
    let manager = manager_with(&[("only", config, 0)]).await;
    manager.start().await.expect("starts");
    manager
}

/// A started manager with one lane, `only`, of one slot.
pub(crate) async fn started_with(options: LaneOptions) -> QueueManager {
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_lane_options("only", options)
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    manager
}

/// Submits to a lane that takes it, with options.
pub(crate) async fn submit_with(
    manager: &QueueManager,
    lane: &str,
    command: Box<dyn Command>,
    options: SubmitOptions,
) -> CommandHandle {
    manager
        .submit_with(lane, command, options)
        .await
        .expect("the command is accepted")
}

/// The result of a command that was submitted with options.
pub(crate) async fn settled(handle: &CommandHandle) -> Result<Value> {
    within(handle.result()).await
}

/// Waits until a command has this status.
pub(crate) async fn reaches(handle: &CommandHandle, status: CommandStatus) {
    eventually(&format!("{handle:?} is {status}"), async || {
        handle.status() == status
    })
    .await;
}

/// Gives every task a turn, many times over, without letting any time pass.
pub(crate) async fn let_others_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// The names of the reasons why a command waits; empty for one that has settled.
pub(crate) fn reasons(handle: &CommandHandle) -> Vec<String> {
    let reasons = handle.explain().map(|explanation| explanation.reasons);
    reasons
        .unwrap_or_default()
        .iter()
        .map(reason_name)
        .collect()
}

fn reason_name(reason: &WaitReason) -> String {
    let reason = serde_json::to_value(reason).expect("a reason is plain data");
    reason["reason"]
        .as_str()
        .expect("a reason has a name")
        .to_owned()
}

/// Submits to a lane that takes it.
pub(crate) async fn submit(
    manager: &QueueManager,
    lane: &str,
    command: Box<dyn Command>,
) -> Receiver {
    manager
        .submit(lane, command)
        .await
        .expect("the command is accepted")
}

/// A command whose every attempt, counted from 1, runs `body`.
pub(crate) fn command<F, Fut>(command_type: &str, body: F) -> Box<dyn Command>
where
    F: Fn(u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    Box::new(Closure {
        command_type: command_type.to_owned(),
        attempts: AtomicU32::new(0),
        body,
    })
}

struct Closure<F> {
    command_type: String,
    attempts: AtomicU32,
    body: F,
}

#[async_trait]
impl<F, Fut> Command for Closure<F>
where
    F: Fn(u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    async fn execute(&self) -> Result<Value> {
        (self.body)(self.attempts.fetch_add(1, Ordering::SeqCst) + 1).await
    }

    fn command_type(&self) -> &str {
        &self.command_type
    }
}

/// A command whose every attempt runs `body` with the context of the attempt.
pub(crate) fn contextual<F, Fut>(command_type: &str, body: F) -> Box<dyn Command>
where
    F: Fn(CommandContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    Box::new(Contextual {
        command_type: command_type.to_owned(),
        body,
    })
}

struct Contextual<F> {
    command_type: String,
    body: F,
}

#[async_trait]
impl<F, Fut> Command for Contextual<F>
where
    F: Fn(CommandContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    async fn execute(&self) -> Result<Value> {
        Err(LaneError::Other("the queue calls execute_with".to_owned()))
    }

    async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
        (self.body)(context.clone()).await
    }

    fn command_type(&self) -> &str {
        &self.command_type
    }
}

/// A command that does nothing and returns null.
pub(crate) fn nothing(command_type: &str) -> Box<dyn Command> {
    command(command_type, |_| async { Ok(Value::Null) })
}

/// A command that always fails.
pub(crate) fn failing(command_type: &str) -> Box<dyn Command> {
    command(command_type, |_| async {
        Err(LaneError::CommandError("no".to_owned()))
    })
}

/// A command that never ends.
pub(crate) fn endless(command_type: &str) -> Box<dyn Command> {
    command(command_type, |_| std::future::pending())
}

/// Holds back any number of commands until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// A command that waits at the gate and returns null.
    pub(crate) fn command(&self, command_type: &str) -> Box<dyn Command> {
        let gate = self.clone();
        command(command_type, move |_| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(Value::Null)
            }
        })
    }

    pub(crate) async fn pass(&self) {
        self.0.acquire().await.expect("never closed").forget();
    }

    /// Lets `count` waiters through.
    pub(crate) fn let_through(&self, count: usize) {
        self.0.add_permits(count);
    }

    pub(crate) fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

/// A list that commands write to.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, entry: impl Into<String>) {
        self.0.lock().expect("not poisoned").push(entry.into());
    }

    pub(crate) fn clear(&self) {
        self.0.lock().expect("not poisoned").clear();
    }

    pub(crate) fn entries(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// A command that writes its type when it runs.
    pub(crate) fn command(&self, command_type: &str) -> Box<dyn Command> {
        let (log, entry) = (self.clone(), command_type.to_owned());
        command(command_type, move |_| {
            log.push(&*entry);
            async { Ok(Value::Null) }
        })
    }
}

/// A string in an event's payload.
pub(crate) fn field<'a>(event: &'a LaneEvent, name: &str) -> Option<&'a str> {
    map(event)?.get(name)?.as_str()
}

/// The values in an event's payload.
pub(crate) fn map(event: &LaneEvent) -> Option<&HashMap<String, Value>> {
    match &event.payload {
        EventPayload::Map(map) => Some(map),
        _ => None,
    }
}

/// The events that came until one with this key, which is the last.
pub(crate) async fn events_until(stream: &mut EventStream, key: &str) -> Vec<LaneEvent> {
    let mut seen = Vec::new();
    loop {
        let event = within(stream.recv()).await;
        let event = event.unwrap_or_else(|| panic!("the stream ended before {key}: {seen:?}"));
        seen.push(event);
        if seen.last().is_some_and(|event| event.key == key) {
            return seen;
        }
    }
}

/// Shuts down, waits until the queue is empty and returns all events of `stream`.
pub(crate) async fn finish(manager: &QueueManager, stream: &mut EventStream) -> Vec<LaneEvent> {
    manager.shutdown().await;
    manager
        .drain(Duration::from_secs(60))
        .await
        .expect("the queue becomes empty");
    let seen = events_until(stream, events::QUEUE_SHUTDOWN_COMPLETE).await;
    assert!(within(stream.recv()).await.is_none(), "the stream ends");
    seen
}

/// Events as words: `started a`, `submitted only`, `shutdown.started`. A command is named by its type.
pub(crate) fn words(events: &[LaneEvent]) -> Vec<String> {
    let mut types = HashMap::new();
    events
        .iter()
        .map(|event| {
            let key = event.key.as_str();
            let kind = key
                .strip_prefix("queue.command.")
                .or(key.strip_prefix("queue."))
                .unwrap_or(key);
            let id = field(event, "command_id");
            if let (Some(id), Some(name)) = (id, field(event, "command_type")) {
                types.insert(id, name);
            }
            let subject = match id {
                Some(id) => types.get(id).copied().or(Some("?")),
                None => field(event, "lane_id"),
            };
            match subject {
                Some(subject) => format!("{kind} {subject}"),
                None => kind.to_owned(),
            }
        })
        .collect()
}

//! How the bodies of a scenario's commands are written: the same scripts, three ways.

use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use a3s_lane::testing::{ScriptedCommand, Step};
use a3s_lane::{Command, CommandContext, EventLoop, JsonCommand, QueueManager, Result};
use serde_json::Value;

/// Where a command's script is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// By the command itself.
    Command,
    /// By the handler of its type.
    Handler,
    /// By the handler of its type, on an event loop in a thread of its own.
    HandlerOnLoop,
}

impl Written {
    pub(crate) const WAYS: [Self; 3] = [Self::Command, Self::Handler, Self::HandlerOnLoop];
}

/// Makes the commands of one scenario.
pub(crate) struct Bodies {
    written: Written,
    event_loop: Option<Arc<EventLoop>>,
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl Bodies {
    pub(crate) fn new(written: Written) -> Self {
        Self {
            written,
            event_loop: (written == Written::HandlerOnLoop).then(loop_in_a_thread),
        }
    }

    /// A command of the type `name` that follows `script`.
    pub(crate) fn command(
        &self,
        manager: &QueueManager,
        name: &str,
        script: &[Vec<Step>],
    ) -> Box<dyn Command> {
        if self.written == Written::Command {
            return Box::new(ScriptedCommand::new(name, script.to_vec()));
        }
        let handler = handler(name);
        match &self.event_loop {
            None => manager.register_handler(name, handler),
            Some(event_loop) => {
                manager.register_handler_on(name, handler, event_loop.clone());
            }
        }
        let payload = serde_json::to_value(script).expect("a script is data");
        Box::new(JsonCommand::new(name, payload))
    }
}

/// Plays the script that is its payload. Attempts are counted for each command, as a scripted command counts its own.
fn handler(
    name: &str,
) -> impl Fn(Value, CommandContext) -> futures::future::BoxFuture<'static, Result<Value>> + use<> {
    let name = name.to_owned();
    let commands: Mutex<HashMap<String, Arc<ScriptedCommand>>> = Mutex::default();
    move |payload, context| {
        let mut commands = commands.lock().expect("nothing panics under it");
        let command = commands.entry(context.id().to_owned()).or_insert_with(|| {
            let command = ScriptedCommand::from_json(&name, &payload);
            Arc::new(command.expect("the player has made the script"))
        });
        let command = Arc::clone(command);
        Box::pin(async move { command.execute_with(&context).await })
    }
}

/// An event loop with a thread that does nothing else. Ends with the last handle of the loop.
fn loop_in_a_thread() -> Arc<EventLoop> {
    let (wake, woken) = channel();
    let event_loop = EventLoop::new(move || _ = wake.send(()));
    let turned = Arc::downgrade(&event_loop);
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        // Bodies sleep by tokio's timers.
        let _runtime = runtime.enter();
        while let (Ok(()), Some(event_loop)) = (woken.recv(), turned.upgrade()) {
            event_loop.turn();
        }
    });
    event_loop
}

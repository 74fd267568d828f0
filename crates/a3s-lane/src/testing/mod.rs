//! Tools for tests of code that uses lanes.

mod clock;
mod drain;
mod log;
mod storage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::Command;
use crate::context::CommandContext;
use crate::error::{LaneError, Result};
use crate::submission::SubmitOptions;

pub use clock::ManualClock;
pub use drain::{drain_now, run_ready};
pub use log::{SubmissionLog, Submitted};
pub use storage::{StorageLevel, storage_conformance};

/// To be called first by a model that ends its runtime.
#[cfg(shuttle)]
#[doc(hidden)]
pub fn begin_runtime() {
    crate::engine::model::begin_runtime();
}

/// Ends the runtime of a model: every task of the queue that is suspended, or comes later, is dropped.
#[cfg(shuttle)]
#[doc(hidden)]
pub fn end_runtime() {
    crate::engine::model::end_runtime();
}

/// What a manager of a test does differently.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) clock: Option<ManualClock>,
    /// A submission returns when nothing can run any more without time going on.
    pub(crate) inline: bool,
    pub(crate) log: Option<SubmissionLog>,
}

/// One thing that an attempt of a [`ScriptedCommand`] does.
///
/// As JSON each step is an object with one key: `{"sleep_ms": 20}`, `{"fail": "boom"}`, `{"heartbeat": {}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Step {
    /// Waits that many milliseconds of tokio's time.
    SleepMs(u64),
    /// Ends the attempt with [`LaneError::CommandError`] and this text.
    Fail(String),
    /// Ends the attempt with [`LaneError::unrecoverable`] and this text: it is not retried.
    Unrecoverable(String),
    /// Panics with this text.
    Panic(String),
    /// Ends the attempt with this value.
    Return(Value),
    /// Ends the attempt with the [metadata](CommandContext::metadata) of the command as an object.
    ReturnMetadata {},
    /// Tells [how far it is](CommandContext::progress).
    Progress(Value),
    /// Hands out a [part of the result](CommandContext::emit).
    Emit(Value),
    /// Gives a [sign of life](CommandContext::heartbeat).
    Heartbeat {},
    /// Says what it [really costs](CommandContext#method.settle_cost). Does nothing without the feature `distributed`.
    SettleCost(u64),
    /// Waits until the attempt is [asked to stop](CommandContext::cancellation), then goes on with the next step.
    AwaitCancel {},
    /// Submits a [child](CommandContext::submit_child) that follows a script of its own, and waits for it: goes on when the
    /// child has completed, and else ends the attempt with the child's error.
    Child {
        /// The child's lane.
        lane_id: String,
        /// What kind of work the child is.
        command_type: String,
        /// What the child's attempts do.
        script: Vec<Vec<Step>>,
    },
}

/// A command whose attempts follow a script.
///
/// Attempt `k`, counted from 1, runs entry `k` of the script; once the entries have run out the last one repeats. A
/// preempted attempt counts here, unlike in [`CommandContext::attempt`]. An attempt whose steps end without a value, a
/// failure or a panic returns null, and so does every attempt of an empty script. Its payload is the script, so a storage
/// can bring it back.
///
/// Called without a context, [`execute`](Command::execute) has nobody to report to and no metadata, waits for ever
/// to be asked to stop, and runs a child itself.
///
/// # Examples
///
/// Fails at first, then returns 7:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use a3s_lane::Command;
/// use a3s_lane::testing::{ScriptedCommand, Step};
///
/// let command = ScriptedCommand::new(
///     "flaky",
///     vec![vec![Step::Fail("boom".into())], vec![Step::Return(7.into())]],
/// );
/// assert!(command.execute().await.is_err());
/// assert_eq!(command.execute().await?, 7);
/// assert_eq!(command.attempts(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ScriptedCommand {
    command_type: String,
    script: Vec<Vec<Step>>,
    attempts: Arc<AtomicU32>,
}

impl ScriptedCommand {
    /// A command of the given type with one list of steps per attempt.
    pub fn new(command_type: impl Into<String>, attempts: Vec<Vec<Step>>) -> Self {
        Self {
            command_type: command_type.into(),
            script: attempts,
            attempts: Arc::default(),
        }
    }

    /// A command whose script is a JSON list with one list of steps per attempt.
    ///
    /// # Errors
    ///
    /// [`LaneError::ConfigError`] when the JSON is not such a list.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::testing::ScriptedCommand;
    /// use serde_json::json;
    ///
    /// let script = json!([[{"sleep_ms": 20}, {"fail": "boom"}], [{"return": {"ok": true}}]]);
    /// assert!(ScriptedCommand::from_json("flaky", &script).is_ok());
    /// ```
    pub fn from_json(command_type: impl Into<String>, script: &Value) -> Result<Self> {
        Vec::<Vec<Step>>::deserialize(script)
            .map(|attempts| Self::new(command_type, attempts))
            .map_err(|error| {
                LaneError::ConfigError(format!("script must be a list of lists of steps: {error}"))
            })
    }

    /// How many attempts have begun.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::SeqCst)
    }

    /// The counter behind [`attempts`](Self::attempts), to be read after the command was submitted.
    pub fn attempt_counter(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.attempts)
    }

    async fn play(&self, context: Option<&CommandContext>) -> Result<Value> {
        let index = self.attempts.fetch_add(1, Ordering::SeqCst) as usize;
        let steps = self.script.get(index).or(self.script.last());
        for step in steps.into_iter().flatten() {
            match step {
                Step::SleepMs(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
                Step::Fail(message) => return Err(LaneError::CommandError(message.clone())),
                Step::Unrecoverable(message) => {
                    return Err(LaneError::unrecoverable(message.clone()));
                }
                Step::Panic(message) => panic!("{message}"),
                Step::Return(value) => return Ok(value.clone()),
                Step::ReturnMetadata {} => {
                    let metadata = context.map(|context| context.metadata().clone());
                    return Ok(Value::Object(metadata.unwrap_or_default()));
                }
                Step::AwaitCancel {} => match context {
                    Some(context) => context.cancellation().cancelled_owned().await,
                    None => std::future::pending().await,
                },
                Step::Child {
                    lane_id,
                    command_type,
                    script,
                } => {
                    let child = Self::new(command_type, script.clone());
                    run_child(lane_id, child, context).await?;
                }
                Step::Progress(_) | Step::Emit(_) | Step::Heartbeat {} | Step::SettleCost(_) => {
                    if let Some(context) = context {
                        report(step, context);
                    }
                }
            }
        }
        Ok(Value::Null)
    }
}

/// Waits for a child.
async fn run_child(
    lane_id: &str,
    child: ScriptedCommand,
    context: Option<&CommandContext>,
) -> Result<Value> {
    let Some(context) = context else {
        return child.execute().await;
    };
    let options = SubmitOptions::new();
    let child = context.submit_child(lane_id, Box::new(child), options);
    child.await?.await
}

/// Tells the queue something.
fn report(step: &Step, context: &CommandContext) {
    match step {
        Step::Progress(value) => context.progress(value.clone()),
        Step::Emit(value) => context.emit(value.clone()),
        Step::Heartbeat {} => context.heartbeat(),
        #[cfg(feature = "distributed")]
        Step::SettleCost(cost) => context.settle_cost(*cost),
        _ => {}
    }
}

#[async_trait]
impl Command for ScriptedCommand {
    async fn execute(&self) -> Result<Value> {
        self.play(None).await
    }

    async fn execute_with(&self, context: &CommandContext) -> Result<Value> {
        self.play(Some(context)).await
    }

    fn command_type(&self) -> &str {
        &self.command_type
    }

    fn payload(&self) -> Option<Value> {
        serde_json::to_value(&self.script).ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    fn scripted(script: Value) -> ScriptedCommand {
        ScriptedCommand::from_json("scripted", &script).expect("a legal script")
    }

    #[tokio::test]
    async fn attempts_follow_the_script_and_the_last_entry_repeats() {
        let command = scripted(json!([[{"fail": "one"}], [{"return": 2}], [{"return": [3]}]]));
        assert_eq!(command.attempts(), 0);
        let error = command
            .execute()
            .await
            .expect_err("the first attempt fails");
        assert!(matches!(error, LaneError::CommandError(text) if text == "one"));
        let mut values = Vec::new();
        for _ in 0..3 {
            values.push(command.execute().await.expect("later attempts return"));
        }
        assert_eq!(values, [json!(2), json!([3]), json!([3])]);
        assert_eq!(command.attempts(), 4);
        assert_eq!(command.attempt_counter().load(Ordering::SeqCst), 4);
        assert_eq!(command.command_type(), "scripted");
    }

    #[tokio::test(start_paused = true)]
    async fn steps_run_in_order_until_one_ends_the_attempt() {
        let command = scripted(
            json!([[{"sleep_ms": 20}, {"sleep_ms": 30}, {"return": 1}, {"panic": "not reached"}]]),
        );
        let start = Instant::now();
        assert_eq!(command.execute().await.expect("returns"), 1);
        assert!(start.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn an_attempt_without_an_end_returns_null() {
        for script in [json!([]), json!([[]]), json!([[{"sleep_ms": 0}]])] {
            assert_eq!(
                scripted(script).execute().await.expect("returns"),
                Value::Null
            );
        }
    }

    #[tokio::test]
    async fn without_a_context_there_is_nobody_to_report_to() {
        let reports = json!([{"progress": 1}, {"emit": 2}, {"heartbeat": {}}, {"settle_cost": 3}]);
        let mut script = json!([reports, [{"return_metadata": {}}], [{"await_cancel": {}}]]);
        script[0]
            .as_array_mut()
            .expect("a list")
            .push(json!({"return": 4}));
        let command = scripted(script);
        assert_eq!(command.execute().await.expect("returns"), 4);
        assert_eq!(command.execute().await.expect("returns"), json!({}));
        assert!(command.execute().now_or_never().is_none(), "it waits");
    }

    #[tokio::test]
    async fn an_unrecoverable_failure_says_so() {
        let error = scripted(json!([[{"unrecoverable": "no such user"}]]))
            .execute()
            .await
            .expect_err("the attempt fails");
        assert!(error.is_unrecoverable(), "{error:?}");
        assert_eq!(error.to_string(), "no such user");
    }

    #[tokio::test]
    async fn without_a_context_a_child_runs_in_place() {
        let child = |script: Value| json!({"child": {"lane_id": "any", "command_type": "child", "script": script}});
        let command = scripted(json!([
            [child(json!([[{"fail": "child"}]])), {"return": 1}],
            [child(json!([[{"return": "child"}]])), {"return": 2}]
        ]));
        let error = command.execute().await.expect_err("its child fails");
        assert!(matches!(error, LaneError::CommandError(text) if text == "child"));
        assert_eq!(command.execute().await.expect("returns"), 2);
    }

    #[tokio::test]
    async fn panics_carry_their_text() {
        let command = scripted(json!([[{"panic": "boom"}]]));
        let panic = std::panic::AssertUnwindSafe(command.execute())
            .catch_unwind()
            .await
            .expect_err("the attempt panics");
        assert_eq!(
            panic.downcast_ref::<String>().map(String::as_str),
            Some("boom")
        );
        assert_eq!(command.attempts(), 1);
    }

    #[test]
    fn wrong_scripts_are_refused() {
        for script in [
            json!({}),
            json!([1]),
            json!([[{"jump": 1}]]),
            json!([[{"sleep_ms": -1}]]),
            json!([[{"heartbeat": {"loud": true}}]]),
            json!([[{"settle_cost": -1}]]),
            json!([[{"child": {"lane_id": "a", "command_type": "b"}}]]),
        ] {
            let error = ScriptedCommand::from_json("x", &script).expect_err("not a script");
            let text = error.to_string();
            assert!(
                text.starts_with("Configuration error: script must be a list of lists of steps: "),
                "{text}"
            );
        }
    }

    #[test]
    fn the_payload_is_the_script() {
        let script = json!([[{"sleep_ms": 1}, {"fail": "a"}], [{"panic": "b"}], [{"return": null}],
                   [{"progress": {"page": 1}}, {"emit": [1]}, {"heartbeat": {}}, {"settle_cost": 2},
                    {"await_cancel": {}}, {"return_metadata": {}}],
                   [{"child": {"lane_id": "l", "command_type": "t", "script": [[{"unrecoverable": "c"}]]}}]]);
        assert_eq!(scripted(script.clone()).payload(), Some(script));
    }
}

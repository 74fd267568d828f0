//! Code for commands that are data.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use a3s_lane::{
    CommandContext, Handler, HandlerCall, JsonCommand, LaneConfig, LaneError, LaneOptions,
    QueueManager, Result, RetryPolicy, SubmitOptions, typed,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::util::MapRequestLayer;

use crate::support::{Gate, builder_with, let_others_run, settled, started_with, submit_with};

async fn run(manager: &QueueManager, command_type: &str, payload: Value) -> Result<Value> {
    let command = Box::new(JsonCommand::new(command_type, payload));
    settled(&submit_with(manager, "only", command, SubmitOptions::new()).await).await
}

/// A handler that returns its payload with a word.
fn says(word: &'static str) -> impl Handler + 'static {
    move |payload: Value, _: CommandContext| async move { Ok(json!([word, payload])) }
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_the_type_runs_the_command() {
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_handler("a", says("first"))
        .with_handler("a", says("a"))
        .with_handler("b", says("b"))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    assert_eq!(
        run(&manager, "a", json!(1)).await.expect("it runs"),
        json!(["a", 1])
    );
    assert_eq!(
        run(&manager, "b", json!(2)).await.expect("it runs"),
        json!(["b", 2])
    );
    assert_eq!(
        run(&manager, "c", json!(3)).await.expect("it echoes"),
        json!(3)
    );
}

#[tokio::test(start_paused = true)]
async fn handlers_come_and_go_at_run_time() {
    let manager = started_with(LaneOptions::new()).await;
    assert_eq!(
        run(&manager, "a", json!(1)).await.expect("it echoes"),
        json!(1)
    );
    manager.register_handler("a", says("one"));
    assert_eq!(
        run(&manager, "a", json!(1)).await.expect("it runs"),
        json!(["one", 1])
    );
    manager.register_handler("a", says("two"));
    assert_eq!(
        run(&manager, "a", json!(1)).await.expect("it runs"),
        json!(["two", 1])
    );
    assert!(manager.remove_handler("a"));
    assert!(!manager.remove_handler("a"));
    assert_eq!(
        run(&manager, "a", json!(1)).await.expect("it echoes"),
        json!(1)
    );
}

/// A replacement counts from the next attempt on: a running one keeps its handler.
#[tokio::test(start_paused = true)]
async fn a_replaced_handler_ends_its_attempt() {
    let manager = started_with(LaneOptions::new()).await;
    let gate = Gate::new();
    let held = gate.clone();
    manager.register_handler("a", move |_: Value, _: CommandContext| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Err(LaneError::CommandError("old".to_owned()))
        }
    });
    let retry = SubmitOptions::new().with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
    let command = Box::new(JsonCommand::new("a", json!(1)));
    let handle = submit_with(&manager, "only", command, retry).await;
    let_others_run().await;
    manager.register_handler("a", says("new"));
    gate.open();
    assert_eq!(
        settled(&handle).await.expect("its second attempt"),
        json!(["new", 1])
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_the_context_of_its_attempt() {
    let manager = started_with(LaneOptions::new()).await;
    manager.register_handler("a", |payload: Value, context: CommandContext| async move {
        if context.attempt() == 1 {
            return Err(LaneError::CommandError("once".to_owned()));
        }
        context.emit("part");
        Ok(json!([
            payload,
            context.id(),
            context.attempt(),
            context.metadata()["user"]
        ]))
    });
    let options = SubmitOptions::new()
        .with_id("x")
        .with_metadata("user", 7)
        .with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
    let command = Box::new(JsonCommand::new("a", json!("p")));
    let handle = submit_with(&manager, "only", command, options).await;
    assert_eq!(
        settled(&handle).await.expect("it runs"),
        json!(["p", "x", 2, 7])
    );
    assert_eq!(handle.chunks().recv().await.expect("a chunk").value, "part");
}

#[derive(Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

/// A payload that does not fit fails for good: no retry can mend it.
#[tokio::test(start_paused = true)]
async fn typed_handlers_refuse_what_does_not_fit() {
    let manager = started_with(LaneOptions::new()).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let add = typed(move |add: Add, _context| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { Ok(Sum { sum: add.a + add.b }) }
    });
    manager.register_handler("add", add);
    let sum = run(&manager, "add", json!({"a": 2, "b": 3})).await;
    assert_eq!(sum.expect("it fits"), json!({"sum": 5}));
    let mut stream = manager.subscribe();
    let command = Box::new(JsonCommand::new("add", json!({"a": 2})));
    let retry = SubmitOptions::new().with_retry_policy(RetryPolicy::fixed(3, Duration::ZERO));
    let handle = submit_with(&manager, "only", command, retry).await;
    let error = settled(&handle).await.expect_err("b is missing");
    assert!(error.is_unrecoverable());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let events = crate::support::words(&crate::support::finish(&manager, &mut stream).await);
    assert!(
        !events.iter().any(|event| event.starts_with("retry")),
        "{events:?}"
    );
}

/// A layer's work is part of the attempt, and its errors are those of the command.
#[tokio::test(start_paused = true)]
async fn layers_are_part_of_the_attempt() {
    let manager = started_with(LaneOptions::new()).await;
    let layered = says("inner").layered(MapRequestLayer::new(|mut call: HandlerCall| {
        call.payload = json!(call.payload.as_i64().unwrap_or_default() + 1);
        call
    }));
    manager.register_handler("layered", layered);
    let result = run(&manager, "layered", json!(1)).await;
    assert_eq!(result.expect("it runs"), json!(["inner", 2]));
    let forever = |_: Value, _: CommandContext| std::future::pending::<Result<Value>>();
    let layer = tower::timeout::TimeoutLayer::new(Duration::from_secs(5));
    manager.register_handler("slow", forever.layered(layer));
    let error = run(&manager, "slow", json!(1))
        .await
        .expect_err("it is cut off");
    assert_eq!(error.code(), "COMMAND_ERROR");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_handler_is_a_failed_attempt() {
    let manager = started_with(LaneOptions::new()).await;
    let panics = |_: Value, _: CommandContext| async { panic!("oh") };
    manager.register_handler("a", panics);
    let error = run(&manager, "a", json!(1)).await.expect_err("it panics");
    assert_eq!(error.to_string(), "Command panicked: oh");
    assert_eq!(
        run(&manager, "b", json!(2))
            .await
            .expect("the slot is free"),
        json!(2)
    );
}

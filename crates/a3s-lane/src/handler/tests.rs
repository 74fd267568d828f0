use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::timeout::TimeoutLayer;
use tower::util::{MapRequestLayer, MapResponseLayer};

use super::*;
use crate::error::LaneError;

async fn run(handler: &impl Handler, payload: Value) -> Result<Value> {
    handler.handle(payload, CommandContext::idle()).await
}

async fn echo(payload: Value, _context: CommandContext) -> Result<Value> {
    Ok(payload)
}

#[tokio::test]
async fn functions_closures_and_shared_handlers_are_handlers() {
    assert_eq!(run(&echo, json!(1)).await.expect("it echoes"), json!(1));
    let greeting = "hello".to_owned();
    let greet = move |payload: Value, _: CommandContext| {
        let text = format!("{greeting} {payload}");
        async move { Ok(json!(text)) }
    };
    let shared: Arc<dyn Handler> = Arc::new(greet);
    for _ in 0..2 {
        let answer = run(&shared, json!(7)).await.expect("it greets");
        assert_eq!(answer, json!("hello 7"));
    }
}

#[derive(Debug, Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

#[tokio::test]
async fn typed_handlers_take_and_return_types() {
    let add = typed(|sum: Add, _| async move { Ok((sum.a + sum.b, "sum")) });
    let answer = run(&add.clone(), json!({"a": 2, "b": 3})).await;
    assert_eq!(answer.expect("it fits"), json!([5, "sum"]));
}

#[tokio::test]
async fn a_payload_that_does_not_fit_fails_for_good_and_names_the_type() {
    let calls = AtomicUsize::new(0);
    let add = typed(|sum: Add, _| {
        calls.fetch_add(1, Ordering::Relaxed);
        async move { Ok(sum.a + sum.b) }
    });
    let error = run(&add, json!({"a": 2})).await.expect_err("b is missing");
    assert!(error.is_unrecoverable());
    assert_eq!(
        error.to_string(),
        format!(
            "payload does not fit {}: missing field `b`",
            std::any::type_name::<Add>()
        )
    );
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_result_that_is_no_json_fails_for_good_and_names_the_type() {
    let bad = typed(|(): (), _| async move { Ok(HashMap::from([((1, 2), 3)])) });
    let error = run(&bad, json!(null)).await.expect_err("a key is no text");
    assert!(error.is_unrecoverable());
    assert_eq!(
        error.to_string(),
        format!(
            "result of type {} cannot be written as JSON: key must be a string",
            std::any::type_name::<HashMap<(i32, i32), i32>>()
        )
    );
}

#[tokio::test]
async fn errors_of_typed_handlers_are_their_own() {
    let fail = typed(|(): (), _| async move { Err::<(), _>(LaneError::CommandError("no".into())) });
    let error = run(&fail, json!(null)).await;
    assert!(matches!(error, Err(LaneError::CommandError(text)) if text == "no"));
}

#[tokio::test]
async fn layers_see_the_call_and_the_answer_from_the_outside_in() {
    let append = |text: &'static str| {
        MapRequestLayer::new(move |mut call: HandlerCall| {
            call.payload = json!(format!(
                "{}{text}",
                call.payload.as_str().unwrap_or_default()
            ));
            call
        })
    };
    let layered = echo
        .layered(append(" inner"))
        .layered(append(" outer"))
        .layered(MapResponseLayer::new(|answer: Value| json!([answer])));
    let answer = run(&layered, json!("call")).await;
    assert_eq!(answer.expect("it echoes"), json!(["call outer inner"]));
}

#[tokio::test(start_paused = true)]
async fn errors_of_layers_become_errors_of_the_command() {
    let forever = |_: Value, _: CommandContext| std::future::pending::<Result<Value>>();
    let layered = forever.layered(TimeoutLayer::new(Duration::from_secs(1)));
    let error = run(&layered, json!(null)).await;
    assert!(
        matches!(&error, Err(LaneError::CommandError(text)) if text == "request timed out"),
        "{error:?}"
    );
}

#[tokio::test]
async fn errors_of_the_handler_pass_through_layers_as_they_are() {
    let fail =
        |_: Value, _: CommandContext| async { Err(LaneError::unrecoverable("no such user")) };
    // This layer boxes every error.
    let boxed = fail.layered(TimeoutLayer::new(Duration::from_secs(600)));
    let error = run(&boxed, json!(null)).await.expect_err("it fails");
    assert!(error.is_unrecoverable(), "{error:?}");
    let plain = fail.layered(ConcurrencyLimitLayer::new(1));
    let error = run(&plain, json!(null)).await.expect_err("it fails");
    assert!(error.is_unrecoverable(), "{error:?}");
}

/// A handler that says that it runs and goes on when it is let go.
fn held(
    running: mpsc::UnboundedSender<()>,
    let_go: Arc<Semaphore>,
) -> impl Handler + Clone + 'static {
    move |payload: Value, _: CommandContext| {
        let (running, let_go) = (running.clone(), let_go.clone());
        async move {
            running.send(()).expect("the test listens");
            let_go.acquire().await.expect("it is never closed").forget();
            Ok(payload)
        }
    }
}

#[tokio::test]
async fn a_limit_of_a_layer_holds_for_all_calls_together() {
    let (running, mut runs) = mpsc::unbounded_channel();
    let let_go = Arc::new(Semaphore::new(0));
    let layered = Arc::new(held(running, let_go.clone()).layered(ConcurrencyLimitLayer::new(2)));
    let calls: Vec<_> = (0..5)
        .map(|number| {
            let layered = layered.clone();
            tokio::spawn(async move { run(&layered, json!(number)).await })
        })
        .collect();
    for _ in 0..2 {
        runs.recv().await.expect("two may run");
    }
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(runs.try_recv().is_err(), "a third one runs");
    let_go.add_permits(5);
    for (number, call) in calls.into_iter().enumerate() {
        let answer = call.await.expect("no panic").expect("it echoes");
        assert_eq!(answer, json!(number));
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_waits_gives_its_turn_back() {
    let (running, mut runs) = mpsc::unbounded_channel();
    let let_go = Arc::new(Semaphore::new(0));
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let first = Arc::new(held(running.clone(), let_go.clone()).layered(limit.clone()));
    let other = held(running, let_go.clone()).layered(limit);
    let runs_now = tokio::spawn({
        let first = first.clone();
        async move { run(&first, json!(1)).await }
    });
    runs.recv().await.expect("the first one runs");
    let dropped = tokio::spawn(async move { run(&first, json!(2)).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    assert!(dropped.await.expect_err("it was aborted").is_cancelled());
    let_go.add_permits(2);
    assert!(runs_now.await.expect("no panic").is_ok());
    // Another handler shares the limit: it must not wait for the next call of the first one.
    let answer = run(&other, json!(3)).await;
    assert_eq!(answer.expect("it echoes"), json!(3));
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_not_called() {
    let (running, mut runs) = mpsc::unbounded_channel();
    let let_go = Arc::new(Semaphore::new(0));
    let layered = Arc::new(
        held(running, let_go.clone())
            .layered(ServiceBuilder::new().load_shed().concurrency_limit(1)),
    );
    let _first = tokio::spawn({
        let layered = layered.clone();
        async move { run(&layered, json!(1)).await }
    });
    runs.recv().await.expect("the first one runs");
    let error = run(&layered, json!(2)).await;
    assert!(
        matches!(error, Err(LaneError::CommandError(_))),
        "{error:?}"
    );
}

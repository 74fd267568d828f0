//! L2: a handler that submits to its own lane and waits (openclaw/openclaw#43008, #44998, #52682).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{
    CommandContext, EventEmitter, JsonCommand, LaneConfig, LaneError, LaneOptions, OnConflict,
    Overflow, QueueManager, QueueManagerBuilder, Result, SubmitOptions, Unique,
};
use serde_json::{Value, json};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// Calls itself `depth` times through `lanes` in turn, and counts the calls.
async fn call_down(payload: Value, context: CommandContext) -> Result<Value> {
    let depth = payload["depth"].as_u64().unwrap_or_default();
    if depth == 0 {
        return Ok(json!(0));
    }
    let lanes = payload["lanes"].as_array().cloned().unwrap_or_default();
    let lane = lanes[depth as usize % lanes.len()]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let below = json!({"depth": depth - 1, "lanes": lanes});
    let command = Box::new(JsonCommand::new("down", below));
    let child = context
        .submit_child(&lane, command, SubmitOptions::new())
        .await?;
    let calls = child.await?;
    Ok(json!(calls.as_u64().unwrap_or_default() + 1))
}

fn builder() -> QueueManagerBuilder {
    QueueManagerBuilder::new(EventEmitter::new(256)).with_handler("down", call_down)
}

async fn started(builder: QueueManagerBuilder) -> QueueManager {
    let manager = builder.build().await.expect("a legal configuration");
    manager.start().await.expect("starts");
    manager
}

async fn run(
    manager: &QueueManager,
    lane: &str,
    command_type: &str,
    payload: Value,
) -> Result<Value> {
    let command = Box::new(JsonCommand::new(command_type, payload));
    let handle = manager
        .submit_with(lane, command, SubmitOptions::new())
        .await?;
    timeout(LONG, handle.into_future())
        .await
        .expect("no deadlock")
}

#[tokio::test]
async fn l02_a_lane_of_one_can_wait_for_itself() {
    let manager = started(builder().with_lane("one", LaneConfig::new(0, 1), 0)).await;
    let calls = run(
        &manager,
        "one",
        "down",
        json!({"depth": 5, "lanes": ["one"]}),
    )
    .await;
    assert_eq!(calls.expect("it ends"), 5);
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_pending, stats.total_active), (0, 0));
}

#[tokio::test]
async fn l02_a_total_of_one_can_wait_across_lanes() {
    let manager = started(
        builder()
            .with_lane("a", LaneConfig::new(0, 1), 0)
            .with_lane("b", LaneConfig::new(0, 1), 1)
            .with_max_concurrency(1),
    )
    .await;
    let calls = run(
        &manager,
        "a",
        "down",
        json!({"depth": 6, "lanes": ["a", "b"]}),
    )
    .await;
    assert_eq!(calls.expect("it ends"), 6);
    // The slots are back.
    let again = run(&manager, "b", "down", json!({"depth": 1, "lanes": ["a"]})).await;
    assert_eq!(again.expect("it ends"), 1);
}

#[tokio::test]
async fn l02_nobody_else_gets_the_slot_of_a_parent_that_waits() {
    let order: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let (parent_order, child_order) = (order.clone(), order.clone());
    let note = |order: &Arc<std::sync::Mutex<Vec<String>>>, text: &str| {
        order.lock().expect("not poisoned").push(text.to_owned());
    };
    let manager = builder()
        .with_lane("one", LaneConfig::new(0, 1), 0)
        .with_handler("parent", move |_: Value, context: CommandContext| {
            let order = parent_order.clone();
            async move {
                note(&order, "parent");
                let command = Box::new(JsonCommand::new("child", Value::Null));
                let child = context
                    .submit_child("one", command, SubmitOptions::new())
                    .await?;
                child.await?;
                note(&order, "parent again");
                Ok(Value::Null)
            }
        })
        .with_handler("child", move |_: Value, _: CommandContext| {
            let order = child_order.clone();
            async move {
                note(&order, "child");
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(Value::Null)
            }
        })
        .build()
        .await
        .expect("a legal configuration");
    let other_order = order.clone();
    manager.register_handler("other", move |_: Value, _: CommandContext| {
        let order = other_order.clone();
        async move {
            note(&order, "other");
            Ok(Value::Null)
        }
    });
    let mut handles = Vec::new();
    for command_type in ["parent", "other", "parent"] {
        let command = Box::new(JsonCommand::new(command_type, Value::Null));
        handles.push(
            manager
                .submit_with("one", command, SubmitOptions::new())
                .await
                .expect("accepted"),
        );
    }
    manager.start().await.expect("starts");
    for handle in handles {
        timeout(LONG, handle.into_future())
            .await
            .expect("no deadlock")
            .expect("it ends");
    }
    let seen = order.lock().expect("not poisoned").clone();
    let family = ["parent", "child", "parent again"];
    let expected: Vec<&str> = family.into_iter().chain(["other"]).chain(family).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn l02_children_that_are_awaited_together_share_one_slot() {
    let manager = started(
        builder()
            .with_lane("one", LaneConfig::new(0, 1), 0)
            .with_handler("both", |_: Value, context: CommandContext| async move {
                let child = |depth: u64| {
                    let payload = json!({"depth": depth, "lanes": ["one"]});
                    let command = Box::new(JsonCommand::new("down", payload));
                    context.submit_child("one", command, SubmitOptions::new())
                };
                let (first, second, third) = (child(2).await?, child(0).await?, child(1).await?);
                let (first, second, third) = tokio::join!(
                    first.into_future(),
                    second.into_future(),
                    third.into_future()
                );
                Ok(json!([first?, second?, third?]))
            }),
    )
    .await;
    let results = run(&manager, "one", "both", Value::Null).await;
    assert_eq!(results.expect("it ends"), json!([2, 0, 1]));
}

#[tokio::test]
async fn l02_a_child_does_not_wait_for_room_that_its_parent_keeps() {
    let options = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(Overflow::Wait);
    let manager = started(
        builder()
            .with_lane("one", LaneConfig::new(0, 1), 0)
            .with_lane_options("one", options)
            .with_handler("slow", |_: Value, context: CommandContext| async move {
                // By now another command fills the lane.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let payload = json!({"depth": 2, "lanes": ["one"]});
                let command = Box::new(JsonCommand::new("down", payload));
                context
                    .submit_child("one", command, SubmitOptions::new())
                    .await?
                    .await
            }),
    )
    .await;
    let submit = |command_type: &'static str| {
        let payload = json!({"depth": 0, "lanes": ["one"]});
        let command = Box::new(JsonCommand::new(command_type, payload));
        manager.submit_with("one", command, SubmitOptions::new())
    };
    let parent = submit("slow").await.expect("accepted");
    let other = submit("down").await.expect("accepted");
    let result = timeout(LONG, parent.into_future())
        .await
        .expect("no deadlock");
    assert_eq!(result.expect("it ends"), 2);
    timeout(LONG, other.into_future())
        .await
        .expect("no deadlock")
        .expect("it ends");
}

#[tokio::test]
async fn l02_slots_come_back_whatever_ends_first() {
    let manager = started(
        builder()
            .with_lane("one", LaneConfig::new(0, 1), 0)
            .with_handler(
                "impatient",
                |_: Value, context: CommandContext| async move {
                    let command = Box::new(JsonCommand::new("forever", Value::Null));
                    let child = context
                        .submit_child("one", command, SubmitOptions::new())
                        .await?;
                    let waited = timeout(Duration::from_millis(20), child.result()).await;
                    assert!(waited.is_err(), "the child never ends");
                    Ok(json!(child.id()))
                },
            )
            .with_handler("forever", |_: Value, _: CommandContext| async {
                std::future::pending::<Result<Value>>().await
            }),
    )
    .await;
    // The parent ends while its child has the slot: the child keeps it.
    let child = run(&manager, "one", "impatient", Value::Null)
        .await
        .expect("it ends");
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_pending, stats.total_active), (0, 1));
    assert!(manager.cancel(child.as_str().expect("an id")));
    let calls = run(
        &manager,
        "one",
        "down",
        json!({"depth": 1, "lanes": ["one"]}),
    )
    .await;
    assert_eq!(calls.expect("the slot is free"), 1);
    // The parent is cancelled while it waits.
    let command = Box::new(JsonCommand::new(
        "down",
        json!({"depth": 3, "lanes": ["one"]}),
    ));
    let handle = manager
        .submit_with("one", command, SubmitOptions::new())
        .await
        .expect("accepted");
    handle.cancel();
    let _ = timeout(LONG, handle.into_future())
        .await
        .expect("no deadlock");
    manager.shutdown().await;
    manager.drain(LONG).await.expect("nothing is left");
}

/// Two handles of one child, of which one is given up: the other still waits, and the child has the slot.
#[tokio::test(start_paused = true)]
async fn l02_a_handle_that_joined_and_was_dropped_does_not_end_the_wait_of_another() {
    let parent = |_: Value, context: CommandContext| async move {
        let child = || {
            let unique = Unique::new("child").on_conflict(OnConflict::Join);
            let options = SubmitOptions::new()
                .with_unique(unique)
                .with_delay(Duration::from_secs(1));
            context.submit_child(
                "only",
                Box::new(JsonCommand::new("echo", json!(7))),
                options,
            )
        };
        let (first, second) = (child().await?, child().await?);
        let mut waits = Box::pin(first.result());
        let mut gives_up = Box::pin(second.result());
        assert!(futures::poll!(&mut waits).is_pending());
        assert!(futures::poll!(&mut gives_up).is_pending());
        drop(gives_up);
        waits.await
    };
    let manager = started(
        builder()
            .with_lane("only", LaneConfig::new(0, 1), 0)
            .with_handler("parent", parent),
    )
    .await;
    let result = run(&manager, "only", "parent", Value::Null).await;
    assert_eq!(result.expect("no deadlock"), 7);
}

/// Else a body that submits urgent work would be stopped for it in every run, before it can wait for it.
#[tokio::test(start_paused = true)]
async fn l02_a_parent_is_not_preempted_for_its_own_child() {
    for waits in [false, true] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let manager = builder()
            .with_lane("batch", LaneConfig::new(0, 1), 9)
            .with_lane_options("batch", LaneOptions::new().with_preemption(true))
            .with_lane("chat", LaneConfig::new(0, 1), 0)
            .with_max_concurrency(1)
            .with_handler("parent", move |_: Value, context: CommandContext| {
                let before = counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    if before > 0 {
                        return Err(LaneError::CommandError("it was stopped".into()));
                    }
                    let command = Box::new(JsonCommand::new("down", json!({"depth": 0})));
                    let options = SubmitOptions::new();
                    let child = context.submit_child("chat", command, options).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if waits {
                        child.await?;
                    }
                    Ok(Value::Null)
                }
            });
        let manager = started(manager).await;
        let parent = run(&manager, "batch", "parent", Value::Null).await;
        assert_eq!(parent.expect("it ends"), Value::Null, "{waits}");
        assert_eq!(runs.load(Ordering::Relaxed), 1, "{waits}");
        manager.drain(LONG).await.expect("the child ends");
    }
}

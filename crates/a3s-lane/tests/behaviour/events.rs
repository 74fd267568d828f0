use std::sync::Arc;
use std::time::Duration;

use a3s_lane::event::{EventPayload, events};
use a3s_lane::{EventStream, LaneConfig, LaneEvent, RetryPolicy};
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::support::{
    Gate, builder_with, command, endless, events_until, eventually, failing, finish, manager_with,
    map, nothing, outcome, started, submit, within, words,
};

/// The events that are there already.
fn ready(stream: &mut EventStream) -> Vec<LaneEvent> {
    let mut seen = Vec::new();
    while let Some(Some(event)) = stream.next().now_or_never() {
        seen.push(event);
    }
    seen
}

/// The payload as JSON.
fn payload(event: &LaneEvent) -> Value {
    serde_json::to_value(&event.payload).expect("a payload is plain data")
}

/// The payload without its command's id, which must be a UUID and the same for all of `events`.
fn payloads(events: &[LaneEvent]) -> Vec<(&str, Value)> {
    let mut known: Option<String> = None;
    events
        .iter()
        .map(|event| {
            let mut payload = payload(event);
            let id = payload
                .as_object_mut()
                .and_then(|map| map.remove("command_id"));
            if let Some(id) = id {
                let id = id.as_str().expect("a string").to_owned();
                uuid::Uuid::parse_str(&id).expect("a UUID");
                assert_eq!(*known.get_or_insert_with(|| id.clone()), id);
            }
            (&*event.key, payload)
        })
        .collect()
}

#[tokio::test]
async fn a_success() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let mut stream = manager.subscribe();
    let receiver = submit(&manager, "only", nothing("good")).await;
    outcome(receiver).await.expect("it runs");
    assert_eq!(
        payloads(&finish(&manager, &mut stream).await),
        [
            (events::QUEUE_COMMAND_SUBMITTED, json!({"lane_id": "only"})),
            (
                events::QUEUE_COMMAND_STARTED,
                json!({"lane_id": "only", "command_type": "good"})
            ),
            (events::QUEUE_COMMAND_COMPLETED, json!({"lane_id": "only"})),
            (events::QUEUE_SHUTDOWN_STARTED, Value::Null),
            (events::QUEUE_SHUTDOWN_COMPLETE, Value::Null),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_retries_and_a_dead_letter() {
    let config =
        LaneConfig::new(1, 1).with_retry_policy(RetryPolicy::fixed(2, Duration::from_millis(5)));
    let manager = builder_with(&[("only", config, 0)])
        .with_dlq(3)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let mut stream = manager.subscribe();
    let receiver = submit(&manager, "only", failing("bad")).await;
    outcome(receiver).await.expect_err("it fails");
    let start = (
        events::QUEUE_COMMAND_STARTED,
        json!({"lane_id": "only", "command_type": "bad"}),
    );
    let retry = |attempt: u32| {
        let payload = json!({"lane_id": "only", "attempt": attempt});
        (events::QUEUE_COMMAND_RETRY, payload)
    };
    assert_eq!(
        payloads(&finish(&manager, &mut stream).await)[..8],
        [
            (events::QUEUE_COMMAND_SUBMITTED, json!({"lane_id": "only"})),
            start.clone(),
            retry(1),
            start.clone(),
            retry(2),
            start,
            (
                events::QUEUE_COMMAND_DEAD_LETTERED,
                json!({"lane_id": "only", "command_type": "bad"})
            ),
            (
                events::QUEUE_COMMAND_FAILED,
                json!({"lane_id": "only", "error": "Command execution error: no"})
            ),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout() {
    let config = LaneConfig::new(1, 1)
        .with_timeout(Duration::from_millis(1500))
        .with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
    let manager = started(config).await;
    let mut stream = manager.subscribe();
    let receiver = submit(&manager, "only", endless("slow")).await;
    outcome(receiver).await.expect_err("it times out");
    let seen = finish(&manager, &mut stream).await;
    assert_eq!(
        words(&seen),
        [
            "submitted only",
            "started slow",
            "retry slow",
            "started slow",
            "timeout slow",
            "shutdown.started",
            "shutdown.complete"
        ]
    );
    assert_eq!(
        payloads(&seen)[4].1,
        json!({"lane_id": "only", "error": "Command timed out after 1.5s"})
    );
}

#[tokio::test]
async fn pressure_and_idle_name_their_lane() {
    let config = LaneConfig::new(1, 1).with_pressure_threshold(2);
    let manager = manager_with(&[("only", config, 0)]).await;
    let mut stream = manager.subscribe();
    for name in ["a", "b", "c"] {
        submit(&manager, "only", nothing(name)).await;
    }
    manager.start().await.expect("starts");
    let seen = finish(&manager, &mut stream).await;
    let lane = |key: &str| {
        let event = seen.iter().find(|event| event.key == key);
        payload(event.expect("it was sent"))
    };
    assert_eq!(
        lane(events::QUEUE_LANE_PRESSURE),
        json!({"lane_id": "only"})
    );
    assert_eq!(lane(events::QUEUE_LANE_IDLE), json!({"lane_id": "only"}));
    let seen = words(&seen);
    let at = |word: &str| seen.iter().position(|seen| seen == word);
    assert!(at("lane.pressure only") < at("started a"));
    assert!(at("started b") < at("lane.idle only"));
    assert!(at("lane.idle only") < at("completed c"));
}

/// Whoever has the result finds the event in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_command_is_told_before_its_receiver_resolves() {
    let manager = started(LaneConfig::new(1, 4)).await;
    let mut stream = manager.subscribe();
    for n in 0..300 {
        let (body, word) = match n % 3 {
            0 => (nothing("t"), "completed t"),
            1 => (failing("t"), "failed t"),
            _ => (command("t", |_| async { panic!("oh") }), "failed t"),
        };
        let receiver = submit(&manager, "only", body).await;
        let _ = outcome(receiver).await;
        assert_eq!(
            words(&ready(&mut stream)),
            ["submitted only", "started t", word]
        );
    }
}

/// Commands on many threads: each one's events come in the order of its life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_command_are_in_order_under_load() {
    let retry = RetryPolicy::fixed(1, Duration::ZERO);
    let manager = Arc::new(started(LaneConfig::new(1, 8).with_retry_policy(retry)).await);
    let mut stream = manager.subscribe();
    let submitters: Vec<_> = (0..4)
        .map(|submitter| {
            let manager = Arc::clone(&manager);
            tokio::spawn(async move {
                for n in 0..200 {
                    let name = format!("{submitter}-{n}");
                    let body = match n % 4 {
                        0 => failing(&name),
                        _ => nothing(&name),
                    };
                    submit(&manager, "only", body).await;
                    if n % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await.expect("no panic");
    }
    let seen = words(&finish(&manager, &mut stream).await);
    let (mut submitted, mut first_starts) = (0, 0);
    let mut lives = std::collections::HashMap::<&str, Vec<&str>>::new();
    for word in &seen {
        let Some((kind, name)) = word.split_once(' ') else {
            continue;
        };
        if kind == "submitted" {
            submitted += 1;
            continue;
        }
        let life = lives.entry(name).or_default();
        first_starts += usize::from(life.is_empty());
        assert!(first_starts <= submitted, "started before it was submitted");
        life.push(kind);
    }
    assert_eq!((submitted, lives.len()), (800, 800));
    for (name, life) in lives {
        let failed = name.split_once('-').expect("two numbers").1.parse::<u32>();
        match failed.expect("a number") % 4 {
            0 => assert_eq!(life, ["started", "retry", "started", "failed"]),
            _ => assert_eq!(life, ["started", "completed"]),
        }
    }
    assert_eq!(stream.missed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_is_told_once_and_its_end_last() {
    let manager = Arc::new(started(LaneConfig::new(1, 2)).await);
    let mut stream = manager.subscribe();
    let gate = Gate::new();
    for _ in 0..5 {
        submit(&manager, "only", gate.command("t")).await;
    }
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let manager = Arc::clone(&manager);
            tokio::spawn(async move { manager.shutdown().await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic");
    }
    gate.open();
    let seen = words(&finish(&manager, &mut stream).await);
    let count = |word: &str| seen.iter().filter(|seen| *seen == word).count();
    assert_eq!(count("shutdown.started"), 1);
    assert_eq!(count("shutdown.complete"), 1);
    assert_eq!(count("completed t"), 5);
    assert_eq!(seen.last().map(String::as_str), Some("shutdown.complete"));
}

/// There is nothing to wait for.
#[tokio::test]
async fn an_empty_queue_is_complete_at_once() {
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    let mut stream = manager.subscribe();
    manager.shutdown().await;
    assert_eq!(
        words(&ready(&mut stream)),
        ["shutdown.started", "shutdown.complete"]
    );
}

/// The emitter belongs to the user, too.
#[tokio::test]
async fn own_events_come_between_those_of_the_queue() {
    let emitter = a3s_lane::EventEmitter::new(16);
    let manager = a3s_lane::QueueManagerBuilder::new(emitter.clone())
        .with_lane("only", LaneConfig::new(1, 1), 0)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let (mut stream, mut plain) = (manager.subscribe(), emitter.subscribe());
    emitter.emit(LaneEvent::with_string("app.hello", "hi"));
    let receiver = submit(&manager, "only", nothing("t")).await;
    outcome(receiver).await.expect("it runs");
    let seen = events_until(&mut stream, events::QUEUE_COMMAND_COMPLETED).await;
    assert_eq!(
        words(&seen),
        ["app.hello", "submitted only", "started t", "completed t"]
    );
    assert!(matches!(&seen[0].payload, EventPayload::String(text) if text == "hi"));
    for event in &seen {
        let same = within(plain.recv()).await.expect("sent");
        assert_eq!(
            (same.key, same.timestamp),
            (event.key.clone(), event.timestamp)
        );
    }
    let times: Vec<_> = seen.iter().map(|event| event.timestamp).collect();
    assert!(times.is_sorted());
    assert!(map(&seen[1]).is_some());
}

/// A subscription hears what happens from then on.
#[tokio::test]
async fn a_late_subscriber_hears_only_what_comes() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let gate = Gate::new();
    let receiver = submit(&manager, "only", gate.command("t")).await;
    eventually("it runs", async || {
        manager.stats().await.expect("never fails").total_active == 1
    })
    .await;
    let mut late = manager.subscribe();
    gate.open();
    outcome(receiver).await.expect("it runs");
    let seen = ready(&mut late);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].key, events::QUEUE_COMMAND_COMPLETED);
}

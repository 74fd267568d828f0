use std::collections::HashMap;

use a3s_lane::event::{EventKey, events};
use a3s_lane::{EventEmitter, EventPayload, EventStream, LaneEvent};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::support::within;

#[test]
fn keys() {
    for (key, text) in [
        (events::QUEUE_COMMAND_SUBMITTED, "queue.command.submitted"),
        (events::QUEUE_COMMAND_STARTED, "queue.command.started"),
        (events::QUEUE_COMMAND_COMPLETED, "queue.command.completed"),
        (events::QUEUE_COMMAND_RETRY, "queue.command.retry"),
        (
            events::QUEUE_COMMAND_DEAD_LETTERED,
            "queue.command.dead_lettered",
        ),
        (events::QUEUE_COMMAND_FAILED, "queue.command.failed"),
        (events::QUEUE_COMMAND_TIMEOUT, "queue.command.timeout"),
        (events::QUEUE_LANE_PRESSURE, "queue.lane.pressure"),
        (events::QUEUE_LANE_IDLE, "queue.lane.idle"),
        (events::QUEUE_SHUTDOWN_STARTED, "queue.shutdown.started"),
        (events::QUEUE_SHUTDOWN_COMPLETE, "queue.shutdown.complete"),
    ] {
        assert_eq!(key, text);
    }
}

#[test]
fn traits() {
    fn is_stream<S: futures::Stream<Item = LaneEvent> + Send + Unpin + 'static>() {}
    fn is_clone<T: Clone>() {}
    is_stream::<EventStream>();
    is_clone::<EventEmitter>();
    crate::is_shared::<EventEmitter>();
    crate::is_value::<LaneEvent>();
    crate::is_serde::<LaneEvent>();
    crate::is_value::<EventPayload>();
    crate::is_serde::<EventPayload>();
}

#[test]
fn making_events() {
    let before = Utc::now();
    let LaneEvent {
        key,
        payload,
        timestamp,
    } = LaneEvent::empty("k");
    let (key, timestamp): (EventKey, DateTime<Utc>) = (key, timestamp);
    assert_eq!(key, "k");
    assert!(matches!(payload, EventPayload::Empty));
    assert!(timestamp >= before);
    let message = LaneEvent::with_string("k".to_owned(), "m");
    assert!(matches!(message.payload, EventPayload::String(text) if text == "m"));
    let values = HashMap::from([("a".to_owned(), json!(1))]);
    let map = LaneEvent::with_map("k", values.clone());
    assert!(matches!(&map.payload, EventPayload::Map(map) if *map == values));
    let new = LaneEvent::new("k", EventPayload::Map(values));
    assert!(matches!(new.payload, EventPayload::Map(_)));
}

#[test]
fn json_form_is_untagged() {
    let json = |payload: EventPayload| serde_json::to_value(payload).expect("written");
    assert_eq!(json(EventPayload::Empty), Value::Null);
    assert_eq!(json(EventPayload::String("m".into())), json!("m"));
    let map = EventPayload::Map(HashMap::from([("a".to_owned(), json!(1))]));
    assert_eq!(json(map), json!({"a": 1}));
    for (text, matches) in [
        ("null", "Empty"),
        (r#""m""#, "String"),
        (r#"{"a":1}"#, "Map"),
    ] {
        let payload: EventPayload = serde_json::from_str(text).expect("read");
        assert!(format!("{payload:?}").starts_with(matches));
    }
    let event = LaneEvent::with_string("k", "m");
    let copy = crate::through_json(&event);
    assert_eq!((copy.key, copy.timestamp), (event.key, event.timestamp));
}

#[tokio::test]
async fn three_ways_to_subscribe() {
    let emitter = EventEmitter::new(4);
    emitter.emit(LaneEvent::empty("nobody listens"));
    let mut receiver: broadcast::Receiver<LaneEvent> = emitter.subscribe();
    let mut stream: EventStream = emitter.subscribe_stream();
    let mut filtered: EventStream = emitter.subscribe_filtered(|event| event.key == "b");
    emitter.clone().emit(LaneEvent::empty("a"));
    emitter.emit(LaneEvent::with_string("b", "m"));
    assert_eq!(within(receiver.recv()).await.expect("sent").key, "a");
    let next: Option<LaneEvent> = within(crate::send(stream.recv())).await;
    assert_eq!(next.expect("sent").key, "a");
    assert_eq!(within(stream.next()).await.expect("sent").key, "b");
    assert_eq!(within(filtered.recv()).await.expect("sent").key, "b");
    drop(emitter);
    assert!(within(filtered.recv()).await.is_none());
    assert!(within(stream.next()).await.is_none());
}

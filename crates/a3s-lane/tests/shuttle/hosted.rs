//! Handlers on an event loop: nothing is lost and nothing settles twice while the loop, the runtime and the timer race.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{
    CommandContext, EventEmitter, EventLoop, JsonCommand, LaneConfig, LaneError, QueueManager,
    QueueManagerBuilder, Result,
};
use serde_json::{Value, json};
use shuttle::sync::mpsc::channel;

use crate::command::{LANE, answer, check, retries};

/// An event loop with a thread, which ends when the loop is dropped.
fn event_loop() -> Arc<EventLoop> {
    let (wake, woken) = channel();
    let wake = shuttle::sync::Mutex::new(wake);
    let event_loop = EventLoop::new(move || _ = wake.lock().unwrap().send(()));
    let turned = Arc::downgrade(&event_loop);
    shuttle::thread::spawn(move || {
        while let (Ok(()), Some(event_loop)) = (woken.recv(), turned.upgrade()) {
            event_loop.turn();
        }
    });
    event_loop
}

/// A started manager with one lane, and a handler of `hosted` commands on the loop: it fails as often as the payload says,
/// and suspends once.
async fn manager(
    config: LaneConfig,
    event_loop: &Arc<EventLoop>,
) -> (Arc<QueueManager>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move |failures: Value, context: CommandContext| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            shuttle::future::yield_now().await;
            if u64::from(context.attempt()) > failures.as_u64().unwrap_or_default() {
                Ok(failures)
            } else {
                Err(LaneError::CommandError("as the payload says".into()))
            }
        }
    };
    let manager = QueueManagerBuilder::new(EventEmitter::new(64))
        .with_lane(LANE, config, 1)
        .with_handler_on("hosted", handler, event_loop.clone())
        .build()
        .await
        .unwrap();
    manager.start().await.unwrap();
    (Arc::new(manager), calls)
}

async fn submit(
    manager: &QueueManager,
    kind: &str,
    payload: Value,
) -> tokio::sync::oneshot::Receiver<Result<Value>> {
    let command = Box::new(JsonCommand::new(kind, payload));
    manager.submit(LANE, command).await.unwrap()
}

async fn is_empty(manager: &QueueManager) {
    manager.drain(Duration::from_secs(1)).await.unwrap();
    let stats = manager.stats().await.unwrap();
    assert_eq!((stats.total_pending, stats.total_active), (0, 0));
}

#[test]
fn an_event_loop_and_the_runtime_lose_nothing() {
    for slots in [1, 2] {
        check(1_000, move || async move {
            let event_loop = event_loop();
            let (manager, calls) = manager(LaneConfig::new(0, slots), &event_loop).await;
            let other = Arc::clone(&manager);
            let other = shuttle::future::spawn(async move {
                let hosted = submit(&other, "hosted", json!(0)).await;
                let echo = submit(&other, "echo", json!(1)).await;
                assert_eq!(answer(hosted).await.unwrap(), json!(0));
                assert_eq!(answer(echo).await.unwrap(), json!(1));
            });
            let echo = submit(&manager, "echo", json!(2)).await;
            let hosted = submit(&manager, "hosted", json!(0)).await;
            assert_eq!(answer(echo).await.unwrap(), json!(2));
            assert_eq!(answer(hosted).await.unwrap(), json!(0));
            other.await.unwrap();
            is_empty(&manager).await;
            assert_eq!(calls.load(Ordering::SeqCst), 2);
        });
    }
}

#[test]
fn retries_and_time_limits_reach_an_event_loop() {
    check(1_000, || async {
        let event_loop = event_loop();
        let config = LaneConfig::new(0, 1)
            .with_timeout(Duration::from_millis(1))
            .with_retry_policy(retries(1));
        let (manager, calls) = manager(config, &event_loop).await;
        let one = submit(&manager, "hosted", json!(1)).await;
        let two = submit(&manager, "hosted", json!(0)).await;
        for receiver in [one, two] {
            match answer(receiver).await {
                Ok(_) | Err(LaneError::Timeout(_) | LaneError::CommandError(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        is_empty(&manager).await;
        assert!(calls.load(Ordering::SeqCst) <= 4);
    });
}

#[test]
fn an_event_loop_that_closes_settles_what_it_had() {
    check(1_000, || async {
        let event_loop = event_loop();
        let (manager, _) = manager(LaneConfig::new(0, 1), &event_loop).await;
        let receivers = [
            submit(&manager, "hosted", json!(0)).await,
            submit(&manager, "hosted", json!(0)).await,
        ];
        let closing = Arc::clone(&event_loop);
        let closing = shuttle::thread::spawn(move || closing.close());
        for receiver in receivers {
            match answer(receiver).await {
                Ok(_) | Err(LaneError::QueueError(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let echo = submit(&manager, "echo", json!(3)).await;
        assert_eq!(answer(echo).await.unwrap(), json!(3));
        closing.join().unwrap();
        is_empty(&manager).await;
    });
}

//! Shutdown, drain and the drop of the queue, against everything that may go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a3s_lane::event::events::{QUEUE_SHUTDOWN_COMPLETE, QUEUE_SHUTDOWN_STARTED};
use a3s_lane::{CommandQueue, EventStream, LaneConfig, LaneError};
use serde_json::json;

use crate::command::{
    Attempt, LANE, Scripted, Seen, answer, answer_now, check, queue, retries, submit,
};

async fn keys(mut stream: EventStream) -> Vec<String> {
    let mut keys = Vec::new();
    while let Some(event) = stream.recv().await {
        keys.push(event.key);
    }
    keys
}

fn spawn_shutdown(queue: &Arc<CommandQueue>) -> shuttle::future::JoinHandle<()> {
    let queue = Arc::clone(queue);
    shuttle::future::spawn(async move { queue.shutdown().await })
}

/// A submit is refused or runs; `started` is sent once, `complete` once and last, and the stream ends.
#[test]
fn shutdown_races_submit() {
    check(1_500, || async {
        let queue = queue(LaneConfig::new(1, 1)).await;
        let stream = queue.subscribe_stream();
        let seen = Arc::new(Seen::default());
        let submitting = {
            let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
            shuttle::future::spawn(async move {
                let mut accepted = 0;
                for value in 0..3 {
                    match queue
                        .submit(LANE, Scripted::new(value, &[Attempt::Yield(1)], &seen))
                        .await
                    {
                        Ok(receiver) => {
                            accepted += 1;
                            assert_eq!(answer(receiver).await.unwrap(), json!(value));
                        }
                        Err(error) => assert!(matches!(error, LaneError::ShutdownInProgress)),
                    }
                }
                accepted
            })
        };
        let shutdowns = [spawn_shutdown(&queue), spawn_shutdown(&queue)];
        let keys = keys(stream).await;
        let accepted = submitting.await.unwrap();
        for shutdown in shutdowns {
            shutdown.await.unwrap();
        }
        assert_eq!(
            keys.last().map(String::as_str),
            Some(QUEUE_SHUTDOWN_COMPLETE),
            "{keys:?}"
        );
        let count = |key: &str| keys.iter().filter(|known| *known == key).count();
        assert_eq!(count(QUEUE_SHUTDOWN_COMPLETE), 1, "{keys:?}");
        assert_eq!(count(QUEUE_SHUTDOWN_STARTED), 1, "{keys:?}");
        assert_eq!(count("queue.command.completed"), accepted, "{keys:?}");
        assert_eq!(seen.attempts.load(Ordering::SeqCst), accepted);
    });
}

/// When `drain` returns, the receivers of everything before it have their answers.
#[test]
fn drain_races_the_last_finish() {
    for subscribed in [false, true] {
        check(1_500, move || async move {
            let queue = queue(LaneConfig::new(1, 2).with_retry_policy(retries(1))).await;
            let stream = subscribed.then(|| queue.subscribe_stream());
            let seen = Arc::new(Seen::default());
            let scripts: [&[Attempt]; 4] = [
                &[Attempt::Instant],
                &[Attempt::Yield(1)],
                &[Attempt::Fail],
                &[Attempt::Panic, Attempt::Yield(1)],
            ];
            let mut receivers = Vec::new();
            for (value, script) in scripts.into_iter().enumerate() {
                receivers.push(submit(&queue, Scripted::new(value, script, &seen)).await);
            }
            let drained = {
                let queue = Arc::clone(&queue);
                shuttle::future::spawn(async move { queue.drain(Duration::from_secs(1)).await })
            };
            queue.drain(Duration::from_secs(1)).await.unwrap();
            for (value, receiver) in receivers.into_iter().enumerate() {
                let answer = answer_now(receiver);
                assert_eq!(answer.is_err(), value == 2, "{answer:?}");
            }
            drained.await.unwrap().unwrap();
            drop(stream);
        });
    }
}

/// Whatever its commands do, a queue that is dropped answers all of them, and its streams end.
#[test]
fn the_drop_of_the_queue_races_its_commands() {
    for delay in [Duration::ZERO, Duration::from_millis(1)] {
        check(1_500, move || async move {
            let mut policy = retries(1);
            (policy.initial_delay, policy.max_delay) = (delay, delay);
            let queue = queue(LaneConfig::new(1, 2).with_retry_policy(policy)).await;
            let stream = queue.subscribe_stream();
            let seen = Arc::new(Seen::default());
            let scripts: [&[Attempt]; 5] = [
                &[Attempt::Hang],
                &[Attempt::Yield(2)],
                &[Attempt::Fail],
                &[Attempt::Panic, Attempt::Hang],
                &[Attempt::Block(2)],
            ];
            let mut receivers = Vec::new();
            for (value, script) in scripts.into_iter().enumerate() {
                receivers.push(submit(&queue, Scripted::new(value, script, &seen)).await);
            }
            let dropping = shuttle::future::spawn(async move {
                shuttle::future::yield_now().await;
                drop(queue);
            });
            for (value, receiver) in receivers.into_iter().enumerate() {
                match answer(receiver).await {
                    Ok(got) => assert_eq!(got, json!(value)),
                    Err(error) => assert!(!matches!(error, LaneError::Timeout(_)), "{error}"),
                }
            }
            dropping.await.unwrap();
            let keys = keys(stream).await;
            let ends = ["queue.command.completed", "queue.command.failed"];
            let settled = keys
                .iter()
                .filter(|key| ends.contains(&key.as_str()))
                .count();
            assert_eq!(settled, 5, "{keys:?}");
        });
    }
}

/// As above, with time limits that may pass at any moment.
#[test]
fn the_drop_of_the_queue_races_time_limits() {
    check(1_500, || async {
        let config = LaneConfig::new(1, 1).with_timeout(Duration::from_millis(5));
        let queue = queue(config.with_retry_policy(retries(1))).await;
        let seen = Arc::new(Seen::default());
        let mut receivers = Vec::new();
        for (value, script) in [Attempt::Hang, Attempt::Block(3), Attempt::Yield(1)]
            .iter()
            .enumerate()
        {
            receivers.push(submit(&queue, Scripted::new(value, &[*script], &seen)).await);
        }
        let stream = queue.subscribe_stream();
        let dropping = shuttle::future::spawn(async move {
            shuttle::future::yield_now().await;
            drop(queue);
        });
        for receiver in receivers {
            match answer(receiver).await {
                Ok(_) | Err(LaneError::Timeout(_) | LaneError::QueueError(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        dropping.await.unwrap();
        let _ = keys(stream).await;
    });
}

/// A shutdown while commands run and retry: they all run to their end, then the stream ends.
#[test]
fn accepted_work_survives_a_shutdown() {
    check(1_500, || async {
        let queue = queue(LaneConfig::new(1, 1).with_retry_policy(retries(2))).await;
        let seen = Arc::new(Seen::default());
        let stream = queue.subscribe_stream();
        let mut receivers = Vec::new();
        for value in 0..2 {
            let script = [Attempt::Fail, Attempt::Yield(1)];
            receivers.push(submit(&queue, Scripted::new(value, &script, &seen)).await);
        }
        let shutdown = spawn_shutdown(&queue);
        queue.drain(Duration::from_secs(1)).await.unwrap();
        for (value, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(answer_now(receiver).unwrap(), json!(value));
        }
        shutdown.await.unwrap();
        assert_eq!(
            keys(stream).await.last().map(String::as_str),
            Some(QUEUE_SHUTDOWN_COMPLETE)
        );
    });
}

//! Submissions that are left at the door: nothing is lost, forgotten or run twice, whoever has the lock meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a3s_lane::event::events::{QUEUE_COMMAND_STARTED, QUEUE_COMMAND_SUBMITTED};
use a3s_lane::{CommandQueue, Lane, LaneConfig, LaneError};
use serde_json::json;

use crate::command::{
    Attempt, LANE, Scripted, Seen, answer, check, is_empty_and_alive, queue, submit,
};

/// Submits `count` commands from a task of its own and awaits their answers.
fn submitter(
    queue: &Arc<CommandQueue>,
    seen: &Arc<Seen>,
    count: usize,
    attempt: Attempt,
) -> shuttle::future::JoinHandle<()> {
    let (queue, seen) = (Arc::clone(queue), Arc::clone(seen));
    shuttle::future::spawn(async move {
        let mut receivers = Vec::new();
        for value in 0..count {
            receivers.push(submit(&queue, Scripted::new(value, &[attempt], &seen)).await);
        }
        for (value, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(answer(receiver).await.unwrap(), json!(value));
        }
    })
}

/// With one slot the lane's own door opens, with many that for all lanes: more runners are armed than there are workers.
#[test]
fn what_is_posted_runs_once() {
    for slots in [1, 2, 8] {
        for attempt in [Attempt::Instant, Attempt::Yield(1), Attempt::Block(2)] {
            check(400, move || async move {
                let queue = queue(LaneConfig::new(1, slots)).await;
                let seen = Arc::new(Seen::default());
                let one = submitter(&queue, &seen, 5, attempt);
                let two = submitter(&queue, &seen, 3, attempt);
                one.await.unwrap();
                two.await.unwrap();
                assert_eq!(seen.attempts.load(Ordering::SeqCst), 8);
                assert!(seen.most.load(Ordering::SeqCst) <= slots);
                is_empty_and_alive(&queue).await;
            });
        }
    }
}

/// Who listens hears of each submission once, and before its start.
#[test]
fn what_is_posted_is_told() {
    check(800, || async {
        let queue = queue(LaneConfig::new(1, 8)).await;
        let mut events = queue.subscribe_stream();
        let seen = Arc::new(Seen::default());
        let one = submitter(&queue, &seen, 5, Attempt::Yield(1));
        let two = submitter(&queue, &seen, 3, Attempt::Instant);
        one.await.unwrap();
        two.await.unwrap();
        queue.shutdown().await;
        let (mut submitted, mut started) = (0, 0);
        while let Some(event) = events.recv().await {
            submitted += usize::from(event.key == QUEUE_COMMAND_SUBMITTED);
            started += usize::from(event.key == QUEUE_COMMAND_STARTED);
            assert!(started <= submitted);
        }
        assert_eq!((submitted, started), (8, 8));
    });
}

/// Whoever looks after a submission has returned sees it, or what became of it.
#[test]
fn a_look_sees_what_was_submitted() {
    check(800, || async {
        let queue = queue(LaneConfig::new(1, 1)).await;
        let seen = Arc::new(Seen::default());
        let hang = submit(&queue, Scripted::new(0, &[Attempt::Hang], &seen)).await;
        let mut receivers = Vec::new();
        for value in 1..4 {
            receivers.push(submit(&queue, Scripted::new(value, &[Attempt::Instant], &seen)).await);
            let status = queue.status().await[LANE].clone();
            assert_eq!(status.pending + status.active, value + 1);
        }
        drop((hang, receivers));
        drop(queue);
    });
}

/// A submission is refused, or its command runs, whenever the queue is shut down.
#[test]
fn shutdown_races_what_is_posted() {
    for slots in [1, 8] {
        check(800, move || async move {
            let queue = queue(LaneConfig::new(1, slots)).await;
            let seen = Arc::new(Seen::default());
            let submitting = {
                let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
                shuttle::future::spawn(async move {
                    let mut receivers = Vec::new();
                    for value in 0..5 {
                        let command = Scripted::new(value, &[Attempt::Yield(1)], &seen);
                        match queue.submit(LANE, command).await {
                            Ok(receiver) => receivers.push(receiver),
                            Err(error) => {
                                assert!(matches!(error, LaneError::ShutdownInProgress));
                            }
                        }
                    }
                    let accepted = receivers.len();
                    for receiver in receivers {
                        answer(receiver).await.unwrap();
                    }
                    accepted
                })
            };
            queue.shutdown().await;
            queue.drain(Duration::from_secs(1)).await.unwrap();
            let accepted = submitting.await.unwrap();
            assert_eq!(seen.attempts.load(Ordering::SeqCst), accepted);
        });
    }
}

/// The end of the queue settles what is in the inbox.
#[test]
fn the_drop_of_the_queue_races_what_is_posted() {
    check(800, || async {
        let queue = queue(LaneConfig::new(1, 1)).await;
        let lane = Arc::new(Lane::new("other", LaneConfig::new(1, 1), 1));
        queue.register_lane(Arc::clone(&lane)).await;
        let seen = Arc::new(Seen::default());
        let submitting = {
            let seen = Arc::clone(&seen);
            shuttle::future::spawn(async move {
                let mut receivers = Vec::new();
                for value in 0..5 {
                    let command = Scripted::new(value, &[Attempt::Yield(1)], &seen);
                    receivers.push((value, lane.enqueue(command).await));
                }
                for (value, receiver) in receivers {
                    match answer(receiver).await {
                        Ok(result) => assert_eq!(result, json!(value)),
                        Err(error) => assert!(matches!(error, LaneError::QueueError(_))),
                    }
                }
            })
        };
        drop(queue);
        submitting.await.unwrap();
    });
}

//! Nothing is lost, nothing runs twice, and no slot is used twice, while work comes in from several sides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a3s_lane::{CommandQueue, EventEmitter, Lane, LaneConfig, LaneError};
use serde_json::json;

use crate::command::{
    Attempt, LANE, Scripted, Seen, answer, check, is_empty_and_alive, queue, retries, submit,
};

/// Submits commands from a task of their own and awaits their answers.
fn submitter(
    queue: &Arc<CommandQueue>,
    seen: &Arc<Seen>,
    first: usize,
    scripts: &'static [&'static [Attempt]],
) -> shuttle::future::JoinHandle<()> {
    let (queue, seen) = (Arc::clone(queue), Arc::clone(seen));
    shuttle::future::spawn(async move {
        let mut receivers = Vec::new();
        for (n, script) in scripts.iter().enumerate() {
            receivers.push(submit(&queue, Scripted::new(first + n, script, &seen)).await);
        }
        for (n, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(answer(receiver).await.unwrap(), json!(first + n));
        }
    })
}

#[test]
fn two_submitters_lose_nothing_on_one_lane() {
    for slots in [1, 2] {
        check(1_500, move || async move {
            let queue = queue(LaneConfig::new(1, slots)).await;
            let seen = Arc::new(Seen::default());
            let scripts: &[&[Attempt]] = &[
                &[Attempt::Instant],
                &[Attempt::Yield(1)],
                &[Attempt::Block(1)],
            ];
            let one = submitter(&queue, &seen, 0, scripts);
            let two = submitter(&queue, &seen, 10, scripts);
            one.await.unwrap();
            two.await.unwrap();
            is_empty_and_alive(&queue).await;
            assert_eq!(
                seen.attempts.load(Ordering::SeqCst),
                6,
                "each command runs once"
            );
            assert!(seen.most.load(Ordering::SeqCst) <= slots);
        });
    }
}

#[test]
fn two_lanes_share_their_runners() {
    check(1_500, || async {
        let queue = queue(LaneConfig::new(1, 1)).await;
        let urgent = Arc::new(Lane::new("urgent", LaneConfig::new(1, 2), 0));
        queue.register_lane(Arc::clone(&urgent)).await;
        let seen = Arc::new(Seen::default());
        let other = submitter(
            &queue,
            &seen,
            0,
            &[&[Attempt::Yield(2)], &[Attempt::Instant]],
        );
        let urgent_seen = Arc::new(Seen::default());
        let mut receivers = Vec::new();
        for value in 0..3 {
            let command = Scripted::new(value, &[Attempt::Yield(1)], &urgent_seen);
            receivers.push(urgent.enqueue(command).await);
        }
        for (value, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(answer(receiver).await.unwrap(), json!(value));
        }
        other.await.unwrap();
        is_empty_and_alive(&queue).await;
        assert!(seen.most.load(Ordering::SeqCst) <= 1);
        assert!(urgent_seen.most.load(Ordering::SeqCst) <= 2);
    });
}

#[test]
fn retries_and_panics_settle_once() {
    for delay in [Duration::ZERO, Duration::from_millis(1)] {
        check(1_500, move || async move {
            let mut policy = retries(2);
            (policy.initial_delay, policy.max_delay) = (delay, delay);
            let queue = queue(LaneConfig::new(1, 1).with_retry_policy(policy)).await;
            let seen = Arc::new(Seen::default());
            let good = submitter(
                &queue,
                &seen,
                0,
                &[
                    &[Attempt::Fail, Attempt::Yield(1)],
                    &[Attempt::Panic, Attempt::Instant],
                ],
            );
            let failing = submit(&queue, Scripted::new(9, &[Attempt::Fail], &seen)).await;
            assert!(matches!(
                answer(failing).await,
                Err(LaneError::CommandError(_))
            ));
            good.await.unwrap();
            is_empty_and_alive(&queue).await;
            assert_eq!(seen.attempts.load(Ordering::SeqCst), 7);
            assert_eq!(queue.dlq().unwrap().len().await, 1);
            assert!(seen.most.load(Ordering::SeqCst) <= 1);
        });
    }
}

/// The time limit may pass at any moment: before the first suspension, after the last, or never.
#[test]
fn a_time_limit_races_the_end_of_its_command() {
    check(1_500, || async {
        let config = LaneConfig::new(1, 1).with_timeout(Duration::from_millis(5));
        let queue = queue(config.with_retry_policy(retries(1))).await;
        let seen = Arc::new(Seen::default());
        let hangs = submit(&queue, Scripted::new(0, &[Attempt::Hang], &seen)).await;
        let late = submit(
            &queue,
            Scripted::new(1, &[Attempt::Hang, Attempt::Yield(1)], &seen),
        )
        .await;
        let blocks = submit(&queue, Scripted::new(2, &[Attempt::Block(3)], &seen)).await;
        assert!(matches!(answer(hangs).await, Err(LaneError::Timeout(_))));
        for (receiver, value) in [(late, 1), (blocks, 2)] {
            match answer(receiver).await {
                Ok(got) => assert_eq!(got, json!(value)),
                Err(error) => assert!(matches!(error, LaneError::Timeout(_)), "{error}"),
            }
        }
        queue.drain(Duration::from_secs(1)).await.unwrap();
        let status = &queue.status().await[LANE];
        assert_eq!((status.pending, status.active), (0, 0));
    });
}

#[test]
fn a_raised_limit_starts_what_waits() {
    check(1_500, || async {
        let queue = queue(LaneConfig::new(1, 1)).await;
        let seen = Arc::new(Seen::default());
        let hanging = submit(&queue, Scripted::new(0, &[Attempt::Hang], &seen)).await;
        let waiting = submitter(
            &queue,
            &seen,
            1,
            &[&[Attempt::Instant], &[Attempt::Yield(1)]],
        );
        let raising = {
            let queue = Arc::clone(&queue);
            shuttle::future::spawn(async move {
                let lane = Arc::new(Lane::new(LANE, LaneConfig::new(1, 2), 1));
                queue.register_lane(lane).await;
            })
        };
        waiting.await.unwrap();
        raising.await.unwrap();
        assert!(seen.most.load(Ordering::SeqCst) <= 2);
        drop(queue);
        assert!(matches!(
            answer(hanging).await,
            Err(LaneError::QueueError(_))
        ));
    });
}

/// Commands wait in a queue that is not started, and in a lane that is in no queue; both begin while more come in.
#[test]
fn a_late_start_runs_everything_in_order() {
    check(1_500, || async {
        let queue = Arc::new(CommandQueue::new(EventEmitter::new(8)));
        let lane = Arc::new(Lane::new(LANE, LaneConfig::new(1, 1), 1));
        let seen = Arc::new(Seen::default());
        let early = lane
            .enqueue(Scripted::new(0, &[Attempt::Instant], &seen))
            .await;
        let starting = {
            let queue = Arc::clone(&queue);
            shuttle::future::spawn(async move { queue.start_scheduler().await })
        };
        queue.register_lane(lane).await;
        let late = submitter(
            &queue,
            &seen,
            1,
            &[&[Attempt::Instant], &[Attempt::Yield(1)]],
        );
        assert_eq!(answer(early).await.unwrap(), json!(0));
        late.await.unwrap();
        starting.await.unwrap();
        is_empty_and_alive(&queue).await;
    });
}

#[test]
fn more_commands_than_one_runner_takes_in_a_row() {
    check(150, || async {
        let queue = queue(LaneConfig::new(1, 2)).await;
        let seen = Arc::new(Seen::default());
        let mut receivers = Vec::new();
        for value in 0..150 {
            receivers.push(submit(&queue, Scripted::new(value, &[Attempt::Instant], &seen)).await);
        }
        for (value, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(answer(receiver).await.unwrap(), json!(value));
        }
        is_empty_and_alive(&queue).await;
    });
}

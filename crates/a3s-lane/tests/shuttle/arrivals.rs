//! Submissions to a lane with a storage that come at about the same time: each enters once or is refused, whatever the storage says,
//! whoever drops one, and whenever the runtime ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a3s_lane::testing::{begin_runtime, end_runtime};
use a3s_lane::{CommandQueue, LaneError};
use serde_json::json;
use shuttle::future::{JoinHandle, yield_now};

use crate::command::{Attempt, LANE, Scripted, Seen, answer, check};
use crate::ends::{Ledger, queue};

/// Submits one command that returns this value. True when it was accepted and has run.
fn submitter(
    queue: &Arc<CommandQueue>,
    seen: &Arc<Seen>,
    value: usize,
    runtime_ends: bool,
) -> JoinHandle<bool> {
    let queue = Arc::clone(queue);
    let command = Scripted::new(value, &[Attempt::Yield(value % 2)], seen);
    shuttle::future::spawn(async move {
        match queue.submit(LANE, command).await {
            Ok(receiver) => match answer(receiver).await {
                Ok(returned) => {
                    assert_eq!(returned, json!(value));
                    true
                }
                Err(error) => {
                    assert!(runtime_ends, "{error}");
                    assert!(matches!(error, LaneError::QueueError(_)), "{error}");
                    false
                }
            },
            Err(error) => {
                let by_storage = matches!(error, LaneError::Storage(_));
                let by_end = matches!(error, LaneError::QueueError(_));
                assert!(by_storage || (runtime_ends && by_end), "{error}");
                false
            }
        }
    })
}

/// Polls a submission so often, then drops it.
fn dropper(
    queue: &Arc<CommandQueue>,
    seen: &Arc<Seen>,
    value: usize,
    polls: usize,
) -> JoinHandle<()> {
    let queue = Arc::clone(queue);
    let command = Scripted::new(value, &[Attempt::Instant], seen);
    shuttle::future::spawn(async move {
        let mut submission = Box::pin(queue.submit(LANE, command));
        for _ in 0..polls {
            if futures::poll!(&mut submission).is_ready() {
                return;
            }
            yield_now().await;
        }
    })
}

#[test]
fn each_enters_once_or_is_refused() {
    let largest = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for (refusals, polls) in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (4, 1)] {
        let largest = Arc::clone(&largest);
        check(400, move || {
            let largest = Arc::clone(&largest);
            async move {
                let ledger = Ledger::refusing_saves(refusals);
                let queue = queue(2, &ledger).await;
                let seen = Arc::new(Seen::default());
                let submitters: Vec<_> = (0..3)
                    .map(|value| submitter(&queue, &seen, value, false))
                    .collect();
                let dropper = dropper(&queue, &seen, 3, polls);
                let mut ran = 0;
                for submitter in submitters {
                    ran += usize::from(submitter.await.unwrap());
                }
                dropper.await.unwrap();
                queue.drain(Duration::from_secs(1)).await.unwrap();
                assert!(refusals > 0 || ran == 3, "{ran} have run");
                let attempts = seen.attempts.load(Ordering::SeqCst);
                assert!((ran..=ran + 1).contains(&attempts), "{attempts} of {ran}");
                assert!(ledger.is_empty());
                let status = &queue.status().await[LANE];
                assert_eq!((status.pending, status.active), (0, 0));
                largest.fetch_max(ledger.largest_save(), Ordering::SeqCst);
            }
        });
    }
    let largest = largest.load(Ordering::SeqCst);
    assert!(largest > 2, "no schedule had a group");
}

#[test]
fn the_end_of_the_runtime_loses_no_submission() {
    for turns in [1, 3, 6] {
        check(700, move || async move {
            begin_runtime();
            let ledger = Arc::<Ledger>::default();
            let queue = queue(2, &ledger).await;
            let seen = Arc::new(Seen::default());
            let submitters: Vec<_> = (0..3)
                .map(|value| submitter(&queue, &seen, value, true))
                .collect();
            let ending = shuttle::future::spawn(async move {
                for _ in 0..turns {
                    yield_now().await;
                }
                end_runtime();
            });
            for submitter in submitters {
                submitter.await.unwrap();
            }
            ending.await.unwrap();
            assert_eq!(queue.status().await[LANE].active, 0, "no slot is kept");
        });
    }
}

//! A submission that waits for its storage while the queue is drained: the drain goes on with it, beside whoever does so too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a3s_lane::Command;
use serde_json::json;
use shuttle::future::JoinHandle;

use crate::command::{Attempt, LANE, Scripted, Seen, answer, answer_now, check};
use crate::ends::{Ledger, queue};

#[derive(Debug, Clone, Copy)]
enum Owner {
    GoesOn,
    Holds,
    Drops,
}

async fn all(drains: [JoinHandle<a3s_lane::Result<()>>; 2]) {
    for drain in drains {
        drain.await.unwrap().unwrap();
    }
}

/// No wake-up is lost, and the command runs once: unless its submission is dropped, then once or never.
#[test]
fn a_drain_goes_on_with_a_submission_beside_its_owner() {
    for owner in [Owner::GoesOn, Owner::Holds, Owner::Drops] {
        check(1_500, move || async move {
            let ledger = Arc::new(Ledger::default());
            let queue = queue(1, &ledger).await;
            let seen = Arc::new(Seen::default());
            let command: Box<dyn Command> = Scripted::new(0, &[Attempt::Yield(1)], &seen);
            let mut submission = Box::pin({
                let queue = Arc::clone(&queue);
                async move { queue.submit(LANE, command).await }
            });
            assert!(futures::poll!(&mut submission).is_pending());
            // Two go on with it, so that each of them has to end too.
            let drain = || {
                let queue = Arc::clone(&queue);
                shuttle::future::spawn(async move { queue.drain(Duration::from_secs(1)).await })
            };
            let drains = [drain(), drain()];
            match owner {
                Owner::GoesOn => {
                    let receiver = submission.await.unwrap();
                    assert_eq!(answer(receiver).await.unwrap(), json!(0));
                    all(drains).await;
                }
                Owner::Holds => {
                    all(drains).await;
                    let receiver = submission.await.unwrap();
                    assert_eq!(answer_now(receiver).unwrap(), json!(0));
                }
                Owner::Drops => {
                    drop(submission);
                    all(drains).await;
                }
            }
            let runs = seen.attempts.load(Ordering::SeqCst);
            match owner {
                Owner::Drops => assert!(runs <= 1),
                Owner::GoesOn | Owner::Holds => assert_eq!(runs, 1),
            }
        });
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::{EventEmitter, LaneConfig, LaneError, QueueManagerBuilder, RetryPolicy};
use serde_json::Value;

use crate::support::{
    Gate, command, endless, manager_with, nothing, outcome, started, submit, within,
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_is_idempotent() {
    let manager = Arc::new(manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await);
    assert!(!manager.is_started());
    let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut receivers = Vec::new();
    for _ in 0..200 {
        let (active, most) = (Arc::clone(&active), Arc::clone(&most));
        let body = command("t", move |_| {
            let (active, most) = (Arc::clone(&active), Arc::clone(&most));
            async move {
                most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                active.fetch_sub(1, Ordering::SeqCst);
                Ok(Value::Null)
            }
        });
        receivers.push(submit(&manager, "only", body).await);
    }
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let manager = Arc::clone(&manager);
            tokio::spawn(async move { manager.start().await })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("starts");
    }
    assert!(manager.is_started());
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// A command that goes back into its lane while the queue ends does not run any more: nobody waits for the whole limit.
#[tokio::test(start_paused = true)]
async fn an_orderly_end_does_not_wait_for_a_retry() {
    let policy = RetryPolicy::fixed(1, MINUTE);
    let manager = started(LaneConfig::new(1, 1).with_retry_policy(policy)).await;
    let receiver = submit(
        &manager,
        "only",
        command("t", |_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(LaneError::CommandError("once".into()))
        }),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = tokio::time::Instant::now();
    let report = manager.shutdown_within(60 * MINUTE).await;
    assert!(began.elapsed() < MINUTE, "{:?}", began.elapsed());
    assert_eq!((report.stopped.len(), report.pending.len()), (0, 1));
    assert_eq!(report.pending[0].attempts, 1);
    outcome(receiver).await.expect_err("it was not tried again");
}

/// What was accepted runs, what was refused does not, and nothing is in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_and_admission_do_not_race() {
    for _ in 0..30 {
        let manager = Arc::new(started(LaneConfig::new(1, 4)).await);
        let ran = Arc::new(AtomicUsize::new(0));
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                let (manager, ran) = (Arc::clone(&manager), Arc::clone(&ran));
                tokio::spawn(async move {
                    let mut accepted = Vec::new();
                    loop {
                        let ran = Arc::clone(&ran);
                        let body = command("t", move |_| {
                            ran.fetch_add(1, Ordering::SeqCst);
                            async { Ok(Value::Null) }
                        });
                        match manager.submit("only", body).await {
                            Ok(receiver) => accepted.push(receiver),
                            Err(LaneError::ShutdownInProgress) => return accepted,
                            Err(other) => panic!("{other}"),
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        manager.shutdown().await;
        let (at_drain, drained) = (Arc::clone(&ran), Arc::clone(&manager));
        let mut accepted = Vec::new();
        for submitter in submitters {
            accepted.extend(submitter.await.expect("no panic"));
        }
        drained.drain(MINUTE).await.expect("it is empty");
        assert_eq!(at_drain.load(Ordering::SeqCst), accepted.len());
        for mut receiver in accepted {
            let result = receiver.try_recv().expect("resolved before drain returns");
            result.expect("it ran");
        }
    }
}

#[tokio::test]
async fn every_drain_that_waits_is_woken() {
    let manager = Arc::new(started(LaneConfig::new(1, 1)).await);
    let gate = Gate::new();
    submit(&manager, "only", gate.command("t")).await;
    let drains: Vec<_> = (0..5)
        .map(|_| {
            let manager = Arc::clone(&manager);
            tokio::spawn(async move { manager.drain(MINUTE).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(drains.iter().all(|drain| !drain.is_finished()));
    gate.open();
    for drain in drains {
        drain.await.expect("no panic").expect("it is empty");
    }
}

#[tokio::test]
async fn an_empty_queue_is_drained_at_once() {
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    manager.drain(Duration::ZERO).await.expect("never started");
    manager.start().await.expect("starts");
    manager.drain(Duration::ZERO).await.expect("nothing yet");
    manager.shutdown().await;
    manager.drain(Duration::ZERO).await.expect("shut down");
    manager.drain(Duration::ZERO).await.expect("again");
}

/// A drain that is given up leaves nothing behind that could disturb the next one.
#[tokio::test]
async fn a_dropped_drain_changes_nothing() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let gate = Gate::new();
    submit(&manager, "only", gate.command("t")).await;
    for _ in 0..10 {
        let mut drain = std::pin::pin!(manager.drain(MINUTE));
        assert!(futures::poll!(&mut drain).is_pending());
    }
    gate.open();
    manager.drain(MINUTE).await.expect("it is empty");
}

/// The queue's own handle keeps it alive after the manager is gone.
#[tokio::test]
async fn a_queue_lives_as_long_as_a_handle() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let queue = manager.queue();
    let gate = Gate::new();
    let receiver = submit(&manager, "only", gate.command("t")).await;
    drop(manager);
    gate.open();
    outcome(receiver).await.expect("it goes on");
    let receiver = queue.submit("only", endless("t")).await.expect("accepted");
    drop(queue);
    outcome(receiver).await.expect_err("now it is gone");
}

/// A command may hold the manager that runs it.
#[tokio::test]
async fn a_command_can_submit_to_its_own_manager() {
    let manager = Arc::new(started(LaneConfig::new(1, 2)).await);
    let own = Arc::clone(&manager);
    let body = command("parent", move |_| {
        let own = Arc::clone(&own);
        async move {
            let child = own.submit("only", nothing("child")).await?;
            child.await.expect("resolved")
        }
    });
    let receiver = submit(&manager, "only", body).await;
    outcome(receiver).await.expect("both ran");
}

/// Whoever waits outside of the runtime is not left alone.
#[test]
fn receivers_resolve_when_the_runtime_ends_before_the_manager() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (manager, receivers) = runtime.block_on(async {
        let manager = started(LaneConfig::new(1, 2)).await;
        let mut receivers = Vec::new();
        for _ in 0..5 {
            receivers.push(submit(&manager, "only", endless("t")).await);
        }
        crate::support::eventually("two run", async || {
            manager.stats().await.expect("never fails").total_active == 2
        })
        .await;
        (manager, receivers)
    });
    drop(runtime);
    for receiver in receivers {
        let error = receiver
            .blocking_recv()
            .expect("resolved")
            .expect_err("nobody runs it");
        assert!(matches!(error, LaneError::QueueError(_)), "{error}");
    }
    let another = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    another.block_on(async {
        let refused = manager.submit("only", nothing("t")).await;
        assert!(matches!(refused, Err(LaneError::QueueError(_))));
        within(manager.drain(MINUTE)).await.expect("it is empty");
    });
}

/// One emitter, many queues: their events meet, their lives do not.
#[tokio::test]
async fn managers_that_share_an_emitter_end_on_their_own() {
    let emitter = EventEmitter::new(64);
    let build = async || {
        let manager = QueueManagerBuilder::new(emitter.clone())
            .with_lane("only", LaneConfig::new(1, 1), 0)
            .build()
            .await
            .expect("built");
        manager.start().await.expect("starts");
        manager
    };
    let (first, second) = (build().await, build().await);
    let stream = second.subscribe();
    first.shutdown().await;
    drop(first);
    let receiver = submit(&second, "only", nothing("t")).await;
    outcome(receiver).await.expect("it runs");
    second.shutdown().await;
    let seen: Vec<_> = within(futures::StreamExt::collect(stream)).await;
    let words = crate::support::words(&seen);
    assert_eq!(
        words,
        [
            "shutdown.started",
            "shutdown.complete",
            "submitted only",
            "started t",
            "completed t",
            "shutdown.started",
            "shutdown.complete"
        ]
    );
}

//! L7: a promise never settles after an abort, or the queue stops after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use a3s_lane::{
    Command, LaneConfig, LaneError, LaneOptions, QueueManager, RetryPolicy, SubmitOptions,
};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::sleep;

use crate::seeds::{count_operation, properties};
use crate::support::{builder_with, contextual, nothing, settled, submit_with, within};

/// What a command does, and what is done to it.
#[derive(Debug, Clone)]
struct Plan {
    lane: bool,
    body: Body,
    delay: u64,
    ttl: Option<u64>,
    timeout: Option<u64>,
    cancel_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Returns,
    Sleeps(u64),
    Fails(u64),
    Panics,
    Hangs,
    EndsWhenAsked(u64),
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Returns),
        (1..20_u64).prop_map(Body::Sleeps),
        (0..5_u64).prop_map(Body::Fails),
        Just(Body::Panics),
        Just(Body::Hangs),
        (0..10_u64).prop_map(Body::EndsWhenAsked),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    let optional = |range: std::ops::Range<u64>| proptest::option::of(range);
    (
        any::<bool>(),
        bodies(),
        0..10_u64,
        optional(11..30),
        optional(1..20),
        optional(0..40),
    )
        .prop_map(|(lane, body, delay, ttl, timeout, cancel_at)| Plan {
            lane,
            body,
            delay,
            ttl,
            timeout,
            cancel_at,
        })
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Counts how many attempts run at once.
fn body(plan: Body, running: &Arc<AtomicU32>) -> Box<dyn Command> {
    struct Runs(Arc<AtomicU32>);
    impl Drop for Runs {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = Arc::clone(running);
    contextual("t", move |context| {
        running.fetch_add(1, Ordering::SeqCst);
        let runs = Runs(Arc::clone(&running));
        async move {
            let _runs = runs;
            match plan {
                Body::Returns => {}
                Body::Sleeps(time) => sleep(ms(time)).await,
                Body::Fails(time) => {
                    sleep(ms(time)).await;
                    return Err(LaneError::CommandError("no".to_owned()));
                }
                // Without the message of the hook: many of them are part of the plan.
                Body::Panics => std::panic::resume_unwind(Box::new("oh")),
                Body::Hangs => std::future::pending().await,
                Body::EndsWhenAsked(time) => {
                    context.cancellation().cancelled().await;
                    sleep(ms(time)).await;
                }
            }
            Ok(json!("done"))
        }
    })
}

async fn queue() -> QueueManager {
    let retry = RetryPolicy::fixed(2, ms(3));
    let lane = |id, priority| {
        (
            id,
            LaneConfig::new(0, 2).with_retry_policy(retry.clone()),
            priority,
        )
    };
    let manager = builder_with(&[lane("urgent", 0), lane("low", 9)])
        .with_lane_options("urgent", LaneOptions::new())
        .with_lane_options(
            "low",
            LaneOptions::new().with_preemption(true).with_grace(ms(5)),
        )
        .with_max_concurrency(3)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

async fn play(plans: Vec<Plan>) {
    let manager = Arc::new(queue().await);
    let running = Arc::new(AtomicU32::new(0));
    let mut submitters = Vec::new();
    for plan in plans {
        count_operation();
        let lane = if plan.lane { "urgent" } else { "low" };
        let mut options = SubmitOptions::new().with_delay(ms(plan.delay));
        if let Some(ttl) = plan.ttl {
            options = options.with_ttl(ms(ttl));
        }
        if let Some(timeout) = plan.timeout {
            options = options.with_timeout(ms(timeout));
        }
        let handle = submit_with(&manager, lane, body(plan.body, &running), options).await;
        submitters.push(tokio::spawn(async move {
            if let Some(at) = plan.cancel_at {
                sleep(ms(at)).await;
                handle.cancel();
            }
            // Without a limit of its own a hung command is cancelled in the end.
            if tokio::time::timeout(ms(5_000), handle.result())
                .await
                .is_err()
            {
                assert!(handle.cancel(), "it has not settled");
            }
            let result = settled(&handle).await;
            assert!(handle.status().is_settled());
            assert!(!handle.cancel(), "it has settled once and for all");
            (result, handle)
        }));
    }
    for submitter in submitters {
        let (result, handle) = within(submitter).await.expect("everybody gets an answer");
        let again = settled(&handle).await;
        assert_eq!(
            result.map_err(|error| error.code()),
            again.map_err(|error| error.code())
        );
    }
    within(manager.drain(ms(10_000)))
        .await
        .expect("nothing is left");
    assert_eq!(
        running.load(Ordering::SeqCst),
        0,
        "no body outlives its command"
    );
    // The queue goes on.
    for lane in ["urgent", "low"] {
        let mut handles = Vec::new();
        for _ in 0..4 {
            handles.push(submit_with(&manager, lane, nothing("t"), SubmitOptions::new()).await);
        }
        for handle in handles {
            settled(&handle).await.expect("every slot came back");
        }
    }
    let snapshot = manager.snapshot();
    assert_eq!(
        (snapshot.pending, snapshot.active, snapshot.commands.len()),
        (0, 0, 0)
    );
}

properties! {
    cases: 64, least: 500;

    /// sindresorhus/p-queue#241, #168, #219, #239, piscinajs/piscina#869.
    #[test]
    fn l07_every_command_settles_once_whatever_is_cancelled(plans in prop::collection::vec(plans(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(play(plans));
    }
}

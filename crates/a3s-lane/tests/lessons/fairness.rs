//! L18: one tenant's backlog holds up all the others.

use std::time::Duration;

use a3s_lane::{LaneConfig, LaneOptions, SubmitOptions};

use crate::support::{
    Log, builder_with, endless, let_others_run, manager_with, nothing, submit_with, within,
};

fn of(key: &str) -> SubmitOptions {
    SubmitOptions::new().with_key(key)
}

/// taskforcesh/bullmq#2269, graphile/worker#331, riverqueue/river#132: a tenant with a thousand commands, and then one
/// with two.
#[tokio::test(start_paused = true)]
async fn l18_keys_take_turns() {
    let manager = manager_with(&[("only", LaneConfig::new(0, 1), 0)]).await;
    let log = Log::default();
    for _ in 0..1_000 {
        submit_with(&manager, "only", log.command("big"), of("big")).await;
    }
    for _ in 0..2 {
        submit_with(&manager, "only", log.command("small"), of("small")).await;
    }
    manager.start().await.expect("starts");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it ends");
    let entries = log.entries();
    assert_eq!(entries[..5], ["big", "small", "big", "small", "big"]);
}

/// By weight, exactly, for any share.
#[tokio::test(start_paused = true)]
async fn l18_weights_are_shares() {
    let options = LaneOptions::new()
        .with_key_weight("three", 3)
        .with_key_weight("two", 2);
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_lane_options("only", options)
        .build()
        .await
        .expect("built");
    let log = Log::default();
    for key in ["one", "two", "three"] {
        for _ in 0..600 {
            submit_with(&manager, "only", log.command(key), of(key)).await;
        }
    }
    manager.start().await.expect("starts");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it ends");
    let entries = log.entries();
    for round in entries[..600].chunks(6) {
        let share = |key: &str| round.iter().filter(|entry| *entry == key).count();
        assert_eq!(
            (share("one"), share("two"), share("three")),
            (1, 2, 3),
            "{round:?}"
        );
    }
}

/// A tenant cannot hold all slots either.
#[tokio::test(start_paused = true)]
async fn l18_a_key_holds_no_more_slots_than_it_may() {
    let options = LaneOptions::new().with_max_concurrency_per_key(2);
    let manager = builder_with(&[("only", LaneConfig::new(0, 10), 0)])
        .with_lane_options("only", options)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    for _ in 0..100 {
        submit_with(&manager, "only", endless("big"), of("big")).await;
    }
    let small = submit_with(&manager, "only", nothing("small"), of("small")).await;
    let_others_run().await;
    assert_eq!(manager.snapshot().active, 2);
    within(small.result()).await.expect("it found a slot");
}

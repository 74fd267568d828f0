//! L19: no weighted or token rate limit.

use std::time::Duration;

use a3s_lane::{
    CommandStatus, LaneConfig, LaneOptions, LimiterConfig, QueueManager, RateLimitConfig,
    SubmitOptions,
};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    builder_with, contextual, let_others_run, nothing, reasons, settled, submit_with,
};

/// Two lanes that share 600 tokens a minute.
async fn sharing() -> QueueManager {
    let lane = |id, priority| (id, LaneConfig::new(0, 10), priority);
    let tokens = LimiterConfig::token_bucket(RateLimitConfig::new(600, Duration::from_secs(60)));
    let options = || LaneOptions::new().with_limiter("tokens");
    let manager = builder_with(&[lane("chat", 1), lane("batch", 5)])
        .with_limiter("tokens", tokens)
        .with_lane_options("chat", options())
        .with_lane_options("batch", options())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

fn costing(cost: u64) -> SubmitOptions {
    SubmitOptions::new().with_cost(cost)
}

/// taskforcesh/bullmq#798, OptimalBits/bull#1035: a command is charged what it costs, over all lanes that share the limit.
#[tokio::test(start_paused = true)]
async fn l19_a_limit_counts_cost_over_lanes() {
    let manager = sharing().await;
    let first = submit_with(&manager, "batch", nothing("t"), costing(500)).await;
    settled(&first).await.expect("it runs");
    let start = Instant::now();
    let large = submit_with(&manager, "chat", nothing("t"), costing(200)).await;
    let_others_run().await;
    assert_eq!(reasons(&large), ["rate_limited"]);
    large.result().await.expect("it runs when there is enough");
    // 100 were left, and 10 come back per second.
    let waited = start.elapsed().as_secs_f64();
    assert!((9.9..10.1).contains(&waited), "{waited}");
}

/// BerriAI/litellm#31830, #18128: estimated at the start, settled to what it really was.
#[tokio::test(start_paused = true)]
async fn l19_an_estimate_is_settled() {
    let manager = sharing().await;
    let really = |actual| {
        contextual("t", move |context| async move {
            context.settle_cost(actual);
            Ok(json!(actual))
        })
    };
    // Less than said: given back at once.
    let less = submit_with(&manager, "chat", really(100), costing(600)).await;
    settled(&less).await.expect("it runs");
    let start = Instant::now();
    let more = submit_with(&manager, "chat", really(700), costing(500)).await;
    settled(&more).await.expect("there is enough");
    assert_eq!(start.elapsed(), Duration::ZERO);
    // More than said: 200 are owed, and must come back before anything else starts.
    let next = submit_with(&manager, "batch", nothing("t"), costing(1)).await;
    let_others_run().await;
    assert_eq!(next.status(), CommandStatus::Pending);
    next.result().await.expect("it runs");
    let waited = start.elapsed().as_secs_f64();
    assert!((20.0..20.3).contains(&waited), "{waited}");
}

/// A refusal takes nothing, so that the small ones do not starve a large one for ever: it is the front, and its lane waits
/// for it.
#[tokio::test(start_paused = true)]
async fn l19_a_large_command_is_not_overtaken_in_its_lane() {
    let manager = sharing().await;
    let first = submit_with(&manager, "chat", nothing("t"), costing(600)).await;
    settled(&first).await.expect("it runs");
    let large = submit_with(&manager, "chat", nothing("large"), costing(600)).await;
    let small = submit_with(&manager, "chat", nothing("small"), costing(1)).await;
    small.result().await.expect("it runs");
    assert_eq!(large.status(), CommandStatus::Completed);
}

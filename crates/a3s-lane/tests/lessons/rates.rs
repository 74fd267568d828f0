//! L30: an idle lane burns its rate, fractions are thrown away, the first second has twice the rate.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::config::LaneOptions;
use a3s_lane::{Command, LaneConfig, QueueManager, RateLimitConfig};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::{Gate, builder_with, command, outcome, started, submit};

const SECOND: Duration = Duration::from_secs(1);

/// When commands started, counted from the making of this.
#[derive(Clone)]
struct Starts {
    epoch: Instant,
    at: Arc<Mutex<Vec<Duration>>>,
}

impl Starts {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            at: Arc::default(),
        }
    }

    fn command(&self) -> Box<dyn Command> {
        let starts = self.clone();
        command("t", move |_| {
            let mut at = starts.at.lock().expect("not poisoned");
            at.push(starts.epoch.elapsed());
            async { Ok(Value::Null) }
        })
    }

    async fn submit(&self, manager: &QueueManager, count: usize) {
        for _ in 0..count {
            submit(manager, "only", self.command()).await;
        }
    }

    fn all(&self) -> Vec<Duration> {
        self.at.lock().expect("not poisoned").clone()
    }

    fn whole_millis(&self) -> Vec<u128> {
        self.all().iter().map(Duration::as_millis).collect()
    }
}

async fn limited(max: usize, limit: RateLimitConfig, burst: Option<u64>) -> QueueManager {
    let config = LaneConfig::new(1, max).with_rate_limit(limit);
    let mut builder = builder_with(&[("only", config, 0)]);
    if let Some(burst) = burst {
        builder = builder.with_lane_options("only", LaneOptions::new().with_burst(burst));
    }
    let manager = builder.build().await.expect("built");
    manager.start().await.expect("starts");
    manager
}

/// In a3s-lane 0.4 each tick took a token from a lane that had nothing to start.
#[tokio::test(start_paused = true)]
async fn l30_an_idle_lane_burns_no_token() {
    let manager =
        started(LaneConfig::new(1, 4).with_rate_limit(RateLimitConfig::per_hour(2))).await;
    sleep(600 * SECOND).await;
    let starts = Starts::new();
    starts.submit(&manager, 2).await;
    sleep(SECOND).await;
    assert_eq!(starts.all(), [Duration::ZERO; 2]);
}

#[tokio::test(start_paused = true)]
async fn l30_a_full_lane_burns_no_token() {
    let manager = limited(1, RateLimitConfig::per_hour(2), None).await;
    let gate = Gate::new();
    let held = submit(&manager, "only", gate.command("held")).await;
    let starts = Starts::new();
    starts.submit(&manager, 1).await;
    sleep(60 * SECOND).await;
    assert!(starts.all().is_empty());
    gate.open();
    outcome(held).await.expect("it ends");
    sleep(SECOND).await;
    assert_eq!(
        starts.all(),
        [60 * SECOND],
        "the second token was still there"
    );
}

/// 190 per second granted 120 per second.
#[tokio::test(start_paused = true)]
async fn l30_fractions_of_tokens_are_kept() {
    let manager = limited(1_000, RateLimitConfig::per_second(190), None).await;
    let starts = Starts::new();
    starts.submit(&manager, 2_500).await;
    sleep(10 * SECOND).await;
    // The burst at the start, and ten seconds of the rate; the last token falls on the last instant.
    let count = starts.all().len();
    assert!((190 + 1_899..=190 + 1_900).contains(&count), "{count}");
}

/// I11 rate_bound, seen from outside.
#[tokio::test(start_paused = true)]
async fn l30_no_window_holds_more_than_burst_and_rate() {
    for burst in [1, 5, 50] {
        let manager = limited(1_000, RateLimitConfig::per_second(50), Some(burst)).await;
        let starts = Starts::new();
        starts.submit(&manager, 100).await;
        sleep(700 * SECOND / 1_000).await;
        starts.submit(&manager, 150).await;
        sleep(10 * SECOND).await;
        let at = starts.all();
        assert_eq!(at.len(), 250);
        for first in 0..at.len() {
            let inside = at[first..]
                .iter()
                .take_while(|start| **start - at[first] < SECOND)
                .count();
            assert!(inside as u64 <= burst + 50, "{inside} in one second");
        }
    }
}

/// The bucket started full, without a way to say otherwise.
#[tokio::test(start_paused = true)]
async fn l30_the_burst_is_a_setting() {
    for (burst, in_first_second) in [(None, 10 + 9), (Some(1), 10), (Some(4), 4 + 9)] {
        let manager = limited(1_000, RateLimitConfig::per_second(10), burst).await;
        let starts = Starts::new();
        starts.submit(&manager, 100).await;
        sleep(SECOND - Duration::from_millis(20)).await;
        assert_eq!(starts.all().len(), in_first_second, "burst {burst:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn l30_a_burst_is_not_saved_up_past_its_size() {
    let manager = limited(1_000, RateLimitConfig::per_second(10), Some(3)).await;
    sleep(3_600 * SECOND).await;
    let starts = Starts::new();
    starts.submit(&manager, 10).await;
    sleep(SECOND / 20).await;
    assert_eq!(starts.all(), [Duration::ZERO; 3]);
}

/// Without a finish or a submit that could wake it.
#[tokio::test(start_paused = true)]
async fn l30_a_blocked_lane_wakes_when_its_token_is_due() {
    let manager = limited(4, RateLimitConfig::new(1, 2 * SECOND), None).await;
    let starts = Starts::new();
    starts.submit(&manager, 4).await;
    sleep(60 * SECOND).await;
    let millis = starts.whole_millis();
    assert_eq!(millis.len(), 4);
    for (start, due) in millis.iter().zip([0, 2_000, 4_000, 6_000]) {
        // tokio's timer counts in whole milliseconds.
        assert!((due..=due + 2).contains(start), "{millis:?}");
    }
}

/// What a limiter holds back counts as pending, and holds drain.
#[tokio::test(start_paused = true)]
async fn l30_what_is_held_back_is_pending() {
    let manager = limited(4, RateLimitConfig::per_hour(1), None).await;
    let starts = Starts::new();
    starts.submit(&manager, 3).await;
    manager.drain(SECOND).await.expect_err("two are held back");
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_pending, stats.total_active), (2, 0));
    manager
        .drain(Duration::from_secs(7_300))
        .await
        .expect("two hours later");
}

/// A lane that is out of tokens leaves the others alone.
#[tokio::test(start_paused = true)]
async fn l30_a_blocked_urgent_lane_blocks_nobody_else() {
    let urgent = LaneConfig::new(1, 4).with_rate_limit(RateLimitConfig::per_hour(1));
    let manager = builder_with(&[("only", urgent, 0), ("other", LaneConfig::new(1, 1), 9)])
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let starts = Starts::new();
    starts.submit(&manager, 3).await;
    let start = Instant::now();
    for _ in 0..100 {
        let receiver = submit(&manager, "other", starts.command()).await;
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

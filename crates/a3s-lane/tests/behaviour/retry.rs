use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{Jitter, LaneConfig, LaneError, LaneOptions, QueueManager, RetryPolicy};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    Log, builder_with, command, endless, failing, manager_with, nothing, outcome, started, submit,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// When each attempt of an always failing command began, in milliseconds.
async fn attempts_under(policy: RetryPolicy) -> Vec<u64> {
    let manager = started(LaneConfig::new(1, 1).with_retry_policy(policy)).await;
    attempts_of(&manager).await
}

async fn attempts_of(manager: &QueueManager) -> Vec<u64> {
    let epoch = Instant::now();
    let times = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&times);
    let body = command("t", move |_| {
        let at = epoch.elapsed().as_millis() as u64;
        sink.lock().expect("not poisoned").push(at);
        async { Err(LaneError::CommandError("no".to_owned())) }
    });
    let receiver = submit(manager, "only", body).await;
    outcome(receiver).await.expect_err("it always fails");
    let times = times.lock().expect("not poisoned");
    times.clone()
}

/// Whether each attempt came when it was due; tokio's timer counts in whole milliseconds.
fn assert_times(times: &[u64], due: &[u64]) {
    let right = times
        .iter()
        .zip(due)
        .enumerate()
        .all(|(n, (at, due))| (*due..=due + 2 * n as u64).contains(at));
    assert!(
        times.len() == due.len() && right,
        "{times:?} is not {due:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn delays_grow_up_to_the_cap() {
    let policy = RetryPolicy {
        max_retries: 5,
        initial_delay: MS(100),
        max_delay: MS(500),
        multiplier: 2.0,
    };
    assert_times(
        &attempts_under(policy).await,
        &[0, 100, 300, 700, 1_200, 1_700],
    );
}

/// As in 0.4: the longest delay bounds the first one too.
#[tokio::test(start_paused = true)]
async fn a_first_delay_above_the_cap_is_the_cap() {
    let policy = RetryPolicy {
        max_retries: 2,
        initial_delay: MS(1_000),
        max_delay: MS(500),
        multiplier: 2.0,
    };
    assert_times(&attempts_under(policy).await, &[0, 500, 1_000]);
}

#[tokio::test(start_paused = true)]
async fn fixed_delays_stay_the_same() {
    let policy = RetryPolicy::fixed(3, MS(250));
    assert_times(&attempts_under(policy).await, &[0, 250, 500, 750]);
}

#[tokio::test(start_paused = true)]
async fn the_default_is_one_attempt() {
    assert_eq!(attempts_under(RetryPolicy::none()).await.len(), 1);
    assert_eq!(attempts_under(RetryPolicy::default()).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_retries_without_a_delay() {
    let policy = RetryPolicy::fixed(5_000, Duration::ZERO);
    let times = attempts_under(policy).await;
    assert_eq!(times.len(), 5_001);
    assert_eq!(times.last(), Some(&0), "no time was needed");
}

#[tokio::test(start_paused = true)]
async fn a_back_off_holds_no_slot_and_counts_as_pending() {
    let config = LaneConfig::new(1, 1).with_retry_policy(RetryPolicy::fixed(1, MS(60_000)));
    let manager = started(config).await;
    let delayed = submit(&manager, "only", failing("delayed")).await;
    let start = Instant::now();
    for _ in 0..50 {
        let receiver = submit(&manager, "only", nothing("other")).await;
        outcome(receiver).await.expect("the slot is free");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let status = &manager.stats().await.expect("never fails").lanes["only"];
    assert_eq!((status.pending, status.active), (1, 0));
    manager.drain(MS(59_000)).await.expect_err("a retry is due");
    manager.drain(MS(2_000)).await.expect("it failed for good");
    outcome(delayed).await.expect_err("it always fails");
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_the_back_of_its_lane() {
    for delay in [Duration::ZERO, MS(10)] {
        let config = LaneConfig::new(1, 1).with_retry_policy(RetryPolicy::fixed(1, delay));
        let manager = manager_with(&[("only", config, 0)]).await;
        let log = Log::default();
        let entries = log.clone();
        let flaky = command("flaky", move |attempt| {
            entries.push(format!("flaky {attempt}"));
            async move {
                match attempt {
                    1 => Err(LaneError::CommandError("once".to_owned())),
                    _ => Ok(json!(attempt)),
                }
            }
        });
        let receiver = submit(&manager, "only", flaky).await;
        for name in ["b", "c"] {
            let entries = log.clone();
            let body = command(name, move |_| {
                entries.push(name);
                async {
                    tokio::time::sleep(MS(50)).await;
                    Ok(Value::Null)
                }
            });
            submit(&manager, "only", body).await;
        }
        manager.start().await.expect("starts");
        assert_eq!(outcome(receiver).await.expect("the second attempt"), 2);
        assert_eq!(log.entries(), ["flaky 1", "b", "c", "flaky 2"]);
    }
}

#[tokio::test]
async fn an_unrecoverable_error_is_not_retried() {
    let config = LaneConfig::new(1, 1).with_retry_policy(RetryPolicy::fixed(9, Duration::ZERO));
    let manager = builder_with(&[("only", config, 0)])
        .with_dlq(3)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let body = command("t", |attempt| async move {
        match attempt {
            1 => Err(LaneError::CommandError("again".to_owned())),
            _ => Err(LaneError::unrecoverable_job("never")),
        }
    });
    let receiver = submit(&manager, "only", body).await;
    let error = outcome(receiver).await.expect_err("it fails for good");
    assert!(error.is_unrecoverable_job());
    let queue = manager.queue();
    let letters = queue.dlq().expect("it keeps them").list().await;
    assert_eq!((letters.len(), letters[0].attempts), (1, 2));
}

/// Each attempt has the whole limit.
#[tokio::test(start_paused = true)]
async fn the_time_limit_is_per_attempt() {
    let config = LaneConfig::new(1, 1)
        .with_timeout(MS(1_000))
        .with_retry_policy(RetryPolicy::fixed(2, MS(10_000)));
    let manager = started(config).await;
    let start = Instant::now();
    let receiver = submit(&manager, "only", endless("t")).await;
    let error = receiver.await.expect("resolved").expect_err("it times out");
    assert!(matches!(error, LaneError::Timeout(limit) if limit == MS(1_000)));
    let elapsed = start.elapsed();
    assert!(
        (MS(23_000)..=MS(23_010)).contains(&elapsed),
        "three attempts of 1 s and two back-offs of 10 s: {elapsed:?}"
    );
}

/// The waits between the attempts of a command whose delays are 100 ms, in milliseconds.
async fn waits_with(jitter: Jitter) -> Vec<u64> {
    let retries = 60;
    let config = LaneConfig::new(1, 1).with_retry_policy(RetryPolicy::fixed(retries, MS(100)));
    let options = LaneOptions::new().with_retry_jitter(jitter);
    let manager = builder_with(&[("only", config, 0)])
        .with_lane_options("only", options)
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("it starts");
    let times = attempts_of(&manager).await;
    assert_eq!(times.len() as u32, retries + 1);
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn each_jitter_shortens_its_part_of_the_delay() {
    // tokio's timer counts in whole milliseconds, and rounds up.
    let whole = 99..=102;
    let waits = waits_with(Jitter::None).await;
    assert!(waits.iter().all(|wait| whole.contains(wait)), "{waits:?}");
    let waits = waits_with(Jitter::Equal).await;
    let half = 49..=102;
    assert!(waits.iter().all(|wait| half.contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < 75), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > 75), "{waits:?}");
    let waits = waits_with(Jitter::Full).await;
    assert!(waits.iter().all(|wait| *wait <= 102), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < 49), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > 75), "{waits:?}");
}

use std::time::Duration;

use a3s_lane::{LaneConfig, LaneError};
use serde_json::{Value, json};

use crate::support::{Log, command, endless, nothing, outcome, started, submit};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Writes a line when it is dropped.
struct Dropped(Log);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.push("dropped");
    }
}

/// Two bodies never share a slot.
#[tokio::test(start_paused = true)]
async fn a_body_is_dropped_before_its_slot_is_used_again() {
    let manager = started(LaneConfig::new(1, 1).with_timeout(MS(100))).await;
    let log = Log::default();
    let entries = log.clone();
    let slow = command("slow", move |_| {
        entries.push("slow");
        let guard = Dropped(entries.clone());
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(Value::Null)
        }
    });
    let slow = submit(&manager, "only", slow).await;
    let next = submit(&manager, "only", log.command("next")).await;
    outcome(slow).await.expect_err("it times out");
    outcome(next).await.expect("it runs");
    assert_eq!(log.entries(), ["slow", "dropped", "next"]);
}

/// All limits are kept at once, the earliest first, whatever the order of the submits.
#[tokio::test(start_paused = true)]
async fn many_lanes_with_limits_of_their_own() {
    let names: Vec<String> = (1..=50).map(|n| n.to_string()).collect();
    let lanes: Vec<_> = names
        .iter()
        .map(|name| {
            let limit = name.parse::<u64>().expect("a number") * 10;
            (&**name, LaneConfig::new(1, 1).with_timeout(MS(limit)), 0)
        })
        .collect();
    let manager = crate::support::manager_with(&lanes).await;
    manager.start().await.expect("starts");
    let start = tokio::time::Instant::now();
    let mut receivers = Vec::new();
    for name in names.iter().rev() {
        receivers.push((name, submit(&manager, name, endless("t")).await));
    }
    for (name, receiver) in receivers.into_iter().rev() {
        let limit = MS(name.parse::<u64>().expect("a number") * 10);
        let error = outcome(receiver).await.expect_err("it times out");
        assert!(matches!(error, LaneError::Timeout(given) if given == limit));
        let elapsed = start.elapsed();
        assert!(
            (limit..=limit + MS(2)).contains(&elapsed),
            "{name}: {elapsed:?}"
        );
    }
}

/// A limit that was met by the command is forgotten.
#[tokio::test(start_paused = true)]
async fn a_limit_ends_with_its_attempt() {
    let manager = started(LaneConfig::new(1, 1).with_timeout(MS(100))).await;
    for _ in 0..5 {
        let body = command("t", |_| async {
            tokio::time::sleep(MS(80)).await;
            Ok(json!(1))
        });
        let receiver = submit(&manager, "only", body).await;
        assert_eq!(outcome(receiver).await.expect("80 ms each"), 1);
    }
}

/// The clock starts with the attempt, not with the submit.
#[tokio::test(start_paused = true)]
async fn waiting_in_the_lane_does_not_count() {
    let manager = started(LaneConfig::new(1, 1).with_timeout(MS(100))).await;
    let mut receivers = Vec::new();
    for _ in 0..5 {
        let body = command("t", |_| async {
            tokio::time::sleep(MS(80)).await;
            Ok(Value::Null)
        });
        receivers.push(submit(&manager, "only", body).await);
    }
    for receiver in receivers {
        outcome(receiver).await.expect("80 ms each");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_is_cut_off() {
    let manager = started(LaneConfig::new(1, 1)).await;
    let body = command("t", |_| async {
        tokio::time::sleep(Duration::from_secs(7 * 86_400)).await;
        Ok(json!("a week"))
    });
    let receiver = submit(&manager, "only", body).await;
    let value = receiver.await.expect("resolved").expect("it ends");
    assert_eq!(value, "a week");
}

/// A limit that no body meets is no work for anybody.
#[tokio::test(start_paused = true)]
async fn quick_commands_of_a_limited_lane_take_no_time() {
    let manager = started(LaneConfig::new(1, 4).with_timeout(MS(1))).await;
    let start = tokio::time::Instant::now();
    for _ in 0..500 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

//! L27, L34: what observes a queue is stored and never used, and costs more the longer it is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{
    Alert, AlertLevel, AlertManager, LaneConfig, LaneError, MetricsSnapshot, QueueManager,
    QueueMetrics, RetryPolicy,
};
use serde_json::Value;

use crate::support::{Gate, builder_with, command, endless, failing, outcome, submit};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn sleeping(name: &str, time: Duration) -> Box<dyn a3s_lane::Command> {
    command(name, move |_| async move {
        tokio::time::sleep(time).await;
        Ok(Value::Null)
    })
}

async fn measured(lanes: &[(&str, LaneConfig, u8)]) -> QueueManager {
    let manager = builder_with(lanes)
        .with_dlq(5)
        .with_metrics(QueueMetrics::local())
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

async fn snapshot(manager: &QueueManager) -> MetricsSnapshot {
    let metrics = manager.metrics().expect("it was built with metrics");
    metrics.snapshot().await
}

#[tokio::test(start_paused = true)]
async fn l27_every_counter_gauge_and_histogram_moves() {
    let config = LaneConfig::new(1, 1)
        .with_timeout(MS(1_000))
        .with_retry_policy(RetryPolicy::fixed(1, MS(10)));
    let manager = measured(&[("api", config, 0), ("idle", LaneConfig::new(1, 1), 1)]).await;
    let receivers = [
        submit(&manager, "api", sleeping("good", MS(40))).await,
        submit(&manager, "api", failing("bad")).await,
        submit(&manager, "api", endless("slow")).await,
    ];
    // Before anything ran, two wait behind the first.
    tokio::task::yield_now().await;
    let gauges = snapshot(&manager).await.gauges;
    assert_eq!(gauges["lane.queue.active.api"], 1.0);
    assert_eq!(gauges["lane.queue.depth.api"], 2.0);
    for receiver in receivers {
        let _ = outcome(receiver).await;
    }
    let MetricsSnapshot {
        counters,
        gauges,
        histograms,
    } = snapshot(&manager).await;
    let expected = [
        ("lane.commands.submitted", 3),
        ("lane.commands.completed", 1),
        ("lane.commands.failed", 1),
        ("lane.commands.timeout", 1),
        ("lane.commands.retried", 2),
        ("lane.commands.dead_lettered", 2),
    ];
    let expected: HashMap<String, u64> = expected
        .into_iter()
        .flat_map(|(name, value)| [(name.to_owned(), value), (format!("{name}.api"), value)])
        .collect();
    assert_eq!(counters, expected);
    assert_eq!(gauges["lane.queue.active.api"], 0.0);
    assert_eq!(gauges["lane.queue.depth.api"], 0.0);
    for name in ["lane.command.latency_ms", "lane.command.latency_ms.api"] {
        let latency = &histograms[name];
        assert_eq!(latency.count, 1, "of completed commands");
        assert!((40.0..=42.0).contains(&latency.max), "{latency:?}");
    }
    for name in ["lane.command.wait_time_ms", "lane.command.wait_time_ms.api"] {
        let wait = &histograms[name];
        assert_eq!(wait.count, 5, "one per attempt");
        assert_eq!(wait.min, 0.0, "the first one found a free slot");
        // The retry of "bad" waits until "slow" has met its limit.
        assert!((900.0..=1_100.0).contains(&wait.max), "{wait:?}");
    }
}

/// L34: refused submits were counted as submitted.
#[tokio::test]
async fn l34_refused_submits_are_not_counted() {
    let manager = measured(&[("api", LaneConfig::new(1, 1), 0)]).await;
    let refused = manager.submit("nope", failing("t")).await;
    assert!(matches!(refused, Err(LaneError::LaneNotFound(_))));
    manager.shutdown().await;
    let refused = manager.submit("api", failing("t")).await;
    assert!(matches!(refused, Err(LaneError::ShutdownInProgress)));
    assert!(snapshot(&manager).await.counters.is_empty());
}

/// L34: percentiles right to 1 %, whatever was recorded before; `lessons_allocation` shows that memory is bounded.
#[tokio::test]
async fn l34_percentiles_stay_right_over_many_values() {
    let metrics = QueueMetrics::local();
    for value in 1..=20_000_u32 {
        // A permutation of 1..=20000.
        let value = (u64::from(value) * 7_919) % 20_000 + 1;
        metrics.record_complete("api", value as f64 / 10.0).await;
    }
    let snapshot = metrics.snapshot().await;
    let latency = &snapshot.histograms["lane.command.latency_ms.api"];
    assert_eq!(
        (latency.count, latency.min, latency.max),
        (20_000, 0.1, 2_000.0)
    );
    let percentiles = &latency.percentiles;
    for (got, exact) in [
        (percentiles.p50, 1_000.0),
        (percentiles.p90, 1_800.0),
        (percentiles.p95, 1_900.0),
        (percentiles.p99, 1_980.0),
    ] {
        assert!((got - exact).abs() <= exact * 0.01, "{got} is not {exact}");
    }
}

type Alerts = Arc<Mutex<Vec<Alert>>>;

async fn watched(alerts: AlertManager) -> (QueueManager, Alerts) {
    let alerts = Arc::new(alerts);
    let seen = Alerts::default();
    let sink = Arc::clone(&seen);
    alerts
        .add_callback(move |alert| sink.lock().expect("not poisoned").push(alert))
        .await;
    let manager = builder_with(&[("api", LaneConfig::new(1, 1), 0)])
        .with_alerts(alerts)
        .build()
        .await
        .expect("built");
    (manager, seen)
}

fn levels(alerts: &Alerts) -> Vec<(AlertLevel, f64)> {
    let alerts = alerts.lock().expect("not poisoned");
    assert!(alerts.iter().all(|alert| alert.lane_id == "api"));
    alerts
        .iter()
        .map(|alert| (alert.level, alert.current_value))
        .collect()
}

#[tokio::test]
async fn l27_depth_alerts_are_raised() {
    let (manager, alerts) = watched(AlertManager::with_queue_depth_alerts(3, 5)).await;
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..7 {
        receivers.push(submit(&manager, "api", gate.command("t")).await);
    }
    let once = [(AlertLevel::Warning, 3.0), (AlertLevel::Critical, 5.0)];
    assert_eq!(levels(&alerts), once, "when a level is reached");
    manager.start().await.expect("starts");
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(levels(&alerts), once, "not while the queue empties");
    let gate = Gate::new();
    let mut receivers = Vec::new();
    for _ in 0..4 {
        receivers.push(submit(&manager, "api", gate.command("t")).await);
    }
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(levels(&alerts).len(), 3, "again, the next time");
}

#[tokio::test(start_paused = true)]
async fn l27_latency_alerts_are_raised() {
    let (manager, alerts) = watched(AlertManager::with_latency_alerts(40.0, 400.0)).await;
    manager.start().await.expect("starts");
    for time in [MS(10), MS(100), MS(500)] {
        let receiver = submit(&manager, "api", sleeping("t", time)).await;
        outcome(receiver).await.expect("it sleeps");
    }
    let raised = levels(&alerts);
    assert_eq!(raised.len(), 2, "{raised:?}");
    for ((level, latency), (expected, least)) in raised
        .into_iter()
        .zip([(AlertLevel::Warning, 100.0), (AlertLevel::Critical, 500.0)])
    {
        assert_eq!(level, expected);
        assert!((least..=least + 2.0).contains(&latency), "{latency}");
    }
}

/// Without a total limit `min_concurrency` is a figure that is reported.
#[tokio::test]
async fn l27_the_minimum_is_reported() {
    let manager = measured(&[("api", LaneConfig::new(2, 3), 0)]).await;
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.lanes["api"].min, stats.lanes["api"].max), (2, 3));
}

/// Cancelled commands leave the lane too.
#[tokio::test]
async fn l27_a_depth_that_fell_by_a_cancel_is_told_again() {
    let (manager, alerts) = watched(AlertManager::with_queue_depth_alerts(1, 5)).await;
    for told in 1..=3 {
        let gate = Gate::new();
        let _first = submit(&manager, "api", gate.command("t")).await;
        let _second = submit(&manager, "api", gate.command("t")).await;
        assert_eq!(levels(&alerts).len(), told, "once for each rise");
        assert_eq!(manager.cancel_lane("api").expect("there is one"), 2);
    }
}

/// A callback that panics is no reason to lose the command.
#[tokio::test]
async fn l27_a_panicking_alert_harms_no_command() {
    let alerts = Arc::new(AlertManager::with_queue_depth_alerts(1, 1));
    alerts.add_callback(|_| panic!("a bad callback")).await;
    let manager = builder_with(&[("api", LaneConfig::new(1, 1), 0)])
        .with_alerts(alerts)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    for _ in 0..3 {
        let receiver = submit(&manager, "api", sleeping("t", Duration::ZERO)).await;
        outcome(receiver).await.expect("it runs");
    }
}

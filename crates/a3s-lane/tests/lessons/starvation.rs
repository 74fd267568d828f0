//! L3: background work starves people.

use std::time::Duration;

use a3s_lane::{CommandStatus, LaneConfig, LaneOptions, SubmitOptions};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::{
    builder_with, command, endless, let_others_run, manager_with, nothing, outcome, reaches,
    submit, submit_with,
};

fn sleeper(name: &str, time: Duration) -> Box<dyn a3s_lane::Command> {
    command(name, move |_| async move {
        sleep(time).await;
        Ok(Value::Null)
    })
}

/// openclaw/openclaw#126803 (a person waited 5.5 minutes behind background jobs), #14282: a reserved slot is there at once,
/// however much background work runs and waits.
#[tokio::test(start_paused = true)]
async fn l03_a_reservation_keeps_a_slot_for_people() {
    let lanes = [
        ("people", LaneConfig::new(1, 2), 5),
        // More urgent by its priority, and still no match for the reservation.
        ("background", LaneConfig::new(0, 10), 1),
    ];
    let manager = builder_with(&lanes)
        .with_max_concurrency(4)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    for _ in 0..100 {
        submit(&manager, "background", endless("job")).await;
    }
    let_others_run().await;
    assert_eq!(manager.snapshot().active, 3);
    let start = Instant::now();
    for _ in 0..10 {
        let answer = submit(&manager, "people", nothing("person")).await;
        outcome(answer).await.expect("it runs");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(manager.snapshot().active, 3, "nothing had to stop");
}

/// The same without a reservation: what gives way is stopped and runs again.
#[tokio::test(start_paused = true)]
async fn l03_preemption_makes_room_for_people() {
    let lanes = [
        ("people", LaneConfig::new(0, 2), 1),
        ("background", LaneConfig::new(0, 10), 5),
    ];
    let manager = builder_with(&lanes)
        .with_lane_options("background", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(2)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let first = submit_with(&manager, "background", endless("job"), SubmitOptions::new()).await;
    let second = submit_with(&manager, "background", endless("job"), SubmitOptions::new()).await;
    reaches(&second, CommandStatus::Running).await;
    let_others_run().await;
    let start = Instant::now();
    let answer = submit(&manager, "people", nothing("person")).await;
    outcome(answer).await.expect("it runs");
    assert_eq!(start.elapsed(), Duration::ZERO);
    let_others_run().await;
    for job in [first, second] {
        assert_eq!(job.status(), CommandStatus::Running, "it runs again");
    }
}

/// More urgent work that never ends: a boost bounds how long the others wait.
#[cfg(feature = "distributed")]
#[tokio::test(start_paused = true)]
async fn l03_a_boost_bounds_the_wait() {
    use a3s_lane::PriorityBoostConfig;

    let deadline = Duration::from_secs(60);
    let boosted = LaneConfig::new(0, 1).with_priority_boost(PriorityBoostConfig::new(deadline));
    let lanes = [("urgent", LaneConfig::new(0, 1), 1), ("low", boosted, 9)];
    let manager = builder_with(&lanes)
        .with_max_concurrency(1)
        .build()
        .await
        .expect("built");
    for _ in 0..1_000 {
        submit(
            &manager,
            "urgent",
            sleeper("urgent", Duration::from_secs(1)),
        )
        .await;
    }
    let low = submit(&manager, "low", nothing("low")).await;
    let start = Instant::now();
    manager.start().await.expect("starts");
    low.await.expect("resolved").expect("it runs");
    let waited = start.elapsed();
    assert!(waited >= deadline, "{waited:?}");
    assert!(waited < deadline + Duration::from_secs(3), "{waited:?}");
}

/// Without one it waits for all of them, which is what the boost is against.
#[tokio::test(start_paused = true)]
async fn l03_without_a_boost_it_waits_for_all() {
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = manager_with(&[lane("urgent", 1), lane("low", 9)]).await;
    manager.set_max_concurrency(Some(1)).expect("no minimums");
    for _ in 0..1_000 {
        submit(
            &manager,
            "urgent",
            sleeper("urgent", Duration::from_secs(1)),
        )
        .await;
    }
    let low = submit(&manager, "low", nothing("low")).await;
    let start = Instant::now();
    manager.start().await.expect("starts");
    low.await.expect("resolved").expect("it runs");
    assert!(start.elapsed() >= Duration::from_secs(1_000));
}

/// Who starves must be seen while it starves: the gauge goes on though nothing starts and nothing else happens.
#[cfg(feature = "monitoring")]
#[tokio::test(start_paused = true)]
async fn l03_the_longest_wait_of_a_lane_is_seen() {
    use std::sync::Arc;

    use a3s_lane::{MonitorConfig, QueueMetrics, QueueMonitor, metric_names};

    let metrics = QueueMetrics::local();
    let name = |lane: &str| format!("{}.{lane}", metric_names::QUEUE_OLDEST_WAIT);
    let waits = async |lane: &str| {
        let snapshot = metrics.snapshot().await;
        snapshot.gauges.get(&name(lane)).copied()
    };
    let manager = builder_with(&[
        ("people", LaneConfig::new(0, 1), 0),
        ("background", LaneConfig::new(0, 1), 9),
    ])
    .with_max_concurrency(1)
    .with_metrics(metrics.clone())
    .build()
    .await
    .expect("built");
    assert_eq!(waits("background").await, Some(0.0));
    let hour = Duration::from_secs(3_600);
    let later = SubmitOptions::new().with_delay(hour);
    let delayed = submit_with(&manager, "background", nothing("later"), later).await;
    submit_with(
        &manager,
        "people",
        sleeper("person", hour * 3),
        SubmitOptions::new(),
    )
    .await;
    manager.start().await.expect("starts");
    let_others_run().await;
    let first = submit_with(
        &manager,
        "background",
        nothing("first"),
        SubmitOptions::new(),
    )
    .await;
    sleep(Duration::from_secs(20)).await;
    let keyed = SubmitOptions::new().with_key("k").with_priority(-1);
    let second = submit_with(&manager, "background", nothing("second"), keyed).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        waits("background").await,
        Some(30_000.0),
        "the first one waits"
    );
    assert_eq!(waits("people").await, Some(0.0), "what runs does not wait");
    first.cancel();
    assert_eq!(
        waits("background").await,
        Some(10_000.0),
        "the second one waits"
    );
    second.cancel();
    assert_eq!(
        waits("background").await,
        Some(0.0),
        "what is delayed is not ready"
    );
    sleep(hour).await;
    assert_eq!(waits("background").await, Some(30_000.0), "now it is");

    // Whoever cannot take snapshots has a monitor.
    let config = MonitorConfig {
        interval: Duration::from_secs(60),
        ..MonitorConfig::default()
    };
    Arc::new(QueueMonitor::with_config(manager.queue(), config))
        .start()
        .await;
    sleep(Duration::from_secs(61)).await;
    let gauge = metrics.backend().get_gauge(&name("background")).await;
    assert_eq!(gauge, Some(90_000.0), "as the monitor saw it a second ago");

    delayed.cancel();
    manager.remove_lane("background").expect("it is empty");
    assert_eq!(waits("background").await, Some(0.0));
}

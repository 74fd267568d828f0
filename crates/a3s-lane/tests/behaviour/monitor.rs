use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{LaneConfig, MonitorConfig, QueueMonitor};
use tracing::Level;

use crate::support::trace::{Line, Trace};
use crate::support::{Gate, eventually, manager_with, submit};

const SECOND: Duration = Duration::from_secs(1);

fn config(pending: usize, active: usize) -> MonitorConfig {
    MonitorConfig {
        interval: SECOND,
        pending_warning_threshold: pending,
        active_warning_threshold: active,
    }
}

fn warnings(trace: &Trace) -> Vec<Line> {
    let mut lines = trace.lines();
    lines.retain(|line| line.level == Level::WARN);
    lines
}

#[tokio::test(start_paused = true)]
async fn it_looks_at_every_interval() {
    let trace = Trace::start();
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    Arc::new(QueueMonitor::with_config(manager.queue(), config(100, 50)))
        .start()
        .await;
    tokio::time::sleep(SECOND / 2).await;
    assert!(trace.said("queue depth").is_empty());
    for looks in 1..=5 {
        tokio::time::sleep(SECOND).await;
        assert_eq!(trace.said("queue depth").len(), looks);
    }
    let look = &trace.said("queue depth")[0];
    assert_eq!(look.level, Level::DEBUG);
    assert_eq!((look.field("pending"), look.field("active")), ("0", "0"));
    assert!(warnings(&trace).is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_warns_of_each_threshold_and_names_the_lane() {
    let trace = Trace::start();
    let lane = |id, max| (id, LaneConfig::new(1, max), 0);
    let manager = manager_with(&[lane("narrow", 1), lane("wide", 3)]).await;
    manager.start().await.expect("starts");
    let monitor = Arc::new(QueueMonitor::with_config(manager.queue(), config(4, 4)));
    Arc::clone(&monitor).start().await;
    let gate = Gate::new();
    for _ in 0..4 {
        submit(&manager, "narrow", gate.command("t")).await;
    }
    for _ in 0..2 {
        submit(&manager, "wide", gate.command("t")).await;
    }
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let stats = monitor.stats().await;
    assert_eq!((stats.total_pending, stats.total_active), (3, 3));
    assert!(warnings(&trace).is_empty(), "one below either threshold");
    submit(&manager, "narrow", gate.command("t")).await;
    submit(&manager, "wide", gate.command("t")).await;
    tokio::time::sleep(SECOND).await;
    let seen = warnings(&trace);
    let of = |message: &str| {
        let line = seen.iter().find(|line| line.message() == message);
        line.unwrap_or_else(|| panic!("no warning of {message}: {seen:?}"))
    };
    assert_eq!(seen.len(), 2);
    let pending = of("many pending commands");
    assert_eq!(
        (
            pending.field("pending"),
            pending.field("threshold"),
            pending.field("lane")
        ),
        ("4", "4", "narrow")
    );
    let active = of("many running commands");
    assert_eq!(
        (
            active.field("active"),
            active.field("threshold"),
            active.field("lane")
        ),
        ("4", "4", "wide")
    );
    gate.open();
}

/// The look is inside its span.
#[cfg(feature = "telemetry")]
#[tokio::test(start_paused = true)]
async fn each_look_has_a_span() {
    let trace = Trace::start();
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    Arc::new(QueueMonitor::with_config(manager.queue(), config(100, 50)))
        .start()
        .await;
    tokio::time::sleep(SECOND + SECOND / 2).await;
    assert_eq!(trace.spans("a3s.lane.health_check").len(), 1);
    let look = &trace.said("queue depth")[0];
    assert_eq!(look.span.as_deref(), Some("a3s.lane.health_check"));
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_queue() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let manager = manager_with(&[("only", LaneConfig::new(1, 1), 0)]).await;
    let queue = manager.queue();
    Arc::new(QueueMonitor::with_config(Arc::clone(&queue), config(1, 1)))
        .start()
        .await;
    let handle = Arc::downgrade(&queue);
    drop((manager, queue));
    assert!(handle.upgrade().is_none(), "it keeps no queue alive");
    eventually("its task has ended", async || tasks() == before).await;
}

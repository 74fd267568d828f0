use std::sync::Mutex;

use super::*;

/// Adds a callback that collects what it gets.
async fn collect(manager: &AlertManager) -> Arc<Mutex<Vec<Alert>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    manager
        .add_callback(move |alert| sink.lock().expect("not poisoned").push(alert))
        .await;
    seen
}

fn take(seen: &Mutex<Vec<Alert>>) -> Vec<Alert> {
    std::mem::take(&mut seen.lock().expect("not poisoned"))
}

#[tokio::test]
async fn depths_raise_the_level_they_reach() {
    let manager = AlertManager::with_queue_depth_alerts(10, 20);
    let seen = collect(&manager).await;
    for depth in [0, 9, 10, 19, 20, 1000] {
        manager.check_queue_depth("a", depth).await;
    }
    manager.check_latency("a", f64::MAX).await;
    let alerts = take(&seen);
    let levels: Vec<_> = alerts
        .iter()
        .map(|alert| (alert.level, alert.current_value))
        .collect();
    assert_eq!(
        levels,
        [
            (AlertLevel::Warning, 10.0),
            (AlertLevel::Warning, 19.0),
            (AlertLevel::Critical, 20.0),
            (AlertLevel::Critical, 1000.0),
        ]
    );
    assert_eq!(alerts[1].message, "Queue depth warning: 19 (threshold: 10)");
    assert_eq!(
        alerts[3],
        Alert {
            level: AlertLevel::Critical,
            lane_id: "a".to_owned(),
            message: "Queue depth critical: 1000 (threshold: 20)".to_owned(),
            current_value: 1000.0,
            threshold: 20.0,
        }
    );
}

#[tokio::test]
async fn latencies_raise_the_level_they_reach() {
    let manager = AlertManager::with_latency_alerts(1.5, 20.0);
    let seen = collect(&manager).await;
    for latency_ms in [0.0, -1.0, f64::NAN, 1.499, 1.5, 19.999, 20.0] {
        manager.check_latency("a", latency_ms).await;
    }
    manager.check_queue_depth("a", usize::MAX).await;
    let messages: Vec<_> = take(&seen).into_iter().map(|alert| alert.message).collect();
    assert_eq!(
        messages,
        [
            "Latency warning: 1.50ms (threshold: 1.50ms)",
            "Latency warning: 20.00ms (threshold: 1.50ms)",
            "Latency critical: 20.00ms (threshold: 20.00ms)",
        ]
    );
}

#[tokio::test]
async fn nothing_is_raised_unless_enabled() {
    let manager = AlertManager::new();
    let seen = collect(&manager).await;
    assert!(!manager.is_enabled());
    manager.check_queue_depth("a", usize::MAX).await;
    manager.check_latency("a", f64::MAX).await;
    assert_eq!(take(&seen), []);

    manager
        .set_queue_depth_config(QueueDepthAlertConfig::new(1, 2))
        .await;
    assert!(manager.is_enabled());
    assert_eq!(
        manager.queue_depth_config().await,
        QueueDepthAlertConfig::new(1, 2)
    );
    assert_eq!(manager.depth_level(0), None);
    assert_eq!(manager.depth_level(1), Some(AlertLevel::Warning));
    assert_eq!(manager.depth_level(2), Some(AlertLevel::Critical));
    manager
        .set_latency_config(LatencyAlertConfig::new(1.0, 2.0))
        .await;
    manager
        .set_queue_depth_config(QueueDepthAlertConfig::disabled())
        .await;
    assert!(manager.is_enabled(), "latencies still are");
    assert_eq!(manager.depth_level(2), None);
    assert_eq!(
        manager.latency_config().await,
        LatencyAlertConfig::new(1.0, 2.0)
    );
    manager.check_queue_depth("a", usize::MAX).await;
    assert_eq!(take(&seen), []);
    manager
        .set_latency_config(LatencyAlertConfig::default())
        .await;
    assert!(!manager.is_enabled());
}

#[tokio::test]
async fn odd_thresholds_do_not_panic() {
    let manager = AlertManager::with_latency_alerts(f64::NAN, f64::NAN);
    let seen = collect(&manager).await;
    manager.check_latency("a", f64::MAX).await;
    assert_eq!(take(&seen), [], "NaN is never reached");
    manager
        .set_queue_depth_config(QueueDepthAlertConfig::new(20, 10))
        .await;
    manager.check_queue_depth("a", 15).await;
    manager.check_queue_depth("a", 25).await;
    assert!(
        take(&seen)
            .iter()
            .all(|alert| alert.level == AlertLevel::Critical),
        "no warning below critical"
    );
    manager
        .set_queue_depth_config(QueueDepthAlertConfig::new(0, 1))
        .await;
    manager.check_queue_depth("a", 0).await;
    assert_eq!(take(&seen)[0].level, AlertLevel::Warning);
}

#[tokio::test]
async fn a_panicking_callback_does_not_stop_the_others() {
    let manager = AlertManager::with_queue_depth_alerts(1, 2);
    let before = collect(&manager).await;
    manager.add_callback(|_| panic!("callback broke")).await;
    let after = collect(&manager).await;
    manager.check_queue_depth("a", 1).await;
    manager.check_queue_depth("a", 2).await;
    assert_eq!(take(&before).len(), 2);
    assert_eq!(take(&after).len(), 2);
}

#[tokio::test]
async fn a_callback_may_use_the_manager() {
    let manager = Arc::new(AlertManager::with_queue_depth_alerts(1, 2));
    let seen = collect(&manager).await;
    let inner = Arc::clone(&manager);
    manager
        .add_callback(move |alert| {
            if alert.level == AlertLevel::Warning {
                inner.configure(|config| config.queue_depth = QueueDepthAlertConfig::new(1, 3));
                inner.raise_queue_depth("b", 3);
            }
        })
        .await;
    manager.check_queue_depth("a", 1).await;
    let lanes: Vec<_> = take(&seen)
        .into_iter()
        .map(|alert| (alert.lane_id, alert.level))
        .collect();
    assert_eq!(
        lanes,
        [
            ("a".to_owned(), AlertLevel::Warning),
            ("b".to_owned(), AlertLevel::Critical)
        ]
    );
}

#[tokio::test]
async fn a_clone_is_blank() {
    let manager = AlertManager::with_queue_depth_alerts(1, 2);
    let seen = collect(&manager).await;
    let clone = manager.clone();
    assert_eq!(
        clone.queue_depth_config().await,
        QueueDepthAlertConfig::default()
    );
    clone
        .set_queue_depth_config(QueueDepthAlertConfig::new(1, 2))
        .await;
    clone.check_queue_depth("a", 5).await;
    assert_eq!(take(&seen), []);
}

#[test]
fn levels_are_ordered() {
    assert!(AlertLevel::Info < AlertLevel::Warning && AlertLevel::Warning < AlertLevel::Critical);
}

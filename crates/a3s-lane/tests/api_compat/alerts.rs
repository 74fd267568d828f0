use std::sync::{Arc, Mutex};

use a3s_lane::alerts::AlertCallback;
use a3s_lane::{Alert, AlertLevel, AlertManager, LatencyAlertConfig, QueueDepthAlertConfig};

#[test]
fn levels_and_traits() {
    fn is_ordered<T: Copy + Eq + Ord + std::fmt::Debug>() {}
    is_ordered::<AlertLevel>();
    assert!(AlertLevel::Info < AlertLevel::Warning && AlertLevel::Warning < AlertLevel::Critical);
    crate::is_value::<Alert>();
    crate::is_shared::<AlertManager>();
    let _callback: AlertCallback = Arc::new(|_alert: Alert| {});
}

#[test]
fn configs() {
    crate::is_value::<QueueDepthAlertConfig>();
    crate::is_value::<LatencyAlertConfig>();
    let depth = QueueDepthAlertConfig {
        warning_threshold: 1,
        critical_threshold: 2,
        enabled: true,
    };
    assert_eq!(depth, QueueDepthAlertConfig::new(1, 2));
    let off = QueueDepthAlertConfig {
        warning_threshold: usize::MAX,
        critical_threshold: usize::MAX,
        enabled: false,
    };
    assert_eq!(off, QueueDepthAlertConfig::disabled());
    assert_eq!(off, QueueDepthAlertConfig::default());
    let latency = LatencyAlertConfig {
        warning_threshold_ms: 1.0,
        critical_threshold_ms: 2.0,
        enabled: true,
    };
    assert_eq!(latency, LatencyAlertConfig::new(1.0, 2.0));
    let off = LatencyAlertConfig {
        warning_threshold_ms: f64::MAX,
        critical_threshold_ms: f64::MAX,
        enabled: false,
    };
    assert_eq!(off, LatencyAlertConfig::disabled());
    assert_eq!(off, LatencyAlertConfig::default());
}

async fn recorded(manager: &AlertManager) -> Arc<Mutex<Vec<Alert>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    crate::send(manager.add_callback(move |alert| sink.lock().expect("not poisoned").push(alert)))
        .await;
    seen
}

#[tokio::test]
async fn depth() {
    let manager = AlertManager::with_queue_depth_alerts(10, 20);
    let seen = recorded(&manager).await;
    for depth in [9, 10, 19, 20] {
        crate::send(manager.check_queue_depth("q", depth)).await;
    }
    manager.check_latency("q", 1e9).await;
    let alert = |level, message: &str, value, threshold| Alert {
        level,
        lane_id: "q".to_owned(),
        message: message.to_owned(),
        current_value: value,
        threshold,
    };
    assert_eq!(
        *seen.lock().expect("not poisoned"),
        [
            alert(
                AlertLevel::Warning,
                "Queue depth warning: 10 (threshold: 10)",
                10.0,
                10.0
            ),
            alert(
                AlertLevel::Warning,
                "Queue depth warning: 19 (threshold: 10)",
                19.0,
                10.0
            ),
            alert(
                AlertLevel::Critical,
                "Queue depth critical: 20 (threshold: 20)",
                20.0,
                20.0
            ),
        ]
    );
}

#[tokio::test]
async fn latency() {
    let manager = AlertManager::with_latency_alerts(1.0, 2.5);
    let seen = recorded(&manager).await;
    for latency in [0.99, 1.0, 2.5] {
        crate::send(manager.check_latency("q", latency)).await;
    }
    manager.check_queue_depth("q", usize::MAX).await;
    let messages: Vec<String> = seen
        .lock()
        .expect("not poisoned")
        .iter()
        .map(|alert| alert.message.clone())
        .collect();
    assert_eq!(
        messages,
        [
            "Latency warning: 1.00ms (threshold: 1.00ms)",
            "Latency critical: 2.50ms (threshold: 2.50ms)"
        ]
    );
}

#[tokio::test]
async fn configs_can_change_and_clones_are_blank() {
    let manager = AlertManager::new();
    let seen = recorded(&manager).await;
    manager.check_queue_depth("q", usize::MAX).await;
    manager.check_latency("q", f64::MAX).await;
    assert!(seen.lock().expect("not poisoned").is_empty());
    crate::send(manager.set_queue_depth_config(QueueDepthAlertConfig::new(1, 2))).await;
    crate::send(manager.set_latency_config(LatencyAlertConfig::new(1.0, 2.0))).await;
    let depth: QueueDepthAlertConfig = crate::send(manager.queue_depth_config()).await;
    let latency: LatencyAlertConfig = crate::send(manager.latency_config()).await;
    assert_eq!(depth, QueueDepthAlertConfig::new(1, 2));
    assert_eq!(latency, LatencyAlertConfig::new(1.0, 2.0));
    manager.check_queue_depth("q", 1).await;
    assert_eq!(seen.lock().expect("not poisoned").len(), 1);
    let blank = manager.clone();
    assert!(!blank.queue_depth_config().await.enabled);
    blank.check_queue_depth("q", 9).await;
    assert_eq!(seen.lock().expect("not poisoned").len(), 1);
    assert!(!AlertManager::default().latency_config().await.enabled);
}

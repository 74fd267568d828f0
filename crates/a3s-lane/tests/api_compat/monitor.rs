use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{CommandQueue, EventEmitter, MonitorConfig, QueueMonitor, QueueStats};

#[tokio::test]
async fn config_and_stats() {
    crate::is_value::<MonitorConfig>();
    crate::is_shared::<QueueMonitor>();
    let MonitorConfig {
        interval,
        pending_warning_threshold,
        active_warning_threshold,
    } = MonitorConfig::default();
    assert_eq!(
        (
            interval,
            pending_warning_threshold,
            active_warning_threshold
        ),
        (Duration::from_secs(10), 100, 50)
    );
    let queue = Arc::new(CommandQueue::new(EventEmitter::new(1)));
    let monitor = QueueMonitor::new(Arc::clone(&queue));
    let stats: QueueStats = crate::send(monitor.stats()).await;
    assert_eq!(stats.lanes.len(), 0);
    let config = MonitorConfig {
        interval,
        pending_warning_threshold,
        active_warning_threshold,
    };
    let monitor = Arc::new(QueueMonitor::with_config(queue, config));
    crate::send(Arc::clone(&monitor).start()).await;
}

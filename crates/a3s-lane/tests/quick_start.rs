//! The quick start of the documentation, word for word, completed only by what it leaves out.
//!
//! The part that writes to the working directory has a process of its own: `quick_start_reliability`.

use std::error::Error;

use a3s_lane::EventEmitter;
use serde_json::json;

/// "Basic Usage" and its four steps.
#[rustfmt::skip]
mod basic_usage {
    use std::error::Error;

    // 1. Define a Command
    use a3s_lane::{Command, Result};
    use async_trait::async_trait;
    use serde_json::Value;

    struct FetchData { url: String }

    #[async_trait]
    impl Command for FetchData {
        async fn execute(&self) -> Result<Value> {
            // perform the actual work
            Ok(serde_json::json!({ "url": self.url }))
        }
        fn command_type(&self) -> &str { "fetch_data" }
    }

    pub(crate) async fn main() -> std::result::Result<Value, Box<dyn Error>> {
        // 2. Build and Start
        use a3s_lane::{EventEmitter, QueueManagerBuilder};

        let emitter = EventEmitter::new(100);
        let manager = QueueManagerBuilder::new(emitter)
            .with_default_lanes()
            .build().await?;

        manager.start().await?;

        // 3. Submit and Await
        let rx = manager.submit("query", Box::new(FetchData {
            url: "https://api.example.com/data".into(),
        })).await?;

        let result = rx.await??;
        println!("{result}");

        // 4. Shutdown
        use std::time::Duration;
        manager.shutdown().await;
        manager.drain(Duration::from_secs(30)).await?;

        let late = manager.submit("query", Box::new(FetchData { url: String::new() })).await;
        assert!(matches!(late, Err(a3s_lane::LaneError::ShutdownInProgress)));
        Ok(result)
    }
}

#[tokio::test]
async fn basic_usage_on_one_thread() -> Result<(), Box<dyn Error>> {
    let result = basic_usage::main().await?;
    assert_eq!(result, json!({"url": "https://api.example.com/data"}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_usage_on_many_threads() -> Result<(), Box<dyn Error>> {
    let result = basic_usage::main().await?;
    assert_eq!(result, json!({"url": "https://api.example.com/data"}));
    Ok(())
}

/// "Custom Lanes".
#[rustfmt::skip]
mod custom_lanes {
    use a3s_lane::{EventEmitter, QueueManager, Result};

    pub(crate) async fn build(emitter: EventEmitter) -> Result<QueueManager> {
        use a3s_lane::{QueueManagerBuilder, LaneConfig};

        let manager = QueueManagerBuilder::new(emitter)
            .with_lane("high",  LaneConfig::new(1, 4), 0)
            .with_lane("low",   LaneConfig::new(1, 2), 1)
            .build().await?;
        Ok(manager)
    }
}

#[tokio::test]
async fn custom_lanes() -> Result<(), Box<dyn Error>> {
    let manager = custom_lanes::build(EventEmitter::new(100)).await?;
    let stats = manager.stats().await?;
    assert_eq!(stats.lanes.len(), 2);
    assert_eq!((stats.lanes["high"].min, stats.lanes["high"].max), (1, 4));
    assert_eq!((stats.lanes["low"].min, stats.lanes["low"].max), (1, 2));
    assert_eq!(manager.queue().status().await.len(), 2);
    Ok(())
}

/// "With Observability".
#[cfg(feature = "monitoring")]
#[rustfmt::skip]
mod observability {
    use std::error::Error;
    use std::sync::Mutex;
    use std::time::Duration;

    use a3s_lane::*;
    use std::sync::Arc;

    #[expect(clippy::unwrap_used, reason = "the snippet is quoted as it is")]
    pub(crate) async fn main(emitter: EventEmitter) -> std::result::Result<Vec<Alert>, Box<dyn Error>> {
        let manager = QueueManagerBuilder::new(emitter)
            .with_default_lanes()
            .with_metrics(QueueMetrics::local())
            .with_alerts(Arc::new(AlertManager::with_queue_depth_alerts(100, 500)))
            .build().await?;

        let alerts = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&alerts);
        let watched = manager.alerts().expect("the manager was built with alerts");
        watched.add_callback(move |alert| sink.lock().expect("no panic").push(alert)).await;
        for n in 0..120 {
            manager.submit("query", Box::new(JsonCommand::new("t", n.into()))).await?;
        }
        manager.start().await?;
        manager.drain(Duration::from_secs(30)).await?;

        let snapshot = manager.metrics().unwrap().snapshot().await;
        println!("Submitted: {:?}", snapshot.counters.get("lane.commands.submitted"));

        assert_eq!(snapshot.counters.get("lane.commands.submitted"), Some(&120));
        assert_eq!(snapshot.counters.get("lane.commands.completed.query"), Some(&120));
        let alerts = alerts.lock().expect("no panic");
        Ok(alerts.clone())
    }
}

#[cfg(feature = "monitoring")]
#[tokio::test]
async fn observability() -> Result<(), Box<dyn Error>> {
    let alerts = observability::main(EventEmitter::new(100)).await?;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].level, a3s_lane::AlertLevel::Warning);
    assert_eq!(alerts[0].lane_id, "query");
    assert_eq!(
        alerts[0].message,
        "Queue depth warning: 100 (threshold: 100)"
    );
    Ok(())
}

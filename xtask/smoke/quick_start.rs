//! The quick start, run where nothing but the packed crate is installed.

use std::time::Duration;

use a3s_lane::{Command, EventEmitter, LaneConfig, QueueManagerBuilder, Result};
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

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let emitter = EventEmitter::new(100);
    let manager = QueueManagerBuilder::new(emitter.clone())
        .with_default_lanes()
        .build().await?;

    manager.start().await?;

    let rx = manager.submit("query", Box::new(FetchData {
        url: "https://api.example.com/data".into(),
    })).await?;

    let result = rx.await??;
    assert_eq!(result, serde_json::json!({ "url": "https://api.example.com/data" }));

    manager.shutdown().await;
    manager.drain(Duration::from_secs(30)).await?;

    let manager = QueueManagerBuilder::new(emitter)
        .with_lane("high",  LaneConfig::new(1, 4), 0)
        .with_lane("low",   LaneConfig::new(1, 2), 1)
        .build().await?;
    manager.start().await?;
    manager.shutdown().await;
    manager.drain(Duration::from_secs(30)).await?;

    println!("quick start passed on the packed crate");
    Ok(())
}

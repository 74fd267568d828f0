//! What the properties have found and the library does not keep yet.

use std::time::Duration;

use a3s_lane::{
    CommandStatus, EventEmitter, JsonCommand, LaneConfig, QueueManagerBuilder, SubmitOptions,
};
use serde_json::Value;

/// "Where the command is at this moment": its delay is over and its lane is paused, so it is ready and waits for its turn.
/// The explanation says so, the handle does not.
#[tokio::test(start_paused = true)]
#[ignore = "the status of a handle stays delayed when the delay is over"]
async fn a_command_whose_delay_is_over_is_pending() {
    let builder = QueueManagerBuilder::new(EventEmitter::new(4));
    let builder = builder.with_lane("only", LaneConfig::new(0, 1), 0);
    let manager = builder.build().await.unwrap();
    manager.start().await.unwrap();
    manager.pause_lane("only").unwrap();
    let command = Box::new(JsonCommand::new("work", Value::Null));
    let options = SubmitOptions::new().with_delay(Duration::from_millis(1));
    let handle = manager.submit_with("only", command, options).await.unwrap();
    assert_eq!(handle.status(), CommandStatus::Delayed);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(handle.explain().unwrap().status, CommandStatus::Pending);
    assert_eq!(handle.status(), CommandStatus::Pending);
}

//! "With Reliability" of the quick start, word for word. It stores in `./queue`, so this process works in a folder of
//! its own and has this one test.
#![cfg(feature = "local-storage")]

use std::error::Error;

use a3s_lane::{LocalStorage, Storage};
use serde_json::json;

#[rustfmt::skip]
mod reliability {
    use a3s_lane::*;
    use std::{sync::Arc, time::Duration, path::PathBuf};

    pub(crate) async fn build(emitter: EventEmitter) -> Result<QueueManager> {
        let storage = Arc::new(LocalStorage::new(PathBuf::from("./queue")).await?);

        let manager = QueueManagerBuilder::new(emitter)
            .with_lane(
                "api",
                LaneConfig::new(1, 10)
                    .with_timeout(Duration::from_secs(30))
                    .with_retry_policy(RetryPolicy::exponential(3)),
                0,
            )
            .with_dlq(100)
            .with_storage(storage)
            .build().await?;
        Ok(manager)
    }
}

#[tokio::test]
async fn reliability() -> Result<(), Box<dyn Error>> {
    use a3s_lane::testing::{ScriptedCommand, Step};
    use a3s_lane::{EventEmitter, JsonCommand};

    let folder = tempfile::tempdir()?;
    std::env::set_current_dir(folder.path())?;
    let manager = reliability::build(EventEmitter::new(100)).await?;

    // What is accepted is stored, with its payload, before `submit` returns.
    let good = manager
        .submit("api", Box::new(JsonCommand::new("good", json!({"k": 1}))))
        .await?;
    assert!(folder.path().join("queue").join("lanes.db").is_file());
    let storage = LocalStorage::new("./queue".into()).await?;
    let commands = storage.load_commands().await?;
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].command_type, "good");
    assert_eq!(commands[0].payload, json!({"k": 1}));

    // Four attempts: 0, 100, 200 and 400 ms after the one before.
    let bad = ScriptedCommand::new("bad", vec![vec![Step::Fail("no".into())]]);
    let attempts = bad.attempt_counter();
    let bad = manager.submit("api", Box::new(bad)).await?;
    manager.start().await?;
    assert_eq!(good.await??, json!({"k": 1}));
    let error = bad.await?.expect_err("every attempt fails");
    assert_eq!(error.to_string(), "Command execution error: no");
    assert_eq!(attempts.load(std::sync::atomic::Ordering::SeqCst), 4);

    let queue = manager.queue();
    let letters = queue.dlq().expect("there is a dead letter queue");
    let letters = letters.list().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].command_type.as_str(), letters[0].attempts),
        ("bad", 4)
    );
    assert_eq!(storage.load_commands().await?.len(), 0);
    let kept = storage.load_dead_letters().await?;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].command_id, letters[0].command_id);
    std::env::set_current_dir(std::env::temp_dir())?;
    Ok(())
}

//! L31: the slow storage of one lane blocks submits to every other lane. L32: nothing that is stored is ever replayed.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    Command, LaneConfig, QueueManager, Result, Storage, StoredCommand, StoredDeadLetter,
};
use async_trait::async_trait;

use crate::support::{Gate, builder_with, eventually, nothing, outcome, submit};

/// Keeps nothing. What it is asked for lane `slow` waits at a gate.
struct SlowForOne(Gate);

#[async_trait]
impl Storage for SlowForOne {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        if command.lane_id == "slow" {
            self.0.pass().await;
        }
        Ok(())
    }
    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        Ok(Vec::new())
    }
    async fn remove_command(&self, _id: &str) -> Result<()> {
        Ok(())
    }
    async fn save_dead_letter(&self, _letter: StoredDeadLetter) -> Result<()> {
        Ok(())
    }
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        Ok(Vec::new())
    }
    async fn clear_dead_letters(&self) -> Result<()> {
        Ok(())
    }
    async fn clear_all(&self) -> Result<()> {
        Ok(())
    }
}

async fn with_slow_storage(gate: &Gate) -> Arc<QueueManager> {
    let lane = |id| (id, LaneConfig::new(1, 2), 0);
    let manager = builder_with(&[lane("slow"), lane("quick")])
        .with_storage(Arc::new(SlowForOne(gate.clone())))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    Arc::new(manager)
}

fn submit_slowly(
    manager: &Arc<QueueManager>,
    command: Box<dyn Command>,
) -> tokio::task::JoinHandle<()> {
    let manager = Arc::clone(manager);
    tokio::spawn(async move {
        let receiver = submit(&manager, "slow", command).await;
        outcome(receiver).await.expect("it runs at last");
    })
}

#[tokio::test]
async fn l31_a_slow_storage_holds_up_its_own_lane_only() {
    let gate = Gate::new();
    let manager = with_slow_storage(&gate).await;
    let slow: Vec<_> = (0..3)
        .map(|_| submit_slowly(&manager, nothing("slow")))
        .collect();
    tokio::task::yield_now().await;
    for _ in 0..100 {
        let receiver = submit(&manager, "quick", nothing("quick")).await;
        outcome(receiver).await.expect("it runs");
    }
    // So do the other calls.
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_pending, stats.total_active), (0, 0));
    assert!(slow.iter().all(|submit| !submit.is_finished()));
    gate.open();
    for submit in slow {
        submit.await.expect("it ran");
    }
}

/// A submit that is being stored was accepted: neither drain nor the end overtakes it.
#[tokio::test]
async fn l31_a_submit_that_is_being_stored_counts() {
    let gate = Gate::new();
    let manager = with_slow_storage(&gate).await;
    let slow = submit_slowly(&manager, nothing("slow"));
    tokio::task::yield_now().await;
    manager.shutdown().await;
    manager
        .drain(Duration::from_millis(5))
        .await
        .expect_err("one is on its way");
    gate.open();
    slow.await.expect("it ran");
    eventually("the queue is empty", async || {
        manager.drain(Duration::from_millis(1)).await.is_ok()
    })
    .await;
}

/// Through the file: stored payloads are complete, and run in the next manager.
#[cfg(feature = "local-storage")]
#[tokio::test]
async fn l32_what_is_in_the_file_runs_in_the_next_manager() {
    use a3s_lane::{CommandContext, JsonCommand, LocalStorage};
    use serde_json::{Value, json};

    let directory = tempfile::tempdir().expect("a temporary directory");
    let builder = async || {
        let storage = LocalStorage::new(directory.path().to_path_buf()).await;
        let storage = Arc::new(storage.expect("it opens"));
        let builder = builder_with(&[("only", LaneConfig::new(0, 1), 0)]);
        builder.with_storage(storage)
    };
    let payloads = [json!({"k": [1, null]}), json!("second"), json!(3)];
    let before = builder().await.build().await.expect("built");
    for payload in &payloads {
        let command = Box::new(JsonCommand::new("job", payload.clone()));
        submit(&before, "only", command).await;
    }
    drop(before);
    let log = crate::support::Log::default();
    let manager = builder()
        .await
        .with_handler("job", {
            let log = log.clone();
            move |payload: Value, _: CommandContext| {
                log.push(payload.to_string());
                async { Ok(Value::Null) }
            }
        })
        .build()
        .await
        .expect("built");
    manager.start().await.expect("the file can be read");
    let minute = Duration::from_secs(60);
    manager.drain(minute).await.expect("it becomes empty");
    assert_eq!(log.entries(), payloads.map(|payload| payload.to_string()));
}

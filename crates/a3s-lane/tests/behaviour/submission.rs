//! Submissions with options: what is refused, and many at once.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    Command, LaneConfig, LaneError, LaneOptions, QueueManager, Refused, Result, Storage,
    StoredCommand, StoredDeadLetter, SubmitOptions, Unique,
};
use async_trait::async_trait;
use serde_json::Value;

use crate::support::shelf::Shelf;
use crate::support::{
    Gate, Log, builder_with, let_others_run, nothing, settled, started_with, submit, submit_with,
    within,
};

fn spawnable<T: Send>(work: T) -> T {
    work
}

/// A submission can be awaited on any task.
#[tokio::test]
async fn submissions_can_be_spawned() {
    let manager = started_with(LaneOptions::new()).await;
    let one = manager.submit_with("only", nothing("a"), SubmitOptions::new());
    let handle = spawnable(one).await.expect("accepted");
    let many = manager.submit_many("only", vec![(nothing("b"), SubmitOptions::new())]);
    assert_eq!(spawnable(many).await.len(), 1);
    settled(&handle).await.expect("it runs");
    let report = spawnable(manager.shutdown_within(Duration::from_secs(60))).await;
    assert!(report.is_clean());
}

/// The error's code, after the command that came back has been let in elsewhere.
async fn code_of(
    manager: &QueueManager,
    refused: std::result::Result<a3s_lane::CommandHandle, Refused>,
) -> &'static str {
    let refused = refused.expect_err("it is refused");
    let code = refused.error().code();
    let (error, command) = refused.into_parts();
    assert_eq!(error.code(), code);
    assert_eq!(command.command_type(), "back");
    let handle = submit_with(manager, "spare", command, SubmitOptions::new()).await;
    settled(&handle).await.expect("it runs all the same");
    code
}

struct RefusesSaves;

#[async_trait]
impl Storage for RefusesSaves {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        match command.lane_id.as_str() {
            "stored" => Err(LaneError::Storage("disk full".to_owned())),
            _ => Ok(()),
        }
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

#[tokio::test(start_paused = true)]
async fn whatever_is_refused_gives_the_command_back() {
    let lane = |id| (id, LaneConfig::new(0, 1), 0);
    let manager = builder_with(&[lane("full"), lane("spare")])
        .with_lane_options("full", LaneOptions::new().with_max_pending(1))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager.pause_lane("full").expect("it exists");
    let first = SubmitOptions::new()
        .with_id("taken")
        .with_unique(Unique::new("u"));
    submit_with(&manager, "full", nothing("first"), first).await;
    let new = SubmitOptions::new;
    for (lane, options, code) in [
        ("nope", new(), "LANE_NOT_FOUND"),
        ("spare", new().with_id(""), "CONFIG_ERROR"),
        ("spare", new().with_ttl(Duration::ZERO), "CONFIG_ERROR"),
        ("spare", new().with_id("taken"), "DUPLICATE"),
        ("spare", new().with_unique(Unique::new("u")), "DUPLICATE"),
        ("full", new(), "LANE_FULL"),
    ] {
        let refused = manager.submit_with(lane, nothing("back"), options).await;
        assert_eq!(code_of(&manager, refused).await, code);
    }
    manager.shutdown().await;
    let refused = manager.submit_with("spare", nothing("back"), new()).await;
    let refused = refused.expect_err("it is refused");
    assert_eq!(refused.error().code(), "SHUTDOWN_IN_PROGRESS");
    assert_eq!(refused.into_command().command_type(), "back");
}

/// An id or a key of a command that was refused is free.
#[tokio::test(start_paused = true)]
async fn a_storage_that_refuses_gives_the_command_back() {
    let lane = |id| (id, LaneConfig::new(0, 1), 0);
    let manager = builder_with(&[lane("stored"), lane("spare")])
        .with_storage(Arc::new(RefusesSaves) as Arc<dyn Storage>)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let options = || {
        SubmitOptions::new()
            .with_id("x")
            .with_unique(Unique::new("u"))
    };
    let refused = manager
        .submit_with("stored", nothing("back"), options())
        .await;
    assert_eq!(code_of(&manager, refused).await, "STORAGE_ERROR");
    let handle = submit_with(&manager, "spare", nothing("again"), options()).await;
    settled(&handle)
        .await
        .expect("nobody holds its id or its key");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
}

/// Neither its id, nor its unique key, nor room in its lane.
#[tokio::test(start_paused = true)]
async fn a_dropped_submission_holds_nothing() {
    let gate = Gate::new();
    let shelf = Shelf::with_saves_behind(&gate);
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_lane_options("only", LaneOptions::new().with_max_pending(1))
        .with_storage(shelf as Arc<dyn Storage>)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let options = || {
        SubmitOptions::new()
            .with_id("x")
            .with_unique(Unique::new("u"))
    };
    {
        let mut dropped = Box::pin(manager.submit_with("only", nothing("t"), options()));
        assert!(
            futures::poll!(&mut dropped).is_pending(),
            "its storage takes its time"
        );
    }
    gate.open();
    let handle = submit_with(&manager, "only", nothing("t"), options()).await;
    settled(&handle).await.expect("id, key and room are free");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is left");
}

fn many(log: &Log, names: &[&str]) -> Vec<(Box<dyn Command>, SubmitOptions)> {
    names
        .iter()
        .map(|name| (log.command(name), SubmitOptions::new()))
        .collect()
}

/// Another thread's command never comes in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_commands_enter_together() {
    let manager = Arc::new(
        builder_with(&[("only", LaneConfig::new(0, 1), 0)])
            .build()
            .await
            .expect("built"),
    );
    let log = Log::default();
    let submitters: Vec<_> = (0..4)
        .map(|submitter| {
            let (manager, log) = (Arc::clone(&manager), log.clone());
            tokio::spawn(async move {
                for round in 0..50 {
                    let name = format!("{submitter}-{round}");
                    let answers = manager
                        .submit_many("only", many(&log, &[name.as_str(); 8]))
                        .await;
                    assert!(answers.iter().all(|answer| answer.is_ok()));
                }
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await.expect("no panic");
    }
    manager.start().await.expect("starts");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it ends");
    let entries = log.entries();
    assert_eq!(entries.len(), 1_600);
    for batch in entries.chunks(8) {
        assert!(batch.iter().all(|name| *name == batch[0]), "{batch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_does_not_keep_the_others_out() {
    let manager = started_with(LaneOptions::new().with_max_pending(2)).await;
    manager.pause_lane("only").expect("it exists");
    let log = Log::default();
    let mut commands = many(&log, &["a", "wrong", "b", "full", "full"]);
    commands[1].1 = SubmitOptions::new().with_id("");
    let answers = manager.submit_many("only", commands).await;
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(|refused| refused.error().code()))
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some("CONFIG_ERROR"),
            None,
            Some("LANE_FULL"),
            Some("LANE_FULL")
        ]
    );
    manager.resume_lane("only").expect("it exists");
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it ends");
    assert_eq!(log.entries(), ["a", "b"]);
    assert!(manager.submit_many("only", Vec::new()).await.is_empty());
}

/// With a lane that lets submitters wait the order stays, and the call takes until the last one is in.
#[tokio::test(start_paused = true)]
async fn many_commands_wait_for_room_in_their_order() {
    let options = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(a3s_lane::Overflow::Wait);
    let manager = started_with(options).await;
    let (gate, log) = (Gate::new(), Log::default());
    submit(&manager, "only", gate.command("runs")).await;
    let_others_run().await;
    let submitted = manager.submit_many("only", many(&log, &["a", "b", "c"]));
    let (answers, ()) = tokio::join!(within(submitted), async {
        let_others_run().await;
        gate.open();
    });
    for answer in answers {
        assert_eq!(
            settled(&answer.expect("accepted")).await.expect("it runs"),
            Value::Null
        );
    }
    assert_eq!(log.entries(), ["a", "b", "c"]);
}
